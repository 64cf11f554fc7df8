//! Pid of this process, without a system call each time. A client compares it before every request,
//! to notice that it was forked after it connected. Benchmark row: "GET, native, persistent, Rust
//! client".
#![expect(unsafe_code, reason = "a page the kernel wipes in a forked child is reached by its address")]

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

pub use keyrack_core::peer::Pid;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

/// Page that holds the pid; `None` if the kernel cannot wipe it on fork.
static PAGE: OnceLock<Option<&'static AtomicI32>> = OnceLock::new();

/// Returns the pid of the calling process, as `getpid(2)` does, also in a forked child. A child
/// that shares its parent's memory (`vfork(2)`) must not call this.
#[must_use]
pub fn current() -> Pid {
    let Some(kept) = PAGE.get_or_init(wiped_on_fork) else { return ask() };
    match kept.load(Ordering::Relaxed) {
        // The kernel wiped the page, or this is the first call.
        0 => {
            let pid = ask();
            kept.store(pid.as_raw(), Ordering::Relaxed);
            pid
        }
        pid => Pid::from_raw(pid),
    }
}

fn ask() -> Pid {
    Pid::from_raw(nix::unistd::getpid().as_raw())
}

/// Maps a page for one number that is zero in every forked child (`MADV_WIPEONFORK` of
/// `madvise(2)`, Linux 4.14). It is never unmapped.
fn wiped_on_fork() -> Option<&'static AtomicI32> {
    const LEN: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
    let page = unsafe { mmap_anonymous(None, LEN, prot, MapFlags::MAP_PRIVATE) }.ok()?;
    // SAFETY: exactly the mapping just made, in which nothing is yet.
    unsafe { madvise(page, LEN.get(), MmapAdvise::MADV_WIPEONFORK) }.ok()?;
    // SAFETY: mapped, zero, aligned to a page, large enough, never unmapped, and reached only
    // through this reference.
    Some(unsafe { page.cast::<AtomicI32>().as_ref() })
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn current_returns_the_pid_of_a_forked_child() {
        assert_eq!(current(), ask());
        assert_eq!(current(), ask());
        // SAFETY: the child only makes system calls, and _exit.
        match unsafe { fork() }.expect("a child") {
            ForkResult::Child => {
                let right = current() == ask() && current() == ask();
                // SAFETY: _exit only ends the process.
                unsafe { libc::_exit(if right { 7 } else { 8 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
                assert_eq!(current(), ask());
            }
        }
    }
}
