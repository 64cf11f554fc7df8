//! JSON text, read in place: strict, bounded in depth, and never unescaping a string into memory of its own.

mod cursor;
mod string;

#[cfg(test)]
pub(crate) use cursor::visits;
pub(crate) use cursor::{Cursor, JsonError, JsonErrorKind, Kind, MAX_DEPTH, Raw, is_space};
pub use string::{
    EscapeError, NotUtf8, RawString, StringError, UnescapeError, escape_into, escape_len, unescape_into,
};
pub(crate) use string::{escape_str, plain_ascii};

#[cfg(test)]
mod tests;
