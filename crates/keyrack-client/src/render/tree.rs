//! Trees of text: a title and branches below it, as every command of keyrack shows what came of it.
//!
//! All text is cleaned here, so that no name or message steers a terminal whatever its way in.

use unicode_width::UnicodeWidthStr as _;

use super::look::{Look, Tone};
use super::text::{clean, wrap};
use keyrack_core::Slug;

/// The columns a text gets however deep it stands on however narrow a terminal.
const NARROWEST: usize = 20;

/// A branch: a line, and branches below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// How much of the text, in bytes, is the name before its value, with the colon.
    name: usize,
    text: String,
    /// Of what stands behind the name.
    tone: Tone,
    kind: Kind,
    below: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Wrapped at the width.
    Text,
    /// One line, however long: it gets pasted.
    Command,
}

impl Node {
    /// A branch with nothing below it yet, wrapped at the width.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = clean(text.as_ref());
        Node { name: 0, text, tone: Tone::Plain, kind: Kind::Text, below: Vec::new() }
    }

    /// A branch that is named by a key.
    pub fn key(slug: &Slug) -> Self {
        Node::new(slug.as_str()).toned(Tone::Key)
    }

    /// `name: value`.
    pub fn pair(name: &str, value: impl AsRef<str>) -> Self {
        let name = clean(name);
        let node = Node::new(format!("{name}: {}", value.as_ref()));
        Node { name: name.len() + 1, ..node }
    }

    /// `key: value`.
    pub fn of_key(slug: &Slug, value: impl AsRef<str>) -> Self {
        Node::pair(slug.as_str(), value)
    }

    /// `note: text`: something to know that is less than it could be.
    pub fn note(text: impl AsRef<str>) -> Self {
        Node::pair("note", text).toned(Tone::Warn)
    }

    /// `hint: text`: a way out that is no command.
    pub fn hint(text: impl AsRef<str>) -> Self {
        Node::pair("hint", text)
    }

    /// `fix: command`, never wrapped.
    pub fn fix(command: impl AsRef<str>) -> Self {
        Node::command("fix", command).toned(Tone::Fix)
    }

    /// `name: command`, never wrapped.
    pub fn command(name: &str, command: impl AsRef<str>) -> Self {
        Node { kind: Kind::Command, ..Node::pair(name, command) }
    }

    /// The command to run next, dimmed and never wrapped.
    pub fn tip(command: impl AsRef<str>) -> Self {
        Node { name: 0, ..Node::command("tip", command) }.toned(Tone::Quiet)
    }

    /// The same, what stands behind its name in a tone.
    #[must_use]
    pub fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
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
    paragraph_toned(&mut out, ["", "   "], &clean(title), Tone::Title, look);
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
        let text = look.spelt(&node.text);
        match node.kind {
            Kind::Text => {
                put(
                    out,
                    [&first, &hang],
                    wrap_under([&first, &hang], &text, look),
                    node.name,
                    node.tone,
                    look,
                );
            }
            Kind::Command => put(out, [&first, &hang], vec![&text], node.name, node.tone, look),
        }
        branches(out, &below, &node.below, look);
    }
}

/// Puts a text, wrapped at the width: the first of `lead` before its first line, the second before the others.
pub fn paragraph(out: &mut String, lead: [&str; 2], text: &str, look: Look) {
    paragraph_toned(out, lead, text, Tone::Plain, look);
}

/// The same in a tone.
pub fn paragraph_toned(out: &mut String, lead: [&str; 2], text: &str, tone: Tone, look: Look) {
    let text = look.spelt(text);
    put(out, lead, wrap_under(lead, &text, look), 0, tone, look);
}

fn wrap_under<'t>(lead: [&str; 2], text: &'t str, look: Look) -> Vec<&'t str> {
    let [first, hang] = lead
        .map(|lead| look.width.map_or(usize::MAX, |width| width.saturating_sub(lead.width()).max(NARROWEST)));
    wrap(text, first, hang)
}

/// Puts lines, `name` bytes of them a name, the rest in a tone. Each line is painted by itself, so that no colour runs into what leads
/// the next.
fn put(out: &mut String, lead: [&str; 2], lines: Vec<&str>, mut name: usize, tone: Tone, look: Look) {
    let [mut lead, hang] = lead;
    for line in lines {
        let (named, rest) = line.split_at(name.min(line.len()));
        // The blank the line was broken at is gone.
        name = name.saturating_sub(line.len() + 1);
        let lead_tone = if lead.trim().is_empty() { Tone::Plain } else { Tone::Quiet };
        out.extend([
            &look.paint(lead_tone, lead),
            &look.paint(Tone::Quiet, named),
            &look.paint(tone, rest),
            "\n",
        ]);
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

    /// The text without its escape sequences, all of which are SGR and end what they begin on their own line.
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
    fn colour_changes_no_letter() {
        let slug = Slug::parse("acme.test.KEY").unwrap();
        let long = "one two three four five six seven eight nine ten eleven";
        let nodes = [
            Node::key(&slug).with([
                Node::pair("a name of several words", long).toned(Tone::Good),
                Node::note(long),
                Node::fix("keyrack doctor"),
                Node::tip("keyrack doctor"),
            ]),
            Node::of_key(&slug, "granted").toned(Tone::Bad).with(sample()),
        ];
        for width in [None, Some(12), Some(25), Some(40), Some(80)] {
            for unicode in [true, false] {
                let plain = Look { width, colour: false, unicode };
                let text = tree(long, &nodes, Look { colour: true, ..plain });
                assert_eq!(bare(&text), tree(long, &nodes, plain), "{width:?}");
            }
        }
        assert!(!tree(long, &nodes, Look::PLAIN).contains('\u{1b}'));
    }

    #[test]
    fn names_are_quiet_and_values_have_their_tone() {
        let look = Look { colour: true, ..Look::PLAIN };
        let text =
            tree("t", &[Node::pair("a", "b").toned(Tone::Bad), Node::tip("do it"), Node::fix("c")], look);
        let expected = "\n\u{1b}[1mt\u{1b}[0m\n\u{1b}[2m   ├─ \u{1b}[0m\u{1b}[2ma:\u{1b}[0m\u{1b}[31m b\u{1b}[0m\n\
                        \u{1b}[2m   ├─ \u{1b}[0m\u{1b}[2mtip: do it\u{1b}[0m\n\
                        \u{1b}[2m   └─ \u{1b}[0m\u{1b}[2mfix:\u{1b}[0m\u{1b}[1m c\u{1b}[0m\n\n";
        assert_eq!(text, expected);
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
