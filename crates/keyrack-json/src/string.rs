//! JSON strings (RFC 8259 §7): checking, and unescaping into a buffer of the caller.
//!
//! A string may be a secret, so its text never passes through memory of this crate: runs are copied
//! from the caller's text to the caller's buffer, and each escape is decoded in place.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::error::{StringError, UnescapeError};
use crate::special::first_special;

/// A JSON string between its quotes in the caller's text: checked, still escaped.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RawString<'a> {
    raw: &'a str,
    len: usize,
}

impl<'a> RawString<'a> {
    /// Checks the text between two quotes.
    ///
    /// # Errors
    /// The first [`StringError`] of the text.
    pub(crate) fn check(raw: &'a str) -> Result<Self, StringError> {
        #[cfg(any(test, feature = "visits"))]
        crate::visits::add(raw.len());
        let mut len = 0_usize;
        walk(raw, |piece| {
            len += piece.len();
            Ok::<_, StringError>(())
        })?;
        Ok(Self { raw, len })
    }

    /// Returns the text between the quotes, still escaped.
    pub fn raw(&self) -> &'a [u8] {
        self.raw.as_bytes()
    }

    /// Returns the length in bytes once unescaped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if the string is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the unescaped string to the start of `out` and returns its length, [`Self::len`].
    ///
    /// # Errors
    /// [`UnescapeError::TooSmall`] if `out` is shorter. `out` is unchanged then.
    pub fn unescape_into(&self, out: &mut [u8]) -> Result<usize, UnescapeError> {
        if out.len() < self.len {
            return Err(UnescapeError::TooSmall);
        }
        unescape_str(self.raw, out)
    }

    /// Returns the unescaped string in memory that is wiped.
    pub fn to_wiped(&self) -> Zeroizing<Vec<u8>> {
        let mut text = Zeroizing::new(vec![0; self.len]);
        // Checked by `check`, and exactly as long.
        let _: Result<usize, UnescapeError> = unescape_str(self.raw, &mut text);
        text
    }

    /// Returns the string as text, borrowed if nothing is escaped. Not for secrets: the text is not
    /// wiped.
    pub fn to_text(self) -> Cow<'a, str> {
        if self.raw.len() == self.len {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.len);
        // Checked by `check`, so there is no error.
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

/// Calls `each` with the pieces of `raw`: runs without escapes, and the character of each escape.
fn walk<'a, E: From<StringError>>(
    raw: &'a str,
    mut each: impl FnMut(Piece<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let run = first_special(&bytes[at..]);
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

/// Returns the character of the escape at the start of `text`, and the length of the escape.
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

/// Returns the length of the escape at the start of `text` by its grammar. Lone surrogates pass.
pub(crate) fn escape_grammar(text: &[u8]) -> Result<usize, StringError> {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => hex4(text, 2).map(|_| 6),
        _ => Err(StringError::BadEscape),
    }
}

/// Unescapes the text between the quotes of a JSON string to the start of `out`, and returns the
/// length written. Surrogate pairs are joined.
///
/// # Errors
/// [`UnescapeError`]. The bytes written to `out` until then are zeroed.
pub fn unescape_into(raw: &[u8], out: &mut [u8]) -> Result<usize, UnescapeError> {
    let raw = std::str::from_utf8(raw).map_err(|_| StringError::NotUtf8)?;
    unescape_str(raw, out)
}

fn unescape_str(raw: &str, out: &mut [u8]) -> Result<usize, UnescapeError> {
    let mut len = 0;
    let outcome = walk(raw, |piece| {
        let target = out.get_mut(len..len + piece.len()).ok_or(UnescapeError::TooSmall)?;
        match piece {
            Piece::Run(run) => target.copy_from_slice(run.as_bytes()),
            Piece::Char(c) => {
                c.encode_utf8(target);
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
