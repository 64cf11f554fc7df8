//! Why a legacy message is refused. The text goes back to the caller and never holds a value of the message, but the
//! name of a command or a slug, cleaned.

use super::{MAX_ITEMS, MAX_UNKNOWN_FIELDS};
use crate::json::{JsonError, JsonErrorKind, MAX_DEPTH, StringError};
use crate::{MAX_NAME, MAX_SECRET};

/// Why a legacy message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// It is JSON, or begins like it, but is no object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// It passes the limit before it is complete.
    #[error("the message is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It nests too deep.
    #[error("the message nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Something follows the object. A connection carries one request.
    #[error("the message has text behind its end; send one request for each connection")]
    Trailing,
    /// It is no JSON.
    #[error("the message is not valid JSON at byte {offset}: {fault}")]
    Syntax {
        /// Where, from 0.
        offset: usize,
        /// What.
        fault: String,
    },
    /// The command is not one of UNLOCK, GET, STATUS, RELOCK. The name is cleaned and cut.
    #[error("unknown command: {0}")]
    UnknownCommand(String),
    /// A field is not as it has to be.
    #[error("{at} {error}")]
    Field {
        /// Which, as a path from the message, with the slug of the key where it is known.
        at: String,
        /// What is wrong with it.
        error: FieldError,
    },
}

impl LegacyError {
    /// The error's code, as the native protocol would say it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::UnknownCommand(_) => "unknown_op",
            Self::Field { error: FieldError::SecretTooLong, .. } => "secret_too_large",
            _ => "bad_request",
        }
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is there twice.
    #[error("is given twice")]
    Twice,
    /// It is of another type.
    #[error("must be {0}")]
    Type(&'static str),
    /// It is empty and may not be.
    #[error("must not be empty")]
    Empty,
    /// It is a string that stands for no text.
    #[error("holds {0}")]
    String(StringError),
    /// It is a name, and too long.
    #[error("is longer than {MAX_NAME} bytes")]
    NameTooLong,
    /// It is a secret, and too long.
    #[error("is longer than {MAX_SECRET} bytes")]
    SecretTooLong,
    /// It is a list, and too long.
    #[error("has more than {MAX_ITEMS} elements")]
    TooMany,
    /// It is an object with too many fields that are not known.
    #[error("has more than {MAX_UNKNOWN_FIELDS} unknown fields")]
    TooManyUnknown,
}

impl From<JsonError> for LegacyError {
    fn from(JsonError { offset, kind }: JsonError) -> Self {
        match kind {
            JsonErrorKind::TooDeep => Self::TooDeep,
            kind => Self::Syntax { offset, fault: kind.to_string() },
        }
    }
}

/// `text` as it may be shown: without control characters and direction marks, at most 64 characters.
pub fn clean(text: &str) -> String {
    const LONGEST: usize = 64;
    text.chars().filter(|c| !c.is_control() && !is_direction_mark(*c)).take(LONGEST).collect()
}

/// Characters that reorder the text around them on a terminal (Unicode Bidirectional Algorithm, UAX #9 §2), and the
/// line and paragraph separators.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Where in a message something is: an object, and the slug of the key it is part of, once it is known.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Path of the list the object is in, such as `payload.keys`.
    pub(super) list: &'static str,
    pub(super) index: usize,
    pub(super) slug: Option<&'a str>,
}

impl Place<'_> {
    /// The error for a field of this object; `field` is empty for the object itself.
    pub(super) fn error(&self, field: &str, error: FieldError) -> LegacyError {
        let Self { list, index, slug } = self;
        let dot = if field.is_empty() { "" } else { "." };
        let at = match slug {
            Some(slug) => format!("{list}[{index}]{dot}{field} ({})", clean(slug)),
            None => format!("{list}[{index}]{dot}{field}"),
        };
        LegacyError::Field { at, error }
    }
}

/// The error for a field by its path.
pub(super) fn field(at: &str, error: FieldError) -> LegacyError {
    LegacyError::Field { at: at.to_owned(), error }
}
