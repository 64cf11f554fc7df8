//! Trees of `unlock` and `relock`.

use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::render::ttl::minutes;
use keyrack_client::render::{Role, Style};
use keyrack_core::{Error, Fix, Invocation, Slug, Ttl, VaultId};
use keyrack_ops::unlock::Omission;

/// Result of unlocking one key.
#[derive(Clone, Debug)]
pub(crate) enum UnlockLine<'a> {
    /// The daemon holds the key.
    Unlocked {
        slug: &'a Slug,
        vault: &'a VaultId,
        ttl: Ttl,
        /// Remark in a sentence, for example that the TTL was clamped.
        note: Option<&'a str>,
    },
    /// The key was left out.
    Omitted {
        slug: &'a Slug,
        reason: Omission,
        /// Error, if one was the reason.
        cause: Option<&'a Error>,
        fix: Option<&'a Fix>,
    },
}

fn emoji(reason: Omission) -> &'static str {
    match reason {
        Omission::Absent => "🫧",
        Omission::Lost => "👻",
        Omission::Remote => "🌐",
        Omission::Errored => "💥",
    }
}

/// Renders the tree of `unlock`.
pub(crate) fn unlocked(lines: &[UnlockLine<'_>], invocation: Invocation, style: Style) -> String {
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
                [Branch::pair("status", style.marked(reason.as_str(), emoji(*reason))).with_role(role)]
                    .into_iter()
                    .chain(cause.map(|cause| Branch::pair("cause", cause.to_string())))
                    .chain(cause.and_then(|cause| cause.hint.as_ref()).map(Branch::hint))
                    .chain(fix.map(|fix| Branch::tip(fix.render(invocation)))),
            )
        }
    }
}

/// Renders the tree of `relock`, with the slugs in the order given.
pub(crate) fn relocked(slugs: &[Slug], style: Style) -> String {
    let mut nodes: Vec<Branch> =
        slugs.iter().map(|slug| Branch::of_key(slug, style.marked("pruned", "🔒"))).collect();
    if nodes.is_empty() {
        nodes.push(Branch::new("(no keys to prune)"));
    }
    tree(&style.titled("🔒", "keyrack relock"), &nodes, style)
}

#[cfg(test)]
mod tests {
    use keyrack_core::{ErrorCode, Owner};

    use super::*;

    fn slug(text: &str) -> Slug {
        Slug::parse(text).unwrap()
    }

    #[test]
    fn unlock_tree_shows_unlocked_and_omitted_keys() {
        let (a, b) = (slug("o.test.A"), slug("o.all.B"));
        let cause = Error::new(ErrorCode::VaultCorrupt, "the file is damaged").hint("restore it");
        let fix = Fix::set_secure(&Owner::DEFAULT, &b);
        let lines = [
            UnlockLine::Unlocked { slug: &a, vault: &VaultId::OsSecure, ttl: Ttl::DEFAULT, note: None },
            UnlockLine::Omitted { slug: &b, reason: Omission::Lost, cause: None, fix: Some(&fix) },
            UnlockLine::Omitted { slug: &b, reason: Omission::Errored, cause: Some(&cause), fix: None },
        ];
        let expected = "
🔓 keyrack unlock
   ├─ o.test.A
   │  ├─ env: test
   │  ├─ org: o
   │  ├─ vault: os.secure
   │  └─ expires in: 540m
   ├─ o.all.B
   │  ├─ status: lost 👻
   │  └─ tip: keyrack set --env all --key B --vault os.secure --mech PERMANENT_VIA_REPLICA
   └─ o.all.B
      ├─ status: errored 💥
      ├─ cause: the file is damaged
      └─ hint: restore it

";
        assert_eq!(unlocked(&lines, Invocation::default(), Style::PLAIN), expected);
        assert!(unlocked(&[], Invocation::default(), Style::PLAIN).contains("(no keys to unlock)"));
    }

    #[test]
    fn relock_tree_shows_each_key_once() {
        let text = relocked(&[slug("o.test.A"), slug("o.test.B")], Style::PLAIN);
        assert_eq!(text, "\n🔒 keyrack relock\n   ├─ o.test.A: pruned 🔒\n   └─ o.test.B: pruned 🔒\n\n");
        assert_eq!(relocked(&[], Style::ASCII), "\nkeyrack relock\n   `- (no keys to prune)\n\n");
    }
}
