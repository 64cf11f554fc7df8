//! Errors as reports.

use keyrack_core::{Error, Invocation};
use serde_json::{Map, Value};

use super::style::{Role, Style};
use super::tree::{Branch, tree};

/// Renders the report of a command that failed. `command` is its name, such as `keyrack set`.
pub fn report(command: &str, error: &Error, invocation: Invocation, style: Style) -> String {
    let (emoji, word) = if error.exit() == 2 { ("✋", "blocked") } else { ("💥", "failed") };
    let unnamed_slug = error.slug.as_ref().filter(|slug| !error.message.contains(slug.as_str()));
    let below = [
        unnamed_slug.map(|slug| Branch::pair("key", slug.as_str()).with_role(Role::Key)),
        error.hint.as_ref().map(Branch::hint),
        error.fix.as_ref().map(|fix| Branch::fix(fix.render(invocation))),
    ];
    let head = Branch::new(style.titled(emoji, &format!("{word}: {error}"))).with_role(Role::Bad);
    tree(&style.titled("🔐", command), &[head.with(below.into_iter().flatten())], style)
}

/// Converts an error to JSON: `{code, message, slug?, fix?, hint?}`.
pub fn value(error: &Error, invocation: Invocation) -> Value {
    let mut members = Map::new();
    members.insert("code".into(), error.code.as_str().into());
    members.insert("message".into(), error.message.clone().into());
    if let Some(slug) = &error.slug {
        members.insert("slug".into(), slug.as_str().into());
    }
    if let Some(fix) = &error.fix {
        members.insert("fix".into(), fix.render(invocation).into());
    }
    if let Some(hint) = &error.hint {
        members.insert("hint".into(), hint.clone().into());
    }
    Value::Object(members)
}
