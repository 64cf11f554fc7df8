//! JSON strings (RFC 8259 §7): escaping into a sink, unescaping into a buffer of the caller.
//!
//! A string may be a secret, so the decoded text never passes through memory of this crate: runs are copied from the
//! caller's text to the caller's buffer, and an escape is encoded where it belongs.

use std::borrow::Cow;

use crate::writer::{CapacityError, Counter, Writer};

/// What is wrong with a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StringError {
    /// The bytes are not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A character below U+0020, or a quote, stands unescaped.
    #[error("an unescaped control character or quote")]
    Unescaped,
    /// A backslash begins no escape that JSON knows.
    #[error("an escape that JSON does not know")]
    BadEscape,
    /// Half of a surrogate pair: no character, so no byte of UTF-8 can stand for it.
    #[error("a lone surrogate")]
    LoneSurrogate,
}

/// Why a string was not unescaped. The caller's buffer holds none of it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnescapeError {
    /// The text is no JSON string.
    #[error("the string holds {0}")]
    Fault(#[from] StringError),
    /// The buffer is too small.
    #[error("the string is longer than the buffer for it")]
    TooSmall,
}

/// The bytes are not UTF-8, so no JSON string can carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value is not UTF-8 and cannot be carried by JSON")]
pub struct NotUtf8;

/// A JSON string as it stands between its quotes in the caller's buffer, checked, still escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawString<'a> {
    raw: &'a str,
    len: usize,
}

impl<'a> RawString<'a> {
    /// Checks the text between two quotes.
    ///
    /// # Errors
    /// The first fault of the text.
    pub(crate) fn check(raw: &'a str) -> Result<Self, StringError> {
        #[cfg(test)]
        super::visits::add(raw.len());
        let mut len = 0_usize;
        walk(raw, |piece| {
            len += piece.len();
            Ok::<_, StringError>(())
        })?;
        Ok(Self { raw, len })
    }

    /// The text as it stands between the quotes, still escaped.
    pub fn raw(&self) -> &'a [u8] {
        self.raw.as_bytes()
    }

    /// Length in bytes once unescaped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the string is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the unescaped string to the start of `out` and returns its length, which is [`Self::len`].
    ///
    /// # Errors
    /// [`UnescapeError::TooSmall`] if `out` is shorter than that; `out` is unchanged then.
    pub fn unescape_into(&self, out: &mut [u8]) -> Result<usize, UnescapeError> {
        if out.len() < self.len {
            return Err(UnescapeError::TooSmall);
        }
        unescape_str(self.raw, out)
    }

    /// The string as text: borrowed where nothing is escaped, else an allocation. Only for what is no secret.
    pub(crate) fn to_text(self) -> Cow<'a, str> {
        if self.raw.len() == self.len {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.len);
        // Checked when it was made, so no fault can come.
        let _: Result<(), StringError> = walk(self.raw, |piece| {
            match piece {
                Piece::Run(run) => text.push_str(run),
                Piece::Char(c) => text.push(c),
            }
            Ok(())
        });
        Cow::Owned(text)
    }
}

impl std::fmt::Debug for RawString<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawString({} bytes)", self.len)
    }
}

enum Piece<'a> {
    Run(&'a str),
    Char(char),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Run(run) => run.len(),
            Self::Char(c) => c.len_utf8(),
        }
    }
}

/// Hands out `raw` piece by piece: runs that stand for themselves, and the character of each escape.
fn walk<'a, E: From<StringError>>(
    raw: &'a str,
    mut each: impl FnMut(Piece<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let run = first_special(&bytes[at..], 0);
        let end = run.map_or(bytes.len(), |run| at + run);
        if end > at {
            each(Piece::Run(&raw[at..end]))?;
        }
        if end == bytes.len() {
            break;
        }
        if bytes[end] != b'\\' {
            return Err(StringError::Unescaped.into());
        }
        let (c, len) = escape(&bytes[end..])?;
        each(Piece::Char(c))?;
        at = end + len;
    }
    Ok(())
}

/// The character that the escape at the start of `text` stands for, and the escape's length.
fn escape(text: &[u8]) -> Result<(char, usize), StringError> {
    let simple = match text.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text),
        _ => return Err(StringError::BadEscape),
    };
    Ok((simple, 2))
}

fn unicode(text: &[u8]) -> Result<(char, usize), StringError> {
    let first = hex4(text, 2)?;
    match first {
        0xD800..=0xDBFF => {
            if text.get(6) != Some(&b'\\') || text.get(7) != Some(&b'u') {
                return Err(StringError::LoneSurrogate);
            }
            let second = hex4(text, 8)?;
            if !(0xDC00..=0xDFFF).contains(&second) {
                return Err(StringError::LoneSurrogate);
            }
            let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            let c = char::from_u32(joined).ok_or(StringError::LoneSurrogate)?;
            Ok((c, 12))
        }
        _ => char::from_u32(first).map(|c| (c, 6)).ok_or(StringError::LoneSurrogate),
    }
}

fn hex4(text: &[u8], at: usize) -> Result<u32, StringError> {
    let digits = text.get(at..at + 4).ok_or(StringError::BadEscape)?;
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(StringError::BadEscape)?;
        Ok(value << 4 | digit)
    })
}

/// Length of the escape at the start of `text`, by its grammar alone: halves of surrogate pairs pass.
pub(super) fn escape_grammar(text: &[u8]) -> Result<usize, StringError> {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => hex4(text, 2).map(|_| 6),
        _ => Err(StringError::BadEscape),
    }
}

/// Unescapes the text between the quotes of a JSON string to the start of `out`; returns the length written.
///
/// Surrogate pairs are joined.
///
/// # Errors
/// [`UnescapeError`]; what had been written to `out` by then is zeroed again.
pub fn unescape_into(raw: &[u8], out: &mut [u8]) -> Result<usize, UnescapeError> {
    let raw = std::str::from_utf8(raw).map_err(|_| StringError::NotUtf8)?;
    unescape_str(raw, out)
}

fn unescape_str(raw: &str, out: &mut [u8]) -> Result<usize, UnescapeError> {
    let mut len = 0;
    let outcome = walk(raw, |piece| {
        let place = out.get_mut(len..len + piece.len()).ok_or(UnescapeError::TooSmall)?;
        match piece {
            Piece::Run(run) => place.copy_from_slice(run.as_bytes()),
            Piece::Char(c) => {
                c.encode_utf8(place);
            }
        }
        len += piece.len();
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(len),
        Err(error) => {
            out[..len].fill(0);
            Err(error)
        }
    }
}

/// Length in bytes of `bytes` as the inside of a JSON string.
///
/// # Errors
/// [`NotUtf8`]: no JSON string can carry them.
pub fn escape_len(bytes: &[u8]) -> Result<usize, NotUtf8> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotUtf8)?;
    let mut counter = Counter(0);
    // A counter is never full.
    let _: Result<(), CapacityError> = escape_str(&mut counter, text);
    Ok(counter.0)
}

/// Puts `bytes` as the inside of a JSON string, in the form `JSON.stringify` gives.
///
/// # Errors
/// [`EscapeError::NotUtf8`] before anything is put, or the sink is full.
pub fn escape_into(writer: &mut impl Writer, bytes: &[u8]) -> Result<(), EscapeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| EscapeError::NotUtf8)?;
    escape_str(writer, text).map_err(|CapacityError| EscapeError::Full)
}

/// Why bytes were not escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EscapeError {
    /// They are not UTF-8; nothing was put.
    #[error("the value is not UTF-8 and cannot be carried by JSON")]
    NotUtf8,
    /// The sink took no more.
    #[error("the message buffer is full")]
    Full,
}

/// Puts `text` as the inside of a JSON string.
pub(crate) fn escape_str(writer: &mut impl Writer, text: &str) -> Result<(), CapacityError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(run) = first_special(&bytes[at..], 0) {
        if run > 0 {
            writer.put(&bytes[at..at + run])?;
        }
        writer.put(match bytes[at + run] {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            control => CONTROLS[usize::from(control)].as_bytes(),
        })?;
        at += run + 1;
    }
    if at < bytes.len() {
        writer.put(&bytes[at..])?;
    }
    Ok(())
}

/// How many bytes of ASCII from the first stand for themselves in a JSON string, if others follow them.
pub(crate) fn plain_ascii(bytes: &[u8]) -> Option<usize> {
    first_special(bytes, EACH * 0x80)
}

/// One in each byte.
const EACH: u64 = u64::MAX / 255;

/// The first byte that cannot stand for itself between quotes: a control character, a quote or a backslash, or one with a bit of
/// `also`. Eight at a time: names are read and written for every request.
pub(super) fn first_special(bytes: &[u8], also: u64) -> Option<usize> {
    // The high bit of each byte of `eight` that is less than `n`, n being at most 128, and of some behind the first such.
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
    // One by one: what is looked at may be a secret, of which no buffer here may hold a byte.
    let is_special =
        |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\') || u64::from(byte) & also & 0x80 != 0;
    let found = tail.iter().position(|&byte| is_special(byte));
    found.map(|at| chunks.len() * 8 + at)
}

/// The escapes of U+0000 to U+001F. A table, so that no byte of a secret passes through a buffer of this crate.
#[rustfmt::skip]
const CONTROLS: [&str; 32] = [
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007",
    "\\b",     "\\t",     "\\n",     "\\u000b", "\\f",     "\\r",     "\\u000e", "\\u000f",
    "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017",
    "\\u0018", "\\u0019", "\\u001a", "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
];
