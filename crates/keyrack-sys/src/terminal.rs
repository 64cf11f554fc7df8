//! A terminal that does not show what is typed: for secrets and passphrases. It reads keys as they are pressed and gives the terminal
//! back as it was, whatever happens; what a key means is for the caller to say.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

/// The controlling terminal, `/dev/tty`, without echo, line editing or signal keys (termios(3): ECHO, ICANON, ISIG, IEXTEN off).
///
/// Dropping it restores the terminal and discards what was typed and not read, so that the rest of a pasted secret does not
/// end up at the shell.
pub struct Hidden {
    tty: File,
    before: Termios,
}

impl Hidden {
    /// Opens the terminal and hides what is typed from now on.
    ///
    /// # Errors
    /// ENXIO or ENOENT when the process has no terminal; what termios(3) says otherwise.
    pub fn open() -> io::Result<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&tty)?;
        let mut quiet = before.clone();
        quiet.local_flags &= !(LocalFlags::ECHO
            | LocalFlags::ECHONL
            | LocalFlags::ICANON
            | LocalFlags::ISIG
            | LocalFlags::IEXTEN);
        quiet.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        quiet.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&tty, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Hidden { tty, before })
    }

    /// Shows a text on the terminal.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        self.tty.write_all(text.as_bytes())
    }

    /// The next byte that is typed; `None` when the terminal is gone.
    ///
    /// # Errors
    /// What read(2) says.
    pub fn key(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0_u8];
        loop {
            match self.tty.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(byte[0])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether more was typed, or pasted, and is waiting, or comes within `wait`.
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn has_more(&self, wait: Duration) -> io::Result<bool> {
        crate::socket::wait_readable(self.tty.as_fd(), wait)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty, SetArg::TCSAFLUSH, &self.before);
    }
}
