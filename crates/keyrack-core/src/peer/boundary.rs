//! Boundary within which a daemon serves its callers.

use std::fmt;

use super::{AuditSession, ReadError};

/// Boundary between callers that the kernel's facts allow. `Session` sorts first, as the stronger
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Boundary {
    /// The same user in the same login session.
    Session,
    /// The same user. The kernel cannot tell more.
    User,
}

impl Boundary {
    /// Returns the word that `hello`, `status` and `doctor` use.
    pub fn as_str(self) -> &'static str {
        match self {
            Boundary::Session => "session",
            Boundary::User => "user",
        }
    }

    /// Parses the word of a boundary.
    pub fn parse(text: &str) -> Option<Self> {
        [Boundary::Session, Boundary::User].into_iter().find(|boundary| boundary.as_str() == text)
    }

    /// Returns the strongest boundary that a process can enforce, by its own session and by its
    /// kernel's support of `SO_PEERPIDFD`.
    pub fn of_own(session: Result<AuditSession, ReadError>, pidfd_supported: bool) -> Self {
        match session {
            Ok(AuditSession::Set(_)) if pidfd_supported => Boundary::Session,
            _ => Boundary::User,
        }
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
