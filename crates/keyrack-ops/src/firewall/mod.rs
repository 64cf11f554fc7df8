//! `firewall`: passes the secrets that a CI system gives a job to its later steps, as far as
//! `keyrack.yml` declares them and the rules allow it.
//!
//! All or nothing: if one key is blocked, no secret is passed on. Only declared keys are examined;
//! other secrets are never read, kept or put into an environment.

pub mod github;
pub mod secrets_json;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use crate::firewall::secrets_json::SecretsJson;
use keyrack_client::get::{GetOptions, GetOutcome, GetPlan, KeyOutcome, Scope, read};
use keyrack_client::{Context, Secret};
use keyrack_core::{Attempt, Env, Error, ErrorCode};

use crate::repo::without_naming_keys;

/// Source of the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `json(env://NAME)`: a JSON object in a variable of the environment.
    Variable(String),
    /// `json(stdin://*)`: the same on stdin.
    Stdin,
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let inner = text.strip_prefix("json(").and_then(|rest| rest.strip_suffix(')'));
        match inner.map(|source| source.split_once("://")) {
            Some(Some(("env", name))) if !name.is_empty() => Ok(Origin::Variable(name.to_owned())),
            Some(Some(("stdin", "*"))) => Ok(Origin::Stdin),
            // The value is not shown: the user may have put the secrets themselves there.
            _ => Err(Error::new(ErrorCode::Usage, "--from only accepts json(env://NAME) or json(stdin://*)")
                .hint("for example --from 'json(env://SECRETS_JSON)', with the quotes")),
        }
    }
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `github.actions`: masks on stdout, then variables of the job's later steps.
    GithubActions,
    /// `json`: the attempts on stdout.
    Json,
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "github.actions" => Ok(Destination::GithubActions),
            "json" => Ok(Destination::Json),
            _ => Err(Error::new(ErrorCode::Usage, "--into only accepts github.actions or json")),
        }
    }
}

/// Reads the keys that `keyrack.yml` declares for an env: from the daemon, else from `secrets`,
/// else from the context's environment. If one is blocked, no result has a secret.
///
/// # Errors
/// Those of [`GetPlan::of`]; [`ErrorCode::Usage`] if `secrets` is not a JSON object of strings, as
/// far as it is examined. An unreachable daemon is an error only where one can run and the
/// environment lacks a key.
pub fn screen(ctx: &Context, env: Env, secrets: &[u8], into: Destination) -> Result<GetOutcome, Error> {
    let plan = GetPlan::of(ctx, &Scope::Repo { env: Some(env) }).map_err(without_naming_keys)?;
    let secrets = SecretsJson::read(secrets)?;
    let pending = read(ctx, plan, GetOptions::default()).without_need_of_daemon();
    for name in pending.names() {
        secrets.get(name)?;
    }
    let mut outcome = pending.answer(|name| match secrets.get(name) {
        Ok(Some(given)) if !given.is_empty() => Some(given),
        _ => ctx.env.get(name).map(|value| Secret::copy_of(value.as_encoded_bytes())),
    })?;
    if into == Destination::GithubActions {
        outcome.keys.iter_mut().for_each(block_unfit);
    }
    if outcome.keys.iter().any(is_blocked) {
        outcome.keys.iter_mut().for_each(|answer| answer.secret = None);
    }
    outcome.keys.iter_mut().for_each(drop_dangerous_fix);
    Ok(outcome)
}

/// Replaces the fix that allows a long-lived token: in CI, such a token must be replaced at its
/// source.
fn drop_dangerous_fix(answer: &mut KeyOutcome) {
    if let Attempt::Blocked { slug, fix, .. } = &mut answer.attempt
        && fix.take_if(|fix| fix.allows_dangerous()).is_some()
    {
        answer.note = Some(format!("put a short-lived credential into {}", slug.name()));
    }
}

/// Returns `true` if a rule blocks the key.
pub fn is_blocked(answer: &KeyOutcome) -> bool {
    matches!(answer.attempt, Attempt::Blocked { .. })
}

/// Blocks a key that cannot be a variable of later steps, or must not be.
fn block_unfit(answer: &mut KeyOutcome) {
    let Some(secret) = &answer.secret else { return };
    let slug = answer.attempt.slug();
    let Some(reason) = github::unfit_reason(slug.name(), secret.expose()) else { return };
    let attempt = Attempt::Blocked { slug: slug.clone(), reasons: vec![reason], fix: None };
    *answer = KeyOutcome { attempt, secret: None, note: None, waived: false };
}
