//! Everything the kernel says of the process at the other end of a connected AF_UNIX socket, raw. Nothing here judges:
//! no error becomes a default, no missing fact is filled in from a weaker one.
//!
//! The number in `SO_PEERCRED` is frozen at `connect`; a child can keep the socket after its opener died, and the number
//! can then name another process. Only the pidfd of `SO_PEERPIDFD` (Linux 6.5) holds the opener itself.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::sys::socket::{UnixCredentials, getsockopt};

use crate::pidfd::Pidfd;
use crate::proc;

/// Most bytes ever read of a `sessionid` file. A real one has at most 10 digits.
const SESSION_BYTES: usize = 64;

/// What the kernel says of a peer. The facts are those of one instant only if `alive` is true: it was asked last.
#[derive(Debug)]
pub struct Reading {
    /// Effective uid of the opener at `connect`, or the errno of `SO_PEERCRED`.
    pub uid: Result<u32, i32>,
    /// The opener, or the errno of `SO_PEERPIDFD`: `ENOPROTOOPT` when this kernel has no such option; `EINVAL`, `ESRCH`,
    /// `ENODATA` when the opener was reaped already.
    pub pidfd: Result<Pidfd, i32>,
    /// The opener's number as its pidfd has it: −1 reaped, 0 in a pid namespace we cannot see. From `SO_PEERCRED` alone
    /// only when the kernel has no `SO_PEERPIDFD`.
    pub pid: Option<i64>,
    /// Raw content of `/proc/<pid>/sessionid`, the errno of reading it, or `Err(0)` when there was no number to read by.
    pub session: Result<Vec<u8>, i32>,
    /// Whether the pidfd said, after the session was read, that the opener lives. True when there is no pidfd.
    pub alive: bool,
}

/// Reads all of it, in eight system calls for a peer that lives.
#[must_use]
pub fn read(socket: BorrowedFd<'_>) -> Reading {
    let credentials = getsockopt(&socket, PeerCredentials).map_err(code);
    let uid = credentials.as_ref().map(UnixCredentials::uid).map_err(|errno| *errno);
    let number = credentials.ok().map(|c| i64::from(c.pid()));
    let pidfd = match getsockopt(&socket, PeerPidfd) {
        Ok(fd) => Pidfd::from(fd),
        Err(errno) => {
            let pid = number.filter(|_| errno == Errno::ENOPROTOOPT);
            return Reading { uid, pidfd: Err(code(errno)), pid, session: session_of(pid), alive: true };
        }
    };
    // The number in SO_PEERCRED and the pidfd come from one and the same reference to the opener, so the number is the
    // opener's for as long as the pidfd says it lives. Asked after the session was read, that covers the reading. The
    // number holds in our pid namespace, so `/proc` must be of that one too.
    if let Some(number @ 1..) = number
        && proc::numbers_are_ours()
    {
        let session = session(number);
        if pidfd.is_alive() {
            return Reading { uid, pidfd: Ok(pidfd), pid: Some(number), session, alive: true };
        }
    }
    let pid = pidfd.pid();
    let session = session_of(pid);
    let alive = pidfd.is_alive();
    Reading { uid, pidfd: Ok(pidfd), pid, session, alive }
}

fn session_of(pid: Option<i64>) -> Result<Vec<u8>, i32> {
    match pid {
        Some(pid @ 1..) => session(pid),
        _ => Err(0),
    }
}

/// Raw content of our own `/proc/self/sessionid`, or the errno of reading it (`ENOENT`: a kernel without audit).
///
/// # Errors
/// The errno.
pub fn own_session() -> Result<Vec<u8>, i32> {
    read_session(format_args!("self/sessionid"))
}

/// Raw content of `/proc/<pid>/sessionid`, or the errno of reading it.
///
/// # Errors
/// The errno; `ENOENT` when there is no such process, or no audit in this kernel.
pub fn session(pid: i64) -> Result<Vec<u8>, i32> {
    read_session(format_args!("{pid}/sessionid"))
}

/// The name of a process, from `/proc/<pid>/comm`: at most 15 bytes, chosen by the process itself, so never proof of
/// anything. May hold any character but a newline at its end.
///
/// # Errors
/// `ENOENT` when there is no such process.
pub fn comm(pid: i64) -> io::Result<String> {
    let mut buffer = [0; 64];
    let name = proc::read_small(format_args!("{pid}/comm"), &mut buffer)?;
    Ok(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name)).into_owned())
}

fn read_session(path: std::fmt::Arguments<'_>) -> Result<Vec<u8>, i32> {
    let mut buffer = [0; SESSION_BYTES];
    proc::read_small(path, &mut buffer).map(<[u8]>::to_vec).map_err(code)
}

fn code(errno: Errno) -> i32 {
    errno as i32
}
