//! Patterns of a run.

use std::fmt;

use crate::forms::{Forms, masked_part};
use crate::hash::Hasher;
use crate::set::Set;

/// What is masked: hashes of all forms of some keys. They are wiped when it is dropped.
pub struct Patterns {
    pub(crate) hasher: Hasher,
    /// Sought in the stream as it is.
    pub(crate) literal: Set,
    /// Sought in its canonical form.
    pub(crate) canonical: Set,
}

impl Patterns {
    /// Patterns for every form of these keys. `hash_key` is random and secret.
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

    /// Number of patterns.
    pub fn count(&self) -> usize {
        self.literal.count() + self.canonical.count()
    }

    /// Length of the longest pattern, in bytes; 0 if there is none.
    pub fn longest(&self) -> usize {
        self.literal.longest().max(self.canonical.longest())
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patterns({})", self.count())
    }
}
