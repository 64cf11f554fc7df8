//! Small files below `/proc`, read relative to one descriptor. No path leaves procfs: the
//! descriptor is verified once to be a procfs root, and every later open starts there.

use std::ffi::CStr;
use std::io::{Cursor, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::read;

use keyrack_core::peer::{Pid, ReadError};

use crate::process::pid;

/// Limit of a path below `/proc`, in bytes. Two file names and a 20-digit number fit.
const PATH_BYTES: usize = 64;

/// Returns the descriptor of `/proc` if it is open. Code that closes descriptors wholesale must
/// keep it.
pub(crate) fn opened() -> Option<BorrowedFd<'static>> {
    PROC.get().map(AsFd::as_fd)
}

static PROC: OnceLock<OwnedFd> = OnceLock::new();

/// Returns the descriptor of `/proc`, which is opened once. A failure (no descriptor left) is not
/// cached.
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

/// Reads the beginning of a file below `/proc` in one `read`: procfs returns small files whole. A
/// file longer than `buffer` is cut.
pub(crate) fn read_small<'b>(path: std::fmt::Arguments<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let file = open_file(path)?;
    let n = read_retried(&file, buffer)?;
    Ok(&buffer[..n])
}

/// Returns the typed state for an errno of a file below `/proc`, or of a socket option.
pub(crate) fn read_error(errno: Errno) -> ReadError {
    match errno {
        Errno::ENOENT => ReadError::NotFound,
        Errno::ESRCH => ReadError::ProcessGone,
        Errno::EMFILE | Errno::ENFILE => ReadError::OutOfDescriptors,
        errno => ReadError::Io(std::io::Error::from(errno).kind()),
    }
}

/// Opens a file below `/proc` for reading.
pub(crate) fn open_file(path: std::fmt::Arguments<'_>) -> Result<OwnedFd, Errno> {
    let mut name = [0_u8; PATH_BYTES];
    // One byte is held back, so that the name always ends in NUL.
    let mut cursor = Cursor::new(&mut name[..PATH_BYTES - 1]);
    cursor.write_fmt(path).map_err(|_| Errno::ENAMETOOLONG)?;
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::ENAMETOOLONG)?;
    openat(root()?, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

fn read_retried(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match read(file, buffer) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Reads a `status` file below `/proc` to its end. Its list of groups alone can have 700 KB.
pub(crate) fn read_status(path: std::fmt::Arguments<'_>) -> Result<Vec<u8>, Errno> {
    const LIMIT: usize = 1 << 20;
    let file = open_file(path)?;
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    while text.len() < LIMIT {
        match read_retried(&file, &mut chunk)? {
            0 => return Ok(text),
            n => text.extend_from_slice(&chunk[..n]),
        }
    }
    Err(Errno::EFBIG)
}

/// Returns `true` if `/proc` numbers processes as this process's pid namespace does. It does not in
/// a namespace that was entered without mounting its own `/proc`. The answer is cached for one
/// process, not for its children.
pub(crate) fn numbers_are_ours() -> bool {
    static OURS_FOR: AtomicI32 = AtomicI32::new(0);
    let own = pid::current();
    if OURS_FOR.load(Ordering::Relaxed) == own.as_raw() {
        return true;
    }
    let ours =
        read_status(format_args!("self/status")).is_ok_and(|status| pid_levels(&status, own) == Some(1));
    if ours {
        OURS_FOR.store(own.as_raw(), Ordering::Relaxed);
    }
    ours
}

/// Counts the pids of a process in an `fdinfo` or a whole `status`: `NSpid` lists them from the pid
/// namespace of that `/proc` down to the process's own. A kernel without pid namespaces has no such
/// line. Returns `None` if the first one is not `pid`.
pub(crate) fn pid_levels(text: &[u8], pid: Pid) -> Option<usize> {
    let line = line_after(text, "NSpid:").or_else(|| line_after(text, "Pid:"))?;
    let mut numbers = line.split_ascii_whitespace();
    (numbers.next()?.parse() == Ok(pid.as_raw())).then(|| 1 + numbers.count())
}

/// Returns the number after `label` at the start of a line of `text`, as in `fdinfo` and `status`
/// (`Pid:\t12`).
pub(crate) fn number_after(text: &[u8], label: &str) -> Option<i64> {
    line_after(text, label)?.trim().parse().ok()
}

/// Returns the rest of the line of `text` that starts with `label`.
fn line_after<'t>(text: &'t [u8], label: &str) -> Option<&'t str> {
    let line = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(label.as_bytes()))?;
    std::str::from_utf8(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_after_matches_only_at_line_starts() {
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
    fn pid_levels_count_the_numbers_of_one_process() {
        for (status, expected) in [
            ("Pid:\t12\nNSpid:\t12\nNSpgid:\t12\t7\n", Some(1)),
            ("Pid:\t12\nNSpid:\t12\t1\n", Some(2)),
            ("Pid:\t12\nNSpid:\t12\t5\t1\n", Some(3)),
            // Of another process, of one that was reaped, or of one that cannot be seen from here.
            ("Pid:\t13\nNSpid:\t13\n", None),
            ("Pid:\t-1\nNSpid:\t-1\n", None),
            ("Pid:\t0\nNSpid:\t0\n", None),
            ("Pid:\t12\nNSpid:\t\n", None),
            ("Pid:\t12\nNSpid:\t1\t12\n", None),
            // A kernel without pid namespaces.
            ("Pid:\t12\n", Some(1)),
            ("PPid:\t12\n", None),
            ("", None),
        ] {
            assert_eq!(pid_levels(status.as_bytes(), Pid::from_raw(12)), expected, "{status:?}");
        }
    }

    #[test]
    fn numbers_are_ours_in_our_pid_namespace() {
        assert!(numbers_are_ours() && numbers_are_ours());
        let status = read_status(format_args!("self/status")).unwrap();
        assert!(status.ends_with(b"\n") && number_after(&status, "nonvoluntary_ctxt_switches:").is_some());
    }

    #[test]
    fn read_small_reads_whole_files_and_reports_missing_ones() {
        let mut buffer = [0; 64];
        let comm = read_small(format_args!("self/comm"), &mut buffer).unwrap();
        assert_eq!(comm.last(), Some(&b'\n'));
        assert_eq!(read_small(format_args!("self/no_such_file"), &mut buffer), Err(Errno::ENOENT));
        assert_eq!(read_small(format_args!("{}", "a/".repeat(40)), &mut buffer), Err(Errno::ENAMETOOLONG));
    }
}
