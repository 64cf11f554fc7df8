//! Characters of a secret that are most likely there by mistake: byte order marks, carriage
//! returns, invisible characters, outer white space.
//!
//! keyrack stores a secret as it is, so `set` names these characters and does not remove them.

use std::fmt;

use crate::display::is_invisible;

/// Property of a secret that is likely a mistake. Never quotes the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Irregularity {
    /// A UTF-8 byte order mark at the start.
    ByteOrderMark,
    /// A UTF-16 byte order mark at the start.
    Utf16ByteOrderMark,
    /// White space at the start.
    LeadingSpace,
    /// A carriage return anywhere.
    CarriageReturn,
    /// A character that takes no room on the screen, anywhere.
    Invisible(char),
    /// White space at the end.
    TrailingSpace,
    /// A newline at the end of a single line, or more than one at the end of several.
    TrailingNewline,
}

impl fmt::Display for Irregularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Irregularity::ByteOrderMark => f.write_str("begins with a byte order mark (U+FEFF)"),
            Irregularity::Utf16ByteOrderMark => f.write_str("begins with a UTF-16 byte order mark"),
            Irregularity::LeadingSpace => f.write_str("begins with white space"),
            Irregularity::CarriageReturn => f.write_str("contains a carriage return (CR)"),
            Irregularity::Invisible(char) => {
                write!(f, "contains an invisible character (U+{:04X})", u32::from(*char))
            }
            Irregularity::TrailingSpace => f.write_str("ends with white space"),
            Irregularity::TrailingNewline => f.write_str("ends with a newline"),
        }
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns `true` if `secret` consists of white space and invisible characters only, and is not
/// empty.
pub fn is_blank(secret: &[u8]) -> bool {
    match std::str::from_utf8(secret) {
        Ok(text) => !text.is_empty() && text.chars().all(|char| char.is_whitespace() || is_invisible(char)),
        Err(_) => false,
    }
}

/// Lists what is irregular about `secret`, each kind once. Bytes that are not UTF-8 are only
/// checked for a UTF-16 mark.
pub fn irregularities(secret: &[u8]) -> Vec<Irregularity> {
    let Ok(text) = std::str::from_utf8(secret) else {
        let utf16 = secret.starts_with(b"\xff\xfe") || secret.starts_with(b"\xfe\xff");
        return utf16.then_some(Irregularity::Utf16ByteOrderMark).into_iter().collect();
    };
    let mut found = Vec::new();
    let (marked, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if marked {
        found.push(Irregularity::ByteOrderMark);
    }
    if text.starts_with(is_outer_space) {
        found.push(Irregularity::LeadingSpace);
    }
    if text.contains('\r') {
        found.push(Irregularity::CarriageReturn);
    }
    if let Some(char) = text.chars().find(|&char| is_invisible(char)) {
        found.push(Irregularity::Invisible(char));
    }
    // The last line of a text of several lines ends with a newline, as the others do.
    let (body, newline) = match text.strip_suffix('\n') {
        Some(body) => (body.strip_suffix('\r').unwrap_or(body), !body.contains('\n') || body.ends_with('\n')),
        None => (text, false),
    };
    if newline {
        found.push(Irregularity::TrailingNewline);
    } else if body.ends_with(is_outer_space) {
        found.push(Irregularity::TrailingSpace);
    }
    found
}

/// A carriage return is named as one, not as white space.
fn is_outer_space(char: char) -> bool {
    char.is_whitespace() && char != '\r'
}

#[cfg(test)]
mod tests {
    use super::Irregularity::*;
    use super::*;

    #[test]
    fn irregularities_are_named_each_once() {
        for (secret, expected) in [
            (&b"s3cret"[..], &[][..]),
            (b"", &[]),
            ("pässwörd with spaces\tand a tab".as_bytes(), &[]),
            (b"-----BEGIN X-----\nabc\n-----END X-----\n", &[]),
            (b"-----BEGIN X-----\nabc\n-----END X-----", &[]),
            (b"s3cret\n", &[TrailingNewline]),
            (b"two\nlines\n\n", &[TrailingNewline]),
            (b" s3cret", &[LeadingSpace]),
            (b"\ns3cret", &[LeadingSpace]),
            (b"s3cret ", &[TrailingSpace]),
            (b"s3cret\t", &[TrailingSpace]),
            ("s3cret\u{a0}".as_bytes(), &[TrailingSpace]),
            (b"s3cret\r", &[CarriageReturn]),
            (b"two\r\nlines\r\n", &[CarriageReturn]),
            (b"s3cret\r\n", &[CarriageReturn, TrailingNewline]),
            (b"two\nlines \n", &[TrailingSpace]),
            ("\u{feff}s3cret".as_bytes(), &[ByteOrderMark]),
            ("\u{feff} s3cret".as_bytes(), &[ByteOrderMark, LeadingSpace]),
            ("s3\u{feff}cret".as_bytes(), &[Invisible('\u{feff}')]),
            ("s3\u{200b}\u{200b}cret".as_bytes(), &[Invisible('\u{200b}')]),
            ("s3cret\u{200e}".as_bytes(), &[Invisible('\u{200e}')]),
            (b"\xff\xfes\x003\x00", &[Utf16ByteOrderMark]),
            (b"\xff\x00\r \n", &[]),
        ] {
            assert_eq!(irregularities(secret), expected, "{:?}", String::from_utf8_lossy(secret));
        }
    }

    #[test]
    fn is_blank_accepts_white_space_and_invisible_characters() {
        for (secret, blank) in [
            (&b" "[..], true),
            (b"\n", true),
            (b"\r\n\t ", true),
            ("\u{feff}".as_bytes(), true),
            ("\u{200b} \u{a0}".as_bytes(), true),
            (b"", false),
            (b" x ", false),
            (b"\0", false),
            (b"\xff", false),
        ] {
            assert_eq!(is_blank(secret), blank, "{secret:?}");
        }
    }

    #[test]
    fn irregularity_text_quotes_nothing() {
        assert_eq!(Invisible('\u{200b}').to_string(), "contains an invisible character (U+200B)");
        assert_eq!(ByteOrderMark.to_string(), "begins with a byte order mark (U+FEFF)");
    }
}
