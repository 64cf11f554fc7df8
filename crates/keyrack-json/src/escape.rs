//! Escaping: bytes into the inside of a JSON string, in the form of `JSON.stringify`.

use std::str::Utf8Error;

use crate::error::EscapeError;
use crate::special::first_special;
use crate::writer::{ByteCounter, CapacityError, Writer};

/// Returns the length of `bytes` in bytes once escaped.
///
/// # Errors
/// [`Utf8Error`] if no JSON string can carry them.
pub fn escape_len(bytes: &[u8]) -> Result<usize, Utf8Error> {
    let text = std::str::from_utf8(bytes)?;
    let mut counter = ByteCounter::default();
    // A counter is never full.
    let _: Result<(), CapacityError> = escape_str(&mut counter, text);
    Ok(counter.0)
}

/// Writes `bytes` as the inside of a JSON string.
///
/// # Errors
/// [`EscapeError::NotUtf8`] before anything is written; [`EscapeError::Full`].
pub fn escape_into(writer: &mut impl Writer, bytes: &[u8]) -> Result<(), EscapeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| EscapeError::NotUtf8)?;
    escape_str(writer, text).map_err(|CapacityError| EscapeError::Full)
}

/// Writes `text` as the inside of a JSON string.
///
/// # Errors
/// [`CapacityError`] if the writer is full.
#[inline]
pub fn escape_str(writer: &mut impl Writer, text: &str) -> Result<(), CapacityError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(run) = first_special(&bytes[at..]) {
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

/// Escapes of U+0000 to U+001F. A table, so that no byte of a secret passes through a buffer of
/// this crate.
#[rustfmt::skip]
const CONTROLS: [&str; 32] = [
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007",
    "\\b",     "\\t",     "\\n",     "\\u000b", "\\f",     "\\r",     "\\u000e", "\\u000f",
    "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017",
    "\\u0018", "\\u0019", "\\u001a", "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
];
