//! Status of a rack as a tree and as JSON.

use keyrack_core::peer::Boundary;
use keyrack_core::{Env, Fix, FixCommand, Invocation, Owner, TtlLimit, timestamp};
use serde_json::{Value, json};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::style::{Role, Style};
use super::tree::{Branch, tree};
use super::ttl::{bar, bar_of_width, humanize, minutes, role};
use crate::address::describe_other_sessions;
use crate::session::{HelloInfo, KeyStatus};
use crate::status::{RackStatus, RunningDaemon};

/// Recipient of the host manifest, as a status shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientLine<'a> {
    /// Label.
    pub label: &'a str,
    /// Mechanism, such as `ssh`.
    pub mech: &'a str,
}

/// Renders the tree of `status`, with the keys of one env or of all. `recipients` is `None` if they
/// could not be read without a prompt.
pub fn status(
    status: &RackStatus,
    recipients: Option<&[RecipientLine<'_>]>,
    env: Option<Env>,
    invocation: Invocation,
    style: Style,
) -> String {
    let title = style.titled("🔐", "keyrack status");
    let note = describe_other_sessions(&status.other_sessions).map(Branch::note);
    let mut nodes = vec![Branch::pair("owner", owner(&status.owner))];
    if let Some(recipients) = recipients {
        let lines = recipients.iter().map(|one| Branch::new(format!("{} ({})", one.label, one.mech)));
        nodes.push(Branch::new("recipients:").with_role(Role::Quiet).with(lines));
    }
    let Some(running) = &status.running else {
        let env = env.map_or("ENV", Env::as_str);
        let fix = Fix::from(FixCommand::new("unlock").owner(&status.owner).env(env));
        let run = format!("run `{}` to start a session", fix.render(invocation));
        nodes.push(Branch::pair("daemon", "not found").with_role(Role::Warn).with([Branch::new(run)]));
        nodes.extend(note);
        return tree(&title, &nodes, style);
    };
    nodes.push(daemon(running, style));
    nodes.extend(note);
    let keys: Vec<Branch> = running.keys(env).map(|held| key(held, style)).collect();
    if keys.is_empty() {
        nodes.push(Branch::new(no_keys(running, env)));
    } else {
        nodes.push(Branch::new("keys:").with_role(Role::Quiet).with(keys));
    }
    tree(&title, &nodes, style)
}

/// Renders a status for few rows: a heading, and a line for each key with its remaining TTL. No
/// line is wider than the terminal.
pub fn brief(status: &RackStatus, env: Option<Env>, style: Style) -> String {
    let width = style.width.unwrap_or(usize::MAX);
    let keys: Vec<&KeyStatus> = status.running.iter().flat_map(|running| running.keys(env)).collect();
    let mut about: Vec<String> =
        status.owner.name().map(|owner| format!("owner: {owner}")).into_iter().collect();
    about.push(format!("daemon: {}", if status.running.is_some() { "active" } else { "not found" }));
    about.extend(env.map(|env| format!("env: {env}")));
    about.push(format!("keys: {}", keys.len()));
    let title = style.titled("🔐", &format!("keyrack status ({})", about.join(", ")));
    let mut text = style.paint(Role::Title, &cut(&title, width, style)) + "\n";
    let names = keys.iter().map(|key| key.slug.as_str().width()).max().unwrap_or(0);
    for key in keys {
        let left = key.remaining.map_or_else(|| "never expires".to_owned(), humanize);
        let (line, role) = match (key.remaining, key.granted.ttl) {
            (Some(ttl), Some(whole)) => {
                let words = format!("{left} of {}", humanize(whole));
                // Two blanks after the name, one before the words, whose column is equally wide in
                // each line.
                let room = width.saturating_sub(names + 3 + WORDS).min(20);
                let words = if room < 7 {
                    left
                } else {
                    format!("{} {words}", bar_of_width(ttl, whole, room, style))
                };
                (words, role(ttl, whole))
            }
            _ => (left, Role::Plain),
        };
        let name = cut(key.slug.as_str(), width.saturating_sub(line.width() + 2), style);
        let blanks = " ".repeat(
            names.saturating_sub(name.width()).min(width.saturating_sub(name.width() + line.width() + 2)) + 2,
        );
        text.extend([&style.paint(Role::Key, &name), &blanks, &style.paint(role, &line), "\n"]);
    }
    text
}

/// Width of `23h 59m of 23h 59m`.
const WORDS: usize = 18;

/// Cuts text to a width, with an ellipsis where something was left out.
fn cut(text: &str, width: usize, style: Style) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if kept.width() + c.width().unwrap_or(0) + 1 > width {
            break;
        }
        kept.push(c);
    }
    kept + if style.unicode { "…" } else { "~" }
}

fn daemon(running: &RunningDaemon, style: Style) -> Branch {
    let node = Branch::pair("daemon", style.marked("active", "✨")).with_role(Role::Good);
    let Some(hello) = &running.hello else {
        return node
            .with([Branch::note("it belongs to an older TypeScript keyrack; `daemon restart` replaces it")]);
    };
    let weak = weaknesses(hello);
    node.with([Branch::pair("boundary", hello.boundary.as_str())])
        .with(namespaces(hello))
        .with([Branch::pair("memory", &hello.memory)])
        .with(weak.into_iter().map(Branch::note))
}

/// Returns notes about protections that a daemon lacks.
pub fn weaknesses(hello: &HelloInfo) -> Vec<String> {
    let boundary = (hello.boundary == Boundary::User).then(|| {
        "this machine cannot tell login sessions apart, so all your processes can read keys".to_owned()
    });
    let namespaces = hello.namespaces.as_deref().and_then(open_namespaces).map(str::to_owned);
    let memory =
        (hello.memory == "unlocked").then(|| "its memory is not locked, so keys may reach swap".to_owned());
    let off = hello.hardening.iter().filter(|measure| !measure.on).map(|measure| {
        let detail = measure.detail.as_deref().map_or(String::new(), |detail| format!(": {detail}"));
        format!("{} is off{detail}", measure.name)
    });
    boundary.into_iter().chain(namespaces).chain(memory).chain(off).collect()
}

/// Returns the branch of the namespaces that callers may be in, unless they are the daemon's own
/// two.
pub fn namespaces(hello: &HelloInfo) -> Option<Branch> {
    let enforced = hello.namespaces.as_deref().filter(|enforced| *enforced != "pid and user")?;
    Some(Branch::pair("namespaces", enforced))
}

/// Returns the notice about a daemon that serves more namespaces than its own, or cannot tell them
/// apart.
pub fn open_namespaces(enforced: &str) -> Option<&'static str> {
    match enforced {
        "pid only" => Some(
            "the daemon runs in its own user namespace, where it cannot tell other user namespaces apart",
        ),
        "user allowed" => {
            Some("KEYRACK_ALLOW_NAMESPACES=user: sandboxes with their own user namespace may read keys")
        }
        "all allowed" => {
            Some("KEYRACK_ALLOW_NAMESPACES=all: sandboxes with their own pid or user namespace may read keys")
        }
        _ => None,
    }
}

fn key(key: &KeyStatus, style: Style) -> Branch {
    let mut below = vec![Branch::pair("env", key.slug.env()), Branch::pair("org", key.slug.org())];
    below.extend(key.source.as_ref().map(|source| Branch::pair("vault", source.vault.as_str())));
    below.extend(key.grade.map(|grade| Branch::pair("grade", grade.to_string())));
    below.push(Branch::pair("expires in", key.remaining.map_or_else(|| "never".to_owned(), minutes)));
    if let (Some(remaining), Some(whole)) = (key.remaining, key.granted.ttl) {
        let text = format!("{} {} of {}", bar(remaining, whole, style), humanize(remaining), humanize(whole));
        below.push(Branch::pair("ttl", text).with_role(role(remaining, whole)));
    }
    below.extend(ttl_limit(key).map(|limit| Branch::pair("limited by", limit)));
    Branch::key(&key.slug).with(below)
}

/// Describes what limited the TTL of a key, as far as the daemon reports it.
fn ttl_limit(key: &KeyStatus) -> Option<String> {
    let ttl = key.granted.ttl.map(humanize);
    let of = |what: &str| ttl.as_ref().map_or_else(|| what.to_owned(), |ttl| format!("{what} of {ttl}"));
    key.granted.limit.map(|limit| match limit {
        TtlLimit::Requested => {
            ttl.as_ref().map_or_else(|| "the request".to_owned(), |ttl| format!("the requested {ttl}"))
        }
        TtlLimit::Default => of("the default"),
        TtlLimit::MaxDuration => of("its own maxDuration"),
        TtlLimit::Credential => "the expiry of its credential".to_owned(),
        TtlLimit::Ceiling => of("the ceiling"),
    })
}

fn no_keys(running: &RunningDaemon, env: Option<Env>) -> String {
    let Some(env) = env else { return "(no keys unlocked)".to_owned() };
    let others: Vec<String> = running.envs().into_iter().map(|env| format!("--env {env}")).collect();
    if others.is_empty() {
        format!("(no keys in --env {env})")
    } else {
        format!("(no keys in --env {env}, try {})", others.join(" or "))
    }
}

fn owner(owner: &Owner) -> String {
    owner.name().map_or_else(|| "(default)".to_owned(), str::to_owned)
}

/// Converts a status to JSON, `null` if no daemon runs. `recipients` are as in the host manifest.
pub fn status_value(status: &RackStatus, recipients: Vec<Value>, env: Option<Env>) -> Value {
    let Some(running) = &status.running else { return Value::Null };
    let keys: Vec<Value> = running.keys(env).map(key_value).collect();
    let mut value = json!({
        "keys": keys,
        "owner": status.owner.name(),
        "socketPath": status.address.as_ref().map(|address| address.socket().display().to_string()),
        "legacy": running.hello.is_none(),
        "otherSessions": status.other_sessions,
    });
    if let Some(members) = value.as_object_mut() {
        members.insert("recipients".to_owned(), Value::Array(recipients));
        if let Some(hello) = &running.hello {
            members.insert("daemon".to_owned(), hello_value(hello));
        }
    }
    value
}

/// Converts a daemon's description of itself to JSON.
pub fn hello_value(hello: &HelloInfo) -> Value {
    let hardening: Vec<Value> = hello
        .hardening
        .iter()
        .map(|measure| {
            let mut value = json!({ "name": measure.name, "on": measure.on });
            if let (Some(detail), Some(members)) = (&measure.detail, value.as_object_mut()) {
                members.insert("detail".to_owned(), detail.clone().into());
            }
            value
        })
        .collect();
    let mut value = json!({
        "version": hello.version,
        "build": hello.build,
        "pid": hello.pid,
        "proto": hello.proto,
        "boundary": hello.boundary.as_str(),
        "memory": hello.memory,
        "hardening": hardening,
    });
    if let (Some(namespaces), Some(members)) = (&hello.namespaces, value.as_object_mut()) {
        members.insert("namespaces".to_owned(), namespaces.clone().into());
    }
    value
}

/// Converts one key to JSON. A key that does not expire has a `null` expiry.
pub fn key_value(key: &KeyStatus) -> Value {
    let mut value = json!({
        "slug": key.slug.as_str(),
        "env": key.slug.env(),
        "org": key.slug.org(),
        "expiresAt": key.expires_at_ms.map(timestamp::format_ms),
        "ttlLeftMs": key.remaining.map(|left| left.as_ms()),
    });
    if let Some(members) = value.as_object_mut() {
        if let Some(grade) = key.grade {
            let grade =
                json!({ "protection": grade.protection.as_str(), "duration": grade.duration.as_str() });
            members.insert("grade".to_owned(), grade);
        }
        if let Some(ttl) = key.granted.ttl {
            members.insert("lifeMs".to_owned(), ttl.as_ms().into());
        }
        if let Some(limit) = key.granted.limit {
            members.insert("lifeBy".to_owned(), limit.as_str().into());
        }
        if let Some(source) = &key.source {
            let source = json!({ "vault": source.vault.as_str(), "mech": source.mech.as_str() });
            members.insert("source".to_owned(), source);
        }
    }
    value
}
