//! A secret, with what its mechanism knows of it.

use std::fmt;

use keyrack_core::Mechanism;
use serde_json::Value;
use zeroize::Zeroizing;

/// A secret as a vault delivers it.
pub struct ResolvedSecret {
    /// The secret itself.
    pub secret: Zeroizing<Vec<u8>>,
    /// How it came to be, which decides its grade.
    pub mech: Mechanism,
    /// When the credential ends by itself, in milliseconds since the Unix epoch, where somebody says so.
    pub credential_expires_at_ms: Option<i64>,
    /// The `meta` that the host manifest's entry should have, where the vault is ahead of it: a
    /// `set` was cut short after the vault was written.
    pub newer_meta: Option<Value>,
}

impl fmt::Debug for ResolvedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("secret", &"…")
            .field("mech", &self.mech)
            .field("credential_expires_at_ms", &self.credential_expires_at_ms)
            .field("newer_meta", &self.newer_meta)
            .finish()
    }
}
