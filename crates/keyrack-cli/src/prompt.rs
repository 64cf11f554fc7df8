//! Asking a person: hidden prompts at the terminal, and secrets that are piped in. Nothing typed is shown, kept or repeated.

mod confirm;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use keyrack_client::render::text::{clean, wrap};
use keyrack_client::render::tree::{paragraph, paragraph_with_role};
use keyrack_client::render::{Role, Style};
use keyrack_core::{Error, ErrorCode, Slug};
use keyrack_ops::{MAX_SECRET, Prompts};
use keyrack_sys::terminal::Hidden;
use zeroize::Zeroizing;

/// How often a menu is put before a slip of the hand is the answer.
const TRIES: usize = 3;

/// The person at the terminal, and what is piped into this process.
pub(crate) struct Terminal {
    /// Whether a person may be asked at all.
    allowed: bool,
    /// How the terminal may look.
    style: Style,
    /// Take a secret on stdin byte for byte.
    exact: bool,
}

impl Terminal {
    /// Prompts at the terminal if `allowed`.
    pub(crate) fn new(allowed: bool, style: Style) -> Self {
        Terminal { allowed, style, exact: false }
    }

    /// Takes a secret on stdin byte for byte if `exact`.
    pub(crate) fn taking_stdin_exactly(self, exact: bool) -> Self {
        Terminal { exact, ..self }
    }
}

/// A question as it is put, with the blank behind which the answer is typed.
pub(crate) fn question(text: &str, style: Style) -> String {
    let mut shown = String::new();
    // The answer is to begin on the same line.
    let style = Style { width: style.width.map(|width| width.saturating_sub(3)), ..style };
    paragraph(&mut shown, ["", ""], &clean(text), style);
    // The blank is of the question, so that it is found as it stands here.
    let lines: Vec<String> = shown.trim_end_matches('\n').lines().map(str::to_owned).collect();
    let last = lines.len().saturating_sub(1);
    let painted = lines.iter().enumerate().map(|(at, line)| {
        let blank = if at == last { " " } else { "\n" };
        style.paint(Role::Title, &format!("{line}{blank}"))
    });
    painted.collect()
}

/// What can be chosen from, numbered, below the question.
pub(crate) fn choices(text: &str, options: &[String], style: Style) -> String {
    let mut shown = String::new();
    paragraph_with_role(&mut shown, ["", ""], &clean(text), Role::Title, style);
    let (fork, last, pass) =
        if style.unicode { ("   ├─ ", "   └─ ", "   │  ") } else { ("   |- ", "   `- ", "   |  ") };
    for (at, option) in options.iter().enumerate() {
        let lead = if at + 1 == options.len() { [last, "      "] } else { [fork, pass] };
        paragraph(&mut shown, lead, &clean(&format!("{}. {option}", at + 1)), style);
    }
    shown
}

/// The option that an answer means: by its number or the word it begins with; the usual one by none.
pub(crate) fn picked(answer: &str, options: &[String], usual: Option<usize>) -> Option<usize> {
    let answer = answer.trim();
    if answer.is_empty() {
        return usual;
    }
    let numbered = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    numbered
        .filter(|at| *at < options.len())
        .or_else(|| options.iter().position(|option| word(option).eq_ignore_ascii_case(answer)))
}

/// What an option begins with, before it is explained.
fn word(option: &str) -> &str {
    let end = [" — ", ", "].iter().filter_map(|sign| option.find(sign)).min();
    &option[..end.unwrap_or(option.len())]
}

/// What to say to a slip.
pub(crate) fn choice_error(options: &[String]) -> String {
    let words: Vec<&str> = options.iter().map(|option| word(option)).collect();
    format!("not a choice: a number from 1 to {} is, or one of {}", options.len(), words.join(", "))
}

/// A sentence above a question that is put again.
pub(crate) fn note(text: &str, style: Style) -> String {
    let mut shown = String::new();
    paragraph(&mut shown, ["", ""], &clean(text), style);
    shown
}

impl Prompts for Terminal {
    fn is_interactive(&self) -> bool {
        self.allowed && io::stdin().is_terminal()
    }

    fn secret(&mut self, slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        if !io::stdin().is_terminal() {
            return piped(&mut io::stdin().lock(), self.exact);
        }
        if !self.allowed {
            return Err(Error::new(ErrorCode::PromptNeeded, "the secret is needed and nobody may be asked")
                .hint("pipe it on stdin"));
        }
        typed(&format!("enter secret for {slug}: "), "the secret")
    }

    fn passphrase(&mut self, key: &Path, again: bool) -> Result<Zeroizing<String>, Error> {
        let shown = clean(&key.display().to_string());
        if !self.allowed {
            return Err(Error::new(
                ErrorCode::PromptNeeded,
                format!("the passphrase of {shown} is needed and nobody may be asked"),
            )
            .hint(
                "run it at a terminal without --no-prompt, or give a key without a passphrase by --prikey",
            ));
        }
        let wrong = if again { "that does not open it; " } else { "" };
        let bytes =
            typed(&format!("{wrong}enter passphrase for {shown}: "), &format!("the passphrase of {shown}"))
                .map_err(|error| match error.code {
                ErrorCode::PromptNeeded => {
                    error.hint("run it at a terminal, or give a key without a passphrase by --prikey")
                }
                _ => error,
            })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::new(ErrorCode::BadPassphrase, "the passphrase is not UTF-8"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error> {
        self.ask_openly(question, flag)?;
        confirm::confirm(&self::question(&format!("{question} [y/N]"), self.style))
    }

    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        usual: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error> {
        self.ask_openly(question, flag)?;
        let list = choices(question, options, self.style);
        let usual_shown = usual.map_or_else(String::new, |at| format!(" [{}]", at + 1));
        let prompt = self::question(&format!("choice{usual_shown}:"), self.style);
        let mut above = list;
        for _ in 0..TRIES {
            if let Some(chosen) = picked(&line(&format!("{above}{prompt}"))?, options, usual) {
                return Ok(chosen);
            }
            above = note(&choice_error(options), self.style);
        }
        Err(Error::new(ErrorCode::Usage, format!("not a choice: a number from 1 to {} is", options.len()))
            .hint(format!("or name it: {flag}")))
    }
}

impl Terminal {
    /// Refuses to ask where nobody can answer: stdin is not a terminal, or asking is forbidden.
    fn ask_openly(&self, question: &str, flag: &str) -> Result<(), Error> {
        if self.allowed && io::stdin().is_terminal() {
            return Ok(());
        }
        Err(keyrack_ops::prompt_needed(question, flag))
    }
}

/// Reads all of the input. A newline at its end is dropped where it is the only one, as `echo`
/// writes it, unless `exact`; a text of several lines, such as a PEM file, keeps its last newline.
fn piped(input: &mut impl io::Read, exact: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
    // One allocation of the final size: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    let limit = u64::try_from(MAX_SECRET + 2).expect("a mebibyte fits");
    input.take(limit).read_to_end(&mut bytes).map_err(|error| {
        Error::new(ErrorCode::Io, format!("the secret could not be read from stdin: {error}"))
    })?;
    if !exact && bytes.iter().position(|&byte| byte == b'\n') == bytes.len().checked_sub(1) {
        bytes.pop();
    }
    if bytes.len() > MAX_SECRET {
        return Err(Error::new(
            ErrorCode::SecretTooLarge,
            format!("the secret on stdin is over {} KiB", MAX_SECRET / 1024),
        ));
    }
    Ok(bytes)
}

/// One line typed at the terminal, hidden. `what` it is, for people who cannot be asked.
fn typed(prompt: &str, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut terminal = Hidden::open().map_err(|_| {
        Error::new(ErrorCode::PromptNeeded, format!("{what} is needed, and there is no terminal to ask at"))
    })?;
    terminal.show(&fitted(prompt)).map_err(|error| fault(&error))?;
    let mut line = Line::new();
    let ended = loop {
        match terminal.key().map_err(|error| fault(&error))? {
            None => break Ended::Closed,
            Some(byte) => {
                if let Some(ended) = line.press(byte) {
                    break ended;
                }
            }
        }
    };
    terminal.show("\n").map_err(|error| fault(&error))?;
    match ended {
        // What a paste brings beyond its first line is there at once; a person is slower.
        Ended::Entered if terminal.has_more(Duration::from_millis(10)).unwrap_or(false) => {
            Err(Error::new(ErrorCode::Usage, "several lines were pasted and the prompt takes one")
                .hint("pipe a secret of several lines: keyrack set … < file"))
        }
        Ended::Entered => Ok(line.into_bytes()),
        Ended::Interrupted | Ended::Closed => Err(unanswered(ended)),
        Ended::Full => Err(Error::new(ErrorCode::SecretTooLarge, "the line is too long for the prompt")
            .hint("pipe it on stdin")),
    }
}

fn fault(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("the terminal could not be read: {error}"))
}

/// Why a line that was not entered is no answer.
fn unanswered(ended: Ended) -> Error {
    match ended {
        Ended::Interrupted => Error::new(ErrorCode::Interrupted, "interrupted"),
        _ => Error::new(ErrorCode::PromptNeeded, "the terminal closed before an answer was given"),
    }
}

/// A prompt in lines that fit the terminal.
fn fitted(prompt: &str) -> String {
    let columns = File::open("/dev/tty").ok().and_then(terminal_size::terminal_size_of);
    let Some((terminal_size::Width(columns), _)) = columns else {
        return prompt.to_owned();
    };
    let columns = usize::from(columns);
    let lines: Vec<String> = prompt.split('\n').map(|line| wrap(line, columns, columns).join("\n")).collect();
    lines.join("\n")
}

/// How a typed line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Enter.
    Entered,
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    Closed,
    /// More than a line holds.
    Full,
}

/// A line being typed, in one allocation that never grows.
struct Line {
    bytes: Zeroizing<Vec<u8>>,
    /// Inside an escape sequence, such as an arrow key sends: it is no part of the secret.
    escape: Escape,
}

#[derive(PartialEq, Eq)]
enum Escape {
    Outside,
    Begun,
    Inside,
}

impl Line {
    const MAX: usize = 16 * 1024;

    fn new() -> Self {
        Line { bytes: Zeroizing::new(Vec::with_capacity(Self::MAX)), escape: Escape::Outside }
    }

    /// Takes one byte from the terminal; says so when it ends the line.
    fn press(&mut self, byte: u8) -> Option<Ended> {
        match (&self.escape, byte) {
            // ECMA-48: CSI and SS3 sequences end with a byte of 0x40 to 0x7e.
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Inside,
            (Escape::Begun, _) => self.escape = Escape::Outside,
            (Escape::Inside, 0x40..=0x7e) => self.escape = Escape::Outside,
            (Escape::Inside, 0x20..=0x3f) => {}
            (_, 0x1b) => self.escape = Escape::Begun,
            (_, b'\r' | b'\n') => return Some(Ended::Entered),
            (_, 0x03) => return Some(Ended::Interrupted),
            (_, 0x04) if self.bytes.is_empty() => return Some(Ended::Closed),
            (_, 0x7f | 0x08) => self.erase_character(),
            (_, 0x15) => self.clear(),
            // Every other control character but tab is a slip of the hand.
            (_, 0x00..=0x08 | 0x0a..=0x1f) => {}
            (_, byte) if self.bytes.len() < Self::MAX => self.bytes.push(byte),
            _ => return Some(Ended::Full),
        }
        None
    }

    /// Takes back one character: its last byte and the UTF-8 continuation bytes before it (RFC 3629).
    fn erase_character(&mut self) {
        while let Some(byte) = self.bytes.pop() {
            if byte & 0b1100_0000 != 0b1000_0000 {
                break;
            }
        }
    }

    /// What is in it by now.
    fn typed(&self) -> &[u8] {
        &self.bytes
    }

    fn clear(&mut self) {
        self.bytes.iter_mut().for_each(|byte| *byte = 0);
        self.bytes.clear();
    }

    fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }
}

/// One line typed at the terminal, shown. Asked at `/dev/tty`, since stdout and stderr may be read by a program.
pub(crate) fn line(prompt: &str) -> Result<String, Error> {
    let failed = |error: io::Error| fault(&error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    terminal.write_all(prompt.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(&terminal).take(1024).read_line(&mut answer).map_err(failed)?;
    if answer.is_empty() {
        return Err(Error::new(ErrorCode::PromptNeeded, "the terminal closed before an answer was given"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piped_secrets() {
        for (input, secret) in [
            (&b"s3cret\n"[..], &b"s3cret"[..]),
            (b"s3cret", b"s3cret"),
            (b"s3cret\n\n", b"s3cret\n\n"),
            (b"a\r\n", b"a\r"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"-----BEGIN\nx\n-----END\n", b"-----BEGIN\nx\n-----END\n"),
            (b"one\ntwo", b"one\ntwo"),
            (b"\n", b""),
            (b"", b""),
            (b"\xff\x00", b"\xff\x00"),
        ] {
            assert_eq!(&**piped(&mut &input[..], false).unwrap(), secret, "{input:?}");
            assert_eq!(&**piped(&mut &input[..], true).unwrap(), input, "{input:?}, exactly");
        }
        for exact in [false, true] {
            let read = |input: &[u8]| piped(&mut &*input, exact).map(|secret| secret.len());
            assert_eq!(read(&vec![b'x'; MAX_SECRET]).unwrap(), MAX_SECRET);
            assert_eq!(read(&vec![b'x'; MAX_SECRET + 1]).unwrap_err().code, ErrorCode::SecretTooLarge);
            let endless = piped(&mut io::repeat(b'x'), exact).unwrap_err();
            assert_eq!(endless.code, ErrorCode::SecretTooLarge);
        }
        // The newline that is dropped does not count.
        let line = [vec![b'x'; MAX_SECRET], vec![b'\n']].concat();
        assert_eq!(piped(&mut &line[..], false).unwrap().len(), MAX_SECRET);
        assert_eq!(piped(&mut &line[..], true).unwrap_err().code, ErrorCode::SecretTooLarge);
    }

    #[test]
    fn choices_by_number_and_by_word() {
        let options = ["os.secure — an encrypted file", "test", "~/.ssh/my work, behind a passphrase"];
        let options = options.map(str::to_owned);
        for (answer, usual, chosen) in [
            ("1\n", None, Some(0)),
            (" 3 ", None, Some(2)),
            ("os.secure\n", None, Some(0)),
            ("TEST", Some(0), Some(1)),
            ("~/.ssh/my work", None, Some(2)),
            ("\n", Some(1), Some(1)),
            ("\n", None, None),
            ("0", Some(1), None),
            ("4", Some(1), None),
            ("os", Some(1), None),
            ("os.secure — an encrypted file", Some(1), None),
            ("-1", None, None),
        ] {
            assert_eq!(picked(answer, &options, usual), chosen, "{answer:?}");
        }
        assert_eq!(
            choice_error(&options),
            "not a choice: a number from 1 to 3 is, or one of os.secure, test, ~/.ssh/my work"
        );
    }

    #[test]
    fn typed_lines() {
        for (keys, ended, bytes) in [
            (&b"abc\r"[..], Ended::Entered, &b"abc"[..]),
            (b"abc\x7f\x08d\n", Ended::Entered, b"ad"),
            ("a€\u{7f}b\r".as_bytes(), Ended::Entered, b"ab"),
            (b"\x7f\x7fa\r", Ended::Entered, b"a"),
            (b"wrong\x15right\r", Ended::Entered, b"right"),
            (b"a\x1b[Ab\x1bOBc\x1b[3~\r", Ended::Entered, b"abc"),
            (b"ab\x03", Ended::Interrupted, b"ab"),
            (b"\x04", Ended::Closed, b""),
            (b"a\x04b\r", Ended::Entered, b"ab"),
            (b"a\tb\x00\x01\r", Ended::Entered, b"a\tb"),
        ] {
            let mut line = Line::new();
            let mut keys_left = keys.iter();
            let end = keys_left.by_ref().find_map(|key| line.press(*key));
            assert_eq!(end, Some(ended), "{keys:?}");
            assert_eq!(&**line.into_bytes(), bytes, "{keys:?}");
        }
        let mut line = Line::new();
        let capacity = line.bytes.capacity();
        let end = std::iter::repeat_n(b'x', Line::MAX + 1).find_map(|key| line.press(key));
        assert_eq!(end, Some(Ended::Full));
        assert_eq!(line.bytes.capacity(), capacity, "the line never moved");
    }
}
