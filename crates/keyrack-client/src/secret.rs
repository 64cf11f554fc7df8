//! Secret in this process: bytes that are wiped on drop and never shown, cloned or serialized.

use std::fmt;

use keyrack_wire::SecretBytes;
use zeroize::Zeroizing;

/// Value of a key in ordinary memory. Wiped on drop.
///
/// The allocation has exactly the secret's length, so that it never grows and leaves a copy.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Copies the bytes into an allocation of their exact size.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Secret(Zeroizing::new(bytes.to_vec()))
    }

    /// Returns the bytes. Callers pass them on and do not keep them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes as an owned buffer, which is wiped on drop too.
    pub fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if the secret has no bytes.
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
    fn secret_is_not_shown_and_has_its_exact_size() {
        let secret = Secret::copy_of(b"hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
        assert_eq!(secret.expose(), b"hunter2");
        let bytes = secret.into_inner();
        assert_eq!(bytes.capacity(), bytes.len());
    }
}
