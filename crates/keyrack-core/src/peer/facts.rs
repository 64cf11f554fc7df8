//! Facts about both ends of a socket, as typed states. `keyrack-sys` reads them; the peer rule
//! compares them.

use std::fmt;
use std::io::ErrorKind;

use super::{AuditSession, Pid, Uid, UidMap};

/// Error of reading one fact from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// There is no such file (`ENOENT`): this kernel lacks the feature, or the process is gone.
    NotFound,
    /// The process ended while its file was open (`ESRCH`), or its number is another process's.
    ProcessGone,
    /// This process (`EMFILE`) or the machine (`ENFILE`) has no descriptor left.
    OutOfDescriptors,
    /// The content is not what the kernel writes.
    Malformed,
    /// Not read: the peer was not known to be alive, or another fact already rejects it.
    NotRead,
    /// Any other error.
    Io(ErrorKind),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::NotFound => f.write_str("no such file"),
            ReadError::ProcessGone => f.write_str("the process has ended"),
            ReadError::OutOfDescriptors => f.write_str("too many open files"),
            ReadError::Malformed => f.write_str("unexpected content"),
            ReadError::NotRead => f.write_str("not read"),
            ReadError::Io(kind) => kind.fmt(f),
        }
    }
}

/// Reason why there is no pidfd of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PidfdError {
    /// The kernel has no `SO_PEERPIDFD` (`ENOPROTOOPT`; before Linux 6.5). Nothing else means that.
    Unsupported,
    /// The process that connected was reaped: `EINVAL` or `ESRCH` on Linux 6.5 to 6.15; `ENODATA`
    /// if the socket has no pid.
    PeerReaped,
    /// This process (`EMFILE`) or the machine (`ENFILE`) has no descriptor left.
    OutOfDescriptors,
    /// Not asked for: another fact already rejects the peer.
    NotRead,
    /// Any other error.
    Io(ErrorKind),
}

impl fmt::Display for PidfdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PidfdError::Unsupported => f.write_str("not supported by this kernel"),
            PidfdError::PeerReaped => f.write_str("the process has ended"),
            PidfdError::OutOfDescriptors => f.write_str("too many open files"),
            PidfdError::NotRead => f.write_str("not read"),
            PidfdError::Io(kind) => kind.fmt(f),
        }
    }
}

/// Namespaces of this process, as far as peer authentication depends on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNamespaces {
    /// `true` if `/proc` numbers processes as this process's pid namespace does.
    pub own_proc: bool,
    /// Effective uid.
    pub uid: Uid,
    /// `/proc/self/uid_map`.
    pub uid_map: Result<UidMap, ReadError>,
    /// The uid that the kernel shows for users that a user namespace does not map. Only matters
    /// outside the initial user namespace.
    pub overflow_uid: Uid,
}

impl LocalNamespaces {
    /// Returns `true` if this process is in the initial user namespace, or if the kernel has no
    /// user namespaces.
    pub fn is_initial_user(&self) -> bool {
        match &self.uid_map {
            Ok(map) => map.is_initial(),
            Err(error) => *error == ReadError::NotFound,
        }
    }

    /// Returns `true` if our uid names exactly one user. It does not in a user namespace that does
    /// not map it: there the kernel shows the overflow uid for this user and for every other one
    /// that is not mapped.
    pub fn is_uid_known(&self) -> bool {
        self.is_initial_user()
            || self
                .uid_map
                .as_ref()
                .is_ok_and(|map| self.uid != self.overflow_uid && map.has_inside(self.uid))
    }
}

/// Facts about this end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFacts {
    /// Namespaces and user of this process.
    pub namespaces: LocalNamespaces,
    /// `/proc/self/sessionid`, read when this process began. `NotFound`: a kernel without audit.
    pub session: Result<AuditSession, ReadError>,
}

/// Facts about the process that opened the other end of a socket.
///
/// They are those of one instant only if `alive` is true, because it is read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// `true` if `/proc` numbers processes as our own pid namespace does. If not, nothing is looked
    /// up in it.
    pub own_proc: bool,
    /// Effective uid at `connect`, by `SO_PEERCRED`.
    pub uid: Result<Uid, ReadError>,
    /// Success if `SO_PEERPIDFD` gave a pidfd.
    pub pidfd: Result<(), PidfdError>,
    /// Pid by `SO_PEERCRED`. 0 if our pid namespace does not see the process; it is never looked
    /// up.
    pub pid: Option<Pid>,
    /// `/proc/<pid>/sessionid`.
    pub session: Result<AuditSession, ReadError>,
    /// Count of the peer's pids, from the pid namespace of our `/proc` down to its own: 1 in the
    /// same one (`NSpid`).
    pub pid_levels: Result<usize, ReadError>,
    /// `/proc/<pid>/uid_map`.
    pub uid_map: Result<UidMap, ReadError>,
    /// `true` if the pidfd showed the process alive after all of this was read, or if there is no
    /// pidfd.
    pub alive: bool,
}

impl PeerFacts {
    /// Returns `true` if a fact is missing because no descriptor was left. Nothing is known of the
    /// peer then; it may be authenticated again later.
    pub fn is_out_of_descriptors(&self) -> bool {
        let errors =
            [self.session.as_ref().err(), self.uid_map.as_ref().err(), self.pid_levels.as_ref().err()];
        self.pidfd == Err(PidfdError::OutOfDescriptors)
            || errors.into_iter().flatten().any(|error| *error == ReadError::OutOfDescriptors)
    }
}
