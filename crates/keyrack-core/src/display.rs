//! Untrusted text, made safe to show, and the one table of characters that cannot be seen.
//!
//! `keyrack-wire` does not use it: it is below this crate, and escapes the few names that it shows
//! (`char::escape_debug`). `lib/format.js` states the same table as Unicode properties; its test
//! compares the two.

/// Removes control and invisible characters. A line break or a tab becomes a blank.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            c if c.is_control() || is_invisible(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Returns `true` for characters that have no glyph, or that reorder or hide the text around them:
/// format characters (general category Cf), those that a terminal ignores if it cannot show them
/// (`Default_Ignorable_Code_Point`), and the line and paragraph separators, as of Unicode 17.0.
///
/// It is `false` for control characters and white space: see [`char::is_control`] and
/// [`char::is_whitespace`].
pub fn is_invisible(c: char) -> bool {
    // All are outside of ASCII, and most text is not.
    !c.is_ascii()
        && matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns `value` without its leading white space and invisible characters. Bytes that are not
/// UTF-8 stay.
///
/// Only the beginning is trimmed: a token that was pasted with such characters is still that token.
pub fn trim_invisible_start(value: &[u8]) -> &[u8] {
    let text = value.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let seen = text.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    &value[text.len() - seen.len()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_removes_what_steers_a_terminal() {
        for (text, shown) in [
            ("acme.test.KEY", "acme.test.KEY"),
            ("a\u{1b}[2Jb", "a[2Jb"),
            ("a\nb\tc\rd", "a b c d"),
            ("a\u{202e}b\u{200b}c\u{feff}", "abc"),
            ("a\u{2028}b\u{2029}c\u{206f}", "abc"),
            ("a\u{180e}b\u{fff9}\u{fffb}c\u{e0001}\u{e0041}\u{e007f}", "abc"),
            ("a\u{7f}b\u{9b}c\0", "abc"),
            ("a\u{a0}b\u{3000}c", "a\u{a0}b\u{3000}c"),
            ("schlüssel 🔑", "schlüssel 🔑"),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn trim_invisible_start_removes_only_the_beginning() {
        for (value, left) in [
            ("", ""),
            ("x", "x"),
            (" \t\r\n\u{b}\u{c}\u{85}\u{a0}\u{1680}\u{2000}\u{2029}\u{202f}\u{205f}\u{3000}x ", "x "),
            ("\u{200b}\u{200c}\u{200d}\u{200e}\u{2060}\u{feff}\u{ad}x", "x"),
            ("\u{202a}\u{202e}\u{2066}\u{206f}\u{61c}\u{180e}x", "x"),
            ("\u{34f}\u{3164}\u{ffa0}\u{fe0f}\u{e0001}\u{e0041}\u{e0fff}x", "x"),
            ("\u{600}\u{6dd}\u{fff9}\u{fffb}\u{110bd}\u{1343f}\u{1d173}x", "x"),
            ("x\u{200b}y", "x\u{200b}y"),
            ("\u{200b}x\u{200b}", "x\u{200b}"),
            // Visible, though close to characters that are not.
            ("\u{2010}x", "\u{2010}x"),
            ("\u{fffc}x", "\u{fffc}x"),
            ("\u{301}x", "\u{301}x"),
            ("é", "é"),
            ("\u{1f511}x", "\u{1f511}x"),
        ] {
            assert_eq!(trim_invisible_start(value.as_bytes()), left.as_bytes(), "{value:?}");
        }
        assert_eq!(trim_invisible_start(b"\xe2\x80\x8b\xff x"), b"\xff x", "bytes that are not UTF-8 stay");
        assert_eq!(trim_invisible_start(b"\xe2\x80"), b"\xe2\x80", "so does a part of a character");
    }
}
