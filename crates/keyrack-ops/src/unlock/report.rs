//! Result of an unlock: the keys that the daemon holds now, and those that were left out, each
//! with its cause.

use super::omission::Omission;
use keyrack_core::{Error, ErrorCode, Fix, Grant, Slug, Ttl};

/// Result of an unlock.
#[derive(Debug, Default)]
pub struct UnlockReport {
    /// Keys that the daemon holds.
    pub unlocked: Vec<UnlockedGrant>,
    /// Keys that were left out.
    pub omitted: Vec<OmittedKey>,
    /// Pid of the daemon, if this unlock started it.
    pub started: Option<u32>,
    /// Notices for the user, a sentence each.
    pub notices: Vec<String>,
    /// Explains why there was nothing to unlock, where the caller probably expected keys.
    pub nothing: Option<Error>,
}

/// A key that the daemon holds.
#[derive(Clone, Debug)]
pub struct UnlockedGrant {
    /// Metadata of the key, including when it expires.
    pub grant: Grant,
    /// TTL that the daemon gave it.
    pub ttl: Ttl,
    /// Explains why the TTL is shorter than requested.
    pub note: Option<String>,
}

/// A key that was left out.
#[derive(Clone, Debug)]
pub struct OmittedKey {
    /// Slug of the key.
    pub slug: Slug,
    /// Kind of omission.
    pub reason: Omission,
    /// Error of this key, if there was one.
    pub cause: Option<Error>,
    /// Command that helps, if the cause does not name one.
    pub fix: Option<Fix>,
}

impl OmittedKey {
    /// A key that was left out because of an error.
    pub(super) fn errored(slug: Slug, cause: Error) -> Self {
        OmittedKey { slug, reason: Omission::Errored, cause: Some(cause), fix: None }
    }
}

impl UnlockReport {
    /// Exit code of the command: 1 for a failure that the caller cannot help; 2 if the caller has
    /// to act, or if a key that was asked for by name (`named`) is not unlocked; else 0, also
    /// where keys were left out by a rule ([`is_rule`]).
    pub fn exit(&self, named: bool) -> u8 {
        let causes = || self.omitted.iter().filter_map(|omitted| omitted.cause.as_ref());
        if let Some(failure) = causes().map(Error::exit).find(|exit| *exit != 2) {
            return failure;
        }
        let must_act = |omitted: &OmittedKey| {
            omitted.reason == Omission::Errored
                && !omitted.cause.as_ref().is_some_and(|cause| is_rule(&cause.code))
        };
        if self.omitted.iter().any(must_act) || (named && self.unlocked.is_empty()) { 2 } else { 0 }
    }
}

/// Returns `true` for errors of rules that work as intended: the token check, a grade, or a vault
/// or mechanism that this version does not have. They do not fail an unlock of many keys.
fn is_rule(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::LongLivedToken
            | ErrorCode::BelowDeclared
            | ErrorCode::GradeDegraded
            | ErrorCode::VaultUnsupported
            | ErrorCode::NotAvailable
            | ErrorCode::Lost
    )
}
