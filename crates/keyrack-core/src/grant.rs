//! Grants: what is known of an unlocked key, without the secret, which travels beside.

use serde::{Deserialize, Serialize};

use crate::grade::Grade;
use crate::mechanism::Mechanism;
use crate::slug::Slug;
use crate::vault_id::VaultId;

/// Where a granted key came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GrantSource {
    /// The vault it rests in.
    pub vault: VaultId,
    /// How its secret came to be.
    pub mech: Mechanism,
}

/// An unlocked key, without its secret. Env and org are those of the slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key's true slug: `org.all.NAME` when it was found by fallback.
    pub slug: Slug,
    /// The key's real grade.
    pub grade: Grade,
    /// Where it came from.
    pub source: GrantSource,
    /// When it ends, in milliseconds since the Unix epoch; `None` for a value that keyrack does not keep.
    pub expires_at_ms: Option<i64>,
}
