//! Peer authentication: facts about both ends of a socket go in, and the boundary within which the
//! peer is served comes out. A pure table. The daemon applies it to each caller; a client applies
//! it to the server before it sends a byte.
//!
//! The rule reads nothing itself, never guesses where the kernel can tell, and never serves on a
//! fact that was not established.

mod audit_session;
mod boundary;
mod facts;
mod ids;
mod namespace;
mod rejection;
mod uid_map;

pub use audit_session::AuditSession;
pub use boundary::Boundary;
pub use facts::{LocalFacts, LocalNamespaces, PeerFacts, PidfdError, ReadError};
pub use ids::{Pid, Uid};
pub use namespace::{AllowedNamespaces, DEFAULT_OVERFLOW_UID, EnforcedNamespaces};
pub use rejection::PeerRejection;
pub use uid_map::UidMap;

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
pub fn authorize(
    local: &LocalFacts,
    peer: &PeerFacts,
    allowed: AllowedNamespaces,
) -> Result<Boundary, PeerRejection> {
    if !peer.own_proc {
        return Err(PeerRejection::OwnProc);
    }
    if !local.namespaces.is_uid_known() {
        return Err(PeerRejection::OwnUser);
    }
    match peer.uid {
        Err(_) => return Err(PeerRejection::NoCredentials),
        Ok(_) if peer.pid.is_some_and(|pid| pid.as_raw() == 0) => return Err(PeerRejection::Hidden),
        Ok(uid) if uid != local.namespaces.uid => return Err(PeerRejection::OtherUser),
        Ok(_) => {}
    }
    let has_pidfd = match peer.pidfd {
        Ok(()) => true,
        Err(PidfdError::Unsupported) => false,
        Err(PidfdError::PeerReaped) => return Err(PeerRejection::Reaped),
        Err(_) => return Err(PeerRejection::NoPidfd),
    };
    match peer.pid {
        None => return Err(PeerRejection::NoPid),
        Some(pid) if pid.as_raw() < 0 => return Err(PeerRejection::Reaped),
        Some(_) if !peer.alive => return Err(PeerRejection::Dead),
        Some(_) => {}
    }
    compare_namespaces(&local.namespaces, peer, allowed)?;
    let ours = match local.session {
        Err(ReadError::NotFound) => None,
        Err(_) => return Err(PeerRejection::OwnSession),
        Ok(session) => Some(session),
    };
    let theirs = match peer.session {
        Err(ReadError::NotFound) => None,
        Err(ReadError::ProcessGone) => return Err(PeerRejection::Dead),
        Err(ReadError::Malformed) => return Err(PeerRejection::Garbage),
        Err(_) => return Err(PeerRejection::Unreadable),
        Ok(session) => Some(session),
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
fn compare_namespaces(
    local: &LocalNamespaces,
    peer: &PeerFacts,
    allowed: AllowedNamespaces,
) -> Result<(), PeerRejection> {
    match peer.pid_levels {
        Ok(1) => {}
        Ok(2..) if allowed == AllowedNamespaces::Nested => {}
        Ok(2..) => return Err(PeerRejection::NestedPid),
        Ok(_) | Err(_) => return Err(PeerRejection::NamespaceUnreadable),
    }
    let (ours, theirs) = match (&local.uid_map, &peer.uid_map) {
        // A kernel without user namespaces.
        (Err(ReadError::NotFound), Err(ReadError::NotFound)) => return Ok(()),
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        _ => return Err(PeerRejection::NamespaceUnreadable),
    };
    let accepted = ours == theirs
        || match allowed {
            AllowedNamespaces::None => false,
            AllowedNamespaces::InitialUser => theirs.is_initial(),
            AllowedNamespaces::NestedUser | AllowedNamespaces::Nested => theirs.has_outside(local.uid),
        };
    if accepted { Ok(()) } else { Err(PeerRejection::OtherUserNamespace) }
}

#[cfg(test)]
mod tests;
