//! `source`: which variables a process has to set so that it has its keys. Nothing is set here.

use keyrack_client::get::{Options, Plan, read, unlock_all};
use keyrack_client::render::json::JsonWriter;
use keyrack_client::render::{attempt, look::Look};
use keyrack_client::source::{Mode, assign, sort};
use keyrack_core::Slug;
use napi::Env;
use napi_derive::napi;

use crate::answer::{Answer, attempts, hand_over, text, warnings};
use crate::get::{LookUp, answer, copy, scope, variables};
use crate::guard::guarded;
use crate::realm::Realm;

/// What is asked.
#[napi(object, object_to_js = false)]
pub struct SourceAsk {
    /// Where from.
    pub realm: Realm,
    /// The env.
    pub in_env: String,
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
}

/// Sorts keys into variables. The answer's JSON is `{set, sourced, kept, differing, missing, warnings}`, with a secret for each of `set`; in
/// strict mode `{failed, report, warnings, unlockAll?}` when a key is missing that is needed, with the one command for all that are locked
/// if they are several; or `{error}`.
#[napi]
pub fn source<'env>(env: &'env Env, ask: SourceAsk, look_up: LookUp<'_>) -> napi::Result<Answer<'env>> {
    let invocation = ask.realm.invocation();
    let answered = guarded(invocation, || {
        let scope = scope(ask.key, None, Some(&ask.in_env))?;
        let ctx = ask.realm.context()?;
        let options = Options { allow_dangerous: ask.dangerous, ..Options::default() };
        // What an earlier call put into a variable is no source of keys.
        let outcome = answer(read(&ctx, Plan::of(&ctx, &scope)?, options), &look_up, &ask.ours)?;

        let mut told = JsonWriter::new();
        warnings(&mut told, &outcome, outcome.single, invocation);
        let told = text(told)?;
        let mut json = JsonWriter::new();
        let mode = if ask.strict { Mode::Strict } else { Mode::Lenient };
        let sourced = match sort(outcome, mode) {
            Ok(sourced) => sourced,
            Err(refused) => {
                let hint = "mode: 'lenient' takes what there is";
                let report = attempt::strict_failure(&refused.missing, hint, invocation, Look::PLAIN);
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
                return Ok(Answer::bare(text(json)?));
            }
        };
        let names = sourced.exports.iter().map(|export| export.name.clone()).collect();
        let slugs: Vec<(String, Slug)> =
            sourced.exports.iter().map(|export| (export.name.clone(), export.slug.clone())).collect();
        let current = variables(&look_up, names)?;
        let current =
            |name: &str| current.iter().find(|(known, _)| known == name).and_then(|(_, value)| copy(value));
        let plan = assign(sourced, current, |name| ask.ours.iter().any(|ours| ours == name), ask.r#override);

        let set: Vec<String> = plan.set.iter().map(|(name, _)| name.clone()).collect();
        let slug_of =
            |name: &str| slugs.iter().find(|(known, _)| known == name).map(|(_, slug)| slug.clone());
        let taken = plan.set.into_iter().filter_map(|(name, secret)| Some((slug_of(&name)?, secret)));
        let secrets = hand_over(env, taken, false)?;
        json.object(|json| {
            json.name("warnings");
            json.plain(&told);
            for (member, names) in [
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
        Ok(Answer { json: text(json)?, stdout: String::new(), secrets })
    })?;
    Ok(answered.unwrap_or_else(Answer::bare))
}
