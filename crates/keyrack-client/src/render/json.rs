//! Results as JSON. They may contain secrets, so they are written into wiped memory.

use keyrack_core::{Attempt, Error, ErrorCode, Grant, Invocation, timestamp};
use keyrack_json::JsonWriter;
use zeroize::Zeroizing;

use crate::get::{GetOutcome, KeyOutcome};
use crate::secret::Secret;

/// Writes the attempts of a call: one object for a single key, an array for a repository.
///
/// # Errors
/// [`ErrorCode::Usage`] if a secret is not UTF-8, which JSON cannot carry.
pub fn outcome(outcome: &GetOutcome, invocation: Invocation) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut json = JsonWriter::new();
    let mut result = Ok(());
    match &outcome.keys[..] {
        [only] if outcome.single => result = attempt(&mut json, only, invocation),
        all => json.array(|json| {
            for answer in all {
                json.element();
                let written = attempt(json, answer, invocation);
                result = std::mem::replace(&mut result, Ok(())).and(written);
            }
        }),
    }
    result.map(|()| json.into_bytes())
}

/// Writes one attempt as the next value.
///
/// # Errors
/// As [`outcome`].
pub fn attempt(json: &mut JsonWriter, answer: &KeyOutcome, invocation: Invocation) -> Result<(), Error> {
    let mut result = Ok(());
    json.object(|json| {
        json.member("status", answer.attempt.status());
        match &answer.attempt {
            Attempt::Granted { grant: key, below_declared } => {
                json.name("grant");
                result = grant(json, key, answer.secret.as_ref());
                if *below_declared {
                    json.name("belowDeclared");
                    json.plain("true");
                }
            }
            Attempt::Absent { slug, message, .. } | Attempt::Locked { slug, message, .. } => {
                json.member("slug", slug.as_str());
                json.member("message", message);
            }
            Attempt::Blocked { slug, reasons, .. } => {
                json.member("slug", slug.as_str());
                json.name("reasons");
                json.array(|json| {
                    for reason in reasons {
                        json.element();
                        json.text(reason);
                    }
                });
            }
        }
        match (answer.attempt.fix(), &answer.attempt) {
            (Some(fix), _) => json.member("fix", &fix.render(invocation)),
            // No command fixes it. The note may explain what does.
            (None, Attempt::Blocked { .. }) => {
                json.name("fix");
                json.plain("null");
            }
            (None, _) => {}
        }
        if let Some(note) = &answer.note {
            json.member("note", note);
        }
        if answer.waived {
            json.name("waived");
            json.plain("true");
        }
    });
    result
}

/// Writes one grant as the next value, with its secret if one is given.
///
/// # Errors
/// As [`outcome`].
pub fn grant(json: &mut JsonWriter, grant: &Grant, secret: Option<&Secret>) -> Result<(), Error> {
    let mut result = Ok(());
    json.object(|json| {
        json.member("slug", grant.slug.as_str());
        json.name("key");
        json.object(|json| {
            if let Some(secret) = secret {
                json.name("secret");
                if json.secret(secret.expose()).is_err() {
                    json.plain("null");
                    let message =
                        format!("the value of {} is not UTF-8, which JSON cannot carry", grant.slug);
                    result = Err(Error::new(ErrorCode::Usage, message)
                        .of(&grant.slug)
                        .hint("use --value instead of --json"));
                }
            }
            json.name("grade");
            json.object(|json| {
                json.member("protection", grant.grade.protection.as_str());
                json.member("duration", grant.grade.duration.as_str());
            });
        });
        json.name("source");
        json.object(|json| {
            json.member("vault", grant.source.vault.as_str());
            json.member("mech", grant.source.mech.as_str());
        });
        json.member("env", grant.slug.env());
        json.member("org", grant.slug.org());
        if let Some(at) = grant.expires_at_ms {
            json.member("expiresAt", &timestamp::format_ms(at));
        }
    });
    result
}
