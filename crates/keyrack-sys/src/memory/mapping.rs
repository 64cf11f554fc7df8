//! One run of pages from the kernel, made as private as its mode says and wiped before it goes
//! back. Never handed out half protected: if any step fails, the pages are gone again.
#![expect(unsafe_code, reason = "mmap and its kin take raw addresses")]

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};

use super::mode::MemoryMode;
use super::page::wipe;
use super::secretmem;

/// Pages of our own, all zero when made.
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages belong to this value alone and to no thread; the pointer is given out, never
// followed, by this type.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes (a multiple of [`PAGE`](super::page::PAGE), not 0).
    pub(super) fn new(len: usize, mode: MemoryMode) -> Result<Self, Errno> {
        let size = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        if mode == MemoryMode::Secret {
            return secretmem::map(size).map(|base| Self { base, len });
        }
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap_anonymous(None, size, prot, MapFlags::MAP_PRIVATE) }?;
        let mapping = Self { base: base.cast(), len };
        mapping.protect(mode == MemoryMode::Locked)?;
        Ok(mapping)
    }

    fn protect(&self, locked: bool) -> Result<(), Errno> {
        let at = self.base.cast();
        // SAFETY: the range is exactly our own mapping, and none of the advice given here loses
        // what is in it.
        let advise = |advice| unsafe { madvise(at, self.len, advice) };
        advise(MmapAdvise::MADV_DONTDUMP)?;
        advise(MmapAdvise::MADV_WIPEONFORK)?;
        // Huge pages would make a slab 2 MiB, and collapsing into one copies secrets and leaves the
        // old pages as they were. EINVAL: this kernel has none.
        match advise(MmapAdvise::MADV_NOHUGEPAGE) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno),
        }
        if locked {
            // SAFETY: as above. Locks every page now, so no later fault can fail.
            unsafe { mlock(at, self.len) }?;
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The address `offset` bytes in, `offset` being less than [`Self::len`].
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len, "an offset outside its mapping");
        // SAFETY: the result stays inside the mapping, as just checked.
        unsafe { self.base.add(offset) }
    }

    /// Returns `true` if every byte is zero. For tests: no thread may write to the pages meanwhile.
    #[cfg(test)]
    pub(super) fn is_zero(&self) -> bool {
        // SAFETY: the pages live as long as self, and the tests that ask hold no slice into them.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }.iter().all(|&b| b == 0)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: no other code has a reference into pages whose owner is being dropped.
        unsafe { wipe(self.base, self.len) };
        // SAFETY: exactly our own mapping, unmapped once. It cannot fail for such a range; if it
        // did, it is wiped.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
