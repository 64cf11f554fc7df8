//! How text may look where it goes.

/// What the place text goes to can show. The caller finds out; nothing here looks at a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns that text is wrapped at; `None` never wraps. Commands are never wrapped: they get pasted.
    pub width: Option<usize>,
    /// Whether escape sequences may be used.
    pub colour: bool,
    /// Whether tree lines and emoji can be shown.
    pub unicode: bool,
}

impl Look {
    /// For a pipe or a file: no escape sequences, no wrapping, unicode.
    pub const PLAIN: Look = Look { width: None, colour: false, unicode: true };

    /// For a place that knows ASCII alone.
    pub const ASCII: Look = Look { width: None, colour: false, unicode: false };

    /// `text` dimmed, if that can be shown.
    pub(crate) fn dim(self, text: &str) -> String {
        if self.colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
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
