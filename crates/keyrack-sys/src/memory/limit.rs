//! Limit of the memory that this process may lock, or keep in secret pages, which count as locked.
//! Found by trying, not by reading capabilities: those of a user namespace look like root's and do
//! not count here.
//!
//! A probe makes the calls that are made later, on a mapping of the same kind. Up to Linux 5.15 a
//! call on a mapping without access (`PROT_NONE`) fails with `ENOMEM` where the same call on a
//! writable one succeeds.
#![expect(unsafe_code, reason = "the probe maps and locks address space that is never touched")]

use std::num::NonZeroUsize;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::resource::{Resource, getrlimit};

use super::mapping::Mapping;
use super::mode::MemoryMode;
use super::page::PAGE;
use super::secretmem;
use crate::process::procfs::{number_after, read_small};

/// Least lockable memory, in bytes. With less, locking is not worth the failures that follow.
pub(super) const USEFUL: usize = 1024 * 1024;

/// Errno of a kind of memory that is unavailable, whatever the amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited(pub(super) i32);

/// Returns the largest number of bytes, up to `wanted`, that can be locked besides what is locked
/// already. A multiple of the page size.
///
/// # Errors
/// If locking fails for another reason than the amount.
pub(super) fn lockable(wanted: usize) -> Result<usize, Limited> {
    let most = candidates(wanted).find(|&bytes| can_lock_untouched(bytes)).unwrap_or(0);
    let least = USEFUL.min(down_to_page(wanted));
    if most >= least {
        return Ok(most);
    }
    // A filter may refuse mlock2(2) where mlock(2) works, which is all that a pool needs.
    match Mapping::new(least, MemoryMode::Locked) {
        Ok(_) => Ok(least),
        // Over RLIMIT_MEMLOCK, and EPERM where that is 0 (mlock(2)).
        Err(Errno::ENOMEM | Errno::EAGAIN) => Ok(most),
        Err(Errno::EPERM) if soft_limit() == 0 => Ok(most),
        Err(errno) => Err(Limited(errno as i32)),
    }
}

/// Returns the largest number of bytes, up to `wanted`, that secret pages can have besides what is
/// locked already. A multiple of the page size.
///
/// # Errors
/// If locking fails for another reason than the amount.
pub(super) fn secretly_lockable(wanted: usize) -> Result<usize, Limited> {
    for bytes in candidates(wanted) {
        let Some(size) = NonZeroUsize::new(bytes) else { continue };
        match secretmem::try_out(size) {
            Ok(()) => return Ok(bytes),
            // Over RLIMIT_MEMLOCK.
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(Limited(errno as i32)),
        }
    }
    Ok(0)
}

/// Returns the amounts to try to lock, largest first.
fn candidates(wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = down_to_page(wanted);
    let soft = down_to_page(usize::try_from(soft_limit()).unwrap_or(usize::MAX)).min(wanted);
    let left = down_to_page(soft.saturating_sub(locked_already()));
    [wanted, soft, left].into_iter()
}

/// Returns the soft limit of RLIMIT_MEMLOCK in bytes; `u64::MAX` if there is none.
pub(super) fn soft_limit() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft)
}

/// Returns `true` if this process may lock more memory once it raises its own limit to the hard
/// one, as a daemon does ([`crate::hardening::raise_limits`]). A probe that fails before says
/// little then.
#[must_use]
pub fn is_raisable() -> bool {
    getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, hard)| soft < hard)
}

/// Returns `true` if the kernel would lock this many bytes. It is asked to lock writable pages that
/// are never touched, which takes address space and no memory (`MLOCK_ONFAULT`, Linux 4.4).
fn can_lock_untouched(bytes: usize) -> bool {
    let Some(size) = NonZeroUsize::new(bytes) else { return true };
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
    let mapped = unsafe { mmap_anonymous(None, size, prot, MapFlags::MAP_PRIVATE) };
    let Ok(at) = mapped else { return false };
    // SAFETY: exactly the range just mapped; nothing is in it.
    let locked = Errno::result(unsafe { libc::mlock2(at.as_ptr(), bytes, libc::MLOCK_ONFAULT) });
    // SAFETY: exactly the range just mapped, which no other code knows of. Unmapping unlocks it.
    let _ = unsafe { munmap(at, bytes) };
    locked.is_ok()
}

fn locked_already() -> usize {
    let mut buffer = [0; 4096];
    let status = read_small(format_args!("self/status"), &mut buffer).unwrap_or_default();
    locked_kib(status).unwrap_or(0).saturating_mul(1024)
}

/// The `VmLck` line of `/proc/self/status`.
fn locked_kib(status: &[u8]) -> Option<usize> {
    let line = status.split(|&b| b == b'\n').find(|line| line.starts_with(b"VmLck:"))?;
    let kib = number_after(line.strip_suffix(b" kB")?, "VmLck:")?;
    usize::try_from(kib).ok()
}

fn down_to_page(bytes: usize) -> usize {
    bytes / PAGE * PAGE
}
