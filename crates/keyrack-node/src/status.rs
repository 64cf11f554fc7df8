//! `status` and `relock`: what the daemon of the caller's login session holds, and the end of it. Never a secret.

use keyrack_client::relock::erase;
use keyrack_client::render;
use keyrack_client::session::RelockScope;
use keyrack_client::status::status as look;
use keyrack_core::{Env, Slug};
use napi_derive::napi;
use serde_json::json;

use crate::call_context::CallContext;
use crate::catch_panic::{CallError, catch_panic};

/// What is asked.
#[napi(object, object_to_js = false)]
pub struct StatusRequest {
    /// Where from.
    pub context: CallContext,
    /// Only keys of this env.
    pub env: Option<String>,
    /// Only this key, by its full slug.
    pub key: Option<String>,
}

/// What is held, as JSON: `null` without a daemon, or `{error}`.
#[napi]
pub fn status(request: StatusRequest) -> napi::Result<String> {
    let answered = catch_panic(request.context.invocation(), || {
        let env: Option<Env> = request.env.as_deref().map(str::parse).transpose()?;
        let ctx = request.context.context()?;
        let mut value = render::status::status_value(&look(&ctx)?, Vec::new(), env);
        // Naming the recipients would take opening the host manifest, which only the changing commands may do.
        if let Some(members) = value.as_object_mut() {
            members.remove("recipients");
        }
        Ok::<_, CallError>(value.to_string())
    })?;
    Ok(answered.unwrap_or_else(|failure| failure))
}

/// Erases keys: one, those of an env, or all. As JSON: `{relocked}`, or `{error}`.
#[napi]
pub fn relock(request: StatusRequest) -> napi::Result<String> {
    let answered = catch_panic(request.context.invocation(), || {
        let what = match (request.key.as_deref(), request.env.as_deref()) {
            (Some(key), _) => RelockScope::Slugs(vec![Slug::parse(key)?]),
            (None, Some(env)) => RelockScope::Env(env.parse()?),
            (None, None) => RelockScope::All,
        };
        let ctx = request.context.context()?;
        let relocked = erase(&ctx, &what)?.relocked.slugs;
        let slugs: Vec<&str> = relocked.iter().map(Slug::as_str).collect();
        Ok::<_, CallError>(json!({ "relocked": slugs }).to_string())
    })?;
    Ok(answered.unwrap_or_else(|failure| failure))
}
