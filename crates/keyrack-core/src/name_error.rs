//! Error of a word that is not a slug, env, org, owner or key name.

use std::fmt;

use crate::error::ErrorCode;

/// Error of parsing a name. It becomes an [`Error`](crate::Error) with `?`. It does not repeat what
/// was parsed, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// Code for programs.
    pub code: ErrorCode,
    /// Text for people: lower case, without a full stop.
    pub message: String,
    /// A sentence that helps.
    pub hint: Option<String>,
}

impl NameError {
    /// Error with this code and message.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        NameError { code, message: message.into(), hint: None }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NameError {}
