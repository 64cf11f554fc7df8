//! Trees of text: a title and branches below it, as every command of keyrack shows what came of it.
//!
//! All text is cleaned here, so that no name or message steers a terminal whatever its way in.

use unicode_width::UnicodeWidthStr as _;

use super::look::Look;
use super::text::{clean, wrap};

/// The columns a text gets however deep it stands on however narrow a terminal.
const NARROWEST: usize = 20;

/// A branch: a line, and branches below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    text: String,
    kind: Kind,
    below: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Wrapped at the width.
    Text,
    /// One line, however long: it gets pasted.
    Command,
    /// The same, dimmed.
    Tip,
}

impl Node {
    /// A branch with nothing below it yet, wrapped at the width.
    pub fn new(text: impl AsRef<str>) -> Self {
        Node { text: clean(text.as_ref()), kind: Kind::Text, below: Vec::new() }
    }

    /// `name: value`.
    pub fn pair(name: &str, value: impl AsRef<str>) -> Self {
        Node::new(format!("{name}: {}", value.as_ref()))
    }

    /// `name: command`, never wrapped.
    pub fn command(name: &str, command: impl AsRef<str>) -> Self {
        Node { kind: Kind::Command, ..Node::pair(name, command) }
    }

    /// The command to run next, dimmed and never wrapped.
    pub fn tip(command: impl AsRef<str>) -> Self {
        Node { kind: Kind::Tip, ..Node::pair("tip", command) }
    }

    /// The same with these below it.
    #[must_use]
    pub fn with(mut self, below: impl IntoIterator<Item = Node>) -> Self {
        self.below.extend(below);
        self
    }
}

/// A blank line, the title, the branches, a blank line.
pub fn tree(title: &str, nodes: &[Node], look: Look) -> String {
    let mut out = "\n".to_owned();
    paragraph(&mut out, ["", "   "], &clean(title), look);
    branches(&mut out, "   ", nodes, look);
    out.push('\n');
    out
}

fn branches(out: &mut String, indent: &str, nodes: &[Node], look: Look) {
    let (fork, last, pass) =
        if look.unicode { ("├─ ", "└─ ", "│  ") } else { ("|- ", "`- ", "|  ") };
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let below = format!("{indent}{}", if is_last { "   " } else { pass });
        // A wrapped line goes on under the text, and the line of the branches below it goes on too.
        let hang = format!("{below}{}", if node.below.is_empty() { "" } else { pass });
        let first = format!("{indent}{}", if is_last { last } else { fork });
        match node.kind {
            Kind::Text => paragraph(out, [&first, &hang], &node.text, look),
            Kind::Command => out.extend([&first, &node.text, "\n"]),
            Kind::Tip => out.extend([&first, &look.dim(&node.text), "\n"]),
        }
        branches(out, &below, &node.below, look);
    }
}

/// Puts a text, wrapped at the width: the first of `lead` before its first line, the second before the others.
pub fn paragraph(out: &mut String, lead: [&str; 2], text: &str, look: Look) {
    let room =
        |lead: &str| look.width.map_or(usize::MAX, |width| width.saturating_sub(lead.width()).max(NARROWEST));
    let [mut lead, hang] = lead;
    for line in wrap(text, room(lead), room(hang)) {
        out.extend([lead, line, "\n"]);
        lead = hang;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Node> {
        vec![
            Node::new("a").with([
                Node::pair("b", "1"),
                Node::new("c").with([Node::new("d")]),
                Node::tip("do it"),
            ]),
            Node::new("e").with([Node::new("f").with([Node::new("g")]), Node::new("h\u{1b}[2Ji")]),
        ]
    }

    #[test]
    fn unicode() {
        let expected = "
title
   ├─ a
   │  ├─ b: 1
   │  ├─ c
   │  │  └─ d
   │  └─ tip: do it
   └─ e
      ├─ f
      │  └─ g
      └─ h[2Ji

";
        assert_eq!(tree("title", &sample(), Look::PLAIN), expected);
    }

    #[test]
    fn ascii() {
        let text = tree("title", &sample(), Look::ASCII);
        assert!(text.is_ascii());
        assert!(text.contains("\n   |- a\n   |  |- b: 1\n"), "{text}");
        assert!(text.contains("\n   `- e\n      |- f\n      |  `- g\n"), "{text}");
    }

    #[test]
    fn only_tips_are_dim_and_only_where_colour_is() {
        let look = Look { colour: true, ..Look::PLAIN };
        let text = tree("title", &sample(), look);
        assert_eq!(text.matches("\u{1b}[2mtip: do it\u{1b}[0m").count(), 1);
        assert_eq!(text.matches('\u{1b}').count(), 2);
        assert!(!tree("title", &sample(), Look::PLAIN).contains('\u{1b}'));
    }

    #[test]
    fn text_is_wrapped_and_commands_are_not() {
        let look = Look { width: Some(40), ..Look::PLAIN };
        let long = "one two three four five six seven eight nine ten eleven";
        let nodes = [
            Node::new(long).with([Node::pair("x", format!("{long} `{long}` {long}"))]),
            Node::command("fix", long),
            Node::tip(long),
        ];
        let expected = "
one two three four five six seven eight
   nine ten eleven
   ├─ one two three four five six seven
   │  │  eight nine ten eleven
   │  └─ x: one two three four five six
   │     seven eight nine ten eleven
   │     `one two three four five six seven eight nine ten eleven`
   │     one two three four five six
   │     seven eight nine ten eleven
   ├─ fix: one two three four five six seven eight nine ten eleven
   └─ tip: one two three four five six seven eight nine ten eleven

";
        assert_eq!(tree(long, &nodes, look), expected);
        assert_eq!(tree(long, &nodes, Look::PLAIN).lines().count(), 7, "one line each");
    }
}
