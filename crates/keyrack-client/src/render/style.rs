//! Style of text: what the output can show, and the colors of its parts.

use std::borrow::Cow;

/// Meaning of a piece of text, which decides its color. Only the sixteen colors of the terminal's
/// own theme are used, because they fit its background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    #[default]
    Plain,
    /// Title of the output.
    Title,
    /// Name of a key.
    Key,
    /// Success.
    Good,
    /// Warning.
    Warn,
    /// Failure.
    Bad,
    /// Command that fixes a problem.
    Fix,
    /// Less important text.
    Quiet,
}

impl Role {
    /// Parameters of the SGR sequence (ECMA-48 §8.3.117). Empty for none.
    fn sgr(self) -> &'static str {
        match self {
            Role::Plain => "",
            Role::Title | Role::Fix => "1",
            Role::Key => "36",
            Role::Good => "32",
            Role::Warn => "33",
            Role::Bad => "31",
            Role::Quiet => "2",
        }
    }
}

/// Capabilities of the output. The caller detects them; nothing here reads a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns at which text is wrapped. `None` never wraps. Commands are never wrapped, because
    /// people paste them.
    pub width: Option<usize>,
    /// `true` if escape sequences may be used.
    pub color: bool,
    /// `true` if tree lines and emoji can be shown.
    pub unicode: bool,
}

impl Style {
    /// Style of a pipe or a file: no escape sequences, no wrapping, unicode.
    pub const PLAIN: Style = Style { width: None, color: false, unicode: true };

    /// Style of an output that shows only ASCII.
    pub const ASCII: Style = Style { width: None, color: false, unicode: false };

    /// Replaces keyrack's own punctuation by ASCII if needed. Names stay as they are.
    pub(crate) fn spelled(self, text: &str) -> Cow<'_, str> {
        if self.unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.replace('…', "...").replace(['—', '–'], "-").replace('→', "->"))
    }

    /// Returns the text in the color of a role, if colors can be shown.
    pub fn paint(self, role: Role, text: &str) -> String {
        match role.sgr() {
            sgr if self.color && !sgr.is_empty() && !text.is_empty() => {
                format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
            }
            _ => text.to_owned(),
        }
    }

    /// Returns the word, followed by its emoji if that can be shown.
    pub fn marked(self, word: &str, emoji: &str) -> String {
        if self.unicode { format!("{word} {emoji}") } else { word.to_owned() }
    }

    /// Returns the title, after its emoji if that can be shown.
    pub fn titled(self, emoji: &str, title: &str) -> String {
        if self.unicode { format!("{emoji} {title}") } else { title.to_owned() }
    }
}
