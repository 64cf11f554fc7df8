//! Reading a line that is typed at the terminal.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::time::Duration;

use keyrack_client::render::text::wrap;
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::tty::secret_input::RawTty;
use zeroize::Zeroizing;

/// Reads one line without echo. `what` names it in the error if there is no terminal.
pub(super) fn read_hidden(prompt: &str, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut terminal = RawTty::open().map_err(|_| {
        Error::new(
            ErrorCode::PromptNeeded,
            format!("{what} is needed, and there is no terminal to ask for it"),
        )
    })?;
    terminal.show(&wrap_to_terminal(prompt)).map_err(|error| terminal_error(&error))?;
    let mut line = LineEditor::new();
    let ended = loop {
        match terminal.key().map_err(|error| terminal_error(&error))? {
            None => break LineEnd::Closed,
            Some(byte) => {
                if let Some(ended) = line.press(byte) {
                    break ended;
                }
            }
        }
    };
    terminal.show("\n").map_err(|error| terminal_error(&error))?;
    match ended {
        // Further lines of a paste arrive at once; a person types slower.
        LineEnd::Entered if terminal.has_more(Duration::from_millis(10)).unwrap_or(false) => {
            Err(Error::new(ErrorCode::Usage, "several lines were pasted, and the prompt takes one")
                .hint("pipe a secret of several lines: `keyrack set … < file`"))
        }
        LineEnd::Entered => Ok(line.into_bytes()),
        LineEnd::Interrupted | LineEnd::Closed => Err(no_answer(ended)),
        LineEnd::Full => Err(Error::new(ErrorCode::SecretTooLarge, "the line is too long for the prompt")
            .hint("pipe it on stdin")),
    }
}

pub(super) fn terminal_error(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot read from the terminal: {error}"))
}

/// Returns the error for a line that was not entered.
pub(super) fn no_answer(ended: LineEnd) -> Error {
    match ended {
        LineEnd::Interrupted => Error::new(ErrorCode::Interrupted, "interrupted"),
        _ => Error::new(ErrorCode::PromptNeeded, "the terminal closed before an answer was entered"),
    }
}

/// Wraps a prompt to the width of the terminal.
fn wrap_to_terminal(prompt: &str) -> String {
    let columns = File::open("/dev/tty").ok().and_then(terminal_size::terminal_size_of);
    let Some((terminal_size::Width(columns), _)) = columns else {
        return prompt.to_owned();
    };
    let columns = usize::from(columns);
    let lines: Vec<String> = prompt.split('\n').map(|line| wrap(line, columns, columns).join("\n")).collect();
    lines.join("\n")
}

/// End of a typed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// Enter.
    Entered,
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    Closed,
    /// Longer than [`LineEditor::MAX`].
    Full,
}

/// Line editor whose buffer never grows, so that no copy of a secret is left in freed memory.
pub(super) struct LineEditor {
    bytes: Zeroizing<Vec<u8>>,
    /// State within an escape sequence, such as an arrow key sends, which is not part of the line.
    escape: Escape,
}

#[derive(PartialEq, Eq)]
enum Escape {
    Outside,
    Begun,
    Inside,
}

impl LineEditor {
    const MAX: usize = 16 * 1024;

    pub(super) fn new() -> Self {
        LineEditor { bytes: Zeroizing::new(Vec::with_capacity(Self::MAX)), escape: Escape::Outside }
    }

    /// Processes one byte from the terminal. Returns `Some` if it ends the line.
    pub(super) fn press(&mut self, byte: u8) -> Option<LineEnd> {
        match (&self.escape, byte) {
            // ECMA-48: CSI and SS3 sequences end with a byte of 0x40 to 0x7e.
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Inside,
            (Escape::Begun, _) => self.escape = Escape::Outside,
            (Escape::Inside, 0x40..=0x7e) => self.escape = Escape::Outside,
            (Escape::Inside, 0x20..=0x3f) => {}
            (_, 0x1b) => self.escape = Escape::Begun,
            (_, b'\r' | b'\n') => return Some(LineEnd::Entered),
            (_, 0x03) => return Some(LineEnd::Interrupted),
            (_, 0x04) if self.bytes.is_empty() => return Some(LineEnd::Closed),
            (_, 0x7f | 0x08) => self.erase_character(),
            (_, 0x15) => self.clear(),
            // All other control characters except tab are ignored as typing errors.
            (_, 0x00..=0x08 | 0x0a..=0x1f) => {}
            (_, byte) if self.bytes.len() < Self::MAX => self.bytes.push(byte),
            _ => return Some(LineEnd::Full),
        }
        None
    }

    /// Erases one character: its last byte and the UTF-8 continuation bytes before it (RFC 3629).
    fn erase_character(&mut self) {
        while let Some(byte) = self.bytes.pop() {
            if byte & 0b1100_0000 != 0b1000_0000 {
                break;
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn clear(&mut self) {
        self.bytes.iter_mut().for_each(|byte| *byte = 0);
        self.bytes.clear();
    }

    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

/// Reads one line with echo, from `/dev/tty`, since stdout and stderr may be pipes.
pub(crate) fn read_shown(prompt: &str) -> Result<String, Error> {
    let failed = |error: io::Error| terminal_error(&error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    terminal.write_all(prompt.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(&terminal).take(1024).read_line(&mut answer).map_err(failed)?;
    if answer.is_empty() {
        return Err(Error::new(ErrorCode::PromptNeeded, "the terminal closed before an answer was entered"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_editor_handles_control_keys() {
        for (keys, ended, bytes) in [
            (&b"abc\r"[..], LineEnd::Entered, &b"abc"[..]),
            (b"abc\x7f\x08d\n", LineEnd::Entered, b"ad"),
            ("a€\u{7f}b\r".as_bytes(), LineEnd::Entered, b"ab"),
            (b"\x7f\x7fa\r", LineEnd::Entered, b"a"),
            (b"wrong\x15right\r", LineEnd::Entered, b"right"),
            (b"a\x1b[Ab\x1bOBc\x1b[3~\r", LineEnd::Entered, b"abc"),
            (b"ab\x03", LineEnd::Interrupted, b"ab"),
            (b"\x04", LineEnd::Closed, b""),
            (b"a\x04b\r", LineEnd::Entered, b"ab"),
            (b"a\tb\x00\x01\r", LineEnd::Entered, b"a\tb"),
        ] {
            let mut line = LineEditor::new();
            let mut keys_left = keys.iter();
            let end = keys_left.by_ref().find_map(|key| line.press(*key));
            assert_eq!(end, Some(ended), "{keys:?}");
            assert_eq!(&**line.into_bytes(), bytes, "{keys:?}");
        }
        let mut line = LineEditor::new();
        let capacity = line.bytes.capacity();
        let end = std::iter::repeat_n(b'x', LineEditor::MAX + 1).find_map(|key| line.press(key));
        assert_eq!(end, Some(LineEnd::Full));
        assert_eq!(line.bytes.capacity(), capacity, "the buffer never grows");
    }
}
