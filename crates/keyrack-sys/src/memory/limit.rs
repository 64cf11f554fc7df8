//! How much memory this process may lock. Found out by trying, not by reading capabilities: those of a user namespace
//! look like root's and do not count here.
#![expect(unsafe_code, reason = "the probe maps and locks address space that is never touched")]

use std::num::NonZeroUsize;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::resource::{Resource, getrlimit};

use super::mapping::PAGE;
use crate::proc::{number_after, read_small};

/// The most bytes, up to `wanted`, that can be locked beside what is locked already. A multiple of the page size.
pub(super) fn lockable(wanted: usize) -> usize {
    let wanted = down_to_page(wanted);
    let soft = down_to_page(usize::try_from(soft_limit()).unwrap_or(usize::MAX)).min(wanted);
    let left = down_to_page(soft.saturating_sub(locked_already()));
    [wanted, soft, left].into_iter().find(|&bytes| bytes == 0 || can_lock(bytes)).unwrap_or(0)
}

/// RLIMIT_MEMLOCK's soft limit in bytes; `u64::MAX` when there is none.
pub(super) fn soft_limit() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft)
}

/// Whether the kernel would lock this many bytes: it is asked to, on pages that have no access and so no memory.
fn can_lock(bytes: usize) -> bool {
    let Some(size) = NonZeroUsize::new(bytes) else { return true };
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
    let mapped = unsafe { mmap_anonymous(None, size, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) };
    let Ok(at) = mapped else { return false };
    // SAFETY: exactly the range just mapped; nothing is in it.
    let locked = Errno::result(unsafe { libc::mlock2(at.as_ptr(), bytes, libc::MLOCK_ONFAULT) });
    // SAFETY: exactly the range just mapped, which nobody else knows of. Unmapping unlocks it.
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
