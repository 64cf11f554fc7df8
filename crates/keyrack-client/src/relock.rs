//! Ending keys before their time.

use keyrack_core::ask::{Ask, relock_slugs};
use keyrack_core::{Env, ErrorCode, Org, Problem, Slug};

use crate::context::Context;
use crate::daemon::connect;
use crate::manifest;
use crate::paths::is_without_place;
use crate::session::{RelockWhat, Relocked};

/// What a caller wants ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One key: a full slug ends exactly that one; a bare name every key those words could have unlocked, the `all` that stands in included.
    Key {
        /// As typed.
        ask: String,
        /// `--org`.
        org: Org,
        /// `--env`.
        env: Option<Env>,
    },
    /// Every key whose own env this is.
    Env(Env),
    /// Every key.
    All,
}

/// Result of a relock.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The erased keys, the slugs sorted.
    pub relocked: Relocked,
    /// The reason no daemon could be looked for: the runtime directory is missing or unusable.
    pub problem: Option<Problem>,
}

/// Relocks. Does nothing without a daemon or a runtime directory.
///
/// # Errors
/// Those of [`relock_slugs`], of [`crate::daemon::connect`] and of the daemon.
pub fn relock(ctx: &Context, wanted: &Wanted) -> Result<Outcome, Problem> {
    let what = match wanted {
        Wanted::All => RelockWhat::All,
        Wanted::Env(env) => RelockWhat::Env(*env),
        Wanted::Key { ask, org, env } => RelockWhat::Slugs(slugs(ctx, ask, org, *env)?),
    };
    erase(ctx, &what)
}

/// Erases the keys that `what` names from the daemon, if one runs.
///
/// # Errors
/// Those of [`crate::daemon::connect`] and of the daemon.
pub fn erase(ctx: &Context, what: &RelockWhat) -> Result<Outcome, Problem> {
    let told = connect(ctx).and_then(|daemon| daemon.map(|mut daemon| daemon.relock(what)).transpose());
    let mut relocked = match told {
        Ok(relocked) => relocked.unwrap_or_default(),
        // It ended in between, and its keys with it.
        Err(problem) if problem.code == ErrorCode::DaemonAbsent => Relocked::default(),
        Err(problem) if is_without_place(&problem) => {
            return Ok(Outcome { problem: Some(problem), ..Outcome::default() });
        }
        Err(problem) => return Err(problem),
    };
    relocked.slugs.sort();
    Ok(Outcome { relocked, problem: None })
}

fn slugs(ctx: &Context, key: &str, org: &Org, env: Option<Env>) -> Result<Vec<Slug>, Problem> {
    // To end a key is always allowed: beside a broken keyrack.yml too, if the key is named in full.
    let manifest =
        if Slug::looks_full(key) && !key.starts_with(Org::THIS) { None } else { manifest::of(ctx)? };
    relock_slugs(&Ask {
        key: Some(key),
        env: env.map(Env::as_str),
        org: Some(org.as_str()),
        owner: &ctx.owner,
        manifest: manifest.as_ref(),
    })
}
