//! What came of unlocking, relocking and looking, as trees.

use keyrack_core::{Error, Fix, Invocation, Slug, Ttl, VaultId};

use super::style::{Role, Style};
use super::tree::{Branch, tree};

/// What became of one key of an unlock.
#[derive(Clone, Debug)]
pub enum UnlockLine<'a> {
    /// The daemon keeps it.
    Unlocked {
        /// Its true slug.
        slug: &'a Slug,
        /// The vault it came from.
        vault: &'a VaultId,
        /// Its life.
        ttl: Ttl,
        /// More to know, in a sentence: that its life was cut, for one.
        note: Option<&'a str>,
    },
    /// It was left out.
    Omitted {
        /// The slug asked for.
        slug: &'a Slug,
        /// Why.
        reason: Omission,
        /// What happened, when something did.
        cause: Option<&'a Error>,
        /// The way out.
        fix: Option<&'a Fix>,
    },
}

/// Why a key was left out of an unlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Omission {
    /// It was never set.
    Absent,
    /// Its vault has lost it.
    Lost,
    /// Its vault can only be written.
    Remote,
    /// Something went wrong.
    Errored,
}

impl Omission {
    /// The word in JSON and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Omission::Absent => "absent",
            Omission::Lost => "lost",
            Omission::Remote => "remote",
            Omission::Errored => "errored",
        }
    }

    fn emoji(self) -> &'static str {
        match self {
            Omission::Absent => "🫧",
            Omission::Lost => "👻",
            Omission::Remote => "🌐",
            Omission::Errored => "💥",
        }
    }
}

/// The tree of `unlock`.
pub fn unlocked(lines: &[UnlockLine<'_>], invocation: Invocation, style: Style) -> String {
    let mut nodes: Vec<Branch> = lines.iter().map(|line| unlock_branch(line, invocation, style)).collect();
    if nodes.is_empty() {
        nodes.push(Branch::new("(no keys to unlock)"));
    }
    tree(&style.titled("🔓", "keyrack unlock"), &nodes, style)
}

fn unlock_branch(line: &UnlockLine<'_>, invocation: Invocation, style: Style) -> Branch {
    match line {
        UnlockLine::Unlocked { slug, vault, ttl, note } => Branch::key(slug).with(
            [
                Branch::pair("env", slug.env()),
                Branch::pair("org", slug.org()),
                Branch::pair("vault", vault.as_str()),
                Branch::pair("expires in", minutes(*ttl)).with_role(Role::Good),
            ]
            .into_iter()
            .chain(note.map(Branch::note)),
        ),
        UnlockLine::Omitted { slug, reason, cause, fix } => {
            let fix = fix.or_else(|| cause.and_then(|cause| cause.fix.as_ref()));
            let role = if *reason == Omission::Errored { Role::Bad } else { Role::Warn };
            Branch::key(slug).with(
                [Branch::pair("status", style.marked(reason.as_str(), reason.emoji())).with_role(role)]
                    .into_iter()
                    .chain(cause.map(|cause| Branch::pair("cause", cause.to_string())))
                    .chain(cause.and_then(|cause| cause.hint.as_ref()).map(Branch::hint))
                    .chain(fix.map(|fix| Branch::tip(fix.render(invocation)))),
            )
        }
    }
}

/// The tree of `relock`. The slugs are shown in the order given.
pub fn relocked(slugs: &[Slug], style: Style) -> String {
    let mut nodes: Vec<Branch> =
        slugs.iter().map(|slug| Branch::of_key(slug, style.marked("pruned", "🔒"))).collect();
    if nodes.is_empty() {
        nodes.push(Branch::new("(no keys to prune)"));
    }
    tree(&style.titled("🔒", "keyrack relock"), &nodes, style)
}

/// A life in minutes, as today's tools show it; the seconds of one below a minute.
pub fn minutes(ttl: Ttl) -> String {
    let ms = ttl.as_ms();
    if ms < 60_000 { format!("{}s", ms.div_ceil(1000)) } else { format!("{}m", (ms + 30_000) / 60_000) }
}
