//! Shortening of untrusted names and paths in messages: one may be a megabyte long.

use std::borrow::Cow;

/// Maximum characters of a name in a message.
pub const NAME: usize = 64;

/// Maximum characters of a path in a message.
pub const PATH: usize = 256;

/// Cuts the text to `most` characters and an ellipsis.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// Name in double quotes, escaped, cut to [`NAME`] characters.
pub fn quoted(name: &str) -> String {
    format!("{:?}", shortened(name, NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortened_cuts_long_names() {
        for (name, most, shown) in [
            ("", 2, ""),
            ("ab", 2, "ab"),
            ("abc", 2, "ab…"),
            ("äöü", 2, "äö…"),
            ("äö", 2, "äö"),
            ("a", 0, "…"),
        ] {
            assert_eq!(shortened(name, most), shown, "{name:?}");
        }
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quoted(&"x".repeat(1 << 20)), format!("\"{}…\"", "x".repeat(NAME)));
    }
}
