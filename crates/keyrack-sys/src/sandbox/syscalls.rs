//! System calls that a serving daemon makes, by number, for both C libraries. Every other call
//! fails with EPERM, also one that a later library begins to use: both libraries then do without
//! it, as on an older kernel.
//!
//! An attacker who runs code in the process first wants another program in its place, or another
//! process's memory: those calls, which no bug of ours makes by accident, end it.

use libc::c_long;

use super::bpf::Rule;

/// `AUDIT_ARCH_*` of this build (linux/audit.h): the ELF machine's number, 64 bits, little-endian.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: Option<u32> = Some(0xc000_00b7);
/// The table is not written for another.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const ARCH: Option<u32> = None;

/// Calls that need no look at their arguments: what they can reach is what is open already, or, by
/// path, what landlock allows.
const ALLOWED: &[c_long] = &[
    // Callers: accepted, looked at, answered.
    libc::SYS_accept4,
    libc::SYS_getsockopt,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_shutdown,
    libc::SYS_close,
    // What is waited for.
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_ppoll,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pidfd_open,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Clocks, where the vDSO does not have them.
    libc::SYS_clock_gettime,
    // Files below /proc, and of our own.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_memfd_secret,
    libc::SYS_ftruncate,
    libc::SYS_getrandom,
    // Signals that come.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Who we are, and the end.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_geteuid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The same, of before there were calls relative to a directory, or with a mask: musl uses them
/// where there are.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] =
    &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_stat, libc::SYS_lstat, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

const DEADLY: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
];

/// Flags that make an open more than one for reading (`open(2)`; O_TMPFILE requires one for
/// writing).
const WRITING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

/// The table for a process of this number.
pub(super) fn table(own: u32) -> Vec<(u32, Rule)> {
    let mut table: Vec<(c_long, Rule)> = Vec::new();
    table.extend(ALLOWED.iter().chain(OLDER).map(|&call| (call, Rule::Allow)));
    table.extend(DEADLY.iter().map(|&call| (call, Rule::Kill)));
    let writing = WRITING.unsigned_abs();
    let executable = libc::PROT_EXEC.unsigned_abs();
    let descriptor = [libc::F_GETFD, libc::F_SETFD].map(i32::unsigned_abs);
    table.extend([
        (libc::SYS_openat, Rule::Without(2, writing)),
        (libc::SYS_mmap, Rule::Without(2, executable)),
        (libc::SYS_mprotect, Rule::Without(2, executable)),
        (libc::SYS_fcntl, Rule::OneOf(1, descriptor.to_vec())),
        // An abort signals its own thread.
        (libc::SYS_tgkill, Rule::OneOf(0, vec![own])),
        (libc::SYS_tkill, Rule::OneOf(0, vec![own])),
    ]);
    #[cfg(target_arch = "x86_64")]
    table.push((libc::SYS_open, Rule::Without(1, writing)));
    table
        .into_iter()
        .map(|(call, rule)| (u32::try_from(call).expect("numbers of calls are small"), rule))
        .collect()
}
