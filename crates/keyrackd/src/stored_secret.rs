//! What the store holds of a key: handles to secret pages, never the bytes.

use keyrack_core::store::Erase;
use keyrack_sys::memory::Secret;
use keyrack_wire::SecretBytes;

/// The secret of a key, and the fields of its legacy grant that this version does not know: those are kept in secret pages
/// too, for nobody here can say that they are none.
#[derive(Clone, Debug)]
pub(crate) struct StoredSecret {
    pub(crate) secret: Secret,
    pub(crate) extras: Option<Secret>,
}

impl StoredSecret {
    pub(crate) fn is_erased(&self) -> bool {
        self.secret.is_erased()
    }
}

impl Erase for StoredSecret {
    fn erase(&self) {
        self.secret.erase();
        if let Some(extras) = &self.extras {
            extras.erase();
        }
    }
}

/// Lends a secret to the wire for the length of a copy.
pub(crate) struct SecretRef<'a>(pub(crate) &'a Secret);

impl SecretBytes for SecretRef<'_> {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.with(read)
    }

    fn length(&self) -> Option<usize> {
        (!self.0.is_erased()).then(|| self.0.len())
    }
}

/// Lends unknown fields, or none.
pub(crate) struct ExtrasRef<'a>(pub(crate) Option<&'a Secret>);

impl SecretBytes for ExtrasRef<'_> {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self.0 {
            Some(secret) => secret.with(read),
            None => Some(read(&[])),
        }
    }
}
