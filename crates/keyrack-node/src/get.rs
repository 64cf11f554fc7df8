//! `get`: reads keys from the daemon, then from the caller's environment, through a function that
//! the caller passes.

use keyrack_client::Secret;
use keyrack_client::get::{GetOptions, GetOutcome, PendingGet, Scope};
use keyrack_core::layout::variables::{INVOKED_AS, STRICT_ENV};
use keyrack_core::{Error, Invocation, Org};
use napi::Env;
use napi::bindgen_prelude::Function;
use napi_derive::napi;
use serde_json::json;
use zeroize::Zeroizing;

use crate::attempts::{AttemptSink, OnGranted, OnMissed, warnings};
use crate::caches::read;
use crate::call_context::CallContext;
use crate::catch_panic::{CallError, catch_panic};

/// Looks variables up: returns their values, `null` for those that are not set. Gets their names as
/// one text with a NUL between them, because the members of an array would be set, and go to
/// setters on `Object.prototype`.
pub(crate) type LookUp<'env> = Function<'env, String, Vec<Option<String>>>;

/// The option `allow.dangerous`.
const ALLOW_DANGEROUS: u32 = 1;
/// Secrets as buffers instead of strings.
const AS_BUFFERS: u32 = 2;
/// Several keys, each with its own attempt, instead of one.
const SEVERAL: u32 = 4;

/// Reads keys and delivers their attempts. Returns `null`, or JSON: `{warnings}` or `{error}`.
///
/// `keys` has the env and the org (empty if not given), then each key, with a NUL between them; no
/// key means all keys that the repository declares.
#[napi]
#[allow(clippy::too_many_arguments, reason = "each member of an object would cost a call into Node")]
pub fn get<'env>(
    env: &'env Env,
    context: String,
    deadline_ms: u32,
    keys: String,
    flags: u32,
    look_up: LookUp<'_>,
    on_granted: OnGranted<'env>,
    on_missed: OnMissed<'env>,
) -> napi::Result<Option<String>> {
    let context = CallContext::new(context, deadline_ms);
    let invocation = || invocation(&look_up);
    let result = catch_panic(invocation, || {
        let scope = parse_keys(&keys, flags & SEVERAL != 0)?;
        let ctx = context.to_context()?;
        let options = GetOptions { allow_dangerous: flags & ALLOW_DANGEROUS != 0, ..GetOptions::default() };
        let mut pending = read(env, &ctx, &scope, options)?;
        if !pending.names().is_empty() {
            let (name, values) = (STRICT_ENV.to_owned(), look_up.call(STRICT_ENV.to_owned())?);
            pending.add_variables(values.into_iter().flatten().map(|value| (name.clone(), value)));
        }
        let outcome = answer(pending, &look_up, &[])?;
        let warnings = warnings(&outcome, outcome.single, invocation);
        let as_buffers = flags & AS_BUFFERS != 0;
        // A granted key has no fix, so that most reads need not look this up.
        let invocation = if outcome.all_granted() { Invocation::NPX } else { invocation() };
        let sink =
            AttemptSink { env, invocation, as_buffers, on_granted: &on_granted, on_missed: &on_missed };
        sink.deliver(outcome.keys)?;
        Ok((!warnings.is_empty()).then(|| json!({ "warnings": warnings }).to_string()))
    })?;
    Ok(result.unwrap_or_else(Some))
}

fn parse_keys(keys: &str, several: bool) -> Result<Scope, Error> {
    let mut fields = keys.split('\0');
    let mut option = || fields.next().filter(|option| !option.is_empty());
    let (env, org) = (option(), option());
    if several {
        return Ok(Scope::Keys { asks: fields.map(str::to_owned).collect(), org: Org::This, env: None });
    }
    scope(fields.next().map(str::to_owned), org, env)
}

/// Looks up how keyrack was called, for the commands that errors suggest.
fn invocation(look_up: &LookUp<'_>) -> Invocation {
    let claim =
        look_up.call(INVOKED_AS.to_owned()).ok().and_then(|values| values.into_iter().next().flatten());
    Invocation::claimed(claim.as_deref(), Invocation::NPX)
}

/// Returns the scope of a call that names a key, or all keys of the repository.
pub(crate) fn scope(key: Option<String>, org: Option<&str>, env: Option<&str>) -> Result<Scope, Error> {
    let env = env.map(str::parse).transpose()?;
    Ok(match key {
        Some(ask) => Scope::Key { ask, org: org.map_or(Ok(Org::This), str::parse)?, env },
        None => Scope::Repo { env },
    })
}

/// Takes the second step of a read: looks up the variables that matter, except those in `except`,
/// and evaluates every key.
pub(crate) fn answer(
    pending: PendingGet<'_>,
    look_up: &LookUp<'_>,
    except: &[String],
) -> Result<GetOutcome, CallError> {
    let names: Vec<String> = pending
        .names()
        .into_iter()
        .filter(|name| !except.iter().any(|not| not == name))
        .map(str::to_owned)
        .collect();
    let mut values = variables(look_up, names)?;
    Ok(pending.answer(|name| {
        values.iter_mut().find(|(known, _)| known == name).and_then(|(_, value)| copy(value))
    })?)
}

/// A variable's name and its value.
pub(crate) type Variable = (String, Option<Zeroizing<String>>);

/// Returns the values of variables, with one call into JavaScript, or none if no variable is named.
pub(crate) fn variables(look_up: &LookUp<'_>, names: Vec<String>) -> Result<Vec<Variable>, CallError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let values = look_up.call(names.join("\0"))?.into_iter().map(|value| value.map(Zeroizing::new));
    Ok(names.into_iter().zip(values).collect())
}

/// Copies a value for the client.
pub(crate) fn copy(value: &Option<Zeroizing<String>>) -> Option<Secret> {
    value.as_ref().map(|value| Secret::copy_of(value.as_bytes()))
}
