//! Error of every keyrack crate: a code for programs, a text for people, and a remedy.

mod code;

use std::fmt;

pub use code::ErrorCode;

use crate::fix::Fix;
use crate::name_error::NameError;
use crate::slug::Slug;

/// Error that a caller can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Code for programs.
    pub code: ErrorCode,
    /// Text for people: lower case, without a full stop. Never contains a secret.
    pub message: String,
    /// Key that it is about, if any.
    pub slug: Option<Slug>,
    /// Remedy, if a command is one.
    pub fix: Option<Fix>,
    /// A sentence that helps.
    pub hint: Option<String>,
}

impl Error {
    /// Error without key, fix and hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), slug: None, fix: None, hint: None }
    }

    /// Names the key.
    #[must_use]
    pub fn of(mut self, slug: &Slug) -> Self {
        self.slug = Some(slug.clone());
        self
    }

    /// Adds the command that fixes it.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// Adds a sentence that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Exit code of a command that fails with it.
    pub fn exit(&self) -> u8 {
        self.code.exit()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<NameError> for Error {
    fn from(NameError { code, message, hint }: NameError) -> Self {
        Error { hint, ..Error::new(code, message) }
    }
}
