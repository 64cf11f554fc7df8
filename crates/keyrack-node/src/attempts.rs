//! Attempts as JavaScript objects. The addon hands the members of each attempt to a function of the
//! caller (`lib/attempts.js`), whose object literals make objects of the caller's own realm and
//! define their members. Objects made here would be of the realm that loaded the addon, and a
//! member that is set goes to a setter of that name on `Object.prototype`, a secret with it.

use keyrack_client::Secret;
use keyrack_client::get::{GetOutcome, KeyOutcome};
use keyrack_client::render;
use keyrack_core::timestamp::TimestampText;
use keyrack_core::{Attempt, Error, ErrorCode, Fix, Grant, Invocation, Slug};
use napi::bindgen_prelude::{BufferSlice, Either, FnArgs, Function};
use napi::{Env, JsString};
use serde_json::Value;

use crate::catch_panic::CallError;

/// A secret as a JavaScript value.
type SecretValue<'env> = Either<JsString<'env>, BufferSlice<'env>>;

/// Receives a granted attempt: secret, slug, protection, duration, vault, mechanism, env, org,
/// `expiresAt`, `belowDeclared` and note.
pub(crate) type OnGranted<'env> = Function<
    'env,
    FnArgs<(
        SecretValue<'env>,
        JsString<'env>,
        &'static str,
        &'static str,
        JsString<'env>,
        JsString<'env>,
        JsString<'env>,
        JsString<'env>,
        Option<JsString<'env>>,
        bool,
        Option<String>,
    )>,
>;

/// Receives an attempt that is not granted: status, slug, the message (of a blocked one the
/// reasons, with a NUL between them), fix, note and `waived`.
pub(crate) type OnMissed<'env> =
    Function<'env, FnArgs<(&'static str, String, String, Option<String>, Option<String>, bool)>>;

/// Delivers the attempts of a read, in their order.
pub(crate) struct AttemptSink<'a, 'env> {
    pub(crate) env: &'env Env,
    pub(crate) invocation: Invocation,
    pub(crate) as_buffers: bool,
    pub(crate) on_granted: &'a OnGranted<'env>,
    pub(crate) on_missed: &'a OnMissed<'env>,
}

impl AttemptSink<'_, '_> {
    /// Delivers all attempts.
    pub(crate) fn deliver(&self, answers: Vec<KeyOutcome>) -> Result<(), CallError> {
        for KeyOutcome { attempt, secret, note, waived } in answers {
            match (attempt, secret) {
                (Attempt::Granted { grant, below_declared }, Some(secret)) => {
                    self.granted(grant, secret, below_declared, note)?;
                }
                (attempt, _) => deliver_missed(self.on_missed, self.invocation, &attempt, note, waived)?,
            }
        }
        Ok(())
    }

    fn granted(
        &self,
        grant: Grant,
        secret: Secret,
        below_declared: bool,
        note: Option<String>,
    ) -> Result<(), CallError> {
        let Grant { slug, grade, source, expires_at_ms } = grant;
        let secret = secret_value(self.env, &slug, secret, self.as_buffers)?;
        let text = |text: &str| self.env.create_string(text);
        let expires_at = expires_at_ms.map(|ms| text(TimestampText::of_ms(ms).as_str())).transpose()?;
        self.on_granted.call(FnArgs::from((
            secret,
            text(slug.as_str())?,
            grade.protection.as_str(),
            grade.duration.as_str(),
            text(source.vault.as_str())?,
            text(source.mech.as_str())?,
            text(slug.env())?,
            text(slug.org())?,
            expires_at,
            below_declared,
            note,
        )))?;
        Ok(())
    }
}

/// Delivers an attempt that is not granted.
pub(crate) fn deliver_missed(
    on_missed: &OnMissed<'_>,
    invocation: Invocation,
    attempt: &Attempt,
    note: Option<String>,
    waived: bool,
) -> Result<(), CallError> {
    let message = match attempt {
        Attempt::Granted { .. } => String::new(),
        Attempt::Absent { message, .. } | Attempt::Locked { message, .. } => message.clone(),
        Attempt::Blocked { reasons, .. } => reasons.join("\0"),
    };
    let slug = attempt.slug().as_str().to_owned();
    let fix = attempt.fix().map(|fix| fix.render(invocation));
    on_missed.call(FnArgs::from((attempt.status(), slug, message, fix, note, waived)))?;
    Ok(())
}

/// Copies a secret once into a JavaScript value, and wipes it on this side.
fn secret_value<'env>(
    env: &'env Env,
    slug: &Slug,
    secret: Secret,
    as_buffer: bool,
) -> Result<SecretValue<'env>, CallError> {
    if as_buffer {
        return Ok(Either::B(BufferSlice::copy_from(env, secret.expose())?));
    }
    text_value(env, slug, secret).map(Either::A)
}

/// The same as a string.
pub(crate) fn text_value<'env>(
    env: &'env Env,
    slug: &Slug,
    secret: Secret,
) -> Result<JsString<'env>, CallError> {
    let text = std::str::from_utf8(secret.expose()).map_err(|_| not_text(slug))?;
    Ok(env.create_string(text)?)
}

fn not_text(slug: &Slug) -> Error {
    let message = format!("the value of {slug} is not UTF-8 text, so a string cannot hold it");
    Error::new(ErrorCode::Usage, message).of(slug).hint("use as: 'buffer'")
}

/// Warnings of a read, as JSON values.
pub(crate) fn warnings(
    outcome: &GetOutcome,
    single: bool,
    invocation: impl Fn() -> Invocation,
) -> Vec<Value> {
    let legacy = outcome.legacy_daemon.then(|| {
        let message = "the daemon is that of an older TypeScript keyrack, which does not verify its callers";
        Error::new(ErrorCode::DaemonLegacy, message).fix(Fix::command(["daemon", "restart"]))
    });
    // Errors in other entries of keyrack.yml do not concern a single key.
    let faults = outcome.manifest_faults.iter().filter(|_| !single);
    let errors = legacy.iter().chain(&outcome.daemon_error).chain(faults);
    errors.map(|error| render::error::value(error, invocation())).collect()
}
