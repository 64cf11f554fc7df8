//! Metadata of an unlocked key. The secret travels beside it.

use serde::{Deserialize, Serialize};

use crate::grade::Grade;
use crate::mechanism::Mechanism;
use crate::slug::Slug;
use crate::vault_id::VaultId;

/// Origin of a granted key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GrantSource {
    /// Vault that stores it.
    pub vault: VaultId,
    /// Mechanism that obtained the secret.
    pub mech: Mechanism,
}

/// Metadata of an unlocked key. Env and org are those of the slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Slug of the key that was found: `org.all.NAME` if it answers for another env.
    pub slug: Slug,
    /// Grade of the key.
    pub grade: Grade,
    /// Origin of the key.
    pub source: GrantSource,
    /// Expiry, in milliseconds since the Unix epoch. `None` for a value that keyrack does not
    /// store.
    pub expires_at_ms: Option<i64>,
}
