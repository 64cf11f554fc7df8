//! Reading keys: from the daemon, in one request for all, then from the environment. Never opens a
//! vault, prompts or starts a daemon. Keys in the environment need neither a home nor a runtime
//! directory nor a daemon.
//!
//! A read has two steps, so that a caller can use an environment other than the process's (that of
//! a worker or a test runner): [`read`] asks the daemon, [`PendingGet::names`] returns the names of
//! the variables that matter, [`PendingGet::answer`] takes their values and evaluates all keys.
//! Rendering is a third step, for callers that need it: [`crate::render::attempt::answers`] renders
//! the keys of a [`GetOutcome`], even after their secrets were taken.

mod cached;
mod evaluate;
mod execute;
mod outcome;
mod plan;
#[cfg(test)]
mod tests;
mod unlock_all;

pub use cached::ReadCache;
pub use execute::{PendingGet, read};
pub use outcome::{GetOptions, GetOutcome, KeyOutcome};
pub use plan::{GetPlan, KeyRequest, Scope};
pub use unlock_all::unlock_all;

use keyrack_core::Error;

use crate::context::Context;
use crate::secret::Secret;

/// Reads keys in one call, from the daemon and the context's environment.
///
/// # Errors
/// Those of [`GetPlan::of`] and [`PendingGet::answer`]. A key that is not granted is not an error.
pub fn get(ctx: &Context, scope: &Scope, options: GetOptions) -> Result<GetOutcome, Error> {
    let plan = GetPlan::of(ctx, scope)?;
    read(ctx, plan, options).answer(|name| variable(ctx, name))
}

/// Returns a variable of the context's environment.
pub(crate) fn variable(ctx: &Context, name: &str) -> Option<Secret> {
    ctx.env.get(name).map(|value| Secret::copy_of(value.as_encoded_bytes()))
}
