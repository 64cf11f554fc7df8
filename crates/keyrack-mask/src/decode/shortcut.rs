//! Simple escapes, decoded without the state machine. Benchmark rows
//! "masking, … keys, text: …".

use super::class::{Class, MAX_PARAMETERS, class};

/// Decodes the escape at the start of a text while no other is open, if the text alone is enough.
/// Returns the character, which begins no escape itself, or no character; and the length of the
/// escape in bytes.
pub(crate) fn shortcut(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let is_kept = |b: u8| class(b) == Class::Kept;
    match *text {
        [b'\\', b'u', b'0', b'0', high, low, ..] | [b'\\', b'x', high, low, ..] => {
            let value = hex(high)? << 4 | hex(low)?;
            let length = if text[1] == b'u' { 6 } else { 4 };
            match class(value) {
                Class::Kept if value < 0x80 || length == 4 => Some((Some(value), length)),
                Class::Blank | Class::Quote => Some((None, length)),
                _ => None,
            }
        }
        [b'\\', b'n' | b'r' | b't' | b'\'' | b'"', ..] => Some((None, 2)),
        [b'\\', b, ..] if is_kept(b) && !b.is_ascii_alphanumeric() => Some((Some(b), 2)),
        [b'%', high, low, ..] if high.is_ascii_hexdigit() => {
            let value = hex(high)? << 4 | hex(low)?;
            match class(value) {
                Class::Kept => Some((Some(value), 3)),
                Class::Blank | Class::Quote => Some((None, 3)),
                _ => None,
            }
        }
        [b'=', b, ..] if !matches!(b, b'0'..=b'9' | b'A'..=b'F') => match class(b) {
            Class::Start | Class::Control => None,
            Class::Blank if b != b'\n' && b != b' ' => None,
            _ => Some((None, 1)),
        },
        [b'$', b, ..] if is_kept(b) => Some((Some(b'$'), 1)),
        [0x1b, b'[', ref rest @ ..] => {
            let end =
                rest.iter().take(usize::from(MAX_PARAMETERS)).position(|b| !matches!(b, 0x20..=0x3f))?;
            matches!(rest[end], 0x40..=0x7e).then_some((None, end + 3))
        }
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
