//! Check of a daemon against the caller's requirements.

use keyrack_core::peer::Boundary;
use keyrack_core::{Error, ErrorCode};

use crate::context::{MemoryRank, Requirements};
use crate::transport::types::HelloInfo;

/// Properties that a daemon can have on this machine.
pub(super) struct Machine<'a> {
    /// Boundary between this process and the daemon, as the kernel tells them apart.
    pub(super) boundary: Boundary,
    /// `true` if the kernel identifies the process at the other end of a connection.
    pub(super) identifies_peers: bool,
    /// Returns the reason that no daemon on this machine can have such memory.
    pub(super) missing_for: &'a dyn Fn(MemoryRank) -> Option<String>,
}

/// Checks that a daemon meets the requirements. The error has a hint if no daemon on this machine
/// can meet them. Without a hint, a restarted daemon may.
pub(super) fn check(
    requirements: Requirements,
    hello: &HelloInfo,
    machine: &Machine<'_>,
) -> Result<(), Error> {
    if requirements.session && hello.boundary != Boundary::Session {
        let weak = Error::new(
            ErrorCode::BoundaryWeak,
            "the daemon cannot tell login sessions apart, but KEYRACK_REQUIRE_SESSION=1 requires it",
        );
        return Err(match machine.boundary {
            Boundary::Session => weak,
            Boundary::User => weak.hint(Requirements::session_hint(machine.identifies_peers)),
        });
    }
    match requirements.memory {
        Some(required) if MemoryRank::reported(&hello.memory) < required => {
            let weak = Error::new(
                ErrorCode::BoundaryWeak,
                format!(
                    "the daemon keeps secrets in {} memory, but KEYRACK_MEMORY requires {}",
                    hello.memory,
                    required.as_str()
                ),
            );
            Err(match (machine.missing_for)(required) {
                Some(missing) => {
                    weak.hint(format!("no daemon here can provide it: {missing}; unset KEYRACK_MEMORY"))
                }
                None => weak,
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(boundary: Boundary, memory: &str) -> HelloInfo {
        HelloInfo {
            proto: 1,
            version: String::new(),
            build: String::new(),
            boot_id: String::new(),
            pid: 1,
            boundary,
            namespaces: None,
            memory: memory.to_owned(),
            hardening: Vec::new(),
        }
    }

    #[test]
    fn weaker_daemon_is_refused() {
        let require = |session, memory| Requirements { session, memory };
        use Boundary::{Session, User};
        // `Some(true)`: a new daemon may be better. `Some(false)`: no daemon here can be.
        let secret = require(false, Some(MemoryRank::Secret));
        for (requirements, seen, boundary, memory, refused) in [
            (Requirements::default(), User, User, "unlocked", None),
            (require(true, None), User, User, "secret", Some(false)),
            (require(true, None), Session, User, "secret", Some(true)),
            (require(true, None), Session, Session, "unlocked", None),
            (require(false, Some(MemoryRank::Locked)), User, User, "locked", None),
            (require(false, Some(MemoryRank::Locked)), User, User, "secret", None),
            (require(false, Some(MemoryRank::Locked)), Session, Session, "unlocked", Some(true)),
            (require(false, Some(MemoryRank::Secret)), Session, Session, "locked", Some(true)),
            (require(false, Some(MemoryRank::Secret)), Session, Session, "secret", None),
            (require(false, Some(MemoryRank::Locked)), Session, Session, "from-the-future", Some(true)),
        ] {
            let machine = Machine { boundary: seen, identifies_peers: true, missing_for: &|_| None };
            let error = check(requirements, &hello(boundary, memory), &machine).err();
            let may_help = error.as_ref().map(|error| error.hint.is_none());
            assert_eq!(may_help, refused, "{requirements:?} {seen} {boundary} {memory}");
            assert!(error.is_none_or(|error| error.code == ErrorCode::BoundaryWeak));
        }
        // The hint names what the machine is missing.
        for (requirements, identifies_peers, missing, words) in [
            (require(true, None), true, None, "log in with ssh"),
            (require(true, None), false, None, "Linux 6.5 or later"),
            (
                secret,
                true,
                Some("no memfd_secret"),
                "here can provide it: no memfd_secret; unset KEYRACK_MEMORY",
            ),
        ] {
            let missing_for = |_| missing.map(str::to_owned);
            let machine = Machine { boundary: User, identifies_peers, missing_for: &missing_for };
            let error = check(requirements, &hello(User, "locked"), &machine).unwrap_err();
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains(words), "{requirements:?}: {hint}");
        }
    }
}
