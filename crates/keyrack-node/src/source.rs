//! `source`: which variables a process has to set so that it has its keys. Nothing is set here.

use keyrack_client::get::GetOutcome;
use keyrack_client::get::{GetOptions, GetPlan, read, unlock_all};
use keyrack_client::render::json::JsonWriter;
use keyrack_client::render::{Style, attempt};
use keyrack_client::source::limits::{FOR_ARGUMENTS, check_total, check_variable, counted, execution_limit};
use keyrack_client::source::{Assignments, SourceMode, Sourced, assign, sort};
use keyrack_core::{Attempt, Error, Slug};
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::call_context::CallContext;
use crate::catch_panic::catch_panic;
use crate::get::{LookUp, Variable, answer, copy, scope, variables};
use crate::reply::{Reply, attempts, hand_over, text, warnings};

/// What is asked.
#[napi(object, object_to_js = false)]
pub struct SourceRequest {
    /// Where from.
    pub context: CallContext,
    /// The env.
    pub env: String,
    /// One key; every declared key when not given.
    pub key: Option<String>,
    /// Whether long-lived tokens may pass.
    pub dangerous: bool,
    /// Whether a key that is missing and needed stops everything.
    pub strict: bool,
    /// Whether variables that somebody else set are replaced.
    pub r#override: bool,
    /// The variables that hold what an earlier call set.
    pub ours: Vec<String>,
    /// Bytes that the kernel counts of the realm's arguments and variables.
    pub occupied: u32,
}

/// Sorts keys into variables. The answer's JSON is `{set, sourced, kept, differing, missing, warnings, notices}`, with a secret for each of `set`; in
/// strict mode `{failed, report, warnings, unlockAll?}` when a key is missing that is needed, with the one command for all that are locked
/// if they are several; or `{error}`.
#[napi]
pub fn source<'env>(
    env: &'env Env,
    request: SourceRequest,
    look_up: LookUp<'_>,
) -> napi::Result<Object<'env>> {
    let invocation = request.context.invocation();
    let answered = catch_panic(invocation, || {
        let scope = scope(request.key, None, Some(&request.env))?;
        let ctx = request.context.context()?;
        let options = GetOptions { allow_dangerous: request.dangerous, ..GetOptions::default() };
        // What an earlier call put into a variable is no source of keys.
        let outcome = answer(read(&ctx, GetPlan::of(&ctx, &scope)?, options), &look_up, &request.ours)?;

        let mut told = JsonWriter::new();
        warnings(&mut told, &outcome, outcome.single, invocation);
        let told = text(told)?;
        let mut json = JsonWriter::new();
        let mode = if request.strict { SourceMode::Strict } else { SourceMode::Lenient };
        let mut notices = weaker(&outcome);
        let mut sourced = match sort(outcome, mode) {
            Ok(sourced) => sourced,
            Err(refused) => {
                let hint = "mode: 'lenient' takes what there is";
                let report = attempt::strict_failure(&refused.missing, hint, invocation, Style::PLAIN);
                let mut written = Ok(());
                json.object(|json| {
                    json.name("failed");
                    written = attempts(json, &refused.missing, invocation);
                    json.member("report", &report);
                    if let Some(all) = unlock_all(&refused.missing) {
                        json.member("unlockAll", &all.render(invocation));
                    }
                    json.name("warnings");
                    json.plain(&told);
                });
                written?;
                return Ok(Reply::bare(text(json)?));
            }
        };
        let left_out = sourced.take_reserved(|_| true);
        notices.extend(left_out.iter().filter(|key| !key.ambient).map(|key| key.message.clone()));
        let too_large = take_too_large(&mut sourced, mode, &mut notices)?;
        let names = sourced.exports.iter().map(|export| export.name.clone()).collect();
        let slugs: Vec<(String, Slug)> =
            sourced.exports.iter().map(|export| (export.name.clone(), export.slug.clone())).collect();
        let values = variables(&look_up, names)?;
        let current =
            |name: &str| values.iter().find(|(known, _)| known == name).and_then(|(_, value)| copy(value));
        let mut plan =
            assign(sourced, current, |name| request.ours.iter().any(|ours| ours == name), request.r#override);

        plan.kept.extend(left_out.into_iter().map(|key| key.name));
        plan.missing.extend(too_large);
        check_size(&plan, &values, &slugs, request.occupied)?;

        let set: Vec<String> = plan.set.iter().map(|(name, _)| name.clone()).collect();
        let slug_of =
            |name: &str| slugs.iter().find(|(known, _)| known == name).map(|(_, slug)| slug.clone());
        let taken = plan.set.into_iter().filter_map(|(name, secret)| Some((slug_of(&name)?, secret)));
        let secrets = hand_over(env, taken, false)?;
        json.object(|json| {
            json.name("warnings");
            json.plain(&told);
            for (member, names) in [
                ("notices", &notices),
                ("set", &set),
                ("sourced", &plan.sourced),
                ("kept", &plan.kept),
                ("differing", &plan.differing),
                ("missing", &plan.missing),
            ] {
                json.name(member);
                json.array(|json| {
                    for name in names {
                        json.element();
                        json.text(name);
                    }
                });
            }
        });
        Ok(Reply { json: text(json)?, stdout: String::new(), secrets })
    })?;
    answered.unwrap_or_else(Reply::bare).into_object(env)
}

/// A notice for each value that the environment has in place of a key of a stronger grade.
fn weaker(outcome: &GetOutcome) -> Vec<String> {
    let weaker = outcome.keys.iter().filter_map(|answer| match (&answer.attempt, &answer.note) {
        (Attempt::Granted { grant, below_declared: true }, Some(note)) => {
            Some(format!("{}: {note}", grant.slug))
        }
        _ => None,
    });
    weaker.collect()
}

/// Takes out the keys that are too large for a variable: in strict mode they are an error, else
/// they are noticed and their names returned.
fn take_too_large(
    sourced: &mut Sourced,
    mode: SourceMode,
    notices: &mut Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut kept = Vec::new();
    for export in std::mem::take(&mut sourced.exports) {
        match check_variable(&export) {
            Ok(()) => kept.push(export),
            // What is in the environment already is not set.
            Err(_) if export.ambient => kept.push(export),
            Err(error) if mode == SourceMode::Strict => return Err(error),
            Err(error) => {
                let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
                notices.push(format!("{}{hint}", error.message));
                names.push(export.name);
            }
        }
    }
    sourced.exports = kept;
    Ok(names)
}

/// Checks that a child of the process can still be started when all is set.
fn check_size(
    plan: &Assignments,
    current: &[Variable],
    slugs: &[(String, Slug)],
    occupied: u32,
) -> Result<(), Error> {
    if plan.set.is_empty() {
        return Ok(());
    }
    let replaced = current.iter().filter(|(name, _)| plan.set.iter().any(|(set, _)| set == name));
    let replaced = replaced.filter_map(|(name, value)| Some(counted(name.len(), value.as_ref()?.len())));
    let added = plan.set.iter().map(|(name, secret)| counted(name.len(), secret.expose().len()));
    let occupied = usize::try_from(occupied).expect("32 bits fit");
    let total = (occupied + FOR_ARGUMENTS + added.sum::<usize>()).saturating_sub(replaced.sum());
    let sizes = plan.set.iter().filter_map(|(name, secret)| {
        let (_, slug) = slugs.iter().find(|(known, _)| known == name)?;
        Some((slug, secret.expose().len()))
    });
    check_total(total, execution_limit(), sizes)
}
