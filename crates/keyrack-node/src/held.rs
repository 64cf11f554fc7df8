//! `status` and `relock`: what the daemon of the caller's login session holds, and the end of it. Never a secret.

use keyrack_client::daemon;
use keyrack_client::session::{HeldKey, RelockWhat};
use keyrack_core::{Env, Slug, iso};
use napi_derive::napi;
use serde_json::{Value, json};

use crate::guard::{Fault, guarded};
use crate::realm::Realm;

/// What is asked.
#[napi(object, object_to_js = false)]
pub struct HeldAsk {
    /// Where from.
    pub realm: Realm,
    /// Only keys of this env.
    pub in_env: Option<String>,
    /// Only this key, by its full slug.
    pub key: Option<String>,
}

/// What is held, as JSON: `null` without a daemon, or `{error}`.
#[napi]
pub fn status(ask: HeldAsk) -> napi::Result<String> {
    let answered = guarded(ask.realm.invocation(), || {
        let env: Option<Env> = ask.in_env.as_deref().map(str::parse).transpose()?;
        let ctx = ask.realm.context()?;
        let Some(mut daemon) = daemon::connect(&ctx)? else { return Ok("null".to_owned()) };
        let socket = daemon.place().socket();
        let holdings = daemon.status()?;
        let keys: Vec<Value> = holdings
            .keys
            .iter()
            .filter(|key| env.is_none_or(|env| key.slug.env() == env.as_str()))
            .map(held)
            .collect();
        let condition = holdings.condition.as_ref();
        let hardening: Vec<Value> = condition
            .map(|condition| condition.hardening.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|measure| match &measure.detail {
                Some(detail) => json!({ "name": measure.name, "on": measure.on, "detail": detail }),
                None => json!({ "name": measure.name, "on": measure.on }),
            })
            .collect();
        let answer = json!({
            "keys": keys,
            "owner": ctx.owner.name(),
            "socketPath": socket.display().to_string(),
            "boundary": condition.map(|condition| condition.boundary.to_string()),
            "memory": condition.map(|condition| condition.memory.clone()),
            "hardening": hardening,
        });
        Ok::<_, Fault>(answer.to_string())
    })?;
    Ok(answered.unwrap_or_else(|failure| failure))
}

fn held(key: &HeldKey) -> Value {
    json!({
        "slug": key.slug.as_str(),
        "env": key.slug.env(),
        "org": key.slug.org(),
        "grade": key.grade.map(|grade| {
            json!({ "protection": grade.protection.as_str(), "duration": grade.duration.as_str() })
        }),
        "source": key.source.as_ref().map(|source| {
            json!({ "vault": source.vault.as_str(), "mech": source.mech.as_str() })
        }),
        "expiresAt": key.expires_at_ms.map(iso::format_ms),
        "ttlLeftMs": key.left.map(keyrack_core::Life::as_ms),
    })
}

/// Erases keys: one, those of an env, or all. As JSON: `{relocked}`, or `{error}`.
#[napi]
pub fn relock(ask: HeldAsk) -> napi::Result<String> {
    let answered = guarded(ask.realm.invocation(), || {
        let what = match (ask.key.as_deref(), ask.in_env.as_deref()) {
            (Some(key), _) => RelockWhat::Slugs(vec![Slug::parse(key)?]),
            (None, Some(env)) => RelockWhat::Env(env.parse()?),
            (None, None) => RelockWhat::All,
        };
        let ctx = ask.realm.context()?;
        let mut relocked = match daemon::connect(&ctx)? {
            Some(mut daemon) => daemon.relock(&what)?.slugs,
            None => Vec::new(),
        };
        relocked.sort_unstable();
        let slugs: Vec<&str> = relocked.iter().map(Slug::as_str).collect();
        Ok::<_, Fault>(json!({ "relocked": slugs }).to_string())
    })?;
    Ok(answered.unwrap_or_else(|failure| failure))
}
