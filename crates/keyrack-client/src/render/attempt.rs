//! Results of `get` as a tree. It never contains a secret, so it can be rendered after the secrets
//! were taken out of the results.

use keyrack_core::{Attempt, Invocation};

use super::style::{Role, Style};
use super::tree::{Branch, paragraph_with_role, tree};
use crate::get::{KeyOutcome, unlock_all};
use keyrack_core::display::clean;

/// Renders the tree of `get`.
pub fn answers<'a>(
    answers: impl IntoIterator<Item = &'a KeyOutcome>,
    invocation: Invocation,
    style: Style,
) -> String {
    let nodes: Vec<Branch> = answers.into_iter().map(|answer| branch(answer, invocation, style)).collect();
    let nodes = if nodes.is_empty() { vec![Branch::new("(no keys)")] } else { nodes };
    tree(&style.titled("🔐", "keyrack"), &nodes, style)
}

/// Returns the branch of one key.
pub fn branch(answer: &KeyOutcome, invocation: Invocation, style: Style) -> Branch {
    let attempt = &answer.attempt;
    let (emoji, role, reasons) = match attempt {
        Attempt::Granted { .. } => ("🔑", Role::Good, &[][..]),
        Attempt::Locked { .. } => ("🔒", Role::Warn, &[][..]),
        Attempt::Absent { .. } => ("🫧", Role::Warn, &[][..]),
        Attempt::Blocked { reasons, .. } => ("🚫", Role::Bad, &reasons[..]),
    };
    let status = style.marked(attempt.status(), emoji);
    let mut below = Vec::new();
    if let Attempt::Granted { grant, .. } = attempt {
        below.push(Branch::pair("vault", grant.source.vault.as_str()));
        below.push(Branch::pair("mech", grant.source.mech.as_str()));
    }
    below.push(Branch::pair("status", status).with_role(role).with(reasons.iter().map(Branch::new)));
    below.extend(answer.note.as_ref().map(Branch::note));
    // A key that may be absent needs no fix.
    let fix = attempt.fix().filter(|_| !answer.waived);
    below.extend(fix.map(|fix| Branch::tip(fix.render(invocation))));
    Branch::key(attempt.slug()).with(below)
}

/// Renders the report of a `source` that exports nothing: the missing keys, and a fix.
pub fn strict_failure<'a>(
    missing: impl IntoIterator<Item = &'a KeyOutcome> + Clone,
    hint: &str,
    invocation: Invocation,
    style: Style,
) -> String {
    let mut text = answers(missing.clone(), invocation, style);
    let mut put = |lead, words: &str, role| paragraph_with_role(&mut text, lead, words, role, style);
    put(["", "   "], &style.titled("✋", "some keys were not granted, yet are strictly required"), Role::Bad);
    let lead = if style.unicode { "   └─ " } else { "   `- " };
    put([lead, "      "], "ask a human to set or unlock them, then try again", Role::Plain);
    put(["", ""], "", Role::Plain);
    if let Some(all) = unlock_all(missing) {
        // Never wrapped, because people paste it.
        text.push_str(&style.paint(Role::Quiet, "fix: "));
        text.push_str(&style.paint(Role::Fix, &clean(&all.render(invocation))));
        text.push('\n');
    }
    let mut put = |lead, words: &str, role| paragraph_with_role(&mut text, lead, words, role, style);
    put(["hint: ", "      "], hint, Role::Plain);
    text
}
