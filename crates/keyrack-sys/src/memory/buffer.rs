//! A growing buffer for one request or reply, in pages that are wiped. Never leaves a copy
//! when it grows, shifts or is dropped.
#![expect(unsafe_code, reason = "the buffer is a view of pages by raw address")]

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::arena::Allocation;
use super::error::{OutOfMemory, Partition};
use super::page::{PAGE, wipe_slice};
use super::pool::Shared;
use crate::socket::{self, Sender};

/// Bytes filled from the front, with spare room after them. It has no page at first, then 4 KiB,
/// then doubles up to its limit. Everything ever written to it is wiped when it grows, is cleared,
/// or is dropped.
pub struct Buffer {
    shared: Arc<Shared>,
    pages: Option<Allocation>,
    filled: usize,
    /// No byte from here on was written to since the pages were zero. At least `filled`.
    touched: usize,
    limit: usize,
}

// SAFETY: the pages are this buffer's alone, reached through &self for reading and &mut self for
// writing, and belong to no thread.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    pub(super) fn new(shared: Arc<Shared>, limit: usize) -> Self {
        Self { shared, pages: None, filled: 0, touched: 0, limit }
    }

    /// Returns the bytes filled so far.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.all()[..self.filled]
    }

    /// Returns the spare room, to be written to and then committed with [`Self::advance`]. Empty
    /// before the first [`Self::ensure_spare`]. Holds zeros or what was written here before.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let filled = self.filled;
        self.touched = self.all().len();
        &mut self.all_mut()[filled..]
    }

    /// Returns the bytes of spare room.
    #[must_use]
    pub fn room(&self) -> usize {
        self.all().len() - self.filled
    }

    /// Extends what is filled by `n` bytes and returns them to be written to. Returns `None`, and
    /// changes nothing, if there is less room.
    pub fn take_in(&mut self, n: usize) -> Option<&mut [u8]> {
        let end = self.filled.checked_add(n).filter(|&end| end <= self.all().len())?;
        let start = std::mem::replace(&mut self.filled, end);
        self.touched = self.touched.max(end);
        Some(&mut self.all_mut()[start..end])
    }

    /// Appends what can be read from `stream` at once: at most `most` bytes, and no more than there
    /// is room for. Returns their count and their sender, as [`socket::receive`] does.
    ///
    /// # Errors
    /// As `recvmsg(2)`; `EAGAIN` if there is nothing to read yet.
    pub fn receive(&mut self, stream: BorrowedFd<'_>, most: usize) -> io::Result<(usize, Option<Sender>)> {
        let filled = self.filled;
        let spare = &mut self.all_mut()[filled..];
        let room = spare.len().min(most);
        // Writes to no byte but those it returns the number of.
        let (n, sender) = socket::receive(stream, &mut spare[..room])?;
        self.filled += n;
        self.touched = self.touched.max(self.filled);
        Ok((n, sender))
    }

    /// Commits `n` bytes written to [`Self::spare_mut`].
    ///
    /// # Panics
    /// If there is less room.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.all().len() - self.filled, "advanced past the end of a buffer");
        self.filled += n;
    }

    /// Ensures at least `n` bytes of spare room, and grows if needed.
    ///
    /// # Errors
    /// If that is over this buffer's limit ([`Partition::Buffer`]), or the pool has no more memory
    /// for requests ([`Partition::Requests`]). What was filled is untouched.
    pub fn ensure_spare(&mut self, n: usize) -> Result<(), OutOfMemory> {
        if n <= self.all().len() - self.filled {
            return Ok(());
        }
        let needed = self.filled.checked_add(n).filter(|&needed| needed <= self.limit);
        let needed = needed
            .ok_or(OutOfMemory { partition: Partition::Buffer, limit: self.limit, errno: None })?
            .max(PAGE.min(self.limit));
        // Doubling, so that filling byte by byte costs O(n); but never over the limit, and only
        // what is needed when that is all there is.
        let doubled = self.all().len().saturating_mul(2).max(needed);
        let doubled = doubled.checked_next_power_of_two().unwrap_or(doubled);
        // The last step goes to the limit: one of a few bytes after it would need the whole of it
        // twice.
        let doubled = if doubled > self.limit / 2 { self.limit } else { doubled };
        let allocation = {
            let mut requests = self.shared.requests();
            requests.allocate(doubled.max(PAGE)).or_else(|_| requests.allocate(needed.max(PAGE)))?
        };
        if let Some(old) = self.pages.replace(allocation) {
            // SAFETY: both are in use by this buffer, so they do not overlap, and each has room for
            // what is filled.
            unsafe { std::ptr::copy_nonoverlapping(old.at.as_ptr(), allocation.at.as_ptr(), self.filled) };
            // SAFETY: old was this buffer's alone, and is no longer.
            unsafe { self.shared.requests().give_back(old.id, self.touched) };
            self.touched = self.filled;
        }
        Ok(())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// As [`Self::ensure_spare`]. Nothing is appended then.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.ensure_spare(bytes.len())?;
        self.take_in(bytes.len()).expect("room was just seen to").copy_from_slice(bytes);
        Ok(())
    }

    /// Removes the first `n` bytes: the rest moves to the front, and where it was is wiped.
    ///
    /// # Panics
    /// If fewer are filled.
    pub fn consume(&mut self, n: usize) {
        let filled = self.filled;
        assert!(n <= filled, "consumed more of a buffer than was filled");
        let all = self.all_mut();
        all.copy_within(n..filled, 0);
        wipe_slice(&mut all[filled - n..filled]);
        self.filled -= n;
    }

    /// Frees the pages that are not needed for what is filled, if one page or none is enough for
    /// that; otherwise changes nothing.
    pub fn shrink(&mut self) {
        let Some(old) = self.pages.filter(|allocation| allocation.capacity > PAGE && self.filled <= PAGE)
        else {
            return;
        };
        if self.filled == 0 {
            return self.give_back();
        }
        // With no page left it stays where it is.
        let Ok(allocation) = self.shared.requests().allocate(PAGE) else { return };
        // SAFETY: both are in use by this buffer, so they do not overlap, and each has room for
        // what is filled.
        unsafe { std::ptr::copy_nonoverlapping(old.at.as_ptr(), allocation.at.as_ptr(), self.filled) };
        // SAFETY: old was this buffer's alone; it is replaced before anything else is done.
        unsafe { self.shared.requests().give_back(old.id, self.touched) };
        self.pages = Some(allocation);
        self.touched = self.filled;
    }

    /// Wipes everything and starts over. Keeps one page and frees the others.
    pub fn clear(&mut self) {
        match self.pages {
            Some(allocation) if allocation.capacity == PAGE => {
                let touched = std::mem::take(&mut self.touched);
                wipe_slice(&mut self.all_mut()[..touched]);
            }
            _ => self.give_back(),
        }
        self.filled = 0;
    }

    /// Wipes everything and frees all pages, for a connection that is idle.
    pub fn release(&mut self) {
        self.give_back();
        self.filled = 0;
    }

    fn give_back(&mut self) {
        if let Some(allocation) = self.pages.take() {
            // SAFETY: the pages were this buffer's alone, and no slice of them outlives the &mut
            // self of this call.
            unsafe { self.shared.requests().give_back(allocation.id, self.touched) };
        }
        self.touched = 0;
    }

    fn all(&self) -> &[u8] {
        // SAFETY: the pages stay mapped while they are ours, are initialized (zero when given), and
        // are written only through &mut self.
        self.pages.map_or(&[], |allocation| unsafe {
            std::slice::from_raw_parts(allocation.at.as_ptr(), allocation.capacity.min(self.limit))
        })
    }

    fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `all`, and &mut self makes this the only slice.
        self.pages.map_or(&mut [], |allocation| unsafe {
            std::slice::from_raw_parts_mut(allocation.at.as_ptr(), allocation.capacity.min(self.limit))
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
