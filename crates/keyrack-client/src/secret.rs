//! A secret in this process: bytes that are wiped on drop and never shown. Never cloned behind the caller's back, never serialised.

use std::fmt;

use keyrack_wire::SecretBytes;
use zeroize::Zeroizing;

/// The bytes of a key, in ordinary memory, wiped when dropped.
///
/// The allocation has exactly the secret's length, so that growing never leaves a copy behind.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Copies the bytes once, into an allocation of their exact size.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Secret(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes, to be handed on and not kept.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away; they stay wiped on drop.
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Secret(bytes)
    }
}

impl SecretBytes for Secret {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Some(read(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown_and_exactly_as_large_as_it_is() {
        let secret = Secret::copy_of(b"hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
        assert_eq!(secret.expose(), b"hunter2");
        let bytes = secret.into_inner();
        assert_eq!(bytes.capacity(), bytes.len());
    }
}
