//! Facts about the process at the other end of a connected AF_UNIX socket. Nothing here decides: no
//! error becomes a default, and no missing fact is replaced by a weaker one.
//!
//! The pid in `SO_PEERCRED` is fixed at `connect`. A child can keep the socket after the process
//! that opened it has ended, and another process can then have that pid. Only the pidfd of
//! `SO_PEERPIDFD` (Linux 6.5) holds the opener itself.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::sys::stat::fstat;

use keyrack_core::peer::{
    AuditSession, DEFAULT_OVERFLOW_UID, LocalNamespaces, PeerFacts, Pid, PidfdError, ReadError, Uid, UidMap,
};

use crate::process::pid;
use crate::process::pidfd::Pidfd;
use crate::process::procfs::{self, read_error};
use crate::user;

/// Most bytes ever read of a `sessionid` file. A real one has at most 10 digits.
pub(crate) const SESSION_BYTES: usize = 64;

/// Most bytes ever read of a `uid_map` file: the kernel returns no more in one read. A line has at
/// most [`UID_MAP_LINE`] bytes, so what is longer than 123 lines cannot be told from what was cut.
const UID_MAP_BYTES: usize = 4096;
const UID_MAP_LINE: usize = 33;

/// Processes that a [`PeerReader`] remembers.
const REMEMBERED: usize = 256;

/// Facts about the process that opened the other end of a socket, and a handle on it.
#[derive(Debug)]
pub struct PeerReading {
    /// Facts, for the peer rule ([`keyrack_core::peer::authorize`]).
    pub facts: PeerFacts,
    /// The process. `None` exactly where `facts.pidfd` is an error.
    pub pidfd: Option<Pidfd>,
}

/// Reader of peers. With a memory, it reads the pid namespace of each process once, because it
/// never changes.
#[derive(Debug)]
pub struct PeerReader {
    /// Inodes, on pidfs, of processes with a single pid. Zero marks an empty slot.
    same_pid_namespace: Option<Box<[Cell<u64>; REMEMBERED]>>,
}

impl PeerReader {
    /// Returns a reader without memory.
    #[must_use]
    pub fn new() -> Self {
        PeerReader { same_pid_namespace: None }
    }

    /// Returns a reader that remembers up to 256 processes, where they can be told apart: on pidfs
    /// (Linux 6.9), each process has its own inode for as long as the machine runs. Older kernels
    /// give all pidfds the same inode. Benchmark row: "GET of one key, fresh connection, legacy".
    ///
    /// Reads the file system of a pidfd, so call it before a sandbox forbids that.
    #[must_use]
    pub fn with_memory() -> Self {
        // Inode numbers of 32 bits wrap around.
        let apart = cfg!(target_pointer_width = "64")
            && Pidfd::open(pid::current()).is_ok_and(|own| own.is_on_pidfs());
        PeerReader { same_pid_namespace: apart.then(|| Box::new([const { Cell::new(0) }; REMEMBERED])) }
    }

    /// Reads all facts: twelve system calls for a peer that is alive, and two more for one that is
    /// seen for the first time.
    #[must_use]
    pub fn read(&self, socket: BorrowedFd<'_>) -> PeerReading {
        let credentials = getsockopt(&socket, PeerCredentials).map_err(read_error);
        let mut facts = PeerFacts {
            own_proc: procfs::numbers_are_ours(),
            uid: credentials.map(|found| Uid::from_raw(found.uid())),
            pid: credentials.ok().map(|found| Pid::from_raw(found.pid())),
            pidfd: Err(PidfdError::NotRead),
            session: Err(ReadError::NotRead),
            pid_levels: Err(ReadError::NotRead),
            uid_map: Err(ReadError::NotRead),
            alive: true,
        };
        let Some(pid) = facts.pid.filter(|pid| pid.as_raw() > 0 && facts.own_proc) else {
            return PeerReading { facts, pidfd: None };
        };
        // SO_PEERCRED and SO_PEERPIDFD use the same reference to the opener, so the pid is the
        // opener's for as long as the pidfd says that it is alive. Asked last, that covers every
        // other read.
        let pidfd = match getsockopt(&socket, PeerPidfd) {
            Ok(fd) => Some(Pidfd::from(fd)),
            Err(Errno::ENOPROTOOPT) => {
                facts.pid_levels = levels_by_status(pid);
                None
            }
            Err(errno) => {
                facts.pidfd = Err(pidfd_error(errno));
                return PeerReading { facts, pidfd: None };
            }
        };
        facts.session = session(pid);
        facts.uid_map = read_uid_map(format_args!("{pid}/uid_map"));
        facts.pidfd = if pidfd.is_some() { Ok(()) } else { Err(PidfdError::Unsupported) };
        if let Some(pidfd) = &pidfd {
            let slot = self.slot_of(pidfd);
            facts.pid_levels = match slot {
                Some((known, inode)) if known.get() == inode => Ok(1),
                _ => pidfd.levels(pid),
            };
            facts.alive = pidfd.is_alive();
            if !facts.alive {
                // The facts may be of another process that has the pid now.
                facts.session = Err(ReadError::NotRead);
                facts.uid_map = Err(ReadError::NotRead);
                facts.pid_levels = Err(ReadError::NotRead);
            } else if let (Some((known, inode)), Ok(1)) = (slot, &facts.pid_levels) {
                known.set(inode);
            }
        }
        PeerReading { facts, pidfd }
    }

    /// Returns the slot that remembers a process, and the inode of its pidfd.
    fn slot_of(&self, pidfd: &Pidfd) -> Option<(&Cell<u64>, u64)> {
        let known = self.same_pid_namespace.as_deref()?;
        let inode = fstat(pidfd.as_fd()).ok()?.st_ino;
        let slot = usize::try_from(inode).ok()? % REMEMBERED;
        (inode != 0).then(|| (&known[slot], inode))
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
/// [`PidfdError::Unsupported`] if the kernel has no such option; others if no socket can be made.
pub fn pidfd_support() -> Result<(), PidfdError> {
    let (one, _other) = UnixStream::pair().map_err(|error| pidfd_error(errno_of(&error)))?;
    getsockopt(&one, PeerPidfd).map(drop).map_err(pidfd_error)
}

/// Returns `true` if `/proc` belongs to our pid namespace. It does not in a namespace that was
/// entered without mounting its `/proc`.
#[must_use]
pub fn own_proc() -> bool {
    procfs::numbers_are_ours()
}

/// Reads the namespaces of this process.
#[must_use]
pub fn own_namespaces() -> LocalNamespaces {
    let namespaces = LocalNamespaces {
        own_proc: procfs::numbers_are_ours(),
        uid: user::effective_uid(),
        uid_map: read_uid_map(format_args!("self/uid_map")),
        overflow_uid: DEFAULT_OVERFLOW_UID,
    };
    if namespaces.is_initial_user() {
        // Every uid is mapped there, so the overflow uid does not matter.
        return namespaces;
    }
    LocalNamespaces { overflow_uid: user::overflow_uid(), ..namespaces }
}

/// Reads our own login session (`/proc/self/sessionid`).
///
/// # Errors
/// [`ReadError::NotFound`] on a kernel without audit.
pub fn own_session() -> Result<AuditSession, ReadError> {
    read_session(format_args!("self/sessionid"))
}

/// Reads the login session of a process (`/proc/<pid>/sessionid`).
///
/// # Errors
/// [`ReadError::NotFound`] if there is no such process, or no audit in this kernel.
pub fn session(pid: Pid) -> Result<AuditSession, ReadError> {
    read_session(format_args!("{pid}/sessionid"))
}

/// Returns the name of a process (`/proc/<pid>/comm`): at most 15 bytes, chosen by the process
/// itself, so never proof of anything. It may contain any character but a newline at its end.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no such process.
pub fn comm(pid: Pid) -> io::Result<String> {
    let mut buffer = [0; 64];
    let name = procfs::read_small(format_args!("{pid}/comm"), &mut buffer)?;
    Ok(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name)).into_owned())
}

fn read_session(path: std::fmt::Arguments<'_>) -> Result<AuditSession, ReadError> {
    let mut buffer = [0; SESSION_BYTES];
    let content = procfs::read_small(path, &mut buffer).map_err(read_error)?;
    AuditSession::parse(content).ok_or(ReadError::Malformed)
}

fn read_uid_map(path: std::fmt::Arguments<'_>) -> Result<UidMap, ReadError> {
    let mut buffer = [0; UID_MAP_BYTES];
    let map = procfs::read_small(path, &mut buffer).map_err(read_error)?;
    if map.len() > UID_MAP_BYTES - UID_MAP_LINE {
        return Err(read_error(Errno::EFBIG));
    }
    Ok(UidMap::new(map))
}

/// Counts pids as [`Pidfd::levels`] does, for a kernel without `SO_PEERPIDFD`.
fn levels_by_status(pid: Pid) -> Result<usize, ReadError> {
    let status = procfs::read_status(format_args!("{pid}/status")).map_err(read_error)?;
    procfs::pid_levels(&status, pid).ok_or(ReadError::ProcessGone)
}

fn pidfd_error(errno: Errno) -> PidfdError {
    match errno {
        Errno::ENOPROTOOPT => PidfdError::Unsupported,
        Errno::EINVAL | Errno::ESRCH | Errno::ENODATA => PidfdError::PeerReaped,
        Errno::EMFILE | Errno::ENFILE => PidfdError::OutOfDescriptors,
        errno => PidfdError::Io(io::Error::from(errno).kind()),
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}
