//! Credential helpers of other tools, in their own protocols: git, docker, the AWS tools, kubectl.
//!
//! Each helper serves only the keys and hosts it was configured with, because a tool requests
//! credentials for whatever address it was given. Requests and replies are bytes; nothing is read,
//! printed or stored here. A reply is composed in memory that is wiped, and no general JSON library
//! owns a secret.

pub mod aws;
pub mod docker;
pub mod git;
pub mod kubectl;
pub mod line;

use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Attempt, Error, ErrorCode, Fix, Grant, Slug, VaultId};

use keyrack_client::Context;
use keyrack_client::Secret;
use keyrack_client::get::{self, GetOptions, KeyOutcome, Scope};
use keyrack_client::status::status;

/// A key that is granted.
pub struct CredentialKey {
    /// Its true slug.
    pub slug: Slug,
    /// Expiration, in milliseconds since the Unix epoch; `None` for a value from the environment.
    pub expires_at_ms: Option<i64>,
    /// Secret value.
    pub secret: Secret,
    /// The command that stores another value; `None` for a value of the environment.
    pub replace: Option<Fix>,
    /// Note on a value of the environment that is weaker than `keyrack.yml` demands.
    pub note: Option<String>,
}

impl std::fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.slug)
    }
}

impl CredentialKey {
    /// Returns the value as text.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] if it is not valid UTF-8.
    fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(self.secret.expose()).map_err(|_| self.unfit("its value is not text"))
    }

    /// That this key's value cannot be given to a tool.
    fn unfit(&self, why: &str) -> Error {
        let message = format!("cannot use {}: {why}", self.slug);
        Error::new(ErrorCode::Usage, message).of(&self.slug)
    }
}

/// Result of reading the keys of a reply.
#[derive(Debug)]
pub enum ReadOutcome {
    /// All keys are granted, in the order of the request.
    Granted(Vec<CredentialKey>),
    /// Not all are: those that are not.
    Missing(Vec<KeyOutcome>),
}

/// Reads keys as `get` does. A key that may be absent is missing here all the same.
///
/// # Errors
/// Those of [`get::get`].
pub fn read(ctx: &Context, scope: &Scope, options: GetOptions) -> Result<ReadOutcome, Error> {
    let outcome = get::get(ctx, scope, options)?;
    if !outcome.all_granted() {
        let missing = outcome.keys.into_iter().filter(|answer| !answer.attempt.is_granted());
        let mut missing: Vec<KeyOutcome> = missing.collect();
        suggest(ctx, &mut missing);
        return Ok(ReadOutcome::Missing(missing));
    }
    let held = outcome.keys.into_iter().filter_map(|answer| match (answer.attempt, answer.secret) {
        (
            Attempt::Granted { grant: Grant { slug, source, expires_at_ms, .. }, below_declared },
            Some(secret),
        ) => {
            let replace = (source.vault != VaultId::OsEnvvar)
                .then(|| Fix::set(&ctx.owner, &slug, &source.vault, &source.mech));
            let note = answer.note.filter(|_| below_declared);
            Some(CredentialKey { slug, expires_at_ms, secret, replace, note })
        }
        _ => None,
    });
    Ok(ReadOutcome::Granted(held.collect()))
}

/// Suggests an unlocked key of the same org and env for each key that was never set and has a
/// similar name: key names in a tool's configuration are typed by hand.
fn suggest(ctx: &Context, missing: &mut [KeyOutcome]) {
    let is_unexplained = |answer: &KeyOutcome| {
        matches!(answer.attempt, Attempt::Absent { .. }) && answer.note.is_none() && !answer.waived
    };
    if !missing.iter().any(is_unexplained) {
        return;
    }
    let Some(running) = status(ctx).ok().and_then(|status| status.running) else { return };
    for answer in missing.iter_mut().filter(|answer| is_unexplained(answer)) {
        let Attempt::Absent { slug, fix, .. } = &mut answer.attempt else { continue };
        let held = running.keys(None).map(|key| &key.slug);
        let held = held.filter(|held| held.org() == slug.org() && held.env() == slug.env());
        answer.note = did_you_mean(slug.name(), held.map(Slug::name));
        // The command would set a key of the misspelled name.
        fix.take_if(|_| answer.note.is_some());
    }
}

/// Earliest expiration of several keys.
fn first_end(keys: &[&CredentialKey]) -> Option<i64> {
    keys.iter().filter_map(|key| key.expires_at_ms).min()
}

#[cfg(test)]
fn held(name: &str, value: &[u8], expires_at_ms: Option<i64>) -> CredentialKey {
    let slug = Slug::parse(&format!("acme.test.{name}")).expect("a slug");
    let replace = Some(Fix::set_secure(&keyrack_core::Owner::DEFAULT, &slug));
    CredentialKey { slug, expires_at_ms, secret: Secret::copy_of(value), replace, note: None }
}
