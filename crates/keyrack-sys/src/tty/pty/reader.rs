//! Search for a process that reads keys from the pseudo-terminal of its output.
//!
//! A pager opens the terminal of its standard error by name, an editor makes it its input, `more`
//! reads from its standard error itself. Most others have it open too, and read from the real
//! terminal: shells keep duplicates of their streams, and event loops open each of theirs once
//! more.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgid, getpgrp};

/// Returns `true` if a process of our group reads from the terminal at `path`. `mark` is on the
/// open file that the group was started with.
pub(super) fn exists(path: &Path, mark: Option<OFlag>) -> bool {
    let group = getpgrp();
    let own = nix::unistd::getpid();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.any(|pid| pid != own && getpgid(Some(pid)) == Ok(group) && reads(pid, path, mark))
}

fn reads(pid: Pid, path: &Path, mark: Option<OFlag>) -> bool {
    let blocked =
        fs::read_to_string(format!("/proc/{pid}/syscall")).ok().and_then(|call| descriptor_read(&call));
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let here = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path));
    let mut numbers =
        here.filter_map(|entry| std::str::from_utf8(entry.file_name().as_bytes()).ok()?.parse().ok());
    numbers.any(|number: u32| match number {
        0 => true,
        number if blocked == Some(number) => true,
        1 | 2 => false,
        number => fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))
            .ok()
            .and_then(|info| open_flags(&info))
            .is_some_and(|flags| is_for_reading(flags, mark)),
    })
}

/// Parses the descriptor that a process waits to read from, from its line in `/proc/PID/syscall`
/// (`proc_pid_syscall(5)`).
fn descriptor_read(call: &str) -> Option<u32> {
    let mut words = call.split(' ');
    let number: libc::c_long = words.next()?.parse().ok()?;
    let first = words.next()?.strip_prefix("0x")?;
    (number == libc::SYS_read).then(|| u32::from_str_radix(first, 16).ok())?
}

/// Parses the flags of an open file from its `/proc/PID/fdinfo/FD` (`proc_pid_fdinfo(5)`).
fn open_flags(info: &str) -> Option<OFlag> {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).ok().map(OFlag::from_bits_retain)
}

/// Returns `true` if a process has opened the file itself, to wait for what comes.
fn is_for_reading(flags: OFlag, mark: Option<OFlag>) -> bool {
    let duplicate = mark.is_some_and(|mark| flags.contains(mark));
    !duplicate && flags & OFlag::O_ACCMODE != OFlag::O_WRONLY && !flags.contains(OFlag::O_NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_parses_system_calls_and_flags() {
        let read = libc::SYS_read;
        for (call, expected) in [
            (format!("{read} 0x2 0x7ffe 0x1 0x0 0x0 0x0 0x7ffe 0x7f\n"), Some(2)),
            (format!("{read} 0x1f 0x7ffe\n"), Some(31)),
            ("999 0x2 0x7ffe\n".to_owned(), None),
            ("running\n".to_owned(), None),
            ("-1 0x7ffe 0x7f\n".to_owned(), None),
        ] {
            assert_eq!(descriptor_read(&call), expected, "{call}");
        }
        let marked = OFlag::O_NOATIME.bits();
        for (flags, expected) in [
            (0o100_002, true),
            (0o100_000, true),
            (0o100_001, false),
            (0o104_002, false),
            (0o100_002 | marked, false),
        ] {
            let info = format!("pos:\t0\nflags:\t{flags:07o}\nmnt_id:\t25\n");
            let flags = open_flags(&info).unwrap();
            assert_eq!(is_for_reading(flags, Some(OFlag::O_NOATIME)), expected, "{info}");
        }
        assert!(is_for_reading(OFlag::from_bits_retain(0o2 | marked), None));
        assert_eq!(open_flags("pos:\t0\n"), None);
    }
}
