//! The peer rule: raw facts of the other end of a socket go in, a verdict comes out. A pure table, applied both ways: by the daemon to
//! each caller, by a client to the server before it sends a byte.
//!
//! Must never: read anything itself, guess where the kernel can say, or serve on a fact that was not established.

mod namespace;

use std::fmt;

pub use namespace::{
    AllowedNamespaces, DEFAULT_OVERFLOW_UID, EnforcedNamespaces, UidMap, is_initial, is_own_uid_known,
};

use crate::error::{Error, ErrorCode};

/// ENOENT: no such file; also what `/proc` says of a file this kernel does not have.
const ENOENT: i32 = 2;
/// ESRCH: no such process; what an open `/proc` file says once its process is gone.
const ESRCH: i32 = 3;
/// EINVAL: what SO_PEERPIDFD says of a reaped peer on kernels 6.5 to 6.15.
const EINVAL: i32 = 22;
/// ENODATA: what SO_PEERPIDFD says of a peer it has no pid of.
const ENODATA: i32 = 61;
/// ENOPROTOOPT: the kernel has no SO_PEERPIDFD (before 6.5). Nothing else means that.
const ENOPROTOOPT: i32 = 92;

/// What the kernel said of both ends, raw. Each `i32` is an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerFacts<'a> {
    /// `true` if our `/proc` numbers processes as our own pid namespace does.
    pub own_proc: bool,
    /// Our own effective uid.
    pub own_uid: u32,
    /// `/proc/self/uid_map`.
    pub own_uid_map: Result<&'a [u8], i32>,
    /// The uid that the kernel shows for users that a user namespace does not map.
    pub overflow_uid: u32,
    /// `/proc/self/sessionid`, read when this process began.
    pub own_session: Result<&'a [u8], i32>,
    /// The peer's uid by SO_PEERCRED.
    pub uid: Result<u32, i32>,
    /// Whether SO_PEERPIDFD gave a pidfd.
    pub pidfd: Result<(), i32>,
    /// The pid by SO_PEERCRED (0: not visible in our pid namespace).
    pub pid: Option<i64>,
    /// `/proc/<pid>/sessionid`.
    pub session: Result<&'a [u8], i32>,
    /// Count of the peer's pids, from the pid namespace of our `/proc` down to its own: 1 in the same one.
    pub pid_levels: Result<usize, i32>,
    /// `/proc/<pid>/uid_map`.
    pub uid_map: Result<&'a [u8], i32>,
    /// `true` if the pidfd showed the process alive after all of this was read, or there is no pidfd.
    pub alive: bool,
    /// Peers in other namespaces that are accepted.
    pub allowed: AllowedNamespaces,
}

/// How far the kernel could tell callers apart. Session first: it is the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Boundary {
    /// The same user in the same login session.
    Session,
    /// The same user; the kernel can't say more.
    User,
}

impl Boundary {
    /// The word in hello, status and doctor.
    pub fn as_str(self) -> &'static str {
        match self {
            Boundary::Session => "session",
            Boundary::User => "user",
        }
    }

    /// The boundary whose word is `text`.
    pub fn parse(text: &str) -> Option<Self> {
        [Boundary::Session, Boundary::User].into_iter().find(|boundary| boundary.as_str() == text)
    }

    /// The boundary a process can hold at best, by its own session and by whether its kernel has SO_PEERPIDFD.
    pub fn of_own(own_session: Result<&[u8], i32>, pidfd_supported: bool) -> Self {
        match own_session.map(AuditSession::parse) {
            Ok(Some(AuditSession::Set(_))) if pidfd_supported => Boundary::Session,
            _ => Boundary::User,
        }
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An audit session id as `/proc/<pid>/sessionid` says it (kernel `Documentation/ABI/stable/procfs-audit_loginuid`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditSession {
    /// 4294967295: the process descends from no login.
    Unset,
    /// A login's id; the kernel counts from 1.
    Set(u32),
}

impl AuditSession {
    /// Reads the raw bytes of the file: a decimal u32 without sign, blanks or leading zeros; one newline may follow. `None` is garbage, and so is
    /// 0, which the kernel gives to no login.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let digits = raw.strip_suffix(b"\n").unwrap_or(raw);
        if digits.first().is_none_or(|first| *first == b'0') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        match std::str::from_utf8(digits).ok()?.parse::<u32>().ok()? {
            u32::MAX => Some(AuditSession::Unset),
            id => Some(AuditSession::Set(id)),
        }
    }
}

/// Why a peer is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerRejection {
    /// The kernel did not tell the peer's uid.
    NoCredentials,
    /// Another user; root is another user too.
    OtherUser,
    /// The process that connected has ended and was reaped: its pid may be a stranger's by now.
    Reaped,
    /// The kernel has SO_PEERPIDFD and gave none.
    NoPidfd,
    /// The pidfd did not yield a pid.
    NoPid,
    /// The peer is not visible in our pid namespace.
    Hidden,
    /// The peer is in a pid namespace nested in ours.
    NestedPid,
    /// The peer is in another user namespace.
    OtherUserNamespace,
    /// The peer's namespaces could not be read.
    NamespaceUnreadable,
    /// The process that connected has ended.
    Dead,
    /// The peer has no session file while we have one.
    NoSession,
    /// The peer's session file could not be read.
    Unreadable,
    /// The peer's session file holds no session id.
    Garbage,
    /// One of us has a login session and the other has none.
    OneUnset,
    /// Another login session.
    OtherSession,
    /// Our own session could not be read or holds no session id: nobody can be compared with it.
    OwnSession,
    /// Our own uid is not mapped in our user namespace: it looks like that of every other unmapped user.
    OwnUser,
    /// Our own `/proc` is not that of our pid namespace: its numbers name other processes.
    OwnProc,
}

impl PeerRejection {
    /// All that a refused caller is told, whatever the reason. Today's TypeScript clients look for `session mismatch`.
    pub const PUBLIC_MESSAGE: &'static str = "session mismatch: this daemon does not serve this process";

    /// Every reason.
    pub const ALL: [PeerRejection; 18] = [
        PeerRejection::NoCredentials,
        PeerRejection::OtherUser,
        PeerRejection::Reaped,
        PeerRejection::NoPidfd,
        PeerRejection::NoPid,
        PeerRejection::Hidden,
        PeerRejection::NestedPid,
        PeerRejection::OtherUserNamespace,
        PeerRejection::NamespaceUnreadable,
        PeerRejection::Dead,
        PeerRejection::NoSession,
        PeerRejection::Unreadable,
        PeerRejection::Garbage,
        PeerRejection::OneUnset,
        PeerRejection::OtherSession,
        PeerRejection::OwnSession,
        PeerRejection::OwnUser,
        PeerRejection::OwnProc,
    ];

    /// A stable word, for the side that refuses.
    pub fn code(self) -> &'static str {
        match self {
            PeerRejection::NoCredentials => "no_credentials",
            PeerRejection::OtherUser => "other_user",
            PeerRejection::Reaped => "reaped",
            PeerRejection::NoPidfd => "no_pidfd",
            PeerRejection::NoPid => "no_pid",
            PeerRejection::Hidden => "hidden",
            PeerRejection::NestedPid => "nested_pid",
            PeerRejection::OtherUserNamespace => "other_user_namespace",
            PeerRejection::NamespaceUnreadable => "namespace_unreadable",
            PeerRejection::Dead => "dead",
            PeerRejection::NoSession => "no_session",
            PeerRejection::Unreadable => "unreadable",
            PeerRejection::Garbage => "garbage",
            PeerRejection::OneUnset => "one_unset",
            PeerRejection::OtherSession => "other_session",
            PeerRejection::OwnSession => "own_session",
            PeerRejection::OwnUser => "own_user",
            PeerRejection::OwnProc => "own_proc",
        }
    }

    /// Why, in a sentence about the peer, for the side that refuses.
    pub fn description(self) -> &'static str {
        match self {
            PeerRejection::NoCredentials => "the kernel does not tell its user",
            PeerRejection::OtherUser => "it belongs to another user",
            PeerRejection::Reaped | PeerRejection::Dead => "the process that opened it has ended",
            PeerRejection::NoPidfd => "the kernel gives no handle on its process",
            PeerRejection::NoPid => "its process cannot be named",
            PeerRejection::Hidden => "its process is not visible in this pid namespace",
            PeerRejection::NestedPid => "its process runs in a nested pid namespace (a sandbox or container)",
            PeerRejection::OtherUserNamespace => {
                "its process runs in another user namespace (a sandbox or container)"
            }
            PeerRejection::NamespaceUnreadable => "the namespaces of its process cannot be read",
            PeerRejection::NoSession => "its process has no login session file",
            PeerRejection::Unreadable => "its login session cannot be read",
            PeerRejection::Garbage => "its login session is not a session id",
            PeerRejection::OneUnset => "only one of the two sides belongs to a login session",
            PeerRejection::OtherSession => "it belongs to another login session",
            PeerRejection::OwnSession => "our own login session cannot be read",
            PeerRejection::OwnUser => "our own user is not mapped in this user namespace",
            PeerRejection::OwnProc => "/proc does not belong to this pid namespace",
        }
    }

    /// A client's problem with the server behind a socket: [`ErrorCode::ServerUntrusted`].
    pub fn into_server_error(self) -> Error {
        Error::new(
            ErrorCode::ServerUntrusted,
            format!("the daemon's socket is not to be trusted: {}", self.description()),
        )
    }
}

impl fmt::Display for PeerRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Authorizes a peer, and returns the boundary that the kernel's facts hold it to.
///
/// The process that connected must be visible in our pid namespace, its uid must be ours, it must
/// be alive and named by a pidfd, and it must be in our pid and user namespaces; then the login
/// sessions are compared. Where the kernel lacks a feature (`SO_PEERPIDFD`, audit sessions) or both
/// sides are outside any login, the peer is served within [`Boundary::User`]. A kernel without
/// pidfds may still know sessions: they are compared, which rejects an honest caller of another
/// session.
///
/// # Errors
/// The first reason to reject the peer.
pub fn authorize(facts: &PeerFacts<'_>) -> Result<Boundary, PeerRejection> {
    if !facts.own_proc {
        return Err(PeerRejection::OwnProc);
    }
    if !is_own_uid_known(facts.own_uid, facts.own_uid_map, facts.overflow_uid) {
        return Err(PeerRejection::OwnUser);
    }
    match facts.uid {
        Err(_) => return Err(PeerRejection::NoCredentials),
        Ok(_) if facts.pid == Some(0) => return Err(PeerRejection::Hidden),
        Ok(uid) if uid != facts.own_uid => return Err(PeerRejection::OtherUser),
        Ok(_) => {}
    }
    let has_pidfd = match facts.pidfd {
        Ok(()) => true,
        Err(ENOPROTOOPT) => false,
        Err(EINVAL | ESRCH | ENODATA) => return Err(PeerRejection::Reaped),
        Err(_) => return Err(PeerRejection::NoPidfd),
    };
    match facts.pid {
        None => return Err(PeerRejection::NoPid),
        Some(pid) if pid < 0 => return Err(PeerRejection::Reaped),
        Some(_) if !facts.alive => return Err(PeerRejection::Dead),
        Some(_) => {}
    }
    compare_namespaces(facts)?;
    let ours = match facts.own_session {
        Err(ENOENT) => None,
        Err(_) => return Err(PeerRejection::OwnSession),
        Ok(raw) => Some(AuditSession::parse(raw).ok_or(PeerRejection::OwnSession)?),
    };
    let theirs = match facts.session {
        Err(ENOENT) => None,
        Err(ESRCH) => return Err(PeerRejection::Dead),
        Err(_) => return Err(PeerRejection::Unreadable),
        Ok(raw) => Some(AuditSession::parse(raw).ok_or(PeerRejection::Garbage)?),
    };
    match (ours, theirs) {
        (Some(AuditSession::Set(a)), Some(AuditSession::Set(b))) if a != b => {
            Err(PeerRejection::OtherSession)
        }
        (Some(AuditSession::Set(_)), Some(AuditSession::Set(_))) if has_pidfd => Ok(Boundary::Session),
        (Some(AuditSession::Set(_)), Some(AuditSession::Set(_))) => Ok(Boundary::User),
        (Some(AuditSession::Unset), Some(AuditSession::Unset)) => Ok(Boundary::User),
        (Some(_), None) => Err(PeerRejection::NoSession),
        (None, None | Some(AuditSession::Unset)) => Ok(Boundary::User),
        (None, Some(AuditSession::Set(_)))
        | (Some(AuditSession::Set(_)), Some(AuditSession::Unset))
        | (Some(AuditSession::Unset), Some(AuditSession::Set(_))) => Err(PeerRejection::OneUnset),
    }
}

/// Compares the namespaces of a peer that is visible in ours and has our uid.
fn compare_namespaces(facts: &PeerFacts<'_>) -> Result<(), PeerRejection> {
    match facts.pid_levels {
        Ok(1) => {}
        Ok(2..) if facts.allowed == AllowedNamespaces::Nested => {}
        Ok(2..) => return Err(PeerRejection::NestedPid),
        Ok(_) | Err(_) => return Err(PeerRejection::NamespaceUnreadable),
    }
    let (ours, theirs) = match (facts.own_uid_map, facts.uid_map) {
        // A kernel without user namespaces.
        (Err(ENOENT), Err(ENOENT)) => return Ok(()),
        (Ok(ours), Ok(theirs)) => (ours, UidMap(theirs)),
        _ => return Err(PeerRejection::NamespaceUnreadable),
    };
    let accepted = ours == theirs.0
        || match facts.allowed {
            AllowedNamespaces::None => false,
            AllowedNamespaces::InitialUser => theirs.is_initial(),
            AllowedNamespaces::NestedUser | AllowedNamespaces::Nested => theirs.has_outside(facts.own_uid),
        };
    if accepted { Ok(()) } else { Err(PeerRejection::OtherUserNamespace) }
}

#[cfg(test)]
mod tests;
