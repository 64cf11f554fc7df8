//! Patterns of a set of keys.

use std::fmt;

use crate::forms::{Forms, masked_part};
use crate::hash::Hasher;
use crate::set::Set;

/// Hashes of all forms of some keys, wiped when they are dropped.
pub struct Patterns {
    pub(crate) hasher: Hasher,
    /// Patterns in the stream as it is.
    pub(crate) literal: Set,
    /// Patterns in its canonical form.
    pub(crate) canonical: Set,
}

impl Patterns {
    /// Returns the patterns for every form of these keys. `hash_key` is random and secret.
    pub fn new(keys: impl IntoIterator<Item: AsRef<[u8]>>, hash_key: &[u8; 32]) -> Self {
        let hasher = Hasher::new(hash_key);
        let mut forms = Forms::default();
        keys.into_iter().for_each(|key| forms.add(key.as_ref()));
        let literal = Set::new(forms.literal, &hasher);
        let canonical = Set::new(forms.canonical, &hasher);
        Patterns { hasher, literal, canonical }
    }

    /// Returns `true` if a key is long enough to be masked.
    pub fn can_mask(key: &[u8]) -> bool {
        masked_part(key).is_some()
    }

    /// Returns the number of patterns.
    pub fn count(&self) -> usize {
        self.literal.count() + self.canonical.count()
    }

    /// Returns the length of the longest pattern, in bytes; 0 if there is none.
    pub fn longest(&self) -> usize {
        self.literal.longest().max(self.canonical.longest())
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patterns({})", self.count())
    }
}
