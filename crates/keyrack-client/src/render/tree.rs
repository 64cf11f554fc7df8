//! Trees of text: a title and branches below it, as every command of keyrack shows what came of it.
//!
//! All text is cleaned here, so that no name or message steers a terminal whatever its way in.

use super::look::Look;
use super::text::clean;

/// A branch: a line, and branches below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    text: String,
    kind: Kind,
    below: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One line, however long: it may get pasted.
    Line,
    /// The same, dimmed.
    Dim,
    /// Wrapped at the width.
    Prose,
}

impl Node {
    /// A branch with nothing below it yet.
    pub fn new(text: impl AsRef<str>) -> Self {
        Node { text: clean(text.as_ref()), kind: Kind::Line, below: Vec::new() }
    }

    /// `name: value`.
    pub fn pair(name: &str, value: impl AsRef<str>) -> Self {
        Node::new(format!("{name}: {}", value.as_ref()))
    }

    /// A sentence, wrapped at the width.
    pub fn prose(text: impl AsRef<str>) -> Self {
        Node { kind: Kind::Prose, ..Node::new(text) }
    }

    /// What to do next, dimmed and never wrapped.
    pub fn tip(text: impl AsRef<str>) -> Self {
        Node { kind: Kind::Dim, ..Node::pair("tip", text) }
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
    let mut out = format!("\n{}\n", clean(title));
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
        let lines = match (node.kind, look.width) {
            (Kind::Prose, Some(width)) => wrap(&node.text, width.saturating_sub(hang.chars().count())),
            _ => vec![node.text.as_str()],
        };
        for (index, line) in lines.into_iter().enumerate() {
            out.push_str(if index == 0 { &first } else { &hang });
            match node.kind {
                Kind::Dim => out.push_str(&look.dim(line)),
                Kind::Line | Kind::Prose => out.push_str(line),
            }
            out.push('\n');
        }
        branches(out, &below, &node.below, look);
    }
}

/// Lines of at most `width` characters, broken at blanks; a longer word gets a line of its own.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let width = width.max(20);
    let mut lines = Vec::new();
    let (mut start, mut end) = (0, 0);
    for word in text.split(' ') {
        let after = if end == 0 { word.len() } else { end + 1 + word.len() };
        if end > start && text[start..after].chars().count() > width {
            lines.push(&text[start..end]);
            start = end + 1;
        }
        end = after;
    }
    lines.push(&text[start..end]);
    lines
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
    fn prose_is_wrapped_and_commands_are_not() {
        let look = Look { width: Some(40), ..Look::PLAIN };
        let long = "one two three four five six seven eight nine ten eleven";
        let text = tree("t", &[Node::prose(long).with([Node::new("x")]), Node::tip(long)], look);
        let expected = "
t
   ├─ one two three four five six
   │  │  seven eight nine ten eleven
   │  └─ x
   └─ tip: one two three four five six seven eight nine ten eleven

";
        assert_eq!(text, expected);
    }

    #[test]
    fn wrapping_loses_nothing() {
        for (text, width) in [
            ("", 30),
            ("a", 30),
            ("schöne grüße an alle die hier mitlesen und lesen", 20),
            ("averyveryveryverylongwordthatfitsnowhere and more", 20),
            ("x y", 0),
            ("🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑 🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑 🔑", 20),
        ] {
            assert_eq!(wrap(text, width).join(" "), text, "{text}");
        }
    }
}
