//! Tokens of a text that may or may not be JSON, for guards: a guard must find what a secret holds
//! even in a text that no strict reader accepts (a missing brace, a comment, a trailing comma).
//!
//! Every string in quotes comes as a token. In valid JSON the strings are those that a strict
//! reader finds.

use zeroize::Zeroizing;

/// Part of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LooseToken<'a> {
    /// An opening brace or bracket.
    Open,
    /// A closing brace or bracket.
    Close,
    /// A comma.
    Comma,
    /// A string that a colon follows.
    Name(LooseString<'a>),
    /// Any other string.
    String(LooseString<'a>),
    /// A run of letters, digits, `.`, `+` and `-` that begins with a digit.
    Number(&'a [u8]),
}

/// A string as it stands between its quotes. It may be malformed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LooseString<'a> {
    raw: &'a [u8],
}

impl<'a> LooseString<'a> {
    /// Returns the bytes between the quotes, still escaped.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns the unescaped string (RFC 8259 §7). An unknown escape stands for its second
    /// character; a lone surrogate becomes U+FFFD, or nothing if it is the first half.
    pub fn to_wiped(&self) -> Zeroizing<Vec<u8>> {
        let raw = self.raw;
        // No escape is shorter than its character, so the buffer never moves.
        let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
        let mut at = 0;
        let mut high = None;
        while let Some(&byte) = raw.get(at) {
            let escape = if byte == b'\\' { raw.get(at + 1).copied() } else { None };
            let unit = if escape == Some(b'u') { utf16_unit(raw.get(at + 2..at + 6)) } else { None };
            if let Some(unit) = unit {
                let units = [high.take().unwrap_or(unit), unit];
                let both = if units[0] == unit { &units[1..] } else { &units[..] };
                if (0xd800..0xdc00).contains(&unit) {
                    high = Some(unit);
                } else {
                    for c in char::decode_utf16(both.iter().copied()) {
                        let c = c.unwrap_or('\u{fffd}');
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                at += 6;
                continue;
            }
            high = None;
            out.push(match escape {
                None => byte,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'b') => 0x08,
                Some(b'f') => 0x0c,
                Some(other) => other,
            });
            at += if escape.is_some() { 2 } else { 1 };
        }
        out
    }
}

fn utf16_unit(digits: Option<&[u8]>) -> Option<u16> {
    digits?
        .iter()
        .try_fold(0, |unit, digit| Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?))
}

/// Returns the tokens of `text`, in order, without its names and other words outside of quotes.
pub fn loose_tokens(text: &[u8]) -> impl Iterator<Item = LooseToken<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let byte = *text.get(at)?;
            let start = at;
            at += 1;
            return Some(match byte {
                b'{' | b'[' => LooseToken::Open,
                b'}' | b']' => LooseToken::Close,
                b',' => LooseToken::Comma,
                b'"' => {
                    let end = end_of_string(text, at);
                    let string = LooseString { raw: &text[at..end] };
                    at = (end + 1).min(text.len());
                    match text[at..].iter().find(|byte| !byte.is_ascii_whitespace()) {
                        Some(b':') => LooseToken::Name(string),
                        _ => LooseToken::String(string),
                    }
                }
                b'0'..=b'9' => {
                    let rest = &text[start..];
                    let len = rest.iter().position(|b| !b.is_ascii_alphanumeric() && !b".+-".contains(b));
                    at = len.map_or(text.len(), |len| start + len);
                    LooseToken::Number(&text[start..at])
                }
                _ => continue,
            });
        }
    })
}

/// Returns the offset of the quote that ends the string whose text begins at `at`, or the end of
/// the text.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}
