//! One diagnostic check and its result.

use keyrack_core::{Error, Fix};

/// Status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Does not apply here, or cannot be checked.
    Skip,
    /// Works, but less well than it could.
    Warn,
    /// Does not work until it is fixed.
    Fail,
}

impl CheckStatus {
    /// The status as JSON and the terminal show it: `ok`, `skip`, `warn`, `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Ok => "ok",
            CheckStatus::Skip => "skip",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "fail",
        }
    }
}

/// One diagnostic check and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name, as `group.subject`. Several checks can share one: one per file, for example.
    pub name: String,
    /// Status.
    pub state: CheckStatus,
    /// Finding, as a sentence for people.
    pub message: String,
    /// Command that fixes it.
    pub fix: Option<Fix>,
    /// Advice, in a sentence.
    pub hint: Option<String>,
}

impl Check {
    pub(super) fn new(name: impl Into<String>, state: CheckStatus, message: impl Into<String>) -> Self {
        Check { name: name.into(), state, message: message.into(), fix: None, hint: None }
    }

    pub(super) fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Ok, message)
    }

    pub(super) fn skip(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Skip, message)
    }

    pub(super) fn warn(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Warn, message)
    }

    pub(super) fn fail(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Fail, message)
    }

    /// A failed check, with the message, fix and hint of an error.
    pub(super) fn error(name: impl Into<String>, error: Error) -> Self {
        Check { fix: error.fix, hint: error.hint, ..Check::fail(name, error.message) }
    }

    #[must_use]
    pub(super) fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A count and its noun: `1 key`, `2 keys`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
