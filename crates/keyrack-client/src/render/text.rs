//! Lines of text that fit a width.

use unicode_width::UnicodeWidthStr as _;

/// Breaks text into lines: the first of `width` columns, the others of `then`. Lines break at
/// blanks only, so a longer word gets its own line. Text between backticks is one word, because
/// people paste commands.
pub fn wrap(text: &str, mut width: usize, then: usize) -> Vec<&str> {
    let mut quoted = false;
    let blanks = text.char_indices().filter(|(at, c)| {
        if *c == '`' {
            quoted = !quoted && text[at + 1..].contains('`');
        }
        *c == ' ' && !quoted
    });
    let mut lines = Vec::new();
    let (mut start, mut fits) = (0, None);
    for stop in blanks.map(|(at, _)| at).chain([text.len()]) {
        if let Some(end) = fits
            && text[start..stop].width() > width
        {
            lines.push(&text[start..end]);
            start = end + 1;
            width = then;
        }
        fits = Some(stop);
    }
    lines.push(&text[start..]);
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_at_blanks() {
        for (text, width, lines) in [
            ("", 9, &[""][..]),
            ("a", 9, &["a"]),
            ("one two", 7, &["one two"]),
            ("one two", 6, &["one", "two"]),
            ("one two three", 7, &["one two", "three"]),
            ("anerrantword in front", 8, &["anerrantword", "in front"]),
            ("before anerrantword", 8, &["before", "anerrantword"]),
            ("schöne grüße", 12, &["schöne grüße"]),
            ("a 🔑🔑 b", 6, &["a 🔑🔑", "b"]),
            ("a 🔑🔑 b", 5, &["a", "🔑🔑", "b"]),
            ("e\u{301}e\u{301} e\u{301}", 4, &["e\u{301}e\u{301} e\u{301}"]),
            ("run `a b c` now", 9, &["run", "`a b c`", "now"]),
            ("a `b c` d", 9, &["a `b c` d"]),
            ("it`s one two", 6, &["it`s", "one", "two"]),
            ("`a b` `c d e", 6, &["`a b`", "`c d e"]),
            ("`a b` `c d e", 4, &["`a b`", "`c d", "e"]),
            ("x  y", 1, &["x", "", "y"]),
            ("x y", 0, &["x", "y"]),
        ] {
            assert_eq!(wrap(text, width, width), lines, "{text} at {width}");
        }
        assert_eq!(wrap("one two three four five", 9, 5), ["one two", "three", "four", "five"]);
        assert_eq!(wrap("one two three four five", 5, 10), ["one", "two three", "four five"]);
    }

    proptest! {
        #[test]
        fn wrapping_loses_nothing_and_fits(text in "([a-c`é🔑]{0,9} ?){0,12}", width in 0_usize..30) {
            let lines = wrap(&text, width, width);
            prop_assert_eq!(lines.join(" "), text.as_str());
            for line in lines.iter().filter(|line| line.width() > width) {
                prop_assert!(!line.contains(' ') || line.contains('`'), "{:?} could be broken", line);
            }
        }
    }
}
