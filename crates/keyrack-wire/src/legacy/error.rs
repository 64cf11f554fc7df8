//! Errors of legacy messages. Their texts go back to the caller, and hold nothing of the message
//! but the name of a command or a slug, escaped.

use keyrack_json::{JsonError, JsonErrorKind, MAX_DEPTH, ScanError, StringError};

use super::{MAX_ITEMS, MAX_UNKNOWN_FIELDS};
use crate::{MAX_NAME, MAX_SECRET};

/// Reason that a legacy message is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// The message is not a JSON object, and does not begin like one.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// The message is longer than the limit.
    #[error("the message is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The message nests too deep.
    #[error("the message nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Text follows the object. A connection carries one request.
    #[error("the message has text after its end; send one request for each connection")]
    Trailing,
    /// The message is not valid JSON.
    #[error("the message is not valid JSON at byte {offset}: {kind}")]
    Syntax {
        /// Byte offset in the message.
        offset: usize,
        /// Kind of the error.
        kind: JsonErrorKind,
    },
    /// The command is not one of UNLOCK, GET, STATUS, RELOCK. Its name is escaped and cut.
    #[error("unknown command: {0}")]
    UnknownCommand(String),
    /// A field is missing or has a wrong value.
    #[error("{at} {error}")]
    Field {
        /// Path of the field in the message, with the slug of its key where it is known.
        at: String,
        /// Error of the field.
        error: FieldError,
    },
}

impl LegacyError {
    /// Returns the code that the native protocol has for the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::UnknownCommand(_) => "unknown_op",
            Self::Field { error: FieldError::SecretTooLong, .. } => "secret_too_large",
            _ => "bad_request",
        }
    }
}

/// Reason that a field is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field is missing.
    #[error("is missing")]
    Missing,
    /// The field is there twice.
    #[error("is given twice")]
    Twice,
    /// The field has another type.
    #[error("must be {0}")]
    Type(&'static str),
    /// The field is empty.
    #[error("must not be empty")]
    Empty,
    /// The field is a malformed string.
    #[error("holds {0}")]
    String(StringError),
    /// The name is too long.
    #[error("is longer than {MAX_NAME} bytes")]
    NameTooLong,
    /// The secret is too long.
    #[error("is longer than {MAX_SECRET} bytes")]
    SecretTooLong,
    /// The list is too long.
    #[error("has more than {MAX_ITEMS} elements")]
    TooMany,
    /// The object has too many unknown fields.
    #[error("has more than {MAX_UNKNOWN_FIELDS} unknown fields")]
    TooManyUnknown,
}

impl From<JsonError> for LegacyError {
    fn from(JsonError { offset, kind }: JsonError) -> Self {
        match kind {
            JsonErrorKind::TooDeep => Self::TooDeep,
            JsonErrorKind::NotAnObject => Self::NotAnObject,
            kind => Self::Syntax { offset, kind },
        }
    }
}

impl From<ScanError> for LegacyError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::NotAnObject => Self::NotAnObject,
            ScanError::TooDeep => Self::TooDeep,
            ScanError::Trailing => Self::Trailing,
            ScanError::TooLong { limit } => Self::TooLarge { limit },
        }
    }
}

/// Returns at most 64 characters of `name`, with control, invisible and direction characters
/// escaped, so that it can stand in an error.
pub(super) fn escaped_name(name: &str) -> String {
    const LONGEST: usize = 64;
    name.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

/// Path of an object in a message, and the slug of its key once it is known.
#[derive(Clone, Copy)]
pub(super) struct JsonPath<'a> {
    /// Path of the list that the object is in, such as `payload.keys`.
    pub(super) list: &'static str,
    pub(super) index: usize,
    pub(super) slug: Option<&'a str>,
}

impl JsonPath<'_> {
    /// Returns the error for a field of this object; `field` is empty for the object itself.
    pub(super) fn error(&self, field: &str, error: FieldError) -> LegacyError {
        let Self { list, index, slug } = self;
        let dot = if field.is_empty() { "" } else { "." };
        let at = match slug {
            Some(slug) => format!("{list}[{index}]{dot}{field} ({})", escaped_name(slug)),
            None => format!("{list}[{index}]{dot}{field}"),
        };
        LegacyError::Field { at, error }
    }
}

/// Returns the error for the field at the path `at`.
pub(super) fn field(at: &str, error: FieldError) -> LegacyError {
    LegacyError::Field { at: at.to_owned(), error }
}
