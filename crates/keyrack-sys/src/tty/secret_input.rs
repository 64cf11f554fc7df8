//! A terminal without echo, for secrets and passphrases. It returns each key as it is pressed; the
//! caller interprets it. The terminal is restored afterwards, also when a signal ends the process
//! meanwhile (except SIGKILL, which cannot be blocked).
#![expect(unsafe_code, reason = "nix has no wrapper for sigpending")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::termios::{LocalFlags, SetArg};

use crate::tty::termios::TtySettings;

/// Signals that would end the process and leave the terminal without echo.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// Interval of the checks for such a signal.
const LOOK: Duration = Duration::from_millis(100);

/// The controlling terminal, `/dev/tty`, without echo, line editing or signal keys (termios(3):
/// ECHO, ICANON, ISIG, IEXTEN off).
///
/// Dropping it restores the terminal and discards unread input, so that the rest of a pasted secret
/// does not end up at the shell. Signals that end a process stay pending until then, and
/// [`RawTty::key`] returns `None` when one is pending: it ends the process after the drop, with the
/// terminal restored.
pub struct RawTty {
    tty: File,
    before: TtySettings,
    /// Signals that this thread blocked before.
    mask: SigSet,
}

/// Result of waiting for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// A byte.
    Key(u8),
    /// Nothing yet.
    Nothing,
    /// The terminal is gone, or a signal is pending that ends the process.
    Ended,
}

impl RawTty {
    /// Opens the terminal and turns its echo off.
    ///
    /// # Errors
    /// `ENXIO` or `ENOENT` if the process has no terminal; otherwise those of termios(3).
    pub fn open() -> io::Result<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        let before = TtySettings::of(&tty)?;
        let hidden = LocalFlags::ECHO
            | LocalFlags::ECHONL
            | LocalFlags::ICANON
            | LocalFlags::ISIG
            | LocalFlags::IEXTEN;
        let quiet = before.clone().without(hidden).byte_by_byte();
        let mut mask = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&ENDING.into_iter().collect()), Some(&mut mask))?;
        // From here on, dropping it restores both.
        let hidden = RawTty { tty, before, mask };
        quiet.apply(&hidden.tty, SetArg::TCSAFLUSH)?;
        Ok(hidden)
    }

    /// Writes a text to the terminal.
    ///
    /// # Errors
    /// Those of `write(2)`.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        self.tty.write_all(text.as_bytes())
    }

    /// Returns the next byte that is typed, or `None` if the terminal is gone or a signal is
    /// pending that ends the process.
    ///
    /// # Errors
    /// Those of `read(2)`.
    pub fn key(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0_u8];
        loop {
            if self.has_to_end() {
                return Ok(None);
            }
            if !self.has_more(LOOK)? {
                continue;
            }
            match self.tty.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(byte[0])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the next byte that is typed within `wait`. Keep `wait` short: a signal is noticed
    /// only after it.
    ///
    /// # Errors
    /// Those of `poll(2)` and `read(2)`.
    pub fn key_within(&mut self, wait: Duration) -> io::Result<KeyEvent> {
        if self.has_to_end() {
            return Ok(KeyEvent::Ended);
        }
        match self.has_more(wait) {
            Ok(true) => Ok(self.key()?.map_or(KeyEvent::Ended, KeyEvent::Key)),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(KeyEvent::Nothing),
        }
    }

    /// Returns `true` if one of the blocked signals is pending.
    fn has_to_end(&self) -> bool {
        let mut pending = SigSet::empty().as_ref().to_owned();
        // SAFETY: sigpending fills in the set it is given, which is a whole one.
        let asked = unsafe { libc::sigpending(&raw mut pending) };
        // SAFETY: sigismember reads the set that was just filled in.
        let has = |signal: Signal| unsafe { libc::sigismember(&raw const pending, signal as i32) } == 1;
        asked == 0 && ENDING.into_iter().any(|signal| has(signal) && !self.mask.contains(signal))
    }

    /// Returns `true` if more input is available, or comes within `wait`.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn has_more(&self, wait: Duration) -> io::Result<bool> {
        crate::socket::wait_readable(self.tty.as_fd(), wait)
    }
}

impl Drop for RawTty {
    fn drop(&mut self) {
        let _ = self.before.apply(&self.tty, SetArg::TCSAFLUSH);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
    }
}
