//! How text may look where it goes.

use std::borrow::Cow;

/// What a piece of text means, which is all that decides its colour. A terminal's own sixteen colours are used: they fit its background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing in particular.
    #[default]
    Plain,
    /// What all of it is about.
    Title,
    /// The name of a key.
    Key,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Does not work.
    Bad,
    /// A command that mends something.
    Fix,
    /// What may be read over.
    Quiet,
}

impl Role {
    /// The parameters of its SGR sequence (ECMA-48 §8.3.117); empty for none.
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

/// What the place text goes to can show. The caller finds out; nothing here looks at a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns that text is wrapped at; `None` never wraps. Commands are never wrapped: they get pasted.
    pub width: Option<usize>,
    /// Whether escape sequences may be used.
    pub color: bool,
    /// Whether tree lines and emoji can be shown.
    pub unicode: bool,
}

impl Style {
    /// For a pipe or a file: no escape sequences, no wrapping, unicode.
    pub const PLAIN: Style = Style { width: None, color: false, unicode: true };

    /// For a place that knows ASCII alone.
    pub const ASCII: Style = Style { width: None, color: false, unicode: false };

    /// `text` with our own punctuation in letters that can be shown. Names stay as they are.
    pub(crate) fn spelled(self, text: &str) -> Cow<'_, str> {
        if self.unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.replace('…', "...").replace(['—', '–'], "-").replace('→', "->"))
    }

    /// `text` in the colour of a tone, if that can be shown.
    pub fn paint(self, role: Role, text: &str) -> String {
        match role.sgr() {
            sgr if self.color && !sgr.is_empty() && !text.is_empty() => {
                format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
            }
            _ => text.to_owned(),
        }
    }

    /// `word` with its emoji behind it, if that can be shown.
    pub fn marked(self, word: &str, emoji: &str) -> String {
        if self.unicode { format!("{word} {emoji}") } else { word.to_owned() }
    }

    /// `title` with its emoji before it, if that can be shown.
    pub fn titled(self, emoji: &str, title: &str) -> String {
        if self.unicode { format!("{emoji} {title}") } else { title.to_owned() }
    }
}
