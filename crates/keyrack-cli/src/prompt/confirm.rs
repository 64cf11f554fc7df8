//! Yes-or-no questions.
//!
//! The answer is read key by key without echo, and only `y` or `n` is ever shown: a secret pasted
//! here by mistake must not end up on the screen or in the scrollback.

use std::io;
use std::time::{Duration, Instant};

use keyrack_core::Error;
use keyrack_sys::tty::secret_input::RawTty;

use super::line::{LineEditor, LineEnd, no_answer, terminal_error};

/// Number of attempts before an invalid answer means no.
const ATTEMPTS: usize = 3;

/// Longest gap between the bytes of a paste.
const PASTE: Duration = Duration::from_millis(20);

/// Longest time for which the rest of a paste is discarded.
const MAX_DISCARD: Duration = Duration::from_secs(2);

const NEITHER: &str = "Enter y or n. The input was discarded and not shown.\n";

/// Meaning of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Neither,
}

impl Answer {
    fn parse(line: &[u8]) -> Self {
        // Compared in place: the line could be a secret, which must not be copied.
        let line = line.trim_ascii();
        let is_one_of = |words: &[&str]| words.iter().any(|word| line.eq_ignore_ascii_case(word.as_bytes()));
        if is_one_of(&["y", "yes"]) {
            Answer::Yes
        } else if is_one_of(&["", "n", "no"]) {
            Answer::No
        } else {
            Answer::Neither
        }
    }
}

/// Asks a question. Enter means no, and so does an invalid answer at the last attempt.
pub(super) fn confirm(prompt: &str) -> Result<bool, Error> {
    let mut terminal = RawTty::open().map_err(|error| terminal_error(&error))?;
    for _ in 0..ATTEMPTS {
        terminal.show(prompt).map_err(|error| terminal_error(&error))?;
        match answer(&mut terminal)? {
            Answer::Yes => return Ok(true),
            Answer::No => return Ok(false),
            Answer::Neither => terminal.show(NEITHER).map_err(|error| terminal_error(&error))?,
        }
    }
    Ok(false)
}

/// Reads one line, and shows `y` or `n` while the line is just that.
fn answer(terminal: &mut RawTty) -> Result<Answer, Error> {
    let failed = |error: io::Error| terminal_error(&error);
    let mut line = LineEditor::new();
    let mut shown = false;
    let ended = loop {
        let Some(byte) = terminal.key().map_err(failed)? else { break LineEnd::Closed };
        if let Some(ended) = line.press(byte) {
            break ended;
        }
        let letter = match line.as_bytes() {
            b"y" | b"Y" if !has_more(terminal) => Some("y"),
            b"n" | b"N" if !has_more(terminal) => Some("n"),
            _ => None,
        };
        match letter {
            Some(letter) if !shown => terminal.show(letter).map_err(failed)?,
            None if shown => terminal.show("\u{8} \u{8}").map_err(failed)?,
            _ => {}
        }
        shown = letter.is_some();
    };
    let answer = match ended {
        // A paste of several lines is not an answer.
        LineEnd::Entered if has_more(terminal) => Answer::Neither,
        LineEnd::Entered => Answer::parse(line.as_bytes()),
        LineEnd::Full => Answer::Neither,
        LineEnd::Interrupted | LineEnd::Closed => {
            terminal.show("\n").map_err(failed)?;
            return Err(no_answer(ended));
        }
    };
    let until = Instant::now() + MAX_DISCARD;
    while has_more(terminal) && Instant::now() < until {
        if terminal.key().map_err(failed)?.is_none() {
            return Err(no_answer(LineEnd::Closed));
        }
    }
    let letter = match answer {
        Answer::Yes if !shown => "y\n",
        Answer::No if !shown && !line.as_bytes().is_empty() => "n\n",
        _ => "\n",
    };
    terminal.show(letter).map_err(failed)?;
    Ok(answer)
}

fn has_more(terminal: &RawTty) -> bool {
    terminal.has_more(PASTE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_parses_yes_no_or_neither() {
        for (line, answer) in [
            (&b"y"[..], Answer::Yes),
            (b" Yes ", Answer::Yes),
            (b"", Answer::No),
            (b"n", Answer::No),
            (b"NO", Answer::No),
            (b"yesterday-s3cret", Answer::Neither),
            (b"y y", Answer::Neither),
            (b"1", Answer::Neither),
            (b"\xff", Answer::Neither),
        ] {
            assert_eq!(Answer::parse(line), answer, "{line:?}");
        }
    }
}
