//! `status` and `relock`: lists and erases the keys that the daemon of the caller's login session
//! holds. Never a secret.

use keyrack_client::relock::erase;
use keyrack_client::render;
use keyrack_client::session::RelockTarget;
use keyrack_client::status::status as read_status;
use keyrack_core::{Env, Slug};
use napi_derive::napi;
use serde_json::json;

use crate::call_context::CallContext;
use crate::catch_panic::{CallError, catch_panic};

/// Returns the daemon's status as JSON: `null` without a daemon, or `{error}`. `env` limits it to
/// the keys of one env.
#[napi]
pub fn status(context: String, deadline_ms: u32, env: Option<String>) -> napi::Result<String> {
    let context = CallContext::new(context, deadline_ms);
    let status = catch_panic(
        || context.invocation(),
        || {
            let env: Option<Env> = env.as_deref().map(str::parse).transpose()?;
            let ctx = context.to_context()?;
            let mut value = render::status::status_value(&read_status(&ctx)?, Vec::new(), env);
            // To name the recipients, the host manifest would have to be opened, which only the
            // changing commands may do.
            if let Some(members) = value.as_object_mut() {
                members.remove("recipients");
            }
            Ok::<_, CallError>(value.to_string())
        },
    )?;
    Ok(status.unwrap_or_else(|failure| failure))
}

/// Erases one key (by its full slug), the keys of an env, or all. Returns `{relocked}` or `{error}`
/// as JSON.
#[napi]
pub fn relock(
    context: String,
    deadline_ms: u32,
    env: Option<String>,
    key: Option<String>,
) -> napi::Result<String> {
    let context = CallContext::new(context, deadline_ms);
    let relocked = catch_panic(
        || context.invocation(),
        || {
            let what = match (key.as_deref(), env.as_deref()) {
                (Some(key), _) => RelockTarget::Slugs(vec![Slug::parse(key)?]),
                (None, Some(env)) => RelockTarget::Env(env.parse()?),
                (None, None) => RelockTarget::All,
            };
            let ctx = context.to_context()?;
            let relocked = erase(&ctx, &what)?.relocked.slugs;
            let slugs: Vec<&str> = relocked.iter().map(Slug::as_str).collect();
            Ok::<_, CallError>(json!({ "relocked": slugs }).to_string())
        },
    )?;
    Ok(relocked.unwrap_or_else(|failure| failure))
}
