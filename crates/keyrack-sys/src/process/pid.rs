//! The process's own number, asked of the kernel once. A client looks at it before every request, to find out whether it has been
//! forked since it connected; a system call for that costs more than reading the request's reply.
#![expect(unsafe_code, reason = "a page the kernel wipes in a forked child is reached by its address")]

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// The page of this process, or that there is none.
static PAGE: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();

/// The pid of the calling process, in a forked child that child's: like `getpid(2)`, and mostly without it. A child that shares its
/// parent's memory (`vfork(2)`) must not ask.
#[must_use]
pub fn own() -> u32 {
    let Some(kept) = PAGE.get_or_init(wiped_on_fork) else { return std::process::id() };
    match kept.load(Ordering::Relaxed) {
        // Fresh from the kernel: of a process that has not asked yet.
        0 => {
            let pid = std::process::id();
            kept.store(pid, Ordering::Relaxed);
            pid
        }
        pid => pid,
    }
}

/// A number in a page of its own, which is zero in every forked child: `MADV_WIPEONFORK` of madvise(2), Linux 4.14. It is never unmapped.
fn wiped_on_fork() -> Option<&'static AtomicU32> {
    const LEN: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
    let page = unsafe { mmap_anonymous(None, LEN, prot, MapFlags::MAP_PRIVATE) }.ok()?;
    // SAFETY: exactly the mapping just made, in which nothing is yet.
    unsafe { madvise(page, LEN.get(), MmapAdvise::MADV_WIPEONFORK) }.ok()?;
    // SAFETY: mapped, zero, aligned to a page, large enough, never unmapped, and reached only through this reference.
    Some(unsafe { page.cast::<AtomicU32>().as_ref() })
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn a_forked_child_has_a_number_of_its_own() {
        assert_eq!(own(), std::process::id());
        assert_eq!(own(), std::process::id());
        // SAFETY: the child only makes system calls, and _exit.
        match unsafe { fork() }.expect("a child") {
            ForkResult::Child => {
                let right = own() == std::process::id() && own() == std::process::id();
                // SAFETY: _exit only ends the process.
                unsafe { libc::_exit(if right { 7 } else { 8 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
                assert_eq!(own(), std::process::id());
            }
        }
    }
}
