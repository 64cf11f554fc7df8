//! Errors, warnings and notices on stderr.
//!
//! An error is a tree for people or, under `--json`, one line of JSON for programs: always the last
//! line, always an object with the one member `error`.

use keyrack_client::render::error;
use keyrack_client::render::tree::paragraph_with_role;
use keyrack_client::render::{Role, Style};
use keyrack_core::display::clean;
use keyrack_core::{Error, ErrorCode, Invocation};
use serde_json::{Value, json};

use crate::output;

/// Prints an error and returns its exit code. `command` is the command that failed, without flags.
pub(crate) fn failure(
    failed: &Error,
    command: &str,
    invocation: Invocation,
    as_json: bool,
    style: Style,
) -> u8 {
    let text = match (as_json, &failed.code) {
        (true, _) => format!("{}\n", json!({ "error": to_json(failed, invocation) })),
        // The terminal shows ^C and a newline already.
        (false, ErrorCode::Interrupted) => String::new(),
        (false, _) => error::report(format!("keyrack {command}").trim_end(), failed, invocation, style),
    };
    output::eprint(&text);
    failed.exit()
}

/// Encodes an error as the JSON object that programs read, with its exit code.
pub(crate) fn to_json(failed: &Error, invocation: Invocation) -> Value {
    let mut object = error::value(failed, invocation);
    if let Value::Object(members) = &mut object {
        members.insert("exit".to_owned(), failed.exit().into());
    }
    object
}

/// Prints a notice: a line for people, or a JSON object with the one member `notice` for programs.
pub(crate) fn notice(text: &str, as_json: bool, style: Style) {
    output::eprint(&line(text, None, Role::Quiet, as_json, style));
}

/// Prints an error that did not stop the command, with its hint and fix, in the form of a notice.
pub(crate) fn warning(error: &Error, invocation: Invocation, as_json: bool, style: Style) {
    let hint = error.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
    let fix = error.fix.as_ref().map(|fix| fix.render(invocation));
    output::eprint(&line(&format!("{}{hint}", error.message), fix.as_deref(), Role::Warn, as_json, style));
}

/// Formats a notice. The fix is never wrapped: where lines are, it has a line of its own.
fn line(text: &str, fix: Option<&str>, role: Role, as_json: bool, style: Style) -> String {
    let whole = fix.map_or_else(|| text.to_owned(), |fix| format!("{text}; fix: {fix}"));
    if as_json {
        return format!("{}\n", json!({ "notice": whole }));
    }
    let mut shown = String::new();
    match (fix, style.width) {
        (Some(fix), Some(_)) => {
            paragraph_with_role(&mut shown, ["", "  "], &format!("{};", clean(text)), role, style);
            let fix = style.paint(Role::Fix, &clean(fix));
            shown.extend([&style.paint(Role::Quiet, "  fix: "), &fix, "\n"]);
        }
        _ => paragraph_with_role(&mut shown, ["", "  "], &clean(&whole), role, style),
    }
    shown
}

#[cfg(test)]
mod tests {
    use keyrack_core::{Fix, Owner, Slug};

    use super::*;

    #[test]
    fn notice_is_one_line_unless_wrapped() {
        let narrow = Style { width: Some(40), ..Style::PLAIN };
        let text = "the daemon started a little late\nand lost one of the keys it held";
        let fix = Some("keyrack unlock --env test --key SOMETHING_LONG");
        for (fix, as_json, style, expected) in [
            (
                None,
                false,
                Style::PLAIN,
                "the daemon started a little late and lost one of the keys it held\n",
            ),
            (None, false, narrow, "the daemon started a little late and\n  lost one of the keys it held\n"),
            (
                None,
                true,
                narrow,
                "{\"notice\":\"the daemon started a little late\\nand lost one of the keys it held\"}\n",
            ),
            (
                fix,
                false,
                Style::PLAIN,
                "the daemon started a little late and lost one of the keys it held; fix: keyrack unlock --env test --key SOMETHING_LONG\n",
            ),
            (
                fix,
                false,
                narrow,
                "the daemon started a little late and\n  lost one of the keys it held;\n  fix: keyrack unlock --env test --key SOMETHING_LONG\n",
            ),
        ] {
            assert_eq!(line(text, fix, Role::Warn, as_json, style), expected);
        }
    }

    #[test]
    fn json_error_includes_exit_code() {
        let slug = Slug::parse("acme.test.K").unwrap();
        let error =
            Error::new(ErrorCode::NoIdentity, "no").of(&slug).fix(Fix::unlock(&Owner::DEFAULT, &slug));
        let object = to_json(&error, Invocation::NPX);
        assert_eq!(object["code"], "no_identity");
        assert_eq!(object["exit"], 2);
        assert_eq!(object["fix"], "npx keyrack unlock --env test --key K");
    }
}
