//! Search for the bytes that a JSON string must escape.

/// One in each byte.
const EACH: u64 = u64::MAX / 255;

/// Returns the position of the first byte that is not plain: not ASCII, or escaped in a JSON
/// string. `None` if all are plain.
#[inline]
pub fn plain_ascii(bytes: &[u8]) -> Option<usize> {
    find(bytes, EACH * 0x80)
}

/// Returns the position of the first byte that cannot stand unescaped in a JSON string: a control
/// character, a quote or a backslash.
#[inline]
pub(crate) fn first_special(bytes: &[u8]) -> Option<usize> {
    find(bytes, 0)
}

/// Finds the first special byte, or the first with a bit of `also`.
///
/// It compares eight bytes at a time, because every name of a request and a reply goes through it:
/// benchmark rows "GET, native, persistent, Rust client" and "GET of one key, fresh connection,
/// legacy".
#[inline]
fn find(bytes: &[u8], also: u64) -> Option<usize> {
    // Sets the high bit of each byte of `eight` that is less than `n` (at most 128). Bytes after
    // the first such byte may be set too.
    let below = |eight: u64, n: u64| eight.wrapping_sub(EACH * n) & !eight & (EACH * 0x80);
    let special = |eight: u64| {
        let quote = below(eight ^ (EACH * u64::from(b'"')), 1);
        let backslash = below(eight ^ (EACH * u64::from(b'\\')), 1);
        below(eight, 0x20) | quote | backslash | (eight & also)
    };
    let (chunks, tail) = bytes.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let found = special(u64::from_le_bytes(*chunk));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    // One by one: the bytes may be a secret, which no buffer on the stack may hold.
    let is_special =
        |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\') || u64::from(byte) & also & 0x80 != 0;
    let found = tail.iter().position(|&byte| is_special(byte));
    found.map(|at| chunks.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_finds_the_first_special_byte_at_every_position() {
        for len in 0..=40 {
            for at in 0..len {
                for byte in 0..=255_u8 {
                    for after in [b' ', 0, b'"', b'~', 0xff] {
                        let mut bytes = vec![b'!'; len];
                        bytes[at] = byte;
                        bytes[at + 1..].fill(after);
                        let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
                        assert_eq!(first_special(&bytes), bytes.iter().position(special));
                        assert_eq!(plain_ascii(&bytes), bytes.iter().position(|b| special(b) || *b >= 0x80));
                    }
                }
            }
        }
    }
}
