//! `get`: the daemon first, then the variables of the caller's realm, which it is asked for by a function it gives.

use keyrack_client::Secret;
use keyrack_client::get::{GetOptions, GetPlan, PendingGet, Scope, read};
use keyrack_client::render::json::JsonWriter;
use keyrack_client::render::{Style, attempt};
use keyrack_core::{Error, Org};
use napi::Env;
use napi::bindgen_prelude::{Function, Object};
use napi_derive::napi;
use zeroize::Zeroizing;

use crate::call_context::CallContext;
use crate::catch_panic::{CallError, catch_panic};
use crate::reply::{Reply, attempts, hand_over, text, warnings};

/// What is asked.
#[napi(object, object_to_js = false)]
pub struct GetRequest {
    /// Where from.
    pub context: CallContext,
    /// One key; every key of the repository when neither this nor `keys` is given.
    pub key: Option<String>,
    /// Several keys, each with its own attempt, in this order.
    pub keys: Option<Vec<String>>,
    /// The env.
    pub env: Option<String>,
    /// The org of the key.
    pub org: Option<String>,
    /// Whether long-lived tokens may pass.
    pub dangerous: bool,
    /// Whether secrets are wanted as buffers rather than strings.
    pub buffer: bool,
    /// Whether the tree may have ANSI colors.
    pub color: bool,
}

/// Gives the values of variables, `null` for those not set. Their names come as one text with a NUL between them: an array's members would be
/// set, and go to setters on `Object.prototype` if there are any.
pub(crate) type LookUp<'env> = Function<'env, String, Vec<Option<String>>>;

/// Reads keys. The answer's JSON is `{attempts, warnings}`, or `{error}`.
#[napi]
pub fn get<'env>(env: &'env Env, request: GetRequest, look_up: LookUp<'_>) -> napi::Result<Object<'env>> {
    let invocation = request.context.invocation();
    let answered = catch_panic(invocation, || {
        let scope = match request.keys {
            Some(asks) => Scope::Keys { asks, org: Org::This, env: None },
            None => scope(request.key, request.org.as_deref(), request.env.as_deref())?,
        };
        let ctx = request.context.context()?;
        let options = GetOptions { allow_dangerous: request.dangerous, ..GetOptions::default() };
        let pending = read(&ctx, GetPlan::of(&ctx, &scope)?, options);
        let mut outcome = answer(pending, &look_up, &[])?;

        let look = Style { color: request.color, ..Style::PLAIN };
        let stdout = attempt::answers(&outcome.keys, invocation, look);
        let taken: Vec<_> = outcome
            .keys
            .iter_mut()
            .filter_map(|answer| Some((answer.attempt.slug().clone(), answer.secret.take()?)))
            .collect();
        let secrets = hand_over(env, taken, request.buffer)?;
        let mut json = JsonWriter::new();
        let mut written = Ok(());
        json.object(|json| {
            json.name("attempts");
            written = attempts(json, &outcome.keys, invocation);
            json.name("warnings");
            warnings(json, &outcome, outcome.single, invocation);
        });
        written?;
        Ok(Reply { json: text(json)?, stdout, secrets })
    })?;
    answered.unwrap_or_else(Reply::bare).into_object(env)
}

/// What the words of a call mean.
pub(crate) fn scope(key: Option<String>, org: Option<&str>, env: Option<&str>) -> Result<Scope, Error> {
    let env = env.map(str::parse).transpose()?;
    Ok(match key {
        Some(ask) => Scope::Key { ask, org: org.map_or(Ok(Org::This), str::parse)?, env },
        None => Scope::Repo { env },
    })
}

/// The second step of a read: asks the realm for the variables that matter, but for those in `except`, and judges everything.
pub(crate) fn answer(
    pending: PendingGet<'_>,
    look_up: &LookUp<'_>,
    except: &[String],
) -> Result<keyrack_client::get::GetOutcome, CallError> {
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

/// The values of variables, in one call into JavaScript; none at all when none is wanted.
pub(crate) fn variables(look_up: &LookUp<'_>, names: Vec<String>) -> Result<Vec<Variable>, CallError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let values = look_up.call(names.join("\0"))?.into_iter().map(|value| value.map(Zeroizing::new));
    Ok(names.into_iter().zip(values).collect())
}

/// A value as the client takes it.
pub(crate) fn copy(value: &Option<Zeroizing<String>>) -> Option<Secret> {
    value.as_ref().map(|value| Secret::copy_of(value.as_bytes()))
}
