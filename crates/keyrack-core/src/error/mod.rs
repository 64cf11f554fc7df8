//! The error of every keyrack crate: a code for programs, a text for people, and how to go on.

mod code;

use std::fmt;

pub use code::ErrorCode;

use crate::fix::Fix;
use crate::name_error::NameError;
use crate::slug::Slug;

/// A failure a caller can act on: what happened, to which key, and the command that mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What programs act on.
    pub code: ErrorCode,
    /// One lower-case sentence without a full stop, for people. Never a secret.
    pub message: String,
    /// The key it happened to, if one.
    pub slug: Option<Slug>,
    /// The way out, if a command is one.
    pub fix: Option<Fix>,
    /// More to know, in a sentence.
    pub hint: Option<String>,
}

impl Error {
    /// A problem with neither key nor fix yet.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), slug: None, fix: None, hint: None }
    }

    /// Names the key it happened to.
    #[must_use]
    pub fn of(mut self, slug: &Slug) -> Self {
        self.slug = Some(slug.clone());
        self
    }

    /// Names the way out.
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

    /// The exit code of a command that ends with this.
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
