//! `source`: assigns keys to the variables of a process. The caller sets them.

use keyrack_client::get::{GetOptions, GetOutcome, KeyOutcome, unlock_all};
use keyrack_client::render::{Style, attempt};
use keyrack_client::source::limits::{FOR_ARGUMENTS, check_total, check_variable, counted, execution_limit};
use keyrack_client::source::{Assignments, SourceMode, Sourced, assign, sort};
use keyrack_core::{Attempt, Error, Slug};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::{Env, JsString};
use napi_derive::napi;
use serde_json::json;

use crate::attempts::{OnMissed, deliver_missed, text_value, warnings};
use crate::caches::read;
use crate::call_context::CallContext;
use crate::catch_panic::catch_panic;
use crate::get::{LookUp, Variable, answer, copy, scope, variables};

/// GetOptions of `source`.
#[napi(object, object_to_js = false)]
pub struct SourceRequest {
    /// The env.
    pub env: String,
    /// One key; every declared key if not given.
    pub key: Option<String>,
    /// Hand out long-lived tokens too.
    pub dangerous: bool,
    /// Fail if a key is missing and not waived.
    pub strict: bool,
    /// Replace variables that `source` did not set.
    pub r#override: bool,
    /// Variables that an earlier call set, with a NUL after each of them.
    pub ours: String,
    /// Bytes that the kernel counts of the caller's arguments and variables.
    pub occupied: u32,
}

/// Receives a variable to set: its name and its value.
type OnVariable<'env> = Function<'env, FnArgs<(String, JsString<'env>)>>;

/// Assigns keys to variables and delivers those to set. Returns JSON: `{sourced, kept, differing,
/// missing, warnings, notices}`; in strict mode, if a key is missing and not waived, `{failed,
/// report, warnings, unlockAll?}`, having delivered the attempts that failed (`unlockAll` is the
/// one command for several locked keys); or `{error}`.
#[napi]
pub fn source<'env>(
    env: &'env Env,
    context: String,
    deadline_ms: u32,
    request: SourceRequest,
    look_up: LookUp<'_>,
    on_variable: OnVariable<'env>,
    on_missed: OnMissed<'_>,
) -> napi::Result<String> {
    let context = CallContext::new(context, deadline_ms);
    let invocation = context.invocation();
    let result = catch_panic(
        || invocation,
        || {
            let scope = scope(request.key, None, Some(&request.env))?;
            let ctx = context.to_context()?;
            let options = GetOptions { allow_dangerous: request.dangerous, ..GetOptions::default() };
            let ours: Vec<String> = request.ours.split_terminator('\0').map(str::to_owned).collect();
            // A value that an earlier call set is not a source of keys.
            let outcome = answer(read(env, &ctx, &scope, options)?, &look_up, &ours)?;

            let warnings = warnings(&outcome, outcome.single, || invocation);
            let mode = if request.strict { SourceMode::Strict } else { SourceMode::Lenient };
            let mut notices = weaker(&outcome);
            let mut sourced = match sort(outcome, mode) {
                Ok(sourced) => sourced,
                Err(refused) => {
                    let hint = "mode: 'lenient' leaves out keys that are not granted";
                    let report = attempt::strict_failure(&refused.missing, hint, invocation, Style::PLAIN);
                    for answer in &refused.missing {
                        let KeyOutcome { attempt, note, waived, .. } = answer;
                        deliver_missed(&on_missed, invocation, attempt, note.clone(), *waived)?;
                    }
                    let mut members = json!({ "failed": true, "report": report, "warnings": warnings });
                    if let Some(all) = unlock_all(&refused.missing) {
                        members["unlockAll"] = all.render(invocation).into();
                    }
                    return Ok(members.to_string());
                }
            };
            let left_out = sourced.take_reserved(|_| true);
            notices.extend(left_out.iter().filter(|key| !key.ambient).map(|key| key.message.clone()));
            let too_large = take_too_large(&mut sourced, mode, &mut notices)?;
            let names = sourced.exports.iter().map(|export| export.name.clone()).collect();
            let slugs: Vec<(String, Slug)> =
                sourced.exports.iter().map(|export| (export.name.clone(), export.slug.clone())).collect();
            let values = variables(&look_up, names)?;
            let current = |name: &str| {
                values.iter().find(|(known, _)| known == name).and_then(|(_, value)| copy(value))
            };
            let is_ours = |name: &str| ours.iter().any(|ours| ours == name);
            let mut plan = assign(sourced, current, is_ours, request.r#override);

            plan.kept.extend(left_out.into_iter().map(|key| key.name));
            plan.missing.extend(too_large);
            check_size(&plan, &values, &slugs, request.occupied)?;

            for (name, secret) in plan.set {
                let Some((_, slug)) = slugs.iter().find(|(known, _)| *known == name) else { continue };
                let value = text_value(env, slug, secret)?;
                on_variable.call(FnArgs::from((name, value)))?;
            }
            Ok(json!({
                "sourced": plan.sourced,
                "kept": plan.kept,
                "differing": plan.differing,
                "missing": plan.missing,
                "warnings": warnings,
                "notices": notices,
            })
            .to_string())
        },
    )?;
    Ok(result.unwrap_or_else(|failure| failure))
}

/// Returns a notice for each value of the environment that is weaker than the minimum grade in
/// `keyrack.yml`.
fn weaker(outcome: &GetOutcome) -> Vec<String> {
    let weaker = outcome.keys.iter().filter_map(|answer| match (&answer.attempt, &answer.note) {
        (Attempt::Granted { grant, below_declared: true }, Some(note)) => {
            Some(format!("{}: {note}", grant.slug))
        }
        _ => None,
    });
    weaker.collect()
}

/// Removes the keys that are too large for a variable and returns their names. In strict mode the
/// first one is an error, else each gets a notice.
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
            // A value of the environment is not set again.
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

/// Checks that the process can still start a child once all variables are set.
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
