//! `get --unlock`: reads keys, unlocks exactly those that are locked, and reads again. The reason
//! for which a key cannot be unlocked is recorded with the key.

use keyrack_client::get::{self, GetOptions, GetOutcome, Scope};
use keyrack_core::{Attempt, Error, Slug};

use crate::context::{OpContext, is_interrupted};
use crate::unlock::unlock_locked;

/// Result of a read that may unlock.
#[derive(Debug)]
pub struct GetReport {
    /// Outcome of the read.
    pub outcome: GetOutcome,
    /// The pid of the daemon, if it had to be started.
    pub started: Option<u32>,
    /// Errors that kept keys locked.
    pub causes: Vec<Error>,
}

/// Reads keys and unlocks those that are locked. Absent and blocked keys stay so.
///
/// # Errors
/// Those of [`get::get`]; [`keyrack_core::ErrorCode::Interrupted`]. The error of a key that cannot
/// be unlocked is in the outcome.
pub fn get_or_unlock(ctx: &OpContext<'_>, scope: &Scope, options: GetOptions) -> Result<GetReport, Error> {
    let outcome = get::get(&ctx.client, scope, options)?;
    let locked: Vec<Slug> = outcome
        .keys
        .iter()
        .filter(|answer| matches!(answer.attempt, Attempt::Locked { .. }))
        .map(|answer| answer.attempt.slug().clone())
        .collect();
    if locked.is_empty() {
        return Ok(GetReport { outcome, started: None, causes: Vec::new() });
    }
    let (started, causes, of) = match unlock_locked(ctx, &locked, options.allow_dangerous) {
        Ok(report) => {
            let with_cause =
                report.omitted.into_iter().filter_map(|omitted| Some((omitted.slug, omitted.cause?)));
            (report.started, with_cause.collect(), None)
        }
        Err(error) if is_interrupted(&error) => return Err(error),
        Err(error) => (None, Vec::new(), Some(error)),
    };
    let mut outcome = get::get(&ctx.client, scope, options)?;
    for answer in &mut outcome.keys {
        let Attempt::Locked { slug, fix, .. } = &mut answer.attempt else { continue };
        let own =
            causes.iter().find(|(stored, _): &&(Slug, Error)| stored.answers(slug)).map(|(_, cause)| cause);
        let Some(cause) = own.or(of.as_ref()) else { continue };
        let hint = cause.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        answer.note = Some(format!("cannot unlock it: {}{hint}", cause.message));
        if cause.fix.is_some() {
            fix.clone_from(&cause.fix);
        }
    }
    let causes = causes.into_iter().map(|(_, cause)| cause).chain(of).collect();
    Ok(GetReport { outcome, started, causes })
}
