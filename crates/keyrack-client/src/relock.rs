//! Relocking: erasing keys before they expire.

use keyrack_core::resolve::{KeyQuery, relock_slugs};
use keyrack_core::{Env, Error, ErrorCode, Org, Slug};

use crate::address::is_address_unavailable;
use crate::context::Context;
use crate::daemon::connect;
use crate::manifest;
use crate::session::{RelockTarget, Relocked};

/// Keys that a caller names to relock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelockQuery {
    /// One key. A full slug names exactly that key. A bare name names every key that `unlock` with
    /// the same words could have unlocked, including the `all` key of that name.
    Key {
        /// Name or slug, as typed.
        ask: String,
        /// `--org`.
        org: Org,
        /// `--env`.
        env: Option<Env>,
    },
    /// Every key of this env.
    Env(Env),
    /// Every key.
    All,
}

/// Result of a relock.
#[derive(Debug, Default)]
pub struct RelockOutcome {
    /// Erased keys, sorted by slug.
    pub relocked: Relocked,
    /// The reason that no daemon can run: the runtime directory is missing or unusable.
    pub error: Option<Error>,
}

/// Relocks keys. Does nothing without a daemon or a runtime directory.
///
/// # Errors
/// Those of [`relock_slugs`], of [`crate::daemon::connect`] and of the daemon.
pub fn relock(ctx: &Context, wanted: &RelockQuery) -> Result<RelockOutcome, Error> {
    let what = match wanted {
        RelockQuery::All => RelockTarget::All,
        RelockQuery::Env(env) => RelockTarget::Env(*env),
        RelockQuery::Key { ask, org, env } => RelockTarget::Slugs(slugs(ctx, ask, org, *env)?),
    };
    erase(ctx, &what)
}

/// Erases keys from the daemon, if one runs.
///
/// # Errors
/// Those of [`crate::daemon::connect`] and of the daemon.
pub fn erase(ctx: &Context, what: &RelockTarget) -> Result<RelockOutcome, Error> {
    let told = connect(ctx).and_then(|daemon| daemon.map(|mut daemon| daemon.relock(what)).transpose());
    let mut relocked = match told {
        Ok(relocked) => relocked.unwrap_or_default(),
        // The daemon exited in between, so its keys are erased.
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
    // Relocking is always allowed, even with an invalid keyrack.yml, if the key is given by its
    // slug.
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
