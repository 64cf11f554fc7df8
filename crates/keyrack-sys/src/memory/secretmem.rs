//! Pages of `memfd_secret(2)`: out of the kernel's own map of memory, so that neither a debugger,
//! nor `/proc/<pid>/mem`, nor root by way of either reads them; never in swap, in a core dump, or
//! in a forked child. They are used only after the kernel has allocated every one of them, and no
//! descriptor of them stays open.
//!
//! A mapping takes `memfd_secret`, `ftruncate`, `mmap`, `close`, `madvise` and `clock_gettime`, and
//! `munmap` in the end: a filter of system calls must leave these.
#![expect(unsafe_code, reason = "memfd_secret has no wrapper, and mmap and its kin take raw addresses")]

use std::num::NonZeroUsize;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::unistd::ftruncate;

use super::page::PAGE;

/// Maps `size` bytes, all allocated and zero.
///
/// # Errors
/// `ENOSYS`: the kernel has none, or it is turned off. `EPERM`: a filter. `EAGAIN`: over
/// RLIMIT_MEMLOCK. `EFBIG`: over RLIMIT_FSIZE. `ENOMEM`: no pages. `EMFILE`, `ENFILE`: no
/// descriptor for the moment one is needed.
pub(super) fn map(size: NonZeroUsize) -> Result<NonNull<u8>, Errno> {
    let base = reserve(size)?;
    let done = keep_from_children(base, size).and_then(|()| bring_in(base, size.get()));
    done.inspect_err(|_| unmap(base, size)).map(|()| base)
}

/// Checks that `size` bytes can be mapped, and one page of them used.
///
/// # Errors
/// As [`map`].
pub(super) fn try_out(size: NonZeroUsize) -> Result<(), Errno> {
    let base = reserve(size)?;
    let done = keep_from_children(base, size).and_then(|()| bring_in(base, PAGE.min(size.get())));
    unmap(base, size);
    done
}

/// Maps pages that the kernel allocates when they are first touched. Only the mapping keeps them:
/// its descriptor is closed again.
fn reserve(size: NonZeroUsize) -> Result<NonNull<u8>, Errno> {
    // SAFETY: takes an integer only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = i64::try_from(size.get()).map_err(|_| Errno::ENOMEM)?;
    ftruncate(&fd, len)?;
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a mapping at an address of the kernel's choice overlaps nothing. No other process has
    // or gets the file, so none writes to it or makes it shorter.
    let base = unsafe { mmap(None, size, prot, MapFlags::MAP_SHARED, &fd, 0) }?;
    Ok(base.cast())
}

/// The mapping is shared, so a child would see the very same bytes, and MADV_WIPEONFORK does not
/// work for it: the child gets none of the pages.
fn keep_from_children(base: NonNull<u8>, size: NonZeroUsize) -> Result<(), Errno> {
    // SAFETY: the range is exactly our own mapping, and the advice loses nothing that is in it.
    unsafe { madvise(base.cast(), size.get(), MmapAdvise::MADV_DONTFORK) }
}

/// Makes the kernel allocate every page of a mapping now. A page that it could not allocate later
/// would end the process by SIGBUS, at our first touch. Neither mlock(2) nor MAP_POPULATE nor
/// MADV_POPULATE_WRITE allocate pages of this kind; a system call that writes does, and returns
/// `EFAULT` where it cannot.
pub(super) fn bring_in(base: NonNull<u8>, len: usize) -> Result<(), Errno> {
    for offset in (0..len).step_by(PAGE) {
        // SAFETY: stays inside the mapping.
        let page = unsafe { base.add(offset) }.cast::<libc::timespec>();
        // SAFETY: a page is large enough, aligned, and ours alone. That the kernel may find no page
        // there is what is asked.
        let written = unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, page.as_ptr()) };
        match Errno::result(written) {
            Ok(_) => {}
            Err(Errno::EFAULT) => return Err(Errno::ENOMEM),
            Err(errno) => return Err(errno),
        }
        // SAFETY: the page is there now, and the time in it is ours.
        unsafe { page.write_bytes(0, 1) };
    }
    Ok(())
}

fn unmap(base: NonNull<u8>, size: NonZeroUsize) {
    // SAFETY: exactly the range that was mapped, which no other code knows of yet.
    let _ = unsafe { munmap(base.cast(), size.get()) };
}
