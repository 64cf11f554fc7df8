//! Strict JSON (RFC 8259) over text in place, for text that may hold secrets.
//!
//! Values stay slices of the caller's text. A string is unescaped only into a buffer of the caller
//! or into memory that is wiped, and is escaped straight into the caller's [`Writer`]. Reading is
//! linear in time and bounded in depth. The crate does no I/O.
//!
//! | task | item |
//! |---|---|
//! | read a value | [`RawValue::parse`], [`Object::parse`] |
//! | find the end of a message as it arrives | [`EndScanner`] |
//! | find the strings of a text that may not be JSON | [`loose_tokens`] |
//! | unescape | [`RawString`], [`unescape_into`] |
//! | escape | [`escape_into`], [`escape_str`] |
//! | write a document | [`JsonWriter`] |
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

mod cursor;
mod error;
mod escape;
mod loose;
mod object;
mod pretty;
mod scan;
mod special;
mod string;
#[cfg(any(test, feature = "visits"))]
#[doc(hidden)]
pub mod visits;
mod writer;

pub use cursor::{RawValue, ValueKind};
pub use error::{EscapeError, JsonError, JsonErrorKind, ScanError, StringError, UnescapeError};
pub use escape::{escape_into, escape_len, escape_str};
pub use loose::{LooseString, LooseToken, loose_tokens};
pub use object::{Member, Object};
pub use pretty::JsonWriter;
pub use scan::EndScanner;
pub use special::plain_ascii;
pub use string::{RawString, unescape_into};
pub use writer::{ByteCounter, CapacityError, WipedBuffer, Writer};

/// Deepest nesting of objects and arrays that is read.
pub const MAX_DEPTH: usize = 64;

/// Returns `true` if `byte` is white space between the tokens of JSON.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
