//! A terminal that does not show what is typed: for secrets and passphrases. It reads keys as they are pressed and gives the terminal
//! back as it was, also when a signal ends the process meanwhile (but SIGKILL, which nobody can put off); what a key means is for the
//! caller to say.
#![expect(unsafe_code, reason = "nix has no wrapper for sigpending")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::termios::{LocalFlags, SetArg};

use crate::tty::termios::Settings;

/// The signals that would end the process with the terminal left hidden.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// How often it is looked whether one of them has come.
const LOOK: Duration = Duration::from_millis(100);

/// The controlling terminal, `/dev/tty`, without echo, line editing or signal keys (termios(3): ECHO, ICANON, ISIG, IEXTEN off).
///
/// Dropping it restores the terminal and discards what was typed and not read, so that the rest of a pasted secret does not
/// end up at the shell. Signals that end a process wait until then, and [`RawTty::key`] returns `None` when one has come: whoever drops
/// it next is ended by that signal, with the terminal restored.
pub struct RawTty {
    tty: File,
    before: Settings,
    /// The signals this thread held off before.
    mask: SigSet,
}

/// What was typed within a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// A byte.
    Key(u8),
    /// Nothing yet.
    Nothing,
    /// Nothing any more: the terminal is gone, or a signal wants to end the process.
    Ended,
}

impl RawTty {
    /// Opens the terminal and hides what is typed from now on.
    ///
    /// # Errors
    /// ENXIO or ENOENT when the process has no terminal; what termios(3) says otherwise.
    pub fn open() -> io::Result<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        let before = Settings::of(&tty)?;
        let hidden = LocalFlags::ECHO
            | LocalFlags::ECHONL
            | LocalFlags::ICANON
            | LocalFlags::ISIG
            | LocalFlags::IEXTEN;
        let quiet = before.clone().without(hidden).byte_by_byte();
        let mut mask = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&ENDING.into_iter().collect()), Some(&mut mask))?;
        // From here on dropping it restores both.
        let hidden = RawTty { tty, before, mask };
        quiet.apply(&hidden.tty, SetArg::TCSAFLUSH)?;
        Ok(hidden)
    }

    /// Shows a text on the terminal.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        self.tty.write_all(text.as_bytes())
    }

    /// The next byte that is typed; `None` when the terminal is gone, or a signal wants to end the process.
    ///
    /// # Errors
    /// What read(2) says.
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

    /// The next byte that is typed within `wait`, which is to be short: a signal is seen when it is over.
    ///
    /// # Errors
    /// What poll(2) and read(2) say.
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

    /// Whether one of the signals that were held off has come.
    fn has_to_end(&self) -> bool {
        let mut pending = SigSet::empty().as_ref().to_owned();
        // SAFETY: sigpending fills in the set it is given, which is a whole one.
        let asked = unsafe { libc::sigpending(&raw mut pending) };
        // SAFETY: sigismember reads the set that was just filled in.
        let has = |signal: Signal| unsafe { libc::sigismember(&raw const pending, signal as i32) } == 1;
        asked == 0 && ENDING.into_iter().any(|signal| has(signal) && !self.mask.contains(signal))
    }

    /// Whether more was typed, or pasted, and is waiting, or comes within `wait`.
    ///
    /// # Errors
    /// What poll(2) says.
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
