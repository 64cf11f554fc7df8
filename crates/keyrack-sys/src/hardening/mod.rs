//! Hardening of a process against inspection by others. Each measure is read back, and none is
//! undone. For a daemon's own process only: a library must not do this to its host.
#![expect(unsafe_code, reason = "prctl options and descriptor calls that have no safe wrapper")]

pub mod protection;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{fstat, major, minor};
use zeroize::Zeroize as _;

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
        // SAFETY: _exit only ends the process; the child does what is to be done at an end.
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

/// Returns the value of the `hidepid` option of `/proc` if it is not off (`1`, `noaccess`, `2`,
/// `invisible`, `4`, `ptraceable`; `proc(5)`). The mount is the one that this crate reads.
///
/// Reads only what a process that is not dumpable may read of itself. Before Linux 5.14 it may not
/// read `/proc/self/fdinfo`, which names the mount.
///
/// # Errors
/// If `/proc` is missing, or does not tell.
pub fn hidepid() -> io::Result<Option<String>> {
    let device = fstat(procfs::root()?)?.st_dev;
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let options = super_options(&String::from_utf8_lossy(&mounts), device)
        .ok_or_else(|| io::Error::other("/proc/self/mountinfo does not list /proc"))?;
    Ok(hidepid_of(&options))
}

/// Options of the procfs super block with this device number: the last field of a line whose third
/// field is the number (`proc_pid_mountinfo(5)`). Mounts of one super block share them.
fn super_options(mountinfo: &str, device: u64) -> Option<String> {
    let number = format!("{}:{}", major(device), minor(device));
    let line = mountinfo.lines().find(|line| line.split(' ').nth(2) == Some(number.as_str()))?;
    line.rsplit(' ').next().map(str::to_owned)
}

fn hidepid_of(options: &str) -> Option<String> {
    let value = options.split(',').rev().find_map(|option| option.strip_prefix("hidepid="))?;
    (!matches!(value, "0" | "off")).then(|| value.to_owned())
}

/// Closes every descriptor from 3 up except those in `keep`. Call it first in `main`, while nothing
/// in this process owns a descriptor that it was not started with.
///
/// # Errors
/// Those of `close_range(2)` (Linux 5.9), and of reading `/proc/self/fd` where the kernel has none.
pub fn close_inherited(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    keep.extend(procfs::opened().map(|fd| fd.as_raw_fd()));
    for (first, last) in gaps(&keep) {
        match close_range(first, last) {
            Err(Errno::ENOSYS) => return close_listed(&keep),
            other => other?,
        }
    }
    Ok(())
}

/// Returns the ranges of descriptors from 3 up that contain none of `keep`.
fn gaps(keep: &[RawFd]) -> Vec<(u32, u32)> {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|&fd| u32::try_from(fd).ok()).filter(|&fd| fd >= 3).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut first = 3;
    let mut gaps = Vec::new();
    for fd in keep {
        if fd > first {
            gaps.push((first, fd - 1));
        }
        first = fd + 1;
    }
    gaps.push((first, u32::MAX));
    gaps
}

fn close_range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: closing descriptors touches no memory. That none of them is owned by a value of this
    // process is what close_inherited asks of its caller; if one were, its later use would fail
    // with EBADF.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    Ok(())
}

fn close_listed(keep: &[RawFd]) -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd >= 3 && !keep.contains(fd))
        .collect();
    for fd in open {
        // SAFETY: as in close_range. The descriptor of the listing itself is closed by now, which
        // is EBADF.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Overwrites the environment block that this process was started with, except the variables named
/// in `keep`, and unsets the others: a caller's environment is then neither in this process's
/// memory nor in `/proc/<pid>/environ`. Call it first in `main`.
///
/// # Errors
/// If there is a second thread, which might be reading it. Nothing is changed then.
pub fn scrub_environment(keep: &[&str]) -> io::Result<()> {
    if threads()? != Some(1) {
        return Err(io::Error::other("the process has other threads already"));
    }
    // SAFETY: `environ` is null or an array of strings that ends in null (environ(7)). All of it is
    // writable memory of this process's, and there is no other thread that could look at it
    // meanwhile.
    unsafe {
        let mut from = environ;
        let mut to = from;
        while !from.is_null() && !(*from).is_null() {
            let entry = *from;
            let len = libc::strlen(entry);
            let text = std::slice::from_raw_parts_mut(entry.cast::<u8>(), len);
            let name = text.split(|&b| b == b'=').next().unwrap_or_default();
            if keep.iter().any(|kept| kept.as_bytes() == name) {
                *to = entry;
                to = to.add(1);
            } else {
                text.zeroize();
            }
            from = from.add(1);
        }
        if !to.is_null() {
            *to = std::ptr::null_mut();
        }
    }
    Ok(())
}

unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
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

#[cfg(test)]
mod tests {
    use nix::sys::stat::makedev;

    use super::*;

    #[test]
    fn hidepid_is_read_from_the_mount_of_our_device() {
        let mountinfo = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:5 - proc proc rw,gid=10,hidepid=invisible\n\
25 23 0:21 /sys /proc/sys ro - proc proc rw,gid=10,hidepid=invisible\n\
123 22 0:22 / /mnt/proc rw - proc proc rw,hidepid=off\n\
124 22 0:2 / /other rw master:1 - proc proc rw\n";
        for (number, expected) in [(21, Some("invisible")), (22, None), (2, None)] {
            let options = super_options(mountinfo, makedev(0, number)).unwrap();
            assert_eq!(hidepid_of(&options).as_deref(), expected, "{number}");
        }
        assert_eq!(super_options(mountinfo, makedev(0, 1)), None);
        assert_eq!(super_options(mountinfo, makedev(1, 21)), None);
    }

    #[test]
    fn hidepid_of_knows_every_spelling() {
        for (options, expected) in [
            ("rw", None),
            ("rw,hidepid=0", None),
            ("rw,hidepid=off,gid=4", None),
            ("rw,hidepid=1", Some("1")),
            ("rw,hidepid=2,subset=pid", Some("2")),
            ("rw,hidepid=noaccess", Some("noaccess")),
            ("rw,hidepid=ptraceable", Some("ptraceable")),
            ("rw,nohidepid=2", None),
        ] {
            assert_eq!(hidepid_of(options).as_deref(), expected, "{options}");
        }
    }

    #[test]
    fn gaps_exclude_kept_descriptors() {
        const END: u32 = u32::MAX;
        for (keep, expected) in [
            (vec![], vec![(3, END)]),
            (vec![3], vec![(4, END)]),
            (vec![0, 1, 2, -1], vec![(3, END)]),
            (vec![7, 5, 5], vec![(3, 4), (6, 6), (8, END)]),
            (vec![3, 4, 5], vec![(6, END)]),
        ] {
            assert_eq!(gaps(&keep), expected, "{keep:?}");
        }
    }
}
