//! Errors of a credential helper, one line each. Tools show them among their own lines, and kubectl
//! shows them seven times.

use keyrack_core::{Attempt, Error, Invocation};

use keyrack_client::get::KeyOutcome;
use keyrack_core::display::clean;

/// Longest part of a tool's request that is shown, in characters.
const LONGEST: usize = 100;

/// Lists the missing keys, each with its fix or hint.
pub fn missing(answers: &[KeyOutcome], invocation: Invocation) -> String {
    let told: Vec<String> = answers.iter().map(|answer| one(answer, invocation)).collect();
    line(&told.join("; "))
}

/// Formats an error.
pub fn error(error: &Error, invocation: Invocation) -> String {
    let hint = error.hint.as_ref().map(|hint| format!("; hint: {hint}"));
    let fix = error.fix.as_ref().map(|fix| format!("; fix: {}", fix.render(invocation)));
    line(&format!("{}{}{}", error.message, hint.unwrap_or_default(), fix.unwrap_or_default()))
}

/// Error for a request that the helper was not configured for. `asked` is untrusted: the tool may
/// have it from a remote server.
pub fn refused(tool: &str, asked: &str, is_for: &str) -> String {
    let asked: String = clean(asked.trim()).chars().take(LONGEST).collect();
    line(&format!("{tool} asked for {asked}, but this hook is for {is_for}"))
}

fn one(answer: &KeyOutcome, invocation: Invocation) -> String {
    let attempt = &answer.attempt;
    let mut text = format!("{} is {}", attempt.slug(), attempt.status());
    if let Attempt::Blocked { reasons, .. } = attempt {
        text.push_str(&format!(": {}", reasons.join("; ")));
    }
    text.extend(answer.note.iter().map(|note| format!("; {note}")));
    text.extend(attempt.fix().map(|fix| format!("; fix: {}", fix.render(invocation))));
    text
}

fn line(text: &str) -> String {
    format!("keyrack: {}\n", clean(text))
}

#[cfg(test)]
mod tests {
    use keyrack_core::{ErrorCode, Fix, Owner, Slug};

    use super::*;

    #[test]
    fn credential_errors_are_one_line() {
        let slug = Slug::parse("acme.prep.K").unwrap();
        let fix = Some(Fix::unlock(&Owner::DEFAULT, &slug));
        let answer = |attempt, note: Option<&str>| KeyOutcome {
            attempt,
            secret: None,
            note: note.map(str::to_owned),
            waived: false,
        };
        let locked = Attempt::Locked { slug: slug.clone(), message: String::new(), fix: fix.clone() };
        let absent = Attempt::Absent { slug: slug.clone(), message: String::new(), fix: None };
        let reasons = vec!["one".to_owned(), "two\nlines".to_owned()];
        let blocked = Attempt::Blocked { slug, reasons, fix: None };
        let unlock = "keyrack unlock --env prep --key K";
        for (answers, expected) in [
            (vec![answer(locked.clone(), None)], format!("acme.prep.K is locked; fix: {unlock}")),
            (
                vec![answer(absent, Some("did you mean L?"))],
                "acme.prep.K is absent; did you mean L?".to_owned(),
            ),
            (
                vec![answer(blocked, Some("beware")), answer(locked, None)],
                format!(
                    "acme.prep.K is blocked: one; two lines; beware; acme.prep.K is locked; fix: {unlock}"
                ),
            ),
        ] {
            assert_eq!(missing(&answers, Invocation::default()), format!("keyrack: {expected}\n"));
        }
        let error = Error::new(ErrorCode::Usage, "no\nway").hint("take another");
        let expected = "keyrack: no way; hint: take another\n";
        assert_eq!(super::error(&error, Invocation::default()), expected);
        let error = Error { fix, ..Error::new(ErrorCode::Usage, "no") };
        assert_eq!(super::error(&error, Invocation::default()), format!("keyrack: no; fix: {unlock}\n"));
        let asked = format!("\u{1b}[2Jevil.com\n{}", "x".repeat(1000));
        let told = refused("git", &asked, "github.com");
        assert!(
            told.starts_with("keyrack: git asked for [2Jevil.com x") && told.ends_with("for github.com\n")
        );
        assert!(told.len() < 200 && told.lines().count() == 1, "{told}");
    }
}
