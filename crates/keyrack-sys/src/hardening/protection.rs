//! Protection of a command that holds secrets while it runs: debuggers of its own user cannot read
//! it, and it leaves no core dump. Unlike the hardening of a daemon ([`crate::hardening`]) it is
//! not passed on: a program that is executed becomes dumpable again (`PR_SET_DUMPABLE(2const)`),
//! and finds the core limit that this process was started with.
#![expect(unsafe_code, reason = "setrlimit between clone and exec, and std's pre_exec")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyrack_core::peer::ReadError;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::process::pid::Pid;
use crate::{hardening, peer};

/// Attempts to identify a tracer that may exit meanwhile.
const TRIES: usize = 100;

static LOWERED: AtomicBool = AtomicBool::new(false);
/// Soft RLIMIT_CORE before it was lowered; only valid while `LOWERED` is set.
static CORE_LIMIT: AtomicU64 = AtomicU64::new(0);

/// Makes the process not dumpable, and its soft limit on core dumps 0. The hard limit stays, so
/// that [`restore_core_limit`] can undo it. Call it first in `main`: until then the process is not
/// protected.
///
/// # Errors
/// Those of `prctl(2)` and `setrlimit(2)`; when the kernel left the process dumpable.
pub fn protect() -> io::Result<()> {
    hardening::not_dumpable()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, hard)?;
    CORE_LIMIT.store(soft, Ordering::Relaxed);
    LOWERED.store(true, Ordering::Release);
    Ok(())
}

/// Restores the soft limit on core dumps, in a process that is about to execute another program.
/// Does nothing without [`protect`]. Makes system calls only, so it may run between `fork(2)` or
/// `clone(2)` and `execve(2)`.
pub(crate) fn restore_core_limit() {
    if LOWERED.load(Ordering::Acquire) {
        set_soft_core_limit(CORE_LIMIT.load(Ordering::Relaxed));
    }
}

/// Undoes [`restore_core_limit`] after an exec that failed.
pub(crate) fn lower_core_limit() {
    if LOWERED.load(Ordering::Acquire) {
        set_soft_core_limit(0);
    }
}

fn set_soft_core_limit(soft: u64) {
    // SAFETY: an all-zero rlimit is a valid value of that plain C structure.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: each call reads or fills in the structure it is given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) == 0 {
            // Another process may have lowered the hard limit since.
            limit.rlim_cur = soft.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        }
    }
}

/// Gives a program that [`std::process::Command`] starts the core limit that this process was
/// started with.
pub fn unprotect(command: &mut Command) -> &mut Command {
    // SAFETY: what runs in the child before its exec makes system calls on integers and on its own
    // stack.
    unsafe {
        command.pre_exec(|| {
            restore_core_limit();
            Ok(())
        })
    }
}

/// Returns the process that traces this one (`ptrace(2)`) from another login session, if there is
/// one. Where the kernel has no login sessions there is none. Call it after [`protect`], which
/// keeps out further tracers.
///
/// A tracer outside our pid namespace is not visible: the kernel shows it as none
/// (`proc_pid_status(5)`).
///
/// # Errors
/// When `/proc/self` cannot be read.
pub fn foreign_tracer() -> io::Result<Option<Pid>> {
    let Some(mut tracer) = hardening::tracer_pid()? else { return Ok(None) };
    let own = match peer::own_session() {
        Ok(own) => own,
        // This kernel has no login sessions.
        Err(ReadError::NotFound) => return Ok(None),
        Err(error) => return Err(io::Error::other(format!("cannot read the login session: {error}"))),
    };
    for _ in 0..TRIES {
        match hardening::tracer_pid()? {
            Some(pid) => tracer = pid,
            None => return Ok(None),
        }
        match peer::session(tracer) {
            // The pid is the tracer's for as long as it traces us.
            Ok(session) if hardening::tracer_pid()? == Some(tracer) => {
                return Ok((session != own).then_some(tracer));
            }
            // The tracer has ended; the next read shows it.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Some(tracer))
}
