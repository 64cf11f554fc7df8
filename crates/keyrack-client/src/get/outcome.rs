//! Options and outcome of a read.

use keyrack_core::{Attempt, Error};

use crate::secret::Secret;

/// Options of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Returns long-lived tokens too.
    pub allow_dangerous: bool,
    /// Reports a key that `keyrack.yml` does not declare as absent, not as locked: `unlock` of the
    /// repository would skip it.
    pub undeclared_is_absent: bool,
}

/// Outcome of reading one key.
#[derive(Debug)]
pub struct KeyOutcome {
    /// Attempt: granted, locked, absent or blocked.
    pub attempt: Attempt,
    /// Secret. Present if and only if the key is granted.
    pub secret: Option<Secret>,
    /// Additional information.
    pub note: Option<String>,
    /// `true` if `keyrack.yml` allows the key to be absent because another variable is set
    /// (`is-optional-if-has`).
    pub waived: bool,
}

impl KeyOutcome {
    /// Returns `true` if the key is granted or may be absent.
    pub fn is_fine(&self) -> bool {
        self.attempt.is_granted() || self.waived
    }
}

/// Outcome of a read.
#[derive(Debug)]
pub struct GetOutcome {
    /// Keys in the order of the request; in that of `keyrack.yml` for a whole repository.
    pub keys: Vec<KeyOutcome>,
    /// `true` if the request named a single key, `false` for several or for a repository.
    pub single: bool,
    /// `true` if a TypeScript daemon answered. Commands warn about it.
    pub legacy_daemon: bool,
    /// Error of asking the daemon, if the environment had all keys. Commands warn about it.
    pub daemon_error: Option<Error>,
    /// Errors in single entries of `keyrack.yml`. Commands warn about them.
    pub manifest_faults: Vec<Error>,
}

impl GetOutcome {
    /// Returns `true` if every key is granted.
    pub fn all_granted(&self) -> bool {
        self.keys.iter().all(|answer| answer.attempt.is_granted())
    }

    /// Returns `true` if every key is granted or may be absent. The exit code depends on it.
    pub fn all_fine(&self) -> bool {
        self.keys.iter().all(KeyOutcome::is_fine)
    }
}
