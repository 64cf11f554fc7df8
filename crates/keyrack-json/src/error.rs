//! Errors of reading and writing JSON. None holds any part of the text.

use std::error::Error;
use std::fmt;

use crate::MAX_DEPTH;

/// Reason that a text is not JSON, and its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset in the text.
    pub offset: usize,
    /// Kind of the error.
    pub kind: JsonErrorKind,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl Error for JsonError {}

/// Kind of a [`JsonError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// The text ends before its value does.
    Truncated,
    /// A character that the grammar does not allow there.
    Unexpected,
    /// Objects and arrays nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// The value is valid, but not an object.
    NotAnObject,
    /// A string is malformed.
    String(StringError),
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("unexpected end"),
            Self::Unexpected => f.write_str("unexpected character"),
            Self::TooDeep => write!(f, "more than {MAX_DEPTH} levels of nesting"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::String(error) => error.fmt(f),
        }
    }
}

/// Reason that the text between two quotes is not a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringError {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// A character below U+0020, or a quote, is not escaped.
    Unescaped,
    /// A backslash begins no escape of RFC 8259 §7.
    BadEscape,
    /// Half of a surrogate pair, for which there is no UTF-8.
    LoneSurrogate,
}

impl fmt::Display for StringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "text that is not UTF-8",
            Self::Unescaped => "an unescaped control character or quote",
            Self::BadEscape => "an unknown escape",
            Self::LoneSurrogate => "a lone surrogate",
        })
    }
}

impl Error for StringError {}

/// Reason that a string was not unescaped. The caller's buffer then holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnescapeError {
    /// The text is not a JSON string.
    Invalid(StringError),
    /// The buffer is too small.
    TooSmall,
}

impl fmt::Display for UnescapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => write!(f, "the string holds {error}"),
            Self::TooSmall => f.write_str("the string is longer than its buffer"),
        }
    }
}

impl Error for UnescapeError {}

impl From<StringError> for UnescapeError {
    fn from(error: StringError) -> Self {
        Self::Invalid(error)
    }
}

/// Reason that bytes were not escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapeError {
    /// The bytes are not UTF-8, and nothing was written: no JSON string can carry them.
    NotUtf8,
    /// The writer is full.
    Full,
}

impl fmt::Display for EscapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "the value is not UTF-8, which JSON requires",
            Self::Full => "the message buffer is full",
        })
    }
}

impl Error for EscapeError {}

/// Reason that bytes can never become one JSON object within the limit, whatever follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// The text does not begin with an opening brace.
    NotAnObject,
    /// Objects and arrays nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Something other than white space follows the object.
    Trailing,
    /// The text is longer than the limit.
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::TooDeep => write!(f, "more than {MAX_DEPTH} levels of nesting"),
            Self::Trailing => f.write_str("text after the end of the object"),
            Self::TooLong { limit } => write!(f, "longer than {limit} bytes"),
        }
    }
}

impl Error for ScanError {}
