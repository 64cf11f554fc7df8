//! What goes back to JavaScript: everything but secrets as one JSON text, which becomes objects of the caller's own realm there, and the
//! secrets beside it, each copied once.

use keyrack_client::Secret;
use keyrack_client::get::{Answer as Answered, Outcome};
use keyrack_client::render;
use keyrack_client::render::json::{self, JsonWriter};
use keyrack_core::{ErrorCode, Fix, Invocation, Problem, Slug};
use napi::bindgen_prelude::{BufferSlice, Either};
use napi::{Env, JsString};
use napi_derive::napi;

use crate::guard::Fault;

/// An answer that carries secrets.
#[napi(object, object_from_js = false)]
pub struct Answer<'env> {
    /// Everything else but the tree.
    pub json: String,
    /// The tree for people, empty where there is none. Apart from the rest, because its lines and emoji would make a wide string of all of
    /// the JSON, which takes twice as long to read.
    pub stdout: String,
    /// The secrets of what is granted, in its order.
    pub secrets: Vec<Either<JsString<'env>, BufferSlice<'env>>>,
}

impl<'env> Answer<'env> {
    /// An answer without a secret.
    pub(crate) fn bare(json: String) -> Self {
        Answer { json, stdout: String::new(), secrets: Vec::new() }
    }
}

/// Hands secrets over, as strings or as buffers. Each is wiped on this side when its copy is made.
pub(crate) fn hand_over<'env>(
    env: &'env Env,
    secrets: impl IntoIterator<Item = (Slug, Secret)>,
    as_buffers: bool,
) -> Result<Vec<Either<JsString<'env>, BufferSlice<'env>>>, Fault> {
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

fn no_text(slug: &Slug) -> Problem {
    let message = format!("the value of {slug} is no text, which a string cannot carry");
    Problem::new(ErrorCode::Usage, message).of(slug).hint("ask for it with as: 'buffer'")
}

/// The attempts as a JSON array; their secrets have been taken out of them.
pub(crate) fn attempts(
    json: &mut JsonWriter,
    answers: &[Answered],
    invocation: Invocation,
) -> Result<(), Problem> {
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
pub(crate) fn warnings(json: &mut JsonWriter, outcome: &Outcome, single: bool, invocation: Invocation) {
    let legacy = outcome.legacy_daemon.then(|| {
        let message =
            "the daemon is that of an older TypeScript keyrack, which cannot tell strangers from you";
        Problem::new(ErrorCode::DaemonLegacy, message).fix(Fix::command(["daemon", "restart"]))
    });
    // What is wrong with other entries of keyrack.yml does not touch one key.
    let faults = outcome.manifest_faults.iter().filter(|_| !single);
    json.array(|json| {
        for problem in legacy.iter().chain(&outcome.daemon_problem).chain(faults) {
            json.element();
            json.plain(&render::problem::value(problem, invocation).to_string());
        }
    });
}

/// The text of what was written, which holds no secret.
pub(crate) fn text(json: JsonWriter) -> Result<String, Problem> {
    String::from_utf8(json.into_bytes().to_vec())
        .map_err(|_| Problem::new(ErrorCode::Internal, "an answer was written that is no text"))
}
