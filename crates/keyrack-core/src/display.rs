//! Untrusted text, made safe to show.

/// Removes control characters, and the marks that reorder or hide the text around them (Unicode UAX #9
/// §2, and the line and paragraph separators). A line break or a tab becomes a blank.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            c if c.is_control() || is_invisible(c) => None,
            c => Some(c),
        })
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
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
            ("a\u{180e}b\u{fff9}\u{fffb}c\u{e0001}\u{e0041}\u{e007f}", "abc"),
            ("a\u{7f}b\u{9b}c\0", "abc"),
            ("schlüssel 🔑", "schlüssel 🔑"),
        ] {
            assert_eq!(clean(text), shown);
        }
    }
}
