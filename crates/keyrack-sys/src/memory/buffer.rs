//! A growing buffer for one request or reply, in pages that are wiped. Never leaves a copy behind when it grows, shifts
//! or is dropped.
#![expect(unsafe_code, reason = "the buffer is a view of pages by raw address")]

use std::fmt;
use std::sync::Arc;

use super::arena::Grant;
use super::mapping::{PAGE, wipe_slice};
use super::pool::Shared;
use super::{Full, Share};

/// Bytes filled from the front, with room behind them. It has no page at first, then 4 KiB, then doubles up to its limit.
/// All of it, filled or not, is wiped when it grows, is cleared, or is dropped.
pub struct Buffer {
    shared: Arc<Shared>,
    pages: Option<Grant>,
    filled: usize,
    limit: usize,
}

// SAFETY: the pages are this buffer's alone, reached through &self for reading and &mut self for writing, and belong to no
// thread.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub(super) fn new(shared: Arc<Shared>, limit: usize) -> Self {
        Self { shared, pages: None, filled: 0, limit }
    }

    /// The bytes filled so far.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.all()[..self.filled]
    }

    /// The bytes filled so far, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        let filled = self.filled;
        &mut self.all_mut()[..filled]
    }

    /// The room behind them, to be written to and then taken in with [`Self::advance`]. Empty before the first
    /// [`Self::ensure_spare`]. Holds zeros or what was written here before.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let filled = self.filled;
        &mut self.all_mut()[filled..]
    }

    /// Takes in `n` bytes written to [`Self::spare_mut`].
    ///
    /// # Panics
    /// When there is less room than that.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.all().len() - self.filled, "advanced past the end of a buffer");
        self.filled += n;
    }

    /// Sees to it that at least `n` bytes of room are there, growing if need be.
    ///
    /// # Errors
    /// When that is over this buffer's limit ([`Share::Buffer`]), or the pool has no more for requests
    /// ([`Share::Requests`]). What was filled is untouched.
    pub fn ensure_spare(&mut self, n: usize) -> Result<(), Full> {
        if n <= self.all().len() - self.filled {
            return Ok(());
        }
        let needed = self.filled.checked_add(n).filter(|&needed| needed <= self.limit);
        let needed = needed
            .ok_or(Full { share: Share::Buffer, limit: self.limit, errno: None })?
            .max(PAGE.min(self.limit));
        // Doubling, so that filling byte by byte costs O(n); but never over the limit, and only what is needed when
        // that is all there is.
        let doubled = self.all().len().saturating_mul(2).max(needed);
        let doubled = doubled.checked_next_power_of_two().unwrap_or(doubled);
        // The last step goes to the limit: one of a few bytes behind it would need the whole of it twice.
        let doubled = if doubled > self.limit / 2 { self.limit } else { doubled };
        let grant = {
            let mut requests = self.shared.requests();
            requests.allocate(doubled.max(PAGE)).or_else(|_| requests.allocate(needed.max(PAGE)))?
        };
        if let Some(old) = self.pages.replace(grant) {
            // SAFETY: both are in use by this buffer, so they do not overlap, and each has room for what is filled.
            unsafe { std::ptr::copy_nonoverlapping(old.at.as_ptr(), grant.at.as_ptr(), self.filled) };
            // SAFETY: old was this buffer's alone, and is no longer.
            unsafe { self.shared.requests().give_back(old.place) };
        }
        Ok(())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// As [`Self::ensure_spare`]; then nothing is appended.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.ensure_spare(bytes.len())?;
        self.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// Removes the first `n` bytes: the rest moves to the front, and where it was is wiped.
    ///
    /// # Panics
    /// When fewer are filled.
    pub fn consume(&mut self, n: usize) {
        let filled = self.filled;
        assert!(n <= filled, "consumed more of a buffer than was filled");
        let all = self.all_mut();
        all.copy_within(n..filled, 0);
        wipe_slice(&mut all[filled - n..filled]);
        self.filled -= n;
    }

    /// Wipes everything and starts over. One page stays, more are given back.
    pub fn clear(&mut self) {
        match self.pages {
            Some(grant) if grant.capacity == PAGE => wipe_slice(self.all_mut()),
            _ => self.give_back(),
        }
        self.filled = 0;
    }

    /// Wipes everything and gives all pages back, as for a connection that waits.
    pub fn release(&mut self) {
        self.give_back();
        self.filled = 0;
    }

    fn give_back(&mut self) {
        if let Some(grant) = self.pages.take() {
            // SAFETY: the pages were this buffer's alone, and no slice of them outlives the &mut self of this call.
            unsafe { self.shared.requests().give_back(grant.place) };
        }
    }

    fn all(&self) -> &[u8] {
        // SAFETY: the pages stay mapped while they are ours, are initialised (zero when given), and are written only
        // through &mut self.
        self.pages.map_or(&[], |grant| unsafe {
            std::slice::from_raw_parts(grant.at.as_ptr(), grant.capacity.min(self.limit))
        })
    }

    fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `all`, and &mut self makes this the only slice.
        self.pages.map_or(&mut [], |grant| unsafe {
            std::slice::from_raw_parts_mut(grant.at.as_ptr(), grant.capacity.min(self.limit))
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes of {})", self.filled, self.limit)
    }
}
