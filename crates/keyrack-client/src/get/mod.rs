//! Reading keys: the daemon first, in one request for all, then the environment. Never opens a
//! vault, never prompts, never starts a daemon; and what the environment answers needs neither a
//! home nor a runtime directory nor a socket.
//!
//! In two steps, so that a face whose environment is not a process's (a worker, a test runner) can
//! answer from its own: [`read`] asks the daemon, [`PendingGet::names`] says which variables
//! matter, [`PendingGet::answer`] takes their values and judges everything.

mod cached;
mod evaluate;
mod execute;

mod plan;
#[cfg(test)]
mod tests;
mod unlock_all;

pub use cached::ReadCache;
pub use execute::{PendingGet, read};
pub use plan::{GetPlan, KeyRequest, Scope};
pub use unlock_all::unlock_all;

use keyrack_core::{Attempt, Error};

use crate::context::Context;
use crate::secret::Secret;

/// How a call wants its keys judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Hand out long-lived tokens too.
    pub allow_dangerous: bool,
    /// Call a single key that `keyrack.yml` does not declare absent rather than locked: unlocking
    /// would pass it over.
    pub undeclared_is_absent: bool,
}

/// What came of one key.
#[derive(Debug)]
pub struct KeyOutcome {
    /// Its status.
    pub attempt: Attempt,
    /// Its bytes: there if and only if it is granted.
    pub secret: Option<Secret>,
    /// More to know, in a sentence.
    pub note: Option<String>,
    /// Whether its entry in `keyrack.yml` lets it be absent, because another variable is set
    /// (`is-optional-if-has`).
    pub waived: bool,
}

impl KeyOutcome {
    /// Whether a caller that needs this key can do without an error.
    pub fn is_fine(&self) -> bool {
        self.attempt.is_granted() || self.waived
    }
}

/// What came of all keys of a call.
#[derive(Debug)]
pub struct GetOutcome {
    /// In the order asked: that of `keyrack.yml` for a whole repository.
    pub keys: Vec<KeyOutcome>,
    /// Whether a single key was asked for rather than several, or a repository's.
    pub single: bool,
    /// A TypeScript daemon answered: worth a warning to a person.
    pub legacy_daemon: bool,
    /// Why the daemon could not be asked, though the environment answered everything: worth a
    /// warning too.
    pub daemon_error: Option<Error>,
    /// What is wrong with single entries of `keyrack.yml`: worth a warning too.
    pub manifest_faults: Vec<Error>,
}

impl GetOutcome {
    /// Whether every key is granted.
    pub fn all_granted(&self) -> bool {
        self.keys.iter().all(|answer| answer.attempt.is_granted())
    }

    /// Whether every key is granted or may be absent: what the exit code goes by.
    pub fn all_fine(&self) -> bool {
        self.keys.iter().all(KeyOutcome::is_fine)
    }
}

/// Reads keys in one step, from the daemon and the context's environment.
///
/// # Errors
/// Those of [`GetPlan::of`] and [`PendingGet::answer`]. A key that is not granted is no error.
pub fn get(ctx: &Context, scope: &Scope, options: GetOptions) -> Result<GetOutcome, Error> {
    let plan = GetPlan::of(ctx, scope)?;
    read(ctx, plan, options).answer(|name| variable(ctx, name))
}

/// A variable of the context's environment.
pub(crate) fn variable(ctx: &Context, name: &str) -> Option<Secret> {
    ctx.env.get(name).map(|value| Secret::copy_of(value.as_encoded_bytes()))
}
