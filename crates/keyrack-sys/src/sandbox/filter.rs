//! Installation of the seccomp filter, and its verification.
#![expect(unsafe_code, reason = "seccomp and the probe have no safe wrapper")]

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;

use super::bpf::assemble;
use super::outcome::{Outcome, status_number};
use super::syscalls;

/// `Seccomp:` of `/proc/self/status` under a filter (`SECCOMP_MODE_FILTER`).
const FILTERED: i64 = 2;

/// Filters the system calls of this thread for good, and verifies it.
pub(super) fn install() -> Outcome {
    let arch = syscalls::ARCH.ok_or_else(|| {
        format!("there is no list of system calls for this architecture ({})", std::env::consts::ARCH)
    })?;
    let before = filters()?;
    set(arch).map_err(|error| format!("the kernel does not take the filter: {error}"))?;
    let after = filters()?;
    let one_more = match (before, after) {
        (Some(before), Some(after)) => after == before + 1,
        // Counted since Linux 5.9.
        _ => true,
    };
    let mode = status_number("Seccomp:")?;
    if mode == Some(FILTERED) && one_more && refuses() {
        return Ok(None);
    }
    Err(format!("it is not confirmed: mode {mode:?}, filters {before:?} and then {after:?}"))
}

fn filters() -> Result<Option<i64>, String> {
    status_number("Seccomp_filters:")
}

fn set(arch: u32) -> io::Result<()> {
    let mut program = assemble(arch, syscalls::table(std::process::id()));
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // Without it only root may.
    prctl::set_no_new_privs()?;
    let none: libc::c_ulong = 0;
    // SAFETY: the kernel copies the program, which lives until the call is done.
    let set =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, none, &raw const filter) };
    Errno::result(set)?;
    Ok(())
}

/// Returns `true` if a call fails that the table does not have, and that only a filter can make
/// fail.
fn refuses() -> bool {
    // SAFETY: getppid takes nothing and touches no memory.
    Errno::result(unsafe { libc::syscall(libc::SYS_getppid) }) == Err(Errno::EPERM)
}
