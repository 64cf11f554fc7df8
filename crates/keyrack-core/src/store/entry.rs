//! Stored keys: metadata and a handle to the secret, never the secret itself.

use std::sync::Arc;

use crate::grade::Grade;
use crate::grant::GrantSource;
use crate::slug::Slug;
use crate::ttl::{Deadlines, GrantedTtl};

/// A handle to a secret that every clone of the handle can erase.
pub trait Erase: Clone + Send + Sync + 'static {
    /// Wipes the secret at once, even while other handles to it exist. May be called repeatedly.
    fn erase(&self);
}

/// A key to be stored.
pub struct NewEntry<S> {
    /// Slug the key is stored under.
    pub slug: Slug,
    /// Handle to the secret.
    pub secret: S,
    /// Grade of the key.
    pub grade: Grade,
    /// Vault and mechanism the key came from.
    pub source: GrantSource,
    /// Expiry of the key. The store shortens deadlines beyond the ceiling.
    pub deadlines: Deadlines,
    /// TTL that was granted, if known. The store raises a TTL that is unknown or shorter than the
    /// remaining time to the remaining time.
    pub given: GrantedTtl,
}

/// A stored key.
pub struct Entry<S> {
    /// Slug the key is stored under.
    pub slug: Slug,
    /// Handle to the secret.
    pub secret: S,
    /// Grade of the key.
    pub grade: Grade,
    /// Vault and mechanism the key came from. Entries with the same source share it.
    pub source: Arc<GrantSource>,
    /// Expiry of the key.
    pub deadlines: Deadlines,
    /// TTL that was granted at unlock. Stays the same while the key ages.
    pub given: GrantedTtl,
    /// Position in insertion order. A key keeps its position when it is replaced.
    pub seq: u64,
}

/// One page of [`Store::list`](super::Store::list).
pub struct KeyPage<'a, S> {
    /// Keys in insertion order.
    pub entries: Vec<&'a Entry<S>>,
    /// More keys follow the last one.
    pub has_more: bool,
}

/// The keys that a relock erases.
#[derive(Clone, Copy, Debug)]
pub enum RelockScope<'a> {
    /// Exactly these slugs: a relock never falls back to `org.all.NAME`. Empty means none.
    Slugs(&'a [Slug]),
    /// Keys whose slug has exactly this env.
    Env(&'a str),
    /// Every key.
    All,
}
