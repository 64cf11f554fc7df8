//! A pseudo-terminal for what a program writes: it finds a terminal like the real one there, and what it writes passes through us.
//!
//! Only its output goes that way. Its input, its controlling terminal and its process group stay the real ones, so that keys, job control and
//! signals are the kernel's affair alone; but a program that opens its output's terminal by name to read keys there, as pagers do, gets them
//! there. What it changes of its output's terminal (raw mode, as full-screen programs want it) is done to the
//! real one as well.
#![expect(unsafe_code, reason = "nix has no wrappers for the window size and the count of waiting bytes")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::stat::{Mode, fstat};
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroize as _;

use crate::socket::wait_readable;

/// A pseudo-terminal in front of a real one.
pub struct OutputTerminal {
    real: OwnedFd,
    master: OwnedFd,
    /// The path of the program's end.
    path: PathBuf,
    modes: Mutex<Modes>,
}

struct Modes {
    /// The real terminal's at first.
    original: Termios,
    /// As the program has them.
    now: Termios,
    /// Whether the real one was changed for it.
    changed: bool,
}

impl OutputTerminal {
    /// Makes one like `real`, and returns the program's end with it.
    ///
    /// # Errors
    /// `ENOTTY` when `real` is no terminal; those of `posix_openpt(3)`.
    pub fn before(real: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let original = tcgetattr(real)?;
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let path = PathBuf::from(ptsname_r(&master)?);
        let program = open(&path, flags, Mode::empty())?;
        tcsetattr(&program, SetArg::TCSANOW, &original)?;
        let master = master.as_fd().try_clone_to_owned()?;
        let modes = Mutex::new(Modes { original, now: tcgetattr(&master)?, changed: false });
        let terminal = Self { real: real.try_clone_to_owned()?, master, path, modes };
        terminal.resize();
        Ok((terminal, program))
    }

    /// Where what the program writes is read. At its end `EIO`.
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

    /// Does to the real terminal what the program has done to its own since the last time. To be called before what it wrote is handed on.
    pub fn follow(&self) {
        let mut modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(now) = tcgetattr(&self.master) else { return };
        if now != modes.now && self.set(&now) {
            modes.now = now;
            modes.changed = true;
        }
    }

    /// Whether a newline comes out with a carriage return before it, which the real terminal will add once more (termios(3): ONLCR).
    #[must_use]
    pub fn adds_returns(&self) -> bool {
        let modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        modes.now.output_flags.contains(OutputFlags::OPOST | OutputFlags::ONLCR)
    }

    /// Waits at most `wait` for keys that were typed for the pseudo-terminal, and puts them there: while its modes are those of a program that
    /// reads key by key, and one of our process group has opened it by its name. Everything else is left for whoever reads the real one.
    pub fn pass_keys(&self, wait: Duration) {
        let by_key = {
            let modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
            !modes.now.local_flags.contains(LocalFlags::ICANON)
        };
        let typed = by_key && wait_readable(self.real.as_fd(), wait).unwrap_or(false);
        if !typed || nix::unistd::tcgetpgrp(&self.real) != Ok(nix::unistd::getpgrp()) || !self.is_opened() {
            std::thread::sleep(wait);
            return;
        }
        let mut keys = [0; 256];
        if let Ok(count) = nix::unistd::read(&self.real, &mut keys) {
            let _ = nix::unistd::write(&self.master, &keys[..count]);
        }
        // A passphrase, perhaps.
        keys.zeroize();
    }

    /// Whether a process of our group has it open besides its standard streams.
    fn is_opened(&self) -> bool {
        let group = nix::unistd::getpgrp().as_raw();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = numbers.filter(|pid| {
            nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(*pid))).is_ok_and(|of| of.as_raw() == group)
        });
        let own = std::process::id();
        ours.filter(|pid| u32::try_from(*pid) != Ok(own)).any(|pid| {
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.filter(|entry| !matches!(entry.file_name().as_bytes(), b"0" | b"1" | b"2"))
                .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path == self.path))
        })
    }

    /// Gives the real terminal back as it was, if it was ever changed.
    pub fn restore(&self) {
        let mut modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        if modes.changed {
            modes.changed = !self.set(&modes.original);
        }
    }

    /// Changes the real terminal, unless another process group has it now.
    fn set(&self, wanted: &Termios) -> bool {
        if nix::unistd::tcgetpgrp(&self.real) != Ok(nix::unistd::getpgrp()) {
            return false;
        }
        // Between the two calls it could become another's; then it is an error rather than a stop.
        let only: SigSet = std::iter::once(Signal::SIGTTOU).collect();
        let mut before = SigSet::empty();
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&only), Some(&mut before));
        let done = tcsetattr(&self.real, SetArg::TCSANOW, wanted).is_ok();
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        done
    }
}

/// Whether two descriptors are of one and the same file, pipe or terminal.
#[must_use]
pub fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => {
            (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev)
        }
        _ => false,
    }
}

/// How many bytes wait to be read from a pipe or a terminal; 0 where that cannot be told.
#[must_use]
pub fn waiting(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD fills in the number it is given.
    let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if asked == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// A pipe whose reader and writer are both closed on exec, with as much room as a process may have (`/proc/sys/fs/pipe-max-size`), at most
/// 1 MiB.
///
/// # Errors
/// What `pipe2(2)` says.
pub fn roomy_pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    // It only makes it faster.
    let _: Result<_, Errno> = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
    Ok((File::from(OwnedFd::from(reader)), writer))
}
