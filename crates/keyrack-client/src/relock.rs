//! Ending keys before their time.

use keyrack_core::resolve::{KeyQuery, relock_slugs};
use keyrack_core::{Env, Error, ErrorCode, Org, Slug};

use crate::address::is_address_unavailable;
use crate::context::Context;
use crate::daemon::connect;
use crate::manifest;
use crate::session::{RelockScope, Relocked};

/// What a caller wants ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelockQuery {
    /// One key: a full slug ends exactly that one; a bare name every key those words could have
    /// unlocked, the `all` that stands in included.
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
pub struct RelockOutcome {
    /// The erased keys, the slugs sorted.
    pub relocked: Relocked,
    /// The reason no daemon could be looked for: the runtime directory is missing or unusable.
    pub error: Option<Error>,
}

/// Relocks. Does nothing without a daemon or a runtime directory.
///
/// # Errors
/// Those of [`relock_slugs`], of [`crate::daemon::connect`] and of the daemon.
pub fn relock(ctx: &Context, wanted: &RelockQuery) -> Result<RelockOutcome, Error> {
    let what = match wanted {
        RelockQuery::All => RelockScope::All,
        RelockQuery::Env(env) => RelockScope::Env(*env),
        RelockQuery::Key { ask, org, env } => RelockScope::Slugs(slugs(ctx, ask, org, *env)?),
    };
    erase(ctx, &what)
}

/// Erases the keys that `what` names from the daemon, if one runs.
///
/// # Errors
/// Those of [`crate::daemon::connect`] and of the daemon.
pub fn erase(ctx: &Context, what: &RelockScope) -> Result<RelockOutcome, Error> {
    let told = connect(ctx).and_then(|daemon| daemon.map(|mut daemon| daemon.relock(what)).transpose());
    let mut relocked = match told {
        Ok(relocked) => relocked.unwrap_or_default(),
        // It ended in between, and its keys with it.
        Err(error) if error.code == ErrorCode::DaemonAbsent => Relocked::default(),
        Err(error) if is_address_unavailable(&error) => {
            return Ok(RelockOutcome { error: Some(error), ..RelockOutcome::default() });
        }
        Err(error) => return Err(error),
    };
    relocked.slugs.sort();
    Ok(RelockOutcome { relocked, error: None })
}

fn slugs(ctx: &Context, key: &str, org: &Org, env: Option<Env>) -> Result<Vec<Slug>, Error> {
    // To end a key is always allowed: beside a broken keyrack.yml too, if the key is named in full.
    let manifest =
        if Slug::looks_full(key) && !key.starts_with(Org::THIS) { None } else { manifest::of(ctx)? };
    relock_slugs(&KeyQuery {
        key: Some(key),
        env: env.map(Env::as_str),
        org: Some(org.as_str()),
        owner: &ctx.owner,
        manifest: manifest.as_ref(),
    })
}
