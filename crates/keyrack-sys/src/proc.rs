//! Small files under `/proc`, read relative to one descriptor of it. Never follows a path that left procfs: the
//! descriptor is checked once to be a procfs root, and every later open starts there.

use std::ffi::CStr;
use std::io::{Cursor, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::read;

/// Longest path below `/proc` this module opens: two file names and a 20-digit number leave room to spare.
const PATH_BYTES: usize = 64;

/// The descriptor of `/proc`, if one is open already. Whoever closes descriptors wholesale must spare it.
pub(crate) fn opened() -> Option<BorrowedFd<'static>> {
    PROC.get().map(AsFd::as_fd)
}

static PROC: OnceLock<OwnedFd> = OnceLock::new();

/// `/proc`, opened once for the life of the process. A failure (no descriptors left) is not remembered.
pub(crate) fn root() -> Result<BorrowedFd<'static>, Errno> {
    if let Some(fd) = opened() {
        return Ok(fd);
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = open("/proc", flags, Mode::empty())?;
    if fstatfs(&fd)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::ENOTSUP);
    }
    Ok(PROC.get_or_init(|| fd).as_fd())
}

/// Reads the start of a file below `/proc` in one `read`, as procfs hands small files out whole. Returns what was
/// read; a file longer than `buffer` is cut.
pub(crate) fn read_small<'b>(path: std::fmt::Arguments<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let mut name = [0_u8; PATH_BYTES];
    // One byte is held back, so that the name always ends in NUL.
    let mut cursor = Cursor::new(&mut name[..PATH_BYTES - 1]);
    cursor.write_fmt(path).map_err(|_| Errno::ENAMETOOLONG)?;
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::ENAMETOOLONG)?;
    let file = openat(root()?, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    loop {
        match read(&file, buffer) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(n) => return Ok(&buffer[..n]),
        }
    }
}

/// Whether the numbers of `/proc` are those of this process's own pid namespace. Not so where a namespace was entered
/// without a `/proc` of its own; and not known from one process for its children.
pub(crate) fn numbers_are_ours() -> bool {
    static OURS_FOR: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id();
    if OURS_FOR.load(Ordering::Relaxed) == own {
        return true;
    }
    let mut buffer = [0; 4096];
    let ours = read_small(format_args!("self/status"), &mut buffer).is_ok_and(one_namespace);
    if ours {
        OURS_FOR.store(own, Ordering::Relaxed);
    }
    ours
}

/// `NSpid` in a `status` lists a process's numbers from the namespace of that `/proc` down to its own.
fn one_namespace(status: &[u8]) -> bool {
    number_after(status, "NSpid:").is_some()
}

/// The number after `label` at the start of a line of `text`, as `fdinfo` and `status` write it (`Pid:\t12`).
pub(crate) fn number_after(text: &[u8], label: &str) -> Option<i64> {
    let line = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(label.as_bytes()))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_at_line_starts_only() {
        for (text, label, expected) in [
            ("pos:\t0\nPid:\t12\nNSpid:\t12\n", "Pid:", Some(12)),
            ("NSpid:\t7\n", "Pid:", None),
            ("Pid:\t-1\n", "Pid:", Some(-1)),
            ("Pid:\t0\n", "Pid:", Some(0)),
            ("Pid:\t\n", "Pid:", None),
            ("Pid:\t12x\n", "Pid:", None),
            ("Pid:\t99999999999999999999\n", "Pid:", None),
            ("", "Pid:", None),
        ] {
            assert_eq!(number_after(text.as_bytes(), label), expected, "{text:?}");
        }
    }

    #[test]
    fn namespaces_are_counted() {
        for (status, expected) in [
            ("Pid:\t12\nNSpid:\t12\nNSpgid:\t12\n", true),
            ("Pid:\t12\nNSpid:\t12\t1\n", false),
            ("Pid:\t12\nNSpid:\t\n", false),
            ("Pid:\t12\n", false),
        ] {
            assert_eq!(one_namespace(status.as_bytes()), expected, "{status:?}");
        }
    }

    #[test]
    fn reads_whole_small_files_and_reports_what_is_missing() {
        let mut buffer = [0; 64];
        let comm = read_small(format_args!("self/comm"), &mut buffer).unwrap();
        assert_eq!(comm.last(), Some(&b'\n'));
        assert_eq!(read_small(format_args!("self/no_such_file"), &mut buffer), Err(Errno::ENOENT));
        assert_eq!(read_small(format_args!("{}", "a/".repeat(40)), &mut buffer), Err(Errno::ENAMETOOLONG));
    }
}
