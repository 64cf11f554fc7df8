//! A pseudo-terminal for the output of a program: the program writes to a terminal like the real
//! one, and its output passes through us.
//!
//! Only the output goes that way. Input, controlling terminal and process group stay the real ones,
//! so the kernel alone handles keys, job control and signals. To the program the two are one
//! terminal, so we apply what it changes on the pseudo-terminal (raw mode, by full-screen programs)
//! to the real one as well: only the difference, because changes by its input are on the real one
//! already. A program that reads keys from the terminal of its output, as pagers do, gets them
//! there.
#![expect(unsafe_code, reason = "nix has no wrappers for the window size and the count of waiting bytes")]

mod reader;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::stat::{Mode, fstat};
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg};
use zeroize::Zeroize as _;

use crate::socket::wait_readable;
use crate::tty::termios::{Modes, Overlay, TtySettings};

/// Marks the open file that the program gets, to tell it from a terminal that the program opened
/// itself. The flag has no effect on a terminal.
const MARK: OFlag = OFlag::O_NOATIME;

/// A pseudo-terminal in front of a real one.
pub struct OutputPty {
    real: OwnedFd,
    master: OwnedFd,
    /// Path of the program's end.
    path: PathBuf,
    /// `true` if the program's open file has the [`MARK`].
    marked: bool,
    overlay: Mutex<Overlay>,
}

impl OutputPty {
    /// Creates a pseudo-terminal like `real`, and returns the program's end with it.
    ///
    /// # Errors
    /// `ENOTTY` if `real` is not a terminal; those of `posix_openpt(3)`.
    pub fn for_terminal(real: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let settings = TtySettings::of(real)?;
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let path = PathBuf::from(ptsname_r(&master)?);
        // Only the owner of the file may set the mark (open(2)).
        let marked = open(&path, flags | MARK, Mode::empty());
        let is_marked = marked.is_ok();
        let program = marked.or_else(|_| open(&path, flags, Mode::empty()))?;
        settings.apply(&program, SetArg::TCSANOW)?;
        let master = master.as_fd().try_clone_to_owned()?;
        // The settings as the kernel accepted them.
        let overlay = Mutex::new(Overlay::new(TtySettings::of(&master)?.modes()));
        let real = real.try_clone_to_owned()?;
        let terminal = Self { real, master, path, marked: is_marked, overlay };
        terminal.resize();
        Ok((terminal, program))
    }

    /// Returns the end to read the program's output from. A read returns `EIO` at its end.
    #[must_use]
    pub fn output(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Gives the pseudo-terminal the size of the real one.
    pub fn resize(&self) {
        // SAFETY: an all-zero winsize is a valid value of that plain C structure.
        let mut size: libc::winsize = unsafe { std::mem::zeroed() };
        // SAFETY: the first call fills in the structure, the second reads it.
        unsafe {
            if libc::ioctl(self.real.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 {
                libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
            }
        }
    }

    /// Applies to the real terminal what the program has changed on its own since the last call.
    /// Call it before passing on the program's output.
    pub fn sync_modes(&self) {
        let mut overlay = self.overlay();
        let Ok(program) = self.program_modes() else { return };
        if overlay.is_behind(program) {
            self.change_real(&mut overlay, |overlay, real| overlay.carry(program, real));
        }
    }

    /// Undoes what [`Self::sync_modes`] has changed on the real terminal.
    pub fn restore(&self) {
        self.change_real(&mut self.overlay(), Overlay::undo);
    }

    /// Returns `true` if a newline comes out with a carriage return before it, which the real
    /// terminal will add once more (termios(3): ONLCR).
    #[must_use]
    pub fn adds_returns(&self) -> bool {
        let modes = self.program_modes().unwrap_or_else(|_| self.overlay().carried());
        modes.output_flags().contains(OutputFlags::OPOST | OutputFlags::ONLCR)
    }

    /// Waits at most `wait` for keys that are typed for the pseudo-terminal, and writes them there.
    /// Only while its modes are those of a program that reads key by key, and a process of our
    /// group reads there. All other input is left for the readers of the real terminal.
    pub fn pass_keys(&self, wait: Duration) {
        self.sync_modes();
        let by_key = !self.overlay().carried().local_flags().contains(LocalFlags::ICANON);
        let typed = by_key && wait_readable(self.real.as_fd(), wait).unwrap_or(false);
        if !typed || !self.is_in_foreground() || !reader::exists(&self.path, self.marked.then_some(MARK)) {
            std::thread::sleep(wait);
            return;
        }
        let mut keys = [0; 256];
        if let Ok(count) = nix::unistd::read(&self.real, &mut keys) {
            let _ = nix::unistd::write(&self.master, &keys[..count]);
        }
        // It may be a passphrase.
        keys.zeroize();
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn program_modes(&self) -> io::Result<Modes> {
        Ok(TtySettings::of(&self.master)?.modes())
    }

    /// Returns `true` if our process group may change the real terminal. It may if the terminal
    /// does not control our session, such as that of another keyrack that runs us.
    fn is_in_foreground(&self) -> bool {
        match nix::unistd::tcgetpgrp(&self.real) {
            Ok(group) => group == nix::unistd::getpgrp(),
            Err(errno) => errno == Errno::ENOTTY,
        }
    }

    /// Changes the modes of the real terminal. If another process group has it now, the overlay
    /// stays as it is, and the next call tries again.
    fn change_real(&self, overlay: &mut Overlay, change: impl FnOnce(&Overlay, Modes) -> (Overlay, Modes)) {
        if !self.is_in_foreground() {
            return;
        }
        let Ok(settings) = TtySettings::of(&self.real) else { return };
        let present = settings.modes();
        let (next, wanted) = change(overlay, present);
        if wanted == present || self.set_real(&settings.with(wanted)) {
            *overlay = next;
        }
    }

    fn set_real(&self, settings: &TtySettings) -> bool {
        // Another group could get the terminal before the call. The call then fails instead of
        // stopping us.
        let only: SigSet = std::iter::once(Signal::SIGTTOU).collect();
        let mut before = SigSet::empty();
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&only), Some(&mut before));
        let done = settings.apply(&self.real, SetArg::TCSANOW).is_ok();
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        done
    }
}

/// Returns `true` if two descriptors refer to the same file, pipe or terminal.
#[must_use]
pub fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => {
            (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev)
        }
        _ => false,
    }
}

/// Returns the count of bytes that can be read from a pipe or a terminal, or 0 if it is unknown.
#[must_use]
pub fn readable_bytes(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD fills in the number it is given.
    let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if asked == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Creates a close-on-exec pipe with the largest capacity that a process may have
/// (`/proc/sys/fs/pipe-max-size`), at most 1 MiB.
///
/// # Errors
/// Those of `pipe2(2)`.
pub fn large_pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    // A larger capacity only makes it faster.
    let _: Result<_, Errno> = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
    Ok((File::from(OwnedFd::from(reader)), writer))
}
