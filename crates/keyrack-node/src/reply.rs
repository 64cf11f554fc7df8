//! What goes back to JavaScript: everything but secrets as one JSON text, which becomes objects of the caller's own realm there, and the
//! secrets beside it, each copied once.

use keyrack_client::Secret;
use keyrack_client::get::{GetOutcome, KeyOutcome};
use keyrack_client::render;
use keyrack_client::render::json::{self, JsonWriter};
use keyrack_core::{Error, ErrorCode, Fix, Invocation, Slug};
use napi::bindgen_prelude::{BufferSlice, Either, JsObjectValue as _, Object};
use napi::{Env, JsString, Property};

use crate::catch_panic::CallError;

/// An answer that carries secrets.
pub(crate) struct Reply<'env> {
    /// Everything else but the tree.
    pub(crate) json: String,
    /// The tree for people, empty where there is none. Apart from the rest, because its lines and emoji would make a wide string of all of
    /// the JSON, which takes twice as long to read.
    pub(crate) stdout: String,
    /// The secrets of what is granted, in its order.
    pub(crate) secrets: Vec<Either<JsString<'env>, BufferSlice<'env>>>,
}

impl<'env> Reply<'env> {
    /// An answer without a secret.
    pub(crate) fn bare(json: String) -> Self {
        Reply { json, stdout: String::new(), secrets: Vec::new() }
    }

    /// The answer as JavaScript gets it: `json`, `stdout` and `secrets`, whose members are `0`, `1` and so on.
    ///
    /// Every member is defined. A member that is set, as napi's own conversions do, goes to a setter of that name on `Object.prototype`
    /// if there is one, and a secret with it.
    pub(crate) fn into_object(self, env: &'env Env) -> napi::Result<Object<'env>> {
        let mut members = Vec::new();
        for (at, secret) in self.secrets.into_iter().enumerate() {
            members.push(Property::new().with_utf8_name(&at.to_string())?.with_napi_value(env, secret)?);
        }
        let mut secrets = Object::new(env)?;
        secrets.define_properties(&members)?;
        let mut answer = Object::new(env)?;
        answer.define_properties(&[
            Property::new().with_utf8_name("json")?.with_napi_value(env, self.json)?,
            Property::new().with_utf8_name("stdout")?.with_napi_value(env, self.stdout)?,
            Property::new().with_utf8_name("secrets")?.with_value(&secrets),
        ])?;
        Ok(answer)
    }
}

/// Hands secrets over, as strings or as buffers. Each is wiped on this side when its copy is made.
pub(crate) fn hand_over<'env>(
    env: &'env Env,
    secrets: impl IntoIterator<Item = (Slug, Secret)>,
    as_buffers: bool,
) -> Result<Vec<Either<JsString<'env>, BufferSlice<'env>>>, CallError> {
    let mut values = Vec::new();
    for (slug, secret) in secrets {
        if as_buffers {
            values.push(Either::B(BufferSlice::copy_from(env, secret.expose())?));
            continue;
        }
        let text = std::str::from_utf8(secret.expose()).map_err(|_| no_text(&slug))?;
        values.push(Either::A(env.create_string(text)?));
    }
    Ok(values)
}

fn no_text(slug: &Slug) -> Error {
    let message = format!("the value of {slug} is no text, which a string cannot carry");
    Error::new(ErrorCode::Usage, message).of(slug).hint("ask for it with as: 'buffer'")
}

/// The attempts as a JSON array; their secrets have been taken out of them.
pub(crate) fn attempts(
    json: &mut JsonWriter,
    answers: &[KeyOutcome],
    invocation: Invocation,
) -> Result<(), Error> {
    let mut result = Ok(());
    json.array(|json| {
        for answer in answers {
            json.element();
            let written = json::attempt(json, answer, invocation);
            result = std::mem::replace(&mut result, Ok(())).and(written);
        }
    });
    result
}

/// What a caller should know besides, as a JSON array.
pub(crate) fn warnings(json: &mut JsonWriter, outcome: &GetOutcome, single: bool, invocation: Invocation) {
    let legacy = outcome.legacy_daemon.then(|| {
        let message =
            "the daemon is that of an older TypeScript keyrack, which cannot tell strangers from you";
        Error::new(ErrorCode::DaemonLegacy, message).fix(Fix::command(["daemon", "restart"]))
    });
    // What is wrong with other entries of keyrack.yml does not touch one key.
    let faults = outcome.manifest_faults.iter().filter(|_| !single);
    json.array(|json| {
        for error in legacy.iter().chain(&outcome.daemon_error).chain(faults) {
            json.element();
            json.plain(&render::error::value(error, invocation).to_string());
        }
    });
}

/// The text of what was written, which holds no secret.
pub(crate) fn text(json: JsonWriter) -> Result<String, Error> {
    String::from_utf8(json.into_bytes().to_vec())
        .map_err(|_| Error::new(ErrorCode::Internal, "an answer was written that is no text"))
}
