//! Secrets that a vault returns.

use std::fmt;

use keyrack_core::Mechanism;
use serde_json::Value;
use zeroize::Zeroizing;

/// Secret that a vault returns.
pub struct ResolvedSecret {
    /// Bytes of the secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// Mechanism, which decides the grade.
    pub mech: Mechanism,
    /// Expiry of the credential, in milliseconds since the Unix epoch, if known.
    pub credential_expires_at_ms: Option<i64>,
    /// `meta` for the entry of the host manifest, if the vault is ahead of it because a `set` was
    /// interrupted after the vault was written.
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
