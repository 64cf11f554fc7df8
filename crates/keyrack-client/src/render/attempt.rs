//! What came of reading keys, as a tree. Never the secret.

use keyrack_core::{Attempt, Invocation};

use super::look::{Look, Tone};
use super::text::clean;
use super::tree::{Node, paragraph_toned, tree};
use crate::get::{Answer, unlock_all};

/// The tree of `get`.
pub fn answers<'a>(
    answers: impl IntoIterator<Item = &'a Answer>,
    invocation: Invocation,
    look: Look,
) -> String {
    let nodes: Vec<Node> = answers.into_iter().map(|answer| branch(answer, invocation, look)).collect();
    let nodes = if nodes.is_empty() { vec![Node::new("(no keys)")] } else { nodes };
    tree(&look.titled("🔐", "keyrack"), &nodes, look)
}

/// The branch of one key.
pub fn branch(answer: &Answer, invocation: Invocation, look: Look) -> Node {
    let attempt = &answer.attempt;
    let (emoji, tone, reasons) = match attempt {
        Attempt::Granted { .. } => ("🔑", Tone::Good, &[][..]),
        Attempt::Locked { .. } => ("🔒", Tone::Warn, &[][..]),
        Attempt::Absent { .. } => ("🫧", Tone::Warn, &[][..]),
        Attempt::Blocked { reasons, .. } => ("🚫", Tone::Bad, &reasons[..]),
    };
    let status = look.marked(attempt.status(), emoji);
    let mut below = Vec::new();
    if let Attempt::Granted { grant, .. } = attempt {
        below.push(Node::pair("vault", grant.source.vault.as_str()));
        below.push(Node::pair("mech", grant.source.mech.as_str()));
    }
    below.push(Node::pair("status", status).toned(tone).with(reasons.iter().map(Node::new)));
    below.extend(answer.note.as_ref().map(Node::note));
    // What may be absent needs no way out.
    let fix = attempt.fix().filter(|_| !answer.waived);
    below.extend(fix.map(|fix| Node::tip(fix.render(invocation))));
    Node::key(attempt.slug()).with(below)
}

/// What `source` says when it exports nothing: the keys that are missing, and what to do.
pub fn strict_failure<'a>(
    missing: impl IntoIterator<Item = &'a Answer> + Clone,
    hint: &str,
    invocation: Invocation,
    look: Look,
) -> String {
    let mut text = answers(missing.clone(), invocation, look);
    let mut put = |lead, words: &str, tone| paragraph_toned(&mut text, lead, words, tone, look);
    put(["", "   "], &look.titled("✋", "some keys were not granted, yet are strictly required"), Tone::Bad);
    let lead = if look.unicode { "   └─ " } else { "   `- " };
    put([lead, "      "], "ask a human to set or unlock them, then try again", Tone::Plain);
    put(["", ""], "", Tone::Plain);
    if let Some(all) = unlock_all(missing) {
        // Never wrapped: it gets pasted.
        text.push_str(&look.paint(Tone::Quiet, "fix: "));
        text.push_str(&look.paint(Tone::Fix, &clean(&all.render(invocation))));
        text.push('\n');
    }
    let mut put = |lead, words: &str, tone| paragraph_toned(&mut text, lead, words, tone, look);
    put(["hint: ", "      "], hint, Tone::Plain);
    text
}
