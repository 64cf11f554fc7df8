//! A stored secret's handle. Its bytes are seen only inside a closure, never in `Debug`, never by a
//! copy of its own.
#![expect(unsafe_code, reason = "a closure is lent the slot as a slice")]

use std::fmt;
use std::sync::Arc;

use super::error::OutOfMemory;
use super::pool::Shared;

/// A secret in a pool. Clones are further handles of the same bytes; the last one dropped erases
/// them. 16 bytes each; the pool keeps 16 more for each secret.
pub struct PooledSecret {
    shared: Arc<Shared>,
    index: u32,
    len: u32,
}

impl PooledSecret {
    pub(super) fn make(
        shared: &Arc<Shared>,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Self, OutOfMemory> {
        let (index, at) = shared.store().insert(len)?;
        let len32 = u32::try_from(len).expect("insert refuses what does not fit");
        let secret = Self { shared: Arc::clone(shared), index, len: len32 };
        let pin = Pin { secret: &secret, at };
        // SAFETY: the entry is pinned, so the bytes stay mapped and ours; they are zeros, hence
        // initialized; and no other code can have a slice of them, because this handle is the only
        // one and is not given out yet.
        fill(unsafe { std::slice::from_raw_parts_mut(pin.at, len) });
        drop(pin);
        Ok(secret)
    }

    /// Calls `read` with the bytes. Returns `None` if the secret was erased. The bytes do not
    /// change while `read` runs.
    pub fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let at = self.shared.store().pin(self.index)?;
        let pin = Pin { secret: self, at };
        // SAFETY: the entry is pinned, so the bytes stay mapped and unchanged until `pin` is
        // dropped: only `make` writes to a slot in use, before any handle is out, and wiping waits
        // for the last pin.
        Some(read(unsafe { std::slice::from_raw_parts(pin.at, self.len()) }))
    }

    /// Returns the length in bytes, also after it was erased.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns `true` if it was stored without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Wipes the bytes now and frees them, even if there are other handles. If a closure reads them
    /// at this moment, they are wiped when it returns; no later closure sees them.
    pub fn erase(&self) {
        self.shared.store().erase(self.index as usize);
    }

    /// Returns `true` if it was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.shared.store().is_erased(self.index)
    }
}

impl Clone for PooledSecret {
    fn clone(&self) -> Self {
        self.shared.store().add_handle(self.index);
        Self { shared: Arc::clone(&self.shared), index: self.index, len: self.len }
    }
}

impl Drop for PooledSecret {
    fn drop(&mut self) {
        self.shared.store().drop_handle(self.index);
    }
}

impl fmt::Debug for PooledSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PooledSecret({} bytes)", self.len)
    }
}

/// Keeps a secret's bytes in place, also through a panic of the closure that uses them.
struct Pin<'a> {
    secret: &'a PooledSecret,
    at: *mut u8,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.secret.shared.store().unpin(self.secret.index);
    }
}
