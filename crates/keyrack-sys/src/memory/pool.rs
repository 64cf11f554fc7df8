//! A pool: two partitions, a mode, and the table of secrets. Its locks are never held while a
//! caller's closure runs.
#![expect(unsafe_code, reason = "slots are given back and wiped through raw addresses")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::yield_now;

#[cfg(test)]
use super::arena::SLAB;
use super::arena::{AllocId, Arena};
use super::budget::Budget;
use super::buffer::Buffer;
use super::error::{MemoryError, OutOfMemory, Partition};
use super::hibernation::Hibernation;
#[cfg(test)]
use super::mapping::Mapping;
use super::mode::{MemoryMode, ModeRequest};
use super::mode_choice::{Choice, Offers, choose};
use super::page::wipe;
use super::secret::PooledSecret;

/// Pages for secrets. A clone is the same pool; its pages are unmapped when the last clone, secret
/// and buffer of it are dropped.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

/// Memory that a pool uses, in bytes of mapped pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Count of secrets that are not erased.
    pub secrets: usize,
    /// Mapped for secrets.
    pub store: usize,
    /// Limit of what is mapped for secrets.
    pub store_limit: usize,
    /// Mapped for buffers.
    pub requests: usize,
    /// Limit of what is mapped for buffers.
    pub requests_limit: usize,
}

pub(super) struct Shared {
    choice: Choice,
    store: Mutex<Store>,
    requests: Mutex<Arena>,
}

impl Shared {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        // No code of ours panics halfway through a change, and a secret must be erasable even so.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn requests(&self) -> MutexGuard<'_, Arena> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Creates a pool. Nothing is mapped before it is needed. In [`MemoryMode::Secret`] and
    /// [`MemoryMode::Locked`] the budget shrinks to what can be locked (RLIMIT_MEMLOCK, which
    /// should be raised before; without limit for a process with CAP_IPC_LOCK).
    ///
    /// # Errors
    /// If the required mode does not work here, or the budget is too small.
    pub fn new(request: ModeRequest, budget: Budget) -> Result<Self, MemoryError> {
        if budget.total < Budget::LEAST {
            return Err(MemoryError::BudgetTooSmall { total: budget.total });
        }
        let choice = choose(request, budget.total, &Offers::here())?;
        let (mode, requests) = (choice.mode, choice.total / 4);
        let store = Store::new(Arena::new(Partition::Store, mode, choice.total - requests));
        let requests = Arena::new(Partition::Requests, mode, requests);
        Ok(Self(Arc::new(Shared { choice, store: Mutex::new(store), requests: Mutex::new(requests) })))
    }

    /// Returns the mode of this pool's pages.
    #[must_use]
    pub fn mode(&self) -> MemoryMode {
        self.0.choice.mode
    }

    /// Returns the reason why [`ModeRequest::Auto`] did not choose this mode or a stronger one, for
    /// people. `None` if it did, or if another mode was required.
    #[must_use]
    pub fn lacks(&self, mode: MemoryMode) -> Option<&str> {
        match mode {
            MemoryMode::Secret => self.0.choice.lacks_secret.as_deref(),
            MemoryMode::Locked => self.0.choice.lacks_locked.as_deref(),
            MemoryMode::Unlocked => None,
        }
    }

    /// Returns the state of hibernation that this pool's secret pages block, as it was when the
    /// pool was created. `None` in a mode that blocks nothing.
    #[must_use]
    pub fn hibernation(&self) -> Option<&Hibernation> {
        self.0.choice.hibernation.as_ref()
    }

    /// Returns the memory in use.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (secrets, store, store_limit) = {
            let store = self.0.store();
            (store.secrets, store.arena.mapped(), store.arena.limit())
        };
        let requests = self.0.requests();
        Usage { secrets, store, store_limit, requests: requests.mapped(), requests_limit: requests.limit() }
    }

    /// Copies `bytes` into the partition for secrets.
    ///
    /// # Errors
    /// When it is full.
    pub fn store(&self, bytes: &[u8]) -> Result<PooledSecret, OutOfMemory> {
        self.store_with(bytes.len(), |slot| slot.copy_from_slice(bytes))
    }

    /// Creates a secret of `len` zero bytes, and lets `fill` write them in place.
    ///
    /// # Errors
    /// If the partition for secrets is full. `fill` is not called then.
    pub fn store_with(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<PooledSecret, OutOfMemory> {
        PooledSecret::make(&self.0, len, fill)
    }

    /// Returns a buffer in the partition for requests that grows up to `limit` bytes. It has no
    /// page until it needs one.
    #[must_use]
    pub fn buffer(&self, limit: usize) -> Buffer {
        Buffer::new(Arc::clone(&self.0), limit)
    }

    /// Erases every secret, also those that have handles. A secret that another thread reads at
    /// this moment is wiped as soon as that closure returns, and no later closure reads it.
    pub fn erase_all(&self) {
        let mut store = self.0.store();
        for index in 0..store.entries.len() {
            store.erase(index);
        }
    }

    /// Wipes every page, of secrets and buffers, in use or not, and ends the process with `code` at
    /// once, without destructors or exit handlers. For a panic hook, when nothing else of the
    /// process may run.
    pub fn wipe_and_exit(&self, code: i32) -> ! {
        self.wipe_all_pages();
        // SAFETY: _exit only ends the process.
        unsafe { libc::_exit(code) }
    }

    /// Nothing may use this pool afterwards.
    pub(super) fn wipe_all_pages(&self) {
        // The panic may have come from under a lock. Another thread that holds one ends with the
        // process.
        if let Some(store) = patiently(&self.0.store) {
            wipe_mappings(&store.arena);
        }
        if let Some(requests) = patiently(&self.0.requests) {
            wipe_mappings(&requests);
        }
    }
}

#[cfg(test)]
impl Pool {
    /// Returns `true` if every byte of every page is zero.
    pub(super) fn is_zero(&self) -> bool {
        self.0.store().arena.mappings().all(Mapping::is_zero)
            && self.0.requests().mappings().all(Mapping::is_zero)
    }

    /// Counts the mappings of a slab's size that hold data of requests.
    pub(super) fn slabs_in_use_by_requests(&self) -> usize {
        self.0.requests().mappings().filter(|mapping| mapping.len() == SLAB && !mapping.is_zero()).count()
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("mode", &self.mode()).field("usage", &self.usage()).finish()
    }
}

fn patiently<T>(lock: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..1000 {
        match lock.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => yield_now(),
        }
    }
    None
}

fn wipe_mappings(arena: &Arena) {
    for mapping in arena.mappings() {
        // SAFETY: the pages are mapped and writable. References into them may exist on this
        // thread's stack, and are never used again: the caller goes on to end the process without
        // returning.
        unsafe { wipe(mapping.at(0), mapping.len()) };
    }
}

/// The secrets of a pool: their pages, and one entry for each secret that has a handle.
pub(super) struct Store {
    arena: Arena,
    entries: Vec<Entry>,
    /// The first unused entry; each names the next one in `refs`.
    unused: u32,
    /// Entries in use.
    held: usize,
    /// Secrets not erased.
    secrets: usize,
}

/// A secret's entry: 16 bytes.
struct Entry {
    /// Its allocation. `None` after it was erased, and for an empty secret.
    id: Option<AllocId>,
    /// Count of its handles. In an unused entry, the index of the next unused one.
    refs: u32,
    /// Count of closures that read or write it now.
    pins: u16,
    erased: bool,
}

const NO_ENTRY: u32 = u32::MAX;

impl Store {
    fn new(arena: Arena) -> Self {
        Self { arena, entries: Vec::new(), unused: NO_ENTRY, held: 0, secrets: 0 }
    }

    /// Adds an entry with one handle, pinned. Returns its index and the address of its bytes.
    pub(super) fn insert(&mut self, len: usize) -> Result<(u32, *mut u8), OutOfMemory> {
        let error = OutOfMemory { partition: Partition::Store, limit: self.arena.limit(), errno: None };
        let no_entry = self.unused == NO_ENTRY && self.entries.len() >= NO_ENTRY as usize;
        // A handle keeps its length in 32 bits.
        if no_entry || u32::try_from(len).is_err() {
            return Err(error);
        }
        let (id, at) = match len {
            0 => (None, std::ptr::NonNull::dangling()),
            _ => self.arena.allocate(len).map(|allocation| (Some(allocation.id), allocation.at))?,
        };
        let entry = Entry { id, refs: 1, pins: 1, erased: false };
        let index = match self.unused {
            NO_ENTRY => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("checked above")
            }
            index => {
                self.unused = self.entries[index as usize].refs;
                self.entries[index as usize] = entry;
                index
            }
        };
        self.held += 1;
        self.secrets += 1;
        Ok((index, at.as_ptr()))
    }

    /// Returns the address of a secret's bytes, which are neither moved nor wiped until
    /// [`Self::unpin`]. `None` after it was erased.
    pub(super) fn pin(&mut self, index: u32) -> Option<*mut u8> {
        let entry = &mut self.entries[index as usize];
        if entry.erased {
            return None;
        }
        entry.pins = entry.pins.checked_add(1).expect("fewer than 65536 closures read one secret at a time");
        let id = entry.id;
        Some(id.map_or(std::ptr::NonNull::dangling(), |id| self.arena.at(id)).as_ptr())
    }

    pub(super) fn unpin(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.pins -= 1;
        if entry.erased {
            self.wipe(index as usize);
        }
    }

    pub(super) fn add_handle(&mut self, index: u32) {
        let refs = &mut self.entries[index as usize].refs;
        *refs = refs.checked_add(1).expect("fewer than 2^32 handles, which would need 64 GiB");
    }

    pub(super) fn drop_handle(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.refs -= 1;
        if entry.refs > 0 {
            return;
        }
        self.erase(index as usize);
        self.entries[index as usize].refs = self.unused;
        self.unused = index;
        self.held -= 1;
        if self.held == 0 {
            // Nothing refers to the table any more: give its memory back after a time of many
            // secrets.
            self.entries = Vec::new();
            self.unused = NO_ENTRY;
        }
    }

    pub(super) fn is_erased(&self, index: u32) -> bool {
        self.entries[index as usize].erased
    }

    pub(super) fn erase(&mut self, index: usize) {
        if !self.entries[index].erased {
            self.entries[index].erased = true;
            self.secrets -= 1;
        }
        self.wipe(index);
    }

    /// Wipes an erased secret's bytes. If a closure uses them, its unpin does so.
    fn wipe(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        if entry.pins == 0
            && let Some(id) = entry.id.take()
        {
            // SAFETY: the allocation came from this arena and was just taken out of the only entry
            // that had it; a slice into it exists only while its entry is pinned.
            unsafe { self.arena.give_back(id, usize::MAX) };
        }
    }
}
