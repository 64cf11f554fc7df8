//! Log of the daemon: one line per event, to standard error, a file or journald. It names keys and
//! peers, never values, and is off by default in the background.
//!
//! The daemon opens the log before it confines itself, and never again. A line that cannot be
//! written at once is lost: the daemon does not wait for its log.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyrack_core::layout::variables::{LOG_FILE as FILE, LOG_LEVEL as LEVEL};
use keyrack_core::{Error, ErrorCode, timestamp};
use keyrack_sys::fs::file::append_private;
use keyrack_sys::socket::wait_writable;
use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Socket of journald (`sd_journal_send(3)`, "native protocol").
const JOURNALD: &str = "/run/systemd/journal/socket";

/// Configuration of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    level: LevelFilter,
    file: Option<PathBuf>,
    foreground: bool,
}

impl LogConfig {
    /// Reads the configuration through `var`, which returns the value of a variable. An empty value
    /// counts as unset. `foreground`: the user sees standard error.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`], naming the variable with an invalid value.
    pub(crate) fn read(var: impl Fn(&str) -> Option<OsString>, foreground: bool) -> Result<Self, Error> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let file = var(FILE).map(PathBuf::from);
        if file.as_deref().is_some_and(|file| !file.is_absolute()) {
            return Err(Error::new(ErrorCode::Usage, format!("{FILE} must be an absolute path")));
        }
        let level = match var(LEVEL).as_deref().map(|value| value.to_str().unwrap_or_default()) {
            None if file.is_some() => LevelFilter::INFO,
            None if foreground => LevelFilter::WARN,
            None | Some("off") => LevelFilter::OFF,
            Some("error") => LevelFilter::ERROR,
            Some("warn") => LevelFilter::WARN,
            Some("info") => LevelFilter::INFO,
            Some("debug") => LevelFilter::DEBUG,
            Some("trace") => LevelFilter::TRACE,
            Some(_) => {
                let message = format!("{LEVEL} must be off, error, warn, info, debug or trace");
                return Err(Error::new(ErrorCode::Usage, message));
            }
        };
        Ok(LogConfig { level, file, foreground })
    }

    /// Checks that [`LogConfig::install`] would work, and creates no file.
    ///
    /// # Errors
    /// As [`LogConfig::install`].
    pub(crate) fn check(self) -> Result<(), Error> {
        match self.file {
            _ if self.level == LevelFilter::OFF => Ok(()),
            Some(path) if path.symlink_metadata().is_ok() => open(&path).map(drop),
            Some(_) => Ok(()),
            None if self.foreground => Ok(()),
            None => journald().map(drop),
        }
    }

    /// Opens the log, and sends every event of this process to it from now on. `wall_ms` reads the
    /// wall clock.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnsafe`] and [`ErrorCode::Io`] for a file that cannot be opened;
    /// [`ErrorCode::Usage`] when there is no journald. A log that the user requested is not
    /// optional.
    pub(crate) fn install(self, wall_ms: fn() -> i64) -> Result<(), Error> {
        if self.level == LevelFilter::OFF {
            return Ok(());
        }
        let sink = match self.file {
            Some(path) => Sink::File(open(&path)?),
            None if self.foreground => Sink::Stderr,
            None => Sink::Journald(journald()?),
        };
        let log = Log { level: self.level, sink, wall_ms, pid: std::process::id() };
        // Fails only for a second daemon in one process, in a test.
        let _ = tracing::subscriber::set_global_default(log);
        Ok(())
    }
}

fn open(path: &Path) -> Result<File, Error> {
    append_private(path).map_err(|error| {
        let message = format!("the log {} cannot be used: {error}", path.display());
        let code = match error.kind() {
            io::ErrorKind::InvalidInput => ErrorCode::FileUnsafe,
            _ => ErrorCode::Io,
        };
        Error::new(code, message)
            .hint(format!("{FILE} must name a file that you own, with mode 0600, or a new file"))
    })
}

fn journald() -> Result<UnixDatagram, Error> {
    // Non-blocking: a slow journal loses lines, and does not stop the daemon.
    let connected = UnixDatagram::unbound().and_then(|socket| {
        socket.connect(JOURNALD)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    connected.map_err(|error| {
        let message = format!("{LEVEL} is set, and there is no journald to log to ({JOURNALD}: {error})");
        Error::new(ErrorCode::Usage, message).hint(format!("name a file by {FILE}, or unset {LEVEL}"))
    })
}

/// Destination of the log.
enum Sink {
    Stderr,
    File(File),
    Journald(UnixDatagram),
}

/// Subscriber that writes events to the log.
struct Log {
    level: LevelFilter,
    sink: Sink,
    wall_ms: fn() -> i64,
    pid: u32,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let level = *event.metadata().level();
        let text = format!("{}{}", words.message, words.fields);
        // One write for each line, so that lines of two daemons in one file never mix.
        let _ = match &self.sink {
            Sink::Stderr => say(self.line(level, &text).as_bytes()),
            Sink::File(file) => (&*file).write_all(self.line(level, &text).as_bytes()),
            Sink::Journald(socket) => socket.send(entry(level, &text).as_bytes()).map(drop),
        };
    }

    // The daemon has no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Log {
    fn line(&self, level: Level, text: &str) -> String {
        format!("{} {level:5} keyrackd[{}]: {text}\n", timestamp::format_ms((self.wall_ms)()), self.pid)
    }
}

/// Writes to standard error if it takes a line now. A full pipe or a stopped terminal takes none.
fn say(line: &[u8]) -> io::Result<()> {
    // A poll reports room for PIPE_BUF bytes (pipe(7)).
    let line = &line[..line.len().min(4096)];
    match wait_writable(io::stderr().as_fd(), Duration::ZERO)? {
        true => io::stderr().write_all(line),
        false => Ok(()),
    }
}

/// Formats an entry for journald: one field per line. No text contains a newline.
fn entry(level: Level, text: &str) -> String {
    // syslog(3)
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=keyrackd\nMESSAGE={text}\n")
}

/// Message and fields of one event.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
    /// Appends a field. Quotes a value with other than plain characters, so that no name can
    /// control a terminal, end the line or forge another field.
    fn put(&mut self, field: &Field, value: &str) {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'=');
        let written = if field.name() == "message" {
            // Text of this crate, with spaces and punctuation.
            value.chars().try_for_each(|c| match c.is_control() {
                true => write!(self.message, "{}", c.escape_debug()),
                false => self.message.write_char(c),
            })
        } else if !value.is_empty() && value.bytes().all(plain) {
            write!(self.fields, " {}={value}", field.name())
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
        written.expect("writing to a String cannot fail");
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(foreground: bool, pairs: &[(&str, &str)]) -> Result<LogConfig, Error> {
        let var = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        LogConfig::read(var, foreground)
    }

    #[test]
    fn log_is_off_by_default_except_in_the_foreground() {
        for (foreground, pairs, level) in [
            (false, &[][..], LevelFilter::OFF),
            (false, &[(LEVEL, "")], LevelFilter::OFF),
            (true, &[], LevelFilter::WARN),
            (true, &[(LEVEL, "off")], LevelFilter::OFF),
            (false, &[(LEVEL, "off"), (FILE, "/tmp/log")], LevelFilter::OFF),
            (false, &[(FILE, "/tmp/log")], LevelFilter::INFO),
            (true, &[(FILE, "/tmp/log")], LevelFilter::INFO),
            (false, &[(LEVEL, "trace")], LevelFilter::TRACE),
        ] {
            let wish = wish(foreground, pairs).unwrap();
            assert_eq!(wish.level, level, "{foreground} {pairs:?}");
        }
        for (name, value) in [(LEVEL, "hunter2"), (LEVEL, "Info"), (FILE, "hunter2"), (FILE, "./log")] {
            let error = wish(true, &[(name, value)]).unwrap_err();
            assert_eq!(error.code, ErrorCode::Usage);
            let message = &error.message;
            assert!(message.contains(name) && !message.contains("hunter2"), "{error}");
        }
    }

    /// Keeps the last entry.
    struct Kept(std::sync::Mutex<String>);

    impl Subscriber for &'static Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, event: &Event<'_>) {
            let mut words = Words::default();
            event.record(&mut words);
            *self.0.lock().unwrap() =
                entry(*event.metadata().level(), &format!("{}{}", words.message, words.fields));
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn log_quotes_names_that_could_forge_output() {
        let kept: &'static Kept = Box::leak(Box::new(Kept(std::sync::Mutex::default())));
        let told = |slug: &str| {
            tracing::subscriber::with_default(kept, || {
                tracing::warn!(%slug, number = 7, word = "w", "a key\nis kept");
            });
            kept.0.lock().unwrap().clone()
        };
        let before = "PRIORITY=4\nSYSLOG_IDENTIFIER=keyrackd\nMESSAGE=a key\\nis kept slug=";
        for (slug, shown) in [
            ("acme.test.K", "acme.test.K"),
            ("@all.sudo.A-b_c.d/é", "\"@all.sudo.A-b_c.d/é\""),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a=b", "\"a=b\""),
            ("a\nMESSAGE=b", r#""a\nMESSAGE=b""#),
            ("a\u{1b}[2Jb", r#""a\u{1b}[2Jb""#),
            ("a\u{9b}31mb", r#""a\u{9b}31mb""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
            ("a\u{7f}\"b\\", r#""a\u{7f}\"b\\""#),
        ] {
            assert_eq!(told(slug), format!("{before}{shown} number=7 word=w\n"), "{slug:?}");
        }
    }
}
