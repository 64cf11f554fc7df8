//! Hardening of a process against inspection by others. Each measure is read back, and none is
//! undone. For a daemon's own process only: a library must not do this to its host.
#![expect(unsafe_code, reason = "prctl options and descriptor calls that have no safe wrapper")]

mod hidepid;
mod inherited;
pub mod protection;

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use hidepid::hidepid;
pub use inherited::{close_inherited, scrub_environment};

use crate::process::pid::Pid;
use crate::process::procfs;

/// State of one measure, as read back from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardeningMeasure {
    /// `not_dumpable`, `no_core`, `no_new_privs`, `deny_write_exec`, `not_traced`; of
    /// [`crate::sandbox`] `landlock`, `seccomp`.
    pub name: &'static str,
    /// `true` if it is in force.
    pub on: bool,
    /// Reason why it is not in force, or what this kernel lacks of it.
    pub detail: Option<String>,
}

/// Soft limits after they were raised. `u64::MAX` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaisedLimits {
    /// RLIMIT_NOFILE: descriptors.
    pub nofile: u64,
    /// RLIMIT_MEMLOCK: bytes of locked memory.
    pub memlock: u64,
}

/// Makes the process not dumpable (`PR_SET_DUMPABLE` 0): no core dump, no ptrace and no
/// `/proc/<pid>/{mem,environ,fd,…}` for the same user. An exec undoes it, so a daemon does this
/// first.
///
/// # Errors
/// When the kernel does not confirm it.
pub fn not_dumpable() -> io::Result<()> {
    prctl::set_dumpable(false)?;
    if is_dumpable()? {
        return Err(io::Error::other("the kernel left the process dumpable"));
    }
    Ok(())
}

/// Forks, goes on in the child, and ends the parent with exit code 0. Descriptors, limits and the
/// rest stay the same; the memory is new.
///
/// A process that opened `/proc/<pid>/mem` between the exec and [`not_dumpable`] may read through
/// it for as long as that memory is in use: the kernel checks when it is opened, not when it is
/// read (`proc_pid_mem(5)`). The child's memory is new, and no process could open it before: the
/// child is not dumpable from its start (`PR_SET_DUMPABLE(2const)`).
///
/// # Errors
/// If there is a second thread, which would be lost; those of `fork(2)`; if the kernel does not
/// confirm that the child is not dumpable.
pub fn refork() -> io::Result<()> {
    if threads()? != Some(1) {
        return Err(io::Error::other("the process has other threads already"));
    }
    // SAFETY: no other thread could hold a lock that the child would wait for.
    match Errno::result(unsafe { libc::fork() })? {
        0 if is_dumpable()? => Err(io::Error::other("the kernel left the new process dumpable")),
        0 => Ok(()),
        // SAFETY: _exit only ends the process; the child does what an exit requires.
        _ => unsafe { libc::_exit(0) },
    }
}

/// Sets RLIMIT_CORE to 0, soft and hard. A core pattern that is a pipe ignores this limit
/// (`core(5)`), so it only adds to [`not_dumpable`].
///
/// # Errors
/// Those of `setrlimit(2)`.
pub fn no_core() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Makes a write beyond `RLIMIT_FSIZE` an error (`EFBIG`) instead of the end of the process
/// (`SIGXFSZ`, setrlimit(2)).
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn no_file_size_signal() -> io::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours when it comes.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGXFSZ, nix::sys::signal::SigHandler::SigIgn)
    }?;
    Ok(())
}

/// Prevents an exec from gaining privileges (`PR_SET_NO_NEW_PRIVS`), for this process and all it
/// starts.
///
/// # Errors
/// None the kernel documents.
pub fn no_new_privs() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}

/// Denies memory that is writable and executable from now on (`PR_SET_MDWE`). Forks inherit it, and
/// it cannot be undone; a process with a just-in-time compiler must not do it.
///
/// # Errors
/// On Linux before 6.3.
pub fn deny_write_exec() -> io::Result<()> {
    let unused: libc::c_ulong = 0;
    let refuse = libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN);
    // SAFETY: PR_SET_MDWE takes integers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_MDWE, refuse, unused, unused, unused) })
        .map_err(without_mdwe)?;
    Ok(())
}

/// Returns the pid of the process that traces this one (`ptrace(2)`), if one does.
///
/// # Errors
/// When `/proc/self/status` cannot be read.
pub fn tracer_pid() -> io::Result<Option<Pid>> {
    let pid = own_status("TracerPid:")?
        .and_then(|pid| i32::try_from(pid).ok())
        .ok_or_else(|| io::Error::other("/proc/self/status has no TracerPid"))?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}

/// Raises the soft limits of descriptors and locked memory to the hard ones, and reads them back. A
/// limit that cannot be raised stays as it is.
///
/// # Errors
/// Those of `getrlimit(2)`.
pub fn raise_limits() -> io::Result<RaisedLimits> {
    let raise = |resource| -> io::Result<u64> {
        let (soft, hard) = getrlimit(resource)?;
        if soft != hard && setrlimit(resource, hard, hard).is_ok() {
            return Ok(getrlimit(resource)?.0);
        }
        Ok(soft)
    };
    Ok(RaisedLimits { nofile: raise(Resource::RLIMIT_NOFILE)?, memlock: raise(Resource::RLIMIT_MEMLOCK)? })
}

/// Reads back every measure of this module.
#[must_use]
pub fn readback() -> Vec<HardeningMeasure> {
    let measure = |name, state: io::Result<Option<String>>| match state {
        Ok(None) => HardeningMeasure { name, on: true, detail: None },
        Ok(detail) => HardeningMeasure { name, on: false, detail },
        Err(error) => HardeningMeasure { name, on: false, detail: Some(error.to_string()) },
    };
    let off = |on: bool, what: &str| (!on).then(|| what.to_owned());
    vec![
        measure("not_dumpable", is_dumpable().map(|dumpable| off(!dumpable, "the process is dumpable"))),
        measure("no_core", core_limits()),
        measure(
            "no_new_privs",
            prctl::get_no_new_privs()
                .map(|on| off(on, "an exec may gain privileges"))
                .map_err(io::Error::from),
        ),
        measure(
            "deny_write_exec",
            denies_write_exec().map(|on| off(on, "memory may be writable and executable")),
        ),
        measure(
            "not_traced",
            tracer_pid().map(|pid| pid.map(|pid| format!("process {pid} traces this one"))),
        ),
    ]
}

/// Returns the count of this process's threads, or `None` if the kernel does not tell.
pub(crate) fn threads() -> io::Result<Option<i64>> {
    Ok(own_status("Threads:")?)
}

/// Returns a number in `/proc/self/status` (`proc_pid_status(5)`), or `None` if this kernel does
/// not have the line.
pub(crate) fn own_status(label: &str) -> Result<Option<i64>, Errno> {
    // One read gives at most a page, and the list of groups alone may be longer.
    procfs::read_status(format_args!("self/status")).map(|status| procfs::number_after(&status, label))
}

fn is_dumpable() -> io::Result<bool> {
    let unused: libc::c_ulong = 0;
    // SAFETY: PR_GET_DUMPABLE takes no arguments. It answers 2 too (readable by root only), which
    // nix has no room for.
    let state = Errno::result(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, unused, unused, unused, unused) })?;
    Ok(state != 0)
}

fn denies_write_exec() -> io::Result<bool> {
    let unused: libc::c_ulong = 0;
    // SAFETY: PR_GET_MDWE takes no arguments.
    let bits = Errno::result(unsafe { libc::prctl(libc::PR_GET_MDWE, unused, unused, unused, unused) })
        .map_err(without_mdwe)?;
    Ok(u32::try_from(bits).is_ok_and(|bits| bits & libc::PR_MDWE_REFUSE_EXEC_GAIN != 0))
}

/// Returns the error of a kernel without the option, which answers `EINVAL`.
fn without_mdwe(errno: Errno) -> io::Error {
    match errno {
        Errno::EINVAL => io::Error::other("the kernel has no PR_SET_MDWE, which is there since Linux 6.3"),
        errno => errno.into(),
    }
}

fn core_limits() -> io::Result<Option<String>> {
    Ok(match getrlimit(Resource::RLIMIT_CORE)? {
        (0, 0) => None,
        (soft, _) => Some(format!("RLIMIT_CORE is {soft} bytes, or can be raised")),
    })
}
