//! A problem as the report a command ends with.

use keyrack_core::{Error, Invocation};
use serde_json::{Map, Value};

use super::look::{Look, Tone};
use super::tree::{Node, tree};

/// The report of a command that could not do its work. `command` is its name, such as `keyrack set`.
pub fn report(command: &str, error: &Error, invocation: Invocation, look: Look) -> String {
    let (emoji, word) = if error.exit() == 2 { ("✋", "blocked") } else { ("💥", "failed") };
    let unsaid = error.slug.as_ref().filter(|slug| !error.message.contains(slug.as_str()));
    let below = [
        unsaid.map(|slug| Node::pair("key", slug.as_str()).toned(Tone::Key)),
        error.hint.as_ref().map(Node::hint),
        error.fix.as_ref().map(|fix| Node::fix(fix.render(invocation))),
    ];
    let head = Node::new(look.titled(emoji, &format!("{word}: {error}"))).toned(Tone::Bad);
    tree(&look.titled("🔐", command), &[head.with(below.into_iter().flatten())], look)
}

/// The same for programs: `{code, message, slug?, fix?, hint?}`.
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
