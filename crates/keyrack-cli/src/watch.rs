//! `keyrack status --watch`: a status that updates.
//!
//! At a terminal it is redrawn in place until `q` is pressed; under `--json` each change is a line.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use keyrack_client::render::{Role, Style};
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::tty::secret_input::{KeyEvent, RawTty};
use serde_json::Value;

use crate::app::App;
use crate::output;

/// Interval between two updates.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Interval between two checks of the keyboard and the terminal size.
const TICK: Duration = Duration::from_millis(100);

/// Text of the status.
pub(crate) struct StatusFrame {
    /// Complete text.
    pub(crate) whole: String,
    /// Summary, for a terminal with too few rows for the complete text.
    pub(crate) brief: Option<String>,
}

impl StatusFrame {
    /// Returns the text that fits.
    fn fit(&self, rows: usize) -> &str {
        match &self.brief {
            Some(brief) if content(&self.whole).len() > room(rows) => brief,
            _ => &self.whole,
        }
    }
}

/// Redraws a text on the alternate screen until a key ends it, then prints it once more. Returns
/// the exit code.
pub(crate) fn screen(app: &App, draw: impl Fn(Style) -> StatusFrame) -> Result<u8, Error> {
    if !io::stdout().is_terminal() || app.environment.text("TERM") == Some("dumb") {
        return Err(Error::new(ErrorCode::Usage, "`--watch` needs a terminal, and stdout is not one")
            .hint("`--watch --json` prints a line at each change and needs no terminal")
            .fix(Fix::command(["status", "--watch", "--json"])));
    }
    let mut screen = Screen::open()?;
    let exit = loop {
        let size = (app.style().width, app.rows());
        let style = app.style();
        let rows = size.1.unwrap_or(usize::MAX);
        screen.show(&encode(draw(style).fit(rows), rows, style))?;
        if let Some(exit) = screen.wait(|| (app.style().width, app.rows()) != size)? {
            break exit;
        }
    };
    drop(screen);
    output::print(draw(app.style()).whole.as_bytes())?;
    Ok(exit)
}

/// Encodes a text for the terminal: it replaces the last one, is cut at the last row, and is
/// followed by a line that tells how to quit.
fn encode(text: &str, rows: usize, style: Style) -> String {
    let lines = content(text);
    let more = lines.len().saturating_sub(room(rows));
    let mut frame = "\u{1b}[H".to_owned();
    // Each line clears the rest of the line that it replaces.
    for line in &lines[..lines.len() - more] {
        frame.extend([line, "\u{1b}[K\r\n"]);
    }
    let keys = match more {
        0 => "press q to quit".to_owned(),
        1 => "and 1 more line; press q to quit".to_owned(),
        more => format!("and {more} more lines; press q to quit"),
    };
    frame.extend(["\u{1b}[K\r\n", &style.paint(Role::Quiet, &keys), "\u{1b}[K\u{1b}[J"]);
    frame
}

/// Returns the lines of a text, without empty ones at its end.
fn content(text: &str) -> Vec<&str> {
    text.trim_end_matches('\n').lines().collect()
}

/// Returns the number of lines that fit above the line that tells how to quit.
fn room(rows: usize) -> usize {
    rows.saturating_sub(2).max(1)
}

/// Alternate screen of the terminal (xterm's private mode 1049) without a cursor. Dropping it
/// restores the screen, then the keyboard mode.
struct Screen {
    terminal: RawTty,
}

impl Screen {
    fn open() -> Result<Self, Error> {
        let terminal = RawTty::open().map_err(|error| terminal_error(&error))?;
        let mut screen = Screen { terminal };
        screen.show("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(screen)
    }

    fn show(&mut self, text: &str) -> Result<(), Error> {
        self.terminal.show(text).map_err(|error| terminal_error(&error))
    }

    /// Waits for the next update. Returns an exit code if a key or a closed terminal ends the
    /// watch.
    fn wait(&mut self, resized: impl Fn() -> bool) -> Result<Option<u8>, Error> {
        let until = Instant::now() + INTERVAL;
        while Instant::now() < until && !resized() {
            match self.terminal.key_within(TICK).map_err(|error| terminal_error(&error))? {
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
        // An error means that the terminal is gone.
        let _ = self.terminal.show("\u{1b}[?25h\u{1b}[?1049l");
    }
}

/// Prints a value as a line whenever it changes, until the reader closes stdout. Members named
/// `ignored` do not count as a change.
pub(crate) fn lines(read: impl Fn() -> Result<Value, Error>, ignored: &str) -> Result<u8, Error> {
    let mut last = None;
    loop {
        let value = read()?;
        let compared = without(value.clone(), ignored);
        if last.as_ref() != Some(&compared) {
            output::print(format!("{value}\n").as_bytes())?;
            last = Some(compared);
        }
        if keyrack_sys::socket::wait_hung_up(io::stdout().as_fd(), INTERVAL)
            .map_err(|error| terminal_error(&error))?
        {
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

fn terminal_error(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot use the terminal: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_cut_at_last_row() {
        let text = "\na\nb\nc\n\n";
        let shown = |rows| {
            let frame = encode(text, rows, Style::PLAIN);
            assert!(frame.starts_with("\u{1b}[H") && frame.ends_with("\u{1b}[J"));
            frame.replace("\u{1b}[H", "").replace("\u{1b}[K", "").replace("\u{1b}[J", "")
        };
        assert_eq!(shown(6), "\r\na\r\nb\r\nc\r\n\r\npress q to quit");
        assert_eq!(shown(5), "\r\na\r\nb\r\n\r\nand 1 more line; press q to quit");
        assert_eq!(shown(0), "\r\n\r\nand 3 more lines; press q to quit");
        for rows in 3..9 {
            assert!(encode(text, rows, Style::PLAIN).lines().count() <= rows, "{rows}");
        }
    }

    #[test]
    fn brief_is_shown_if_rows_are_few() {
        let drawn =
            |brief: Option<&str>| StatusFrame { whole: "\na\nb\nc\n\n".into(), brief: brief.map(Into::into) };
        for (rows, brief, fitted) in [
            (6, Some("x"), "\na\nb\nc\n\n"),
            (5, Some("x"), "x"),
            (0, Some("x"), "x"),
            (5, None, "\na\nb\nc\n\n"),
        ] {
            assert_eq!(drawn(brief).fit(rows), fitted, "{rows}");
        }
    }

    #[test]
    fn ignored_members_are_no_change() {
        let value = |left| serde_json::json!({ "keys": [{ "slug": "a", "left": left }], "left": left });
        assert_eq!(without(value(1), "left"), without(value(2), "left"));
        assert_ne!(without(value(1), "slug"), without(value(2), "slug"));
    }
}
