//! Size of a page, and wiping.
#![expect(unsafe_code, reason = "wiping goes through raw addresses")]

use std::ptr::NonNull;

/// Granularity of mappings. A kernel with larger pages rounds up, and limits are then reached
/// sooner than counted.
pub(super) const PAGE: usize = 4096;

/// Overwrites bytes with zeros. The compiler may not leave it out.
///
/// # Safety
/// `len` bytes at `at` are mapped and writable, and no reference to them is alive.
pub(super) unsafe fn wipe(at: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), len) };
    wipe_slice(bytes);
}

/// As [`wipe`], for bytes that are borrowed exclusively.
pub(super) fn wipe_slice(bytes: &mut [u8]) {
    // One memset, then a barrier that makes the compiler assume that the zeros are read.
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}
