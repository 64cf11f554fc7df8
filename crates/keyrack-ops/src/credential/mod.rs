//! What other tools ask of a credential helper, in their own protocols: git, docker, the AWS tools, kubectl.
//!
//! Each answers for the keys it was configured with, to the places it was configured for, and to no other: a tool asks on behalf of whatever
//! address it was given. Requests go in and answers come out as bytes; nothing is read, printed or stored here. An answer is composed in memory
//! that is wiped, and no general JSON library ever owns a secret.

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
pub struct Held {
    /// Its true slug.
    pub slug: Slug,
    /// When it ends, in milliseconds since the Unix epoch; `None` for a value of the environment.
    pub expires_at_ms: Option<i64>,
    /// Its value.
    pub secret: Secret,
    /// The command that stores another value; `None` for a value of the environment.
    pub replace: Option<Fix>,
    /// Note on a value of the environment that is weaker than `keyrack.yml` demands.
    pub note: Option<String>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({})", self.slug)
    }
}

impl Held {
    /// The value as text.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] when it is none.
    fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(self.secret.expose()).map_err(|_| self.unfit("it is no text"))
    }

    /// That this key's value cannot be given to a tool.
    fn unfit(&self, why: &str) -> Error {
        let message = format!("{} cannot be handed on: {why}", self.slug);
        Error::new(ErrorCode::Usage, message).of(&self.slug)
    }
}

/// What came of reading the keys of an answer.
#[derive(Debug)]
pub enum Read {
    /// All are granted, in the order asked.
    Granted(Vec<Held>),
    /// Not all are: those that are not.
    Missing(Vec<KeyOutcome>),
}

/// Reads keys as `get` does. A key that may be absent is missing here all the same.
///
/// # Errors
/// Those of [`get::get`].
pub fn read(ctx: &Context, scope: &Scope, options: GetOptions) -> Result<Read, Error> {
    let outcome = get::get(ctx, scope, options)?;
    if !outcome.all_granted() {
        let missing = outcome.keys.into_iter().filter(|answer| !answer.attempt.is_granted());
        let mut missing: Vec<KeyOutcome> = missing.collect();
        suggest(ctx, &mut missing);
        return Ok(Read::Missing(missing));
    }
    let held = outcome.keys.into_iter().filter_map(|answer| match (answer.attempt, answer.secret) {
        (
            Attempt::Granted { grant: Grant { slug, source, expires_at_ms, .. }, below_declared },
            Some(secret),
        ) => {
            let replace = (source.vault != VaultId::OsEnvvar)
                .then(|| Fix::set(&ctx.owner, &slug, &source.vault, &source.mech));
            let note = answer.note.filter(|_| below_declared);
            Some(Held { slug, expires_at_ms, secret, replace, note })
        }
        _ => None,
    });
    Ok(Read::Granted(held.collect()))
}

/// Names an unlocked key of the same org and env for each key that was never set and is named much like one: the name of a key in a tool's
/// configuration was typed by hand.
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

/// When the first of several keys ends.
fn first_end(keys: &[&Held]) -> Option<i64> {
    keys.iter().filter_map(|key| key.expires_at_ms).min()
}

#[cfg(test)]
fn held(name: &str, value: &[u8], expires_at_ms: Option<i64>) -> Held {
    let slug = Slug::parse(&format!("acme.test.{name}")).expect("a slug");
    let replace = Some(Fix::set_secure(&keyrack_core::Owner::DEFAULT, &slug));
    Held { slug, expires_at_ms, secret: Secret::copy_of(value), replace, note: None }
}
