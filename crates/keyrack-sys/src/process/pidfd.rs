//! A process held by a descriptor, so that it cannot be confused with a later process of the same
//! pid (`pidfd_open(2)`). Liveness is a poll, never signal 0, and no process is signaled by its
//! pid.
#![expect(unsafe_code, reason = "libc has no wrappers for the pidfd calls, so they go through syscall(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{FsType, fstatfs};

use keyrack_core::peer::{Pid, ReadError};

use crate::process::procfs::{self, read_error};
use crate::process::signal::Signal;
use crate::socket::wait_readable;

/// `PID_FS_MAGIC` of linux/magic.h.
const PIDFS: FsType = FsType(0x5049_4446);

/// A descriptor that refers to one process for as long as it is open.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process that has this pid now. A pid can be recycled between learning it and this
    /// call: use it for children not yet reaped, or check what matters after opening.
    /// `SO_PEERPIDFD` has no such window.
    ///
    /// # Errors
    /// `ESRCH` if there is no such process, `EINVAL` if the pid is not positive or is that of a
    /// thread.
    pub fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and touches no memory of ours; the kernel sets
        // FD_CLOEXEC itself.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        let fd = RawFd::try_from(fd).expect("the kernel returns descriptors as int");
        // SAFETY: the kernel has just made this descriptor for us and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Returns `true` if the process has not ended. A zombie has ended; a poll that fails counts as
    /// ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(wait_readable(self.as_fd(), Duration::ZERO), Ok(false))
    }

    /// Counts the pids of the process, from the pid namespace of `/proc` down to its own (`NSpid`
    /// in its `fdinfo`): 1 for a process of that very namespace. `pid` is its pid there.
    ///
    /// # Errors
    /// [`ReadError::ProcessGone`] if the process was reaped or has another pid; others of reading
    /// it.
    pub fn levels(&self, pid: Pid) -> Result<usize, ReadError> {
        // About 130 bytes, plus one number for each nested namespace (at most 32).
        let mut buffer = [0; 1024];
        let text = procfs::read_small(format_args!("self/fdinfo/{}", self.0.as_raw_fd()), &mut buffer)
            .map_err(read_error)?;
        procfs::pid_levels(text, pid).ok_or(ReadError::ProcessGone)
    }

    /// Returns `true` if descriptors of processes have a file system of their own (pidfs, Linux
    /// 6.9), in which each process has its own inode.
    pub(crate) fn is_on_pidfs(&self) -> bool {
        fstatfs(&self.0).is_ok_and(|found| found.filesystem_type() == PIDFS)
    }

    /// Sends a signal to exactly this process.
    ///
    /// # Errors
    /// `ESRCH` if it was reaped, `EPERM` if we may not signal it.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo asks the kernel to fill in its own; no other pointer is passed.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal.number(), no_info, 0)
        };
        Errno::result(sent)?;
        Ok(())
    }

    /// Waits until the process has ended, at most `timeout`. Returns `true` if it has.
    #[must_use]
    pub fn wait_exit(&self, timeout: Duration) -> bool {
        wait_readable(self.as_fd(), timeout).unwrap_or(false)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Pidfd {
    /// Wraps a descriptor that the kernel returned as a pidfd (`SO_PEERPIDFD`). For any other
    /// descriptor, every method fails.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
