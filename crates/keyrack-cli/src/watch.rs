//! `keyrack status --watch`: the status, over and over. At a terminal it is drawn in place until a key is pressed; under `--json` each change is a
//! line.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use keyrack_client::render::{Role, Style};
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::tty::secret_input::{KeyEvent, RawTty};
use serde_json::Value;

use crate::app::App;
use crate::output;

/// How often it is looked.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// How often the keys and the size of the terminal are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What is drawn.
pub(crate) struct Drawn {
    /// All of it.
    pub(crate) whole: String,
    /// The most important of it, for a screen that has not as many rows.
    pub(crate) brief: Option<String>,
}

impl Drawn {
    /// What fits best.
    fn fitted(&self, rows: usize) -> &str {
        match &self.brief {
            Some(brief) if content(&self.whole).len() > room(rows) => brief,
            _ => &self.whole,
        }
    }
}

/// Draws a text over and over, on a screen of its own. When a key ends it, what was last drawn stays behind. Returns the exit code.
pub(crate) fn screen(app: &App, draw: impl Fn(Style) -> Drawn) -> Result<u8, Error> {
    if !io::stdout().is_terminal() || app.environment.text("TERM") == Some("dumb") {
        return Err(Error::new(ErrorCode::Usage, "--watch draws on a terminal, and stdout is none")
            .hint("with --json it prints a line at each change, anywhere")
            .fix(Fix::command(["status", "--watch", "--json"])));
    }
    let mut screen = Screen::open()?;
    let exit = loop {
        let size = (app.style().width, app.rows());
        let style = app.style();
        let rows = size.1.unwrap_or(usize::MAX);
        screen.show(&frame(draw(style).fitted(rows), rows, style))?;
        if let Some(exit) = screen.wait(|| (app.style().width, app.rows()) != size)? {
            break exit;
        }
    };
    drop(screen);
    output::print(draw(app.style()).whole.as_bytes())?;
    Ok(exit)
}

/// What is sent to the terminal for a text: in place of what is there, cut where the terminal ends, and how to leave below it.
fn frame(text: &str, rows: usize, style: Style) -> String {
    let lines = content(text);
    let more = lines.len().saturating_sub(room(rows));
    let mut frame = "\u{1b}[H".to_owned();
    // Each line clears what an earlier one left behind it.
    for line in &lines[..lines.len() - more] {
        frame.extend([line, "\u{1b}[K\r\n"]);
    }
    let keys = match more {
        0 => "q quits".to_owned(),
        more => format!("and {more} more lines; q quits"),
    };
    frame.extend(["\u{1b}[K\r\n", &style.paint(Role::Quiet, &keys), "\u{1b}[K\u{1b}[J"]);
    frame
}

/// The lines there are to draw.
fn content(text: &str) -> Vec<&str> {
    text.trim_end_matches('\n').lines().collect()
}

/// How many of them a screen has room for, above what it says of the keys.
fn room(rows: usize) -> usize {
    rows.saturating_sub(2).max(1)
}

/// The alternate screen of the terminal (xterm's private mode 1049) without a cursor, given back when it is dropped: before the keys are.
struct Screen {
    terminal: RawTty,
}

impl Screen {
    fn open() -> Result<Self, Error> {
        let terminal = RawTty::open().map_err(|error| fault(&error))?;
        let mut screen = Screen { terminal };
        screen.show("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(screen)
    }

    fn show(&mut self, text: &str) -> Result<(), Error> {
        self.terminal.show(text).map_err(|error| fault(&error))
    }

    /// Waits until it is time to draw again. An exit code when it is to end.
    fn wait(&mut self, resized: impl Fn() -> bool) -> Result<Option<u8>, Error> {
        let until = Instant::now() + EVERY;
        while Instant::now() < until && !resized() {
            match self.terminal.key_within(TICK).map_err(|error| fault(&error))? {
                // q, Q, Escape alone, Ctrl-D
                KeyEvent::Key(b'q' | b'Q' | 0x04) => return Ok(Some(0)),
                KeyEvent::Key(0x03) => return Ok(Some(130)),
                KeyEvent::Ended => return Ok(Some(1)),
                KeyEvent::Key(_) | KeyEvent::Nothing => {}
            }
        }
        Ok(None)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Failing, the terminal is gone.
        let _ = self.terminal.show("\u{1b}[?25h\u{1b}[?1049l");
    }
}

/// Prints a value as a line whenever it differs from the one before, but for members of this name. Ends when nobody reads any more.
pub(crate) fn lines(read: impl Fn() -> Result<Value, Error>, but_for: &str) -> Result<u8, Error> {
    let mut last = None;
    loop {
        let value = read()?;
        let compared = without(value.clone(), but_for);
        if last.as_ref() != Some(&compared) {
            output::print(format!("{value}\n").as_bytes())?;
            last = Some(compared);
        }
        if keyrack_sys::socket::wait_hung_up(io::stdout().as_fd(), EVERY).map_err(|error| fault(&error))? {
            return Ok(0);
        }
    }
}

fn without(value: Value, name: &str) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(member, _)| member != name)
            .map(|(member, value)| (member, without(value, name)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(|element| without(element, name)).collect(),
        value => value,
    }
}

fn fault(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("the terminal could not be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fit() {
        let text = "\na\nb\nc\n\n";
        let shown = |rows| {
            let frame = frame(text, rows, Style::PLAIN);
            assert!(frame.starts_with("\u{1b}[H") && frame.ends_with("\u{1b}[J"));
            frame.replace("\u{1b}[H", "").replace("\u{1b}[K", "").replace("\u{1b}[J", "")
        };
        assert_eq!(shown(6), "\r\na\r\nb\r\nc\r\n\r\nq quits");
        assert_eq!(shown(5), "\r\na\r\nb\r\n\r\nand 1 more lines; q quits");
        assert_eq!(shown(0), "\r\n\r\nand 3 more lines; q quits");
        for rows in 3..9 {
            assert!(frame(text, rows, Style::PLAIN).lines().count() <= rows, "{rows}");
        }
    }

    #[test]
    fn the_brief_is_for_few_rows() {
        let drawn =
            |brief: Option<&str>| Drawn { whole: "\na\nb\nc\n\n".into(), brief: brief.map(Into::into) };
        for (rows, brief, fitted) in [
            (6, Some("x"), "\na\nb\nc\n\n"),
            (5, Some("x"), "x"),
            (0, Some("x"), "x"),
            (5, None, "\na\nb\nc\n\n"),
        ] {
            assert_eq!(drawn(brief).fitted(rows), fitted, "{rows}");
        }
    }

    #[test]
    fn what_runs_down_is_no_change() {
        let value = |left| serde_json::json!({ "keys": [{ "slug": "a", "left": left }], "left": left });
        assert_eq!(without(value(1), "left"), without(value(2), "left"));
        assert_ne!(without(value(1), "slug"), without(value(2), "slug"));
    }
}
