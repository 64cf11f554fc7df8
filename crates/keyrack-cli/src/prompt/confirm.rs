//! A yes or no, read key by key and unseen: whoever pastes a secret there, because it is asked for next, must not find it on the screen and in
//! what the terminal scrolls back to. Only `y` or `n` is ever shown.

use std::io;
use std::time::{Duration, Instant};

use keyrack_core::Error;
use keyrack_sys::tty::secret_input::RawTty;

use super::line::{LineEditor, LineEnd, no_answer, terminal_error};

/// How often it is asked before it is taken for a no.
const TRIES: usize = 3;

/// What is pasted is there at once; a person is slower.
const PASTE: Duration = Duration::from_millis(20);

/// How long is thrown away what goes on coming.
const LONGEST: Duration = Duration::from_secs(2);

const NEITHER: &str = "neither y nor n: what was typed was thrown away, unseen\n";

/// What a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Neither,
}

impl Answer {
    fn of(line: &[u8]) -> Self {
        // Compared where it lies: it may be a secret, of which no copy is made.
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

/// Asks. Enter is a no, and so is no answer that will do.
pub(super) fn confirm(prompt: &str) -> Result<bool, Error> {
    let mut terminal = RawTty::open().map_err(|error| terminal_error(&error))?;
    for _ in 0..TRIES {
        terminal.show(prompt).map_err(|error| terminal_error(&error))?;
        match answer(&mut terminal)? {
            Answer::Yes => return Ok(true),
            Answer::No => return Ok(false),
            Answer::Neither => terminal.show(NEITHER).map_err(|error| terminal_error(&error))?,
        }
    }
    Ok(false)
}

/// One line, of which `y` or `n` is shown while it is that and no more.
fn answer(terminal: &mut RawTty) -> Result<Answer, Error> {
    let failed = |error: io::Error| terminal_error(&error);
    let mut line = LineEditor::new();
    let mut shown = false;
    let ended = loop {
        let Some(byte) = terminal.key().map_err(failed)? else { break LineEnd::Closed };
        if let Some(ended) = line.press(byte) {
            break ended;
        }
        let letter = match line.typed() {
            b"y" | b"Y" if !more(terminal) => Some("y"),
            b"n" | b"N" if !more(terminal) => Some("n"),
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
        // Several lines were pasted, so none of them was meant as an answer.
        LineEnd::Entered if more(terminal) => Answer::Neither,
        LineEnd::Entered => Answer::of(line.typed()),
        LineEnd::Full => Answer::Neither,
        LineEnd::Interrupted | LineEnd::Closed => {
            terminal.show("\n").map_err(failed)?;
            return Err(no_answer(ended));
        }
    };
    let until = Instant::now() + LONGEST;
    while more(terminal) && Instant::now() < until {
        if terminal.key().map_err(failed)?.is_none() {
            return Err(no_answer(LineEnd::Closed));
        }
    }
    let letter = match answer {
        Answer::Yes if !shown => "y\n",
        Answer::No if !shown && !line.typed().is_empty() => "n\n",
        _ => "\n",
    };
    terminal.show(letter).map_err(failed)?;
    Ok(answer)
}

fn more(terminal: &RawTty) -> bool {
    terminal.has_more(PASTE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
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
            assert_eq!(Answer::of(line), answer, "{line:?}");
        }
    }
}
