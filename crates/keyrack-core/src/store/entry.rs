//! An unlocked key as the store keeps it: a handle to its secret, never the secret.

use std::sync::Arc;

use crate::grade::Grade;
use crate::grant::{Grant, GrantSource};
use crate::slug::Slug;
use crate::ttl::{Deadlines, GrantedTtl};

/// A handle to a secret that can be ended through any of its clones.
pub trait Erase: Clone + Send + Sync + 'static {
    /// Wipes the secret now, whoever else holds a handle to it. May be called more than once.
    fn erase(&self);
}

/// A key to be stored.
pub struct NewEntry<S> {
    /// Its true slug.
    pub slug: Slug,
    /// The handle to its secret.
    pub secret: S,
    /// Its grade.
    pub grade: Grade,
    /// Where it came from.
    pub source: GrantSource,
    /// When it ends. The store shortens what is beyond the ceiling.
    pub deadlines: Deadlines,
    /// The life it was given, as far as that is known. The store fills in what is left of it now where it is not, or is less.
    pub given: GrantedTtl,
    /// What the store carries without looking at it: the fields of a legacy grant that are not known here, as raw JSON. Never a secret.
    pub extra: Option<Box<[u8]>>,
}

/// A stored key.
pub struct Entry<S> {
    /// Its true slug.
    pub slug: Slug,
    /// The handle to its secret.
    pub secret: S,
    /// Its grade.
    pub grade: Grade,
    /// Where it came from; entries of one source share it.
    pub source: Arc<GrantSource>,
    /// When it ends.
    pub deadlines: Deadlines,
    /// The life it was given, whole.
    pub given: GrantedTtl,
    /// Its place in the order of insertion. A key keeps its place when it is replaced.
    pub n: u64,
    /// What was given with it, unlooked at.
    pub extra: Option<Box<[u8]>>,
}

impl<S> Entry<S> {
    /// What is known of the key, without its secret.
    pub fn grant(&self) -> Grant {
        Grant {
            slug: self.slug.clone(),
            grade: self.grade,
            source: GrantSource::clone(&self.source),
            expires_at_ms: Some(self.deadlines.wall_ms),
        }
    }
}

/// One page of a listing.
pub struct Page<'a, S> {
    /// The keys, in the order of insertion.
    pub entries: Vec<&'a Entry<S>>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// Which keys to relock.
#[derive(Clone, Copy, Debug)]
pub enum Relock<'a> {
    /// These, exactly: no key stands in for another here. An empty list is no key.
    Slugs(&'a [Slug]),
    /// Those whose slug has this env, exactly.
    Env(&'a str),
    /// Every key.
    All,
}
