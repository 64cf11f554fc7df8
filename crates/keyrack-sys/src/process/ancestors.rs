//! Ancestors of this process, and the one that reads its output. Processes can forge these facts,
//! so they serve for hints and defaults, never for authorization.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{Pid, getppid};

use crate::process::procfs;

/// Most ancestors that are read.
const LONGEST: usize = 32;

/// Most descriptors of a process that are read.
const MOST_DESCRIPTORS: usize = 4096;

/// One of the processes that started this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Name in the kernel: the beginning of its program's name, or of its script's.
    pub comm: String,
    /// The file name of its program; `None` where that is hidden.
    pub program: Option<String>,
    /// It holds the read end of the pipe that our stdout is.
    pub reads_stdout: bool,
}

/// Returns the parent, its parent and so on. Empty where `/proc` cannot be read or is not of this
/// pid namespace.
pub fn ancestors() -> Vec<Ancestor> {
    if !procfs::numbers_are_ours() {
        return Vec::new();
    }
    let pipe = stdout_pipe();
    let mut found = Vec::new();
    let mut pid = getppid();
    while found.len() < LONGEST && pid.as_raw() > 0 {
        let Some(stat) = stat(pid) else { break };
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let program = program.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        found.push(Ancestor {
            comm: stat.comm,
            program: program.map(|name| name.trim_end_matches(" (deleted)").to_owned()),
            reads_stdout: pipe.as_deref().is_some_and(|pipe| holds_read_end(pid, pipe)),
        });
        pid = stat.parent;
    }
    found
}

/// Returns `true` if stdout is a socket, as some programs give to what they start: no shell does.
pub fn stdout_is_socket() -> bool {
    fstat(io::stdout()).is_ok_and(|stdout| kind(&stdout) == SFlag::S_IFSOCK)
}

/// The name that `/proc/PID/fd` has for the pipe that stdout is. A named one has its path there.
fn stdout_pipe() -> Option<String> {
    let stdout = fstat(io::stdout()).ok()?;
    (kind(&stdout) == SFlag::S_IFIFO).then(|| format!("pipe:[{}]", stdout.st_ino))
}

fn kind(file: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT
}

fn holds_read_end(pid: Pid, pipe: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.take(MOST_DESCRIPTORS).flatten().any(|entry| {
        // The mode of the link shows how the file was opened (proc_pid_fd(5)).
        fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == pipe)
            && fs::symlink_metadata(entry.path()).is_ok_and(|link| link.mode() & 0o400 != 0)
    })
}

struct Stat {
    comm: String,
    parent: Pid,
}

/// Fields of `/proc/PID/stat` (proc_pid_stat(5)).
fn stat(pid: Pid) -> Option<Stat> {
    let mut buffer = [0; 1024];
    parse(procfs::read_small(format_args!("{pid}/stat"), &mut buffer).ok()?)
}

fn parse(text: &[u8]) -> Option<Stat> {
    // The name is in parentheses, and may contain parentheses.
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let comm = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
    let mut fields = std::str::from_utf8(text.get(close + 1..)?).ok()?.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok().map(Pid::from_raw)?;
    Some(Stat { comm, parent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_any_process_name() {
        for (text, expected) in [
            ("7 (bash) S 5 7 3 34816 7 4194304", Some(("bash", 5))),
            ("7 (a) b (c)) R 5 7 3 0", Some(("a) b (c)", 5))),
            ("7 () S 0 0 0", Some(("", 0))),
            ("7 (bash) S", None),
            ("7 bash S 5 7 3", None),
            ("", None),
        ] {
            let read = parse(text.as_bytes());
            let read = read.as_ref().map(|stat| (stat.comm.as_str(), stat.parent.as_raw()));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn holds_read_end_ignores_the_write_end() {
        let own = nix::unistd::getpid();
        let (reader, writer) = std::io::pipe().unwrap();
        let name = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer)));
        let name = name.unwrap().to_str().unwrap().to_owned();
        assert!(holds_read_end(own, &name));
        drop(reader);
        assert!(!holds_read_end(own, &name));
        drop(writer);
    }

    #[test]
    fn ancestors_begin_with_the_parent() {
        let found = ancestors();
        let parent = fs::read_to_string(format!("/proc/{}/comm", getppid())).unwrap();
        if let Some(first) = found.first() {
            assert_eq!(first.comm, parent.trim_end());
        }
    }
}
