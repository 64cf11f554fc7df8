//! Reasons to reject a peer.

use std::fmt;

use crate::error::{Error, ErrorCode};

/// Reason why a peer is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerRejection {
    /// The kernel does not tell the peer's uid.
    NoCredentials,
    /// The peer belongs to another user. Root is another user too.
    OtherUser,
    /// The process that connected has ended and was reaped: another process may have its pid by
    /// now.
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
    /// One side has a login session and the other has none.
    OneUnset,
    /// The peer belongs to another login session.
    OtherSession,
    /// Our own session could not be read or is not a session id, so no peer can be compared with
    /// it.
    OwnSession,
    /// Our own uid is not mapped in our user namespace: it looks like that of every other unmapped
    /// user.
    OwnUser,
    /// Our own `/proc` is not that of our pid namespace: its numbers name other processes.
    OwnProc,
}

impl PeerRejection {
    /// The only message that a rejected caller gets, whatever the reason. TypeScript clients look
    /// for `session mismatch`.
    pub const PUBLIC_MESSAGE: &'static str = "session mismatch: this daemon does not serve this process";

    /// Every reason, once.
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

    /// Returns a stable code, for the side that rejects the peer.
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

    /// Returns the reason as a sentence about the peer, for the side that rejects it.
    pub fn description(self) -> &'static str {
        match self {
            PeerRejection::NoCredentials => "the kernel does not report its user",
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

    /// Returns the error of a client that rejects its server: [`ErrorCode::ServerUntrusted`].
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
