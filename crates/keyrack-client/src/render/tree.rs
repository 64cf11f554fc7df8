//! Trees of text: a title and branches, the output of every command.
//!
//! This module cleans all text, so that no name or message can control the terminal.

use unicode_width::UnicodeWidthStr as _;

use super::style::{Role, Style};
use super::text::wrap;
use keyrack_core::Slug;
use keyrack_core::display::clean;

/// Minimum width of text, however deep it is in the tree and however narrow the terminal.
const MIN_WIDTH: usize = 20;

/// Line of a tree, with the branches below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Length of the name before the value, with its colon, in bytes.
    name: usize,
    text: String,
    /// Role of the value.
    role: Role,
    kind: Kind,
    below: Vec<Branch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text that is wrapped.
    Text,
    /// Command on one line, however long, because people paste it.
    Command,
}

impl Branch {
    /// Creates a branch of wrapped text.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = clean(text.as_ref());
        Branch { name: 0, text, role: Role::Plain, kind: Kind::Text, below: Vec::new() }
    }

    /// Creates the branch of a key.
    pub fn key(slug: &Slug) -> Self {
        Branch::new(slug.as_str()).with_role(Role::Key)
    }

    /// Creates `name: value`.
    pub fn pair(name: &str, value: impl AsRef<str>) -> Self {
        let name = clean(name);
        let node = Branch::new(format!("{name}: {}", value.as_ref()));
        Branch { name: name.len() + 1, ..node }
    }

    /// Creates `key: value`.
    pub fn of_key(slug: &Slug, value: impl AsRef<str>) -> Self {
        Branch::pair(slug.as_str(), value)
    }

    /// Creates `note: text`, for a limitation.
    pub fn note(text: impl AsRef<str>) -> Self {
        Branch::pair("note", text).with_role(Role::Warn)
    }

    /// Creates `hint: text`.
    pub fn hint(text: impl AsRef<str>) -> Self {
        Branch::pair("hint", text)
    }

    /// Creates `fix: command`, never wrapped.
    pub fn fix(command: impl AsRef<str>) -> Self {
        Branch::command("fix", command).with_role(Role::Fix)
    }

    /// Creates `name: command`, never wrapped.
    pub fn command(name: &str, command: impl AsRef<str>) -> Self {
        Branch { kind: Kind::Command, ..Branch::pair(name, command) }
    }

    /// Creates `tip: command`, dimmed and never wrapped.
    pub fn tip(command: impl AsRef<str>) -> Self {
        Branch { name: 0, ..Branch::command("tip", command) }.with_role(Role::Quiet)
    }

    /// Sets the role of the value.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Adds branches below.
    #[must_use]
    pub fn with(mut self, below: impl IntoIterator<Item = Branch>) -> Self {
        self.below.extend(below);
        self
    }
}

/// Renders a blank line, the title, the branches and a blank line.
pub fn tree(title: &str, nodes: &[Branch], style: Style) -> String {
    let mut out = "\n".to_owned();
    paragraph_with_role(&mut out, ["", "   "], &clean(title), Role::Title, style);
    branches(&mut out, "   ", nodes, style);
    out.push('\n');
    out
}

fn branches(out: &mut String, indent: &str, nodes: &[Branch], style: Style) {
    let (fork, last, pass) =
        if style.unicode { ("├─ ", "└─ ", "│  ") } else { ("|- ", "`- ", "|  ") };
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let below = format!("{indent}{}", if is_last { "   " } else { pass });
        // A wrapped line continues below the text. The line to the branches below continues too.
        let hang = format!("{below}{}", if node.below.is_empty() { "" } else { pass });
        let first = format!("{indent}{}", if is_last { last } else { fork });
        let text = style.spelled(&node.text);
        match node.kind {
            Kind::Text => {
                put(
                    out,
                    [&first, &hang],
                    wrap_under([&first, &hang], &text, style),
                    node.name,
                    node.role,
                    style,
                );
            }
            Kind::Command => put(out, [&first, &hang], vec![&text], node.name, node.role, style),
        }
        branches(out, &below, &node.below, style);
    }
}

/// Appends wrapped text. The first of `lead` goes before the first line, the second before the
/// others.
pub fn paragraph(out: &mut String, lead: [&str; 2], text: &str, style: Style) {
    paragraph_with_role(out, lead, text, Role::Plain, style);
}

/// Appends wrapped text in a role.
pub fn paragraph_with_role(out: &mut String, lead: [&str; 2], text: &str, role: Role, style: Style) {
    let text = style.spelled(text);
    put(out, lead, wrap_under(lead, &text, style), 0, role, style);
}

fn wrap_under<'t>(lead: [&str; 2], text: &'t str, style: Style) -> Vec<&'t str> {
    let [first, hang] = lead.map(|lead| {
        style.width.map_or(usize::MAX, |width| width.saturating_sub(lead.width()).max(MIN_WIDTH))
    });
    wrap(text, first, hang)
}

/// Appends lines: the first `name` bytes as a name, the rest in a role. Each line is colored on its
/// own, so that no color continues into the next lead.
fn put(out: &mut String, lead: [&str; 2], lines: Vec<&str>, mut name: usize, role: Role, style: Style) {
    let [mut lead, hang] = lead;
    for line in lines {
        let (named, rest) = line.split_at(name.min(line.len()));
        // The blank at the line break is gone.
        name = name.saturating_sub(line.len() + 1);
        let lead_tone = if lead.trim().is_empty() { Role::Plain } else { Role::Quiet };
        out.extend([
            &style.paint(lead_tone, lead),
            &style.paint(Role::Quiet, named),
            &style.paint(role, rest),
            "\n",
        ]);
        lead = hang;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Branch> {
        vec![
            Branch::new("a").with([
                Branch::pair("b", "1"),
                Branch::new("c").with([Branch::new("d")]),
                Branch::tip("do it"),
            ]),
            Branch::new("e").with([Branch::new("f").with([Branch::new("g")]), Branch::new("h\u{1b}[2Ji")]),
        ]
    }

    #[test]
    fn tree_is_drawn_in_unicode() {
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
        assert_eq!(tree("title", &sample(), Style::PLAIN), expected);
    }

    #[test]
    fn tree_is_drawn_in_ascii() {
        let text = tree("title", &sample(), Style::ASCII);
        assert!(text.is_ascii());
        assert!(text.contains("\n   |- a\n   |  |- b: 1\n"), "{text}");
        assert!(text.contains("\n   `- e\n      |- f\n      |  `- g\n"), "{text}");
    }

    /// Removes the escape sequences. All must be SGR, and end on the line where they begin.
    fn bare(text: &str) -> String {
        let mut bare = String::new();
        for line in text.split_inclusive('\n') {
            let mut pieces = line.split('\u{1b}');
            bare.push_str(pieces.next().unwrap());
            for (at, piece) in pieces.enumerate() {
                let (sgr, rest) = piece.strip_prefix('[').unwrap().split_once('m').unwrap();
                assert_eq!(sgr == "0", at % 2 == 1, "{line:?}");
                bare.push_str(rest);
            }
            assert!(!line.contains('\u{1b}') || line.matches('\u{1b}').count() % 2 == 0, "{line:?}");
        }
        bare
    }

    #[test]
    fn color_changes_no_text() {
        let slug = Slug::parse("acme.test.KEY").unwrap();
        let long = "one two three four five six seven eight nine ten eleven";
        let nodes = [
            Branch::key(&slug).with([
                Branch::pair("a name of several words", long).with_role(Role::Good),
                Branch::note(long),
                Branch::fix("keyrack doctor"),
                Branch::tip("keyrack doctor"),
            ]),
            Branch::of_key(&slug, "granted").with_role(Role::Bad).with(sample()),
        ];
        for width in [None, Some(12), Some(25), Some(40), Some(80)] {
            for unicode in [true, false] {
                let plain = Style { width, color: false, unicode };
                let text = tree(long, &nodes, Style { color: true, ..plain });
                assert_eq!(bare(&text), tree(long, &nodes, plain), "{width:?}");
            }
        }
        assert!(!tree(long, &nodes, Style::PLAIN).contains('\u{1b}'));
    }

    #[test]
    fn names_are_quiet_and_values_have_their_role() {
        let style = Style { color: true, ..Style::PLAIN };
        let text = tree(
            "t",
            &[Branch::pair("a", "b").with_role(Role::Bad), Branch::tip("do it"), Branch::fix("c")],
            style,
        );
        let expected = "\n\u{1b}[1mt\u{1b}[0m\n\u{1b}[2m   ├─ \u{1b}[0m\u{1b}[2ma:\u{1b}[0m\u{1b}[31m b\u{1b}[0m\n\
                        \u{1b}[2m   ├─ \u{1b}[0m\u{1b}[2mtip: do it\u{1b}[0m\n\
                        \u{1b}[2m   └─ \u{1b}[0m\u{1b}[2mfix:\u{1b}[0m\u{1b}[1m c\u{1b}[0m\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn text_is_wrapped_and_commands_are_not() {
        let style = Style { width: Some(40), ..Style::PLAIN };
        let long = "one two three four five six seven eight nine ten eleven";
        let nodes = [
            Branch::new(long).with([Branch::pair("x", format!("{long} `{long}` {long}"))]),
            Branch::command("fix", long),
            Branch::tip(long),
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
        assert_eq!(tree(long, &nodes, style), expected);
        assert_eq!(tree(long, &nodes, Style::PLAIN).lines().count(), 7, "one line each");
    }
}
