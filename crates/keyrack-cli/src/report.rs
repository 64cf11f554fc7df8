//! How a failure is told: what happened, to which key, and the command that mends it. On stderr, as a tree for people or, under
//! `--json`, as one line of JSON for programs: always the last line, always an object with the one member `error`.

use keyrack_client::render::Look;
use keyrack_client::render::problem;
use keyrack_client::render::text::clean;
use keyrack_core::{ErrorCode, Invocation, Problem};
use serde_json::{Value, json};

use crate::output;

/// Tells a failure and returns the exit code that goes with it. `command` are the words of the command that failed.
pub(crate) fn failure(
    failed: &Problem,
    command: &str,
    invocation: Invocation,
    as_json: bool,
    look: Look,
) -> u8 {
    let text = match (as_json, &failed.code) {
        (true, _) => format!("{}\n", json!({ "error": machine(failed, invocation) })),
        // The terminal has seen the ^C and the newline already.
        (false, ErrorCode::Interrupted) => String::new(),
        (false, _) => problem::report(format!("keyrack {command}").trim_end(), failed, invocation, look),
    };
    output::tell(&text);
    failed.exit()
}

/// A failure as the JSON object that programs read, its exit code included.
pub(crate) fn machine(failed: &Problem, invocation: Invocation) -> Value {
    let mut object = problem::value(failed, invocation);
    if let Value::Object(members) = &mut object {
        members.insert("exit".to_owned(), failed.exit().into());
    }
    object
}

/// Tells something on the way that is no failure: a line for people, or one of JSON with the one member `notice` for programs.
pub(crate) fn notice(text: &str, as_json: bool) {
    let line = if as_json { json!({ "notice": text }).to_string() } else { clean(text) };
    output::tell(&format!("{line}\n"));
}

/// The same for a problem that stopped nothing, with its way out.
pub(crate) fn warning(problem: &Problem, invocation: Invocation, as_json: bool) {
    let more =
        [problem.hint.clone(), problem.fix.as_ref().map(|fix| format!("fix: {}", fix.render(invocation)))];
    let parts: Vec<_> = [Some(problem.message.clone())].into_iter().chain(more).flatten().collect();
    notice(&parts.join("; "), as_json);
}

#[cfg(test)]
mod tests {
    use keyrack_core::{Fix, Owner, Slug};

    use super::*;

    #[test]
    fn programs_get_the_exit_code_too() {
        let slug = Slug::parse("acme.test.K").unwrap();
        let problem =
            Problem::new(ErrorCode::NoIdentity, "no").of(&slug).fix(Fix::unlock(&Owner::DEFAULT, &slug));
        let object = machine(&problem, Invocation::NPX);
        assert_eq!(object["code"], "no_identity");
        assert_eq!(object["exit"], 2);
        assert_eq!(object["fix"], "npx keyrack unlock --env test --key K");
    }
}
