//! Everything the kernel says of the process at the other end of a connected AF_UNIX socket, raw. Nothing here judges:
//! no error becomes a default, no missing fact is filled in from a weaker one.
//!
//! The number in `SO_PEERCRED` is frozen at `connect`; a child can keep the socket after its opener died, and the number
//! can then name another process. Only the pidfd of `SO_PEERPIDFD` (Linux 6.5) holds the opener itself.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::sys::stat::fstat;

use crate::process::pidfd::Pidfd;
use crate::process::procfs;

/// Most bytes ever read of a `sessionid` file. A real one has at most 10 digits.
const SESSION_BYTES: usize = 64;

/// Most bytes ever read of a `uid_map` file: the kernel returns no more in one read. A line has at
/// most [`UID_MAP_LINE`] bytes, so what is longer than 123 lines cannot be told from what was cut.
const UID_MAP_BYTES: usize = 4096;
const UID_MAP_LINE: usize = 33;

/// Processes that a [`PeerReader`] remembers.
const REMEMBERED: usize = 256;

/// What the kernel says of a peer. The facts are those of one instant only if `alive` is true: it
/// was asked last. Facts about the process that connected. A fact is `Err(0)` if it was not read,
/// or if the peer was not known to be alive when it was read.
#[derive(Debug)]
pub struct PeerReading {
    /// `true` if `/proc` numbers processes as our own pid namespace does. If not, nothing is looked up in it.
    pub own_proc: bool,
    /// Effective uid of the opener at `connect`, or the errno of `SO_PEERCRED`.
    pub uid: Result<u32, i32>,
    /// Number of the opener by `SO_PEERCRED`; 0 if our pid namespace does not see it, which is never looked up.
    pub pid: Option<i64>,
    /// The opener, or the errno of `SO_PEERPIDFD`: `ENOPROTOOPT` when this kernel has no such option; `EINVAL`, `ESRCH`,
    /// `ENODATA` when the opener was reaped already.
    pub pidfd: Result<Pidfd, i32>,
    /// Raw content of `/proc/<pid>/sessionid`, or the errno of reading it.
    pub session: Result<Vec<u8>, i32>,
    /// Count of the opener's numbers, from the pid namespace of `/proc` down to its own (`NSpid`).
    pub pid_levels: Result<usize, i32>,
    /// Raw content of `/proc/<pid>/uid_map`, or the errno of reading it; `EFBIG` for one over 123 lines.
    pub uid_map: Result<Vec<u8>, i32>,
    /// `true` if the pidfd showed the opener alive after all of this was read, or if there is no
    /// pidfd.
    pub alive: bool,
}

/// Reads peers. With a memory, it asks for the pid namespace of each process once: it never changes.
#[derive(Debug)]
pub struct PeerReader {
    /// Inodes, on pidfs, of processes that have one number alone. Zero is none.
    same_pid_namespace: Option<Box<[Cell<u64>; REMEMBERED]>>,
}

impl PeerReader {
    /// One that remembers nothing.
    #[must_use]
    pub fn new() -> Self {
        PeerReader { same_pid_namespace: None }
    }

    /// One that remembers up to 256 processes, where they can be told apart: on pidfs (Linux 6.9), whose
    /// inodes name one process each for as long as the machine runs. Older kernels give all pidfds the same.
    ///
    /// Asks for the file system of a pidfd, so it is called before a sandbox forbids that.
    #[must_use]
    pub fn with_memory() -> Self {
        // Inode numbers of 32 bits come around.
        let apart = cfg!(target_pointer_width = "64")
            && Pidfd::open(i64::from(std::process::id())).is_ok_and(|own| own.is_on_pidfs());
        PeerReader { same_pid_namespace: apart.then(|| Box::new([const { Cell::new(0) }; REMEMBERED])) }
    }

    /// Reads all of it: in twelve system calls for a peer that lives, and two more for one seen for the first time.
    #[must_use]
    pub fn read(&self, socket: BorrowedFd<'_>) -> PeerReading {
        let credentials = getsockopt(&socket, PeerCredentials).map_err(code);
        let mut reading = PeerReading {
            own_proc: procfs::numbers_are_ours(),
            uid: credentials.as_ref().map(|found| found.uid()).map_err(|errno| *errno),
            pid: credentials.ok().map(|found| i64::from(found.pid())),
            pidfd: Err(0),
            session: Err(0),
            pid_levels: Err(0),
            uid_map: Err(0),
            alive: true,
        };
        let Some(pid @ 1..) = reading.pid else { return reading };
        if !reading.own_proc {
            return reading;
        }
        // The number in SO_PEERCRED and the pidfd come from one and the same reference to the opener, so the number is
        // the opener's for as long as the pidfd says it lives. Asked after all was read, that covers the reading.
        let pidfd = getsockopt(&socket, PeerPidfd).map(Pidfd::from);
        match &pidfd {
            Ok(_) => {}
            Err(Errno::ENOPROTOOPT) => reading.pid_levels = levels_by_status(pid),
            Err(errno) => {
                reading.pidfd = Err(code(*errno));
                return reading;
            }
        }
        reading.session = session(pid);
        reading.uid_map = read_uid_map(format_args!("{pid}/uid_map"));
        reading.pidfd = pidfd.map_err(code);
        if let Ok(pidfd) = &reading.pidfd {
            let place = self.place_of(pidfd);
            reading.pid_levels = match place {
                Some((known, inode)) if known.get() == inode => Ok(1),
                _ => pidfd.levels(pid),
            };
            reading.alive = pidfd.is_alive();
            if !reading.alive {
                // Perhaps of another process that has the number now.
                (reading.session, reading.uid_map, reading.pid_levels) = (Err(0), Err(0), Err(0));
            } else if let (Some((known, inode)), Ok(1)) = (place, &reading.pid_levels) {
                known.set(inode);
            }
        }
        reading
    }

    /// Returns the slot that remembers a process, and its inode.
    fn place_of(&self, pidfd: &Pidfd) -> Option<(&Cell<u64>, u64)> {
        let known = self.same_pid_namespace.as_deref()?;
        let inode = fstat(pidfd.as_fd()).ok()?.st_ino;
        let place = usize::try_from(inode).ok()? % REMEMBERED;
        (inode != 0).then(|| (&known[place], inode))
    }
}

impl Default for PeerReader {
    fn default() -> Self {
        PeerReader::new()
    }
}

/// Checks that the kernel has `SO_PEERPIDFD`, on a connection to ourselves.
///
/// # Errors
/// The errno of `SO_PEERPIDFD` (`ENOPROTOOPT`: the kernel has no such option), or of making a socket.
pub fn pidfd_support() -> Result<(), i32> {
    let (one, _other) = UnixStream::pair().map_err(|error| error.raw_os_error().unwrap_or(0))?;
    getsockopt(&one, PeerPidfd).map(drop).map_err(code)
}

/// Returns `true` if `/proc` belongs to our pid namespace. It does not in a namespace that was
/// entered without mounting its `/proc`.
#[must_use]
pub fn own_proc() -> bool {
    procfs::numbers_are_ours()
}

/// Raw content of our own `/proc/self/sessionid`, or the errno of reading it (`ENOENT`: a kernel without audit).
///
/// # Errors
/// The errno.
pub fn own_session() -> Result<Vec<u8>, i32> {
    read_session(format_args!("self/sessionid"))
}

/// Raw content of our own `/proc/self/uid_map`, or the errno of reading it (`ENOENT`: a kernel without user namespaces).
///
/// # Errors
/// The errno; `EFBIG` for one over 123 lines.
pub fn own_uid_map() -> Result<Vec<u8>, i32> {
    read_uid_map(format_args!("self/uid_map"))
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
    let name = procfs::read_small(format_args!("{pid}/comm"), &mut buffer)?;
    Ok(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name)).into_owned())
}

fn read_session(path: std::fmt::Arguments<'_>) -> Result<Vec<u8>, i32> {
    let mut buffer = [0; SESSION_BYTES];
    procfs::read_small(path, &mut buffer).map(<[u8]>::to_vec).map_err(code)
}

fn read_uid_map(path: std::fmt::Arguments<'_>) -> Result<Vec<u8>, i32> {
    let mut buffer = [0; UID_MAP_BYTES];
    let map = procfs::read_small(path, &mut buffer).map_err(code)?;
    if map.len() > UID_MAP_BYTES - UID_MAP_LINE {
        return Err(code(Errno::EFBIG));
    }
    Ok(map.to_vec())
}

/// The same as [`Pidfd::levels`] for a kernel without `SO_PEERPIDFD`.
fn levels_by_status(pid: i64) -> Result<usize, i32> {
    let status = procfs::read_status(format_args!("{pid}/status")).map_err(code)?;
    procfs::pid_levels(&status, pid).ok_or(0)
}

fn code(errno: Errno) -> i32 {
    errno as i32
}
