//! State that this process was started with and has changed: Rust's runtime ignores `SIGPIPE`
//! before `main`, and puts `/dev/null` in the place of a standard stream that was closed;
//! [`crate::hardening::protection`] lowers the limit on core dumps. A program that hands on its own
//! place (`exec`) hands on what it got, not what became of it.
//!
//! Recorded before the runtime starts, by a function among the program's initializers. It only
//! reads.
#![expect(unsafe_code, reason = "a function among the program's initialisers, and the system calls it makes")]

use std::sync::atomic::{AtomicU8, Ordering};

use crate::hardening::protection;

/// Bits of [`FOUND`]: bits 0 to 2 for closed standard streams, then one for `SIGPIPE`, and one that
/// is set once the state was recorded.
const IGNORES_PIPE: u8 = 1 << 3;
const LOOKED: u8 = 1 << 7;

static FOUND: AtomicU8 = AtomicU8::new(0);

#[used]
// SAFETY: the section holds pointers to functions that are called one after the other before `main`
// (System V ABI, gABI 4.1, "Initialization and Termination Functions"); what is called with more
// arguments than it takes ignores them.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let mut found = LOOKED;
    for stream in 0..3 {
        // SAFETY: fcntl by number touches no memory, and EBADF is an answer.
        if unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1 {
            found |= 1 << stream;
        }
    }
    // SAFETY: an all-zero sigaction is a valid value of that plain C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with no new action it only fills in the structure it is given.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) };
    if asked == 0 && action.sa_sigaction == libc::SIG_IGN {
        found |= IGNORES_PIPE;
    }
    FOUND.store(found, Ordering::Relaxed);
}

/// Returns `true` if `SIGPIPE` was ignored when this process was started.
#[must_use]
pub fn ignores_sigpipe() -> bool {
    FOUND.load(Ordering::Relaxed) & IGNORES_PIPE != 0
}

/// Returns `true` if a standard stream (0, 1 or 2) was closed when this process was started.
#[must_use]
pub fn was_closed(stream: u8) -> bool {
    stream < 3 && FOUND.load(Ordering::Relaxed) & (1 << stream) != 0
}

/// Restores this state, in a process that is about to execute another program.
pub(crate) fn restore() {
    protection::restore_core_limit();
    // SAFETY: the default action runs no code of ours, and the runtime's own is to ignore it.
    unsafe {
        if !ignores_sigpipe() {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        for stream in 0..3 {
            if was_closed(stream) {
                libc::close(stream.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_state_is_recorded_before_main() {
        assert_ne!(FOUND.load(Ordering::Relaxed) & LOOKED, 0);
        // A test is started with its three streams.
        assert!(!was_closed(0) && !was_closed(1) && !was_closed(2) && !was_closed(3));
    }
}
