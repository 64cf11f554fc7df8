//! Secrets as the store holds them: handles to secret pages, never the bytes.

use keyrack_core::store::Erase;
use keyrack_sys::memory::PooledSecret;
use keyrack_wire::SecretBytes;

/// The secret of a key, and the unknown fields of its legacy grant. Unknown fields may be
/// sensitive, so they are kept in secret pages too.
#[derive(Clone, Debug)]
pub(crate) struct StoredSecret {
    pub(crate) secret: PooledSecret,
    pub(crate) extras: Option<PooledSecret>,
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

/// Borrow of a secret that the wire encoder copies from.
pub(crate) struct SecretRef<'a>(pub(crate) &'a PooledSecret);

impl SecretBytes for SecretRef<'_> {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.with(read)
    }

    fn length(&self) -> Option<usize> {
        (!self.0.is_erased()).then(|| self.0.len())
    }
}

/// Borrow of the unknown fields of a grant; empty without any.
pub(crate) struct ExtrasRef<'a>(pub(crate) Option<&'a PooledSecret>);

impl SecretBytes for ExtrasRef<'_> {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self.0 {
            Some(secret) => secret.with(read),
            None => Some(read(&[])),
        }
    }
}
