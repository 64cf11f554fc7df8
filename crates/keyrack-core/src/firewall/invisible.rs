//! What stands before a value without being seen: a token pasted with it is still that token.
//!
//! Looks at the beginning alone. What is inside a value is the value's own and is never changed.

/// `value` behind its leading white space and characters that are not seen.
pub(super) fn trim_start(value: &[u8]) -> &[u8] {
    let text = value.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let seen = text.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
    &value[text.len() - seen.len()..]
}

/// Format characters (general category Cf) and those that are ignored where they cannot be displayed (`Default_Ignorable_Code_Point`), as of
/// Unicode 17.0.
fn is_invisible(c: char) -> bool {
    // Every one of them is behind ASCII, and nearly every token begins with that.
    !c.is_ascii()
        && matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unseen_in_front_goes() {
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
            // Seen, though near to what is not.
            ("\u{2010}x", "\u{2010}x"),
            ("\u{fffc}x", "\u{fffc}x"),
            ("\u{301}x", "\u{301}x"),
            ("é", "é"),
            ("\u{1f511}x", "\u{1f511}x"),
        ] {
            assert_eq!(trim_start(value.as_bytes()), left.as_bytes(), "{value:?}");
        }
        assert_eq!(trim_start(b"\xe2\x80\x8b\xff x"), b"\xff x", "bytes that are no text stay");
        assert_eq!(trim_start(b"\xe2\x80"), b"\xe2\x80", "a part of a character, too");
    }
}
