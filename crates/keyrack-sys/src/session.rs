//! Scan of `/proc` for the processes of one login session. It holds one of them, so that its end
//! can be waited for.
//!
//! A scan that could not check every process is an error, never an empty session. A pidfd is opened
//! before the deciding facts of a process are read, and its liveness is checked last: so a pid that
//! was recycled meanwhile cannot deceive.
#![expect(unsafe_code, reason = "getdents64 has no safe wrapper that neither allocates nor seeks")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::process::pid::{self, Pid};
use crate::process::pidfd::Pidfd;
use crate::process::procfs;

/// Bytes of one read of the directory: about forty processes. Few, so that a process is checked
/// soon after it was listed.
const LISTING: usize = 1024;

/// Selects the processes that a scan looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanFilter {
    /// Audit session that they are in, by `/proc/<pid>/sessionid`. Not the number that means none.
    pub session: u32,
    /// Name (`/proc/<pid>/comm`) of processes that do not count. The calling process never counts.
    pub exclude_comm: &'static str,
}

/// Limit of the rounds of a scan, which repeats for processes that were started during it.
const ROUNDS: u32 = 8;

/// A scan of the processes of all users, a few at a time. A process can start another one that the
/// scan has already passed, and end before the scan reaches it. So the scan runs another round over
/// the new processes as long as some have ended meanwhile, up to a limit.
#[derive(Debug)]
pub struct SessionScan {
    dir: OwnedFd,
    wanted: ScanFilter,
    own: Pid,
    round: u32,
    /// Processes of this round that need not be checked again, in the order of their pids, and
    /// those of the round before.
    known: Vec<Pid>,
    before: Vec<Pid>,
    /// `ended` is set if any process ended in this round; `vanished` if one that matches ended.
    ended: bool,
    vanished: bool,
}

/// Result of a step of a [`SessionScan`].
#[derive(Debug)]
pub enum ScanStep {
    /// There are more processes to check.
    More,
    /// The first living process that matches. The scan ends.
    Found(SessionProcess),
    /// Every process was checked.
    Done {
        /// `true` if a matching process ended in the last round, so that one that it started may
        /// have been missed.
        vanished: bool,
    },
}

/// A process that matched and was alive when it was found.
#[derive(Debug)]
pub struct SessionProcess {
    pidfd: Pidfd,
    pid: Pid,
    wanted: ScanFilter,
}

/// Checks that this process can scan, and hold what it finds.
///
/// # Errors
/// If `pidfd_open(2)` (Linux 5.3) or a `/proc` of this process's own pid namespace is missing.
pub fn check_scan_support() -> io::Result<()> {
    if !procfs::numbers_are_ours() {
        return Err(io::Error::other("/proc is not that of this process's pid namespace"));
    }
    Pidfd::open(pid::current()).map(drop)
}

impl SessionScan {
    /// Starts a scan. It holds one descriptor throughout, and opens two more for short moments.
    ///
    /// # Errors
    /// If `/proc` cannot be listed.
    pub fn start(wanted: ScanFilter) -> io::Result<Self> {
        Ok(Self {
            dir: open_listing()?,
            wanted,
            own: pid::current(),
            round: 1,
            known: Vec::new(),
            before: Vec::new(),
            ended: false,
            vanished: false,
        })
    }

    /// Checks the next few processes.
    ///
    /// # Errors
    /// Any error of checking a process, except that it has ended. The scan is useless then.
    pub fn step(&mut self) -> io::Result<ScanStep> {
        let mut listing = [0; LISTING];
        let filled = list(self.dir.as_fd(), &mut listing)?;
        if filled == 0 {
            return self.end_round();
        }
        for name in Names(&listing[..filled]) {
            let Some(pid) = number(name?) else { continue };
            if pid == self.own {
                continue;
            }
            if self.before.binary_search(&pid).is_err() {
                match look(pid, self.wanted)? {
                    Look::Found(pidfd) => {
                        return Ok(ScanStep::Found(SessionProcess { pidfd, pid, wanted: self.wanted }));
                    }
                    Look::Other => {}
                    Look::Zombie => (self.ended, self.vanished) = (true, true),
                    Look::Vanished { wanted } => {
                        self.ended = true;
                        self.vanished |= wanted;
                        continue;
                    }
                }
            }
            self.known.push(pid);
        }
        Ok(ScanStep::More)
    }

    fn end_round(&mut self) -> io::Result<ScanStep> {
        if !self.ended || self.round == ROUNDS {
            return Ok(ScanStep::Done { vanished: self.vanished });
        }
        // The kernel lists them in this order. The binary search relies on it, so sort anyway.
        self.known.sort_unstable();
        self.before = std::mem::take(&mut self.known);
        self.dir = open_listing()?;
        self.round += 1;
        (self.ended, self.vanished) = (false, false);
        Ok(ScanStep::More)
    }
}

impl SessionProcess {
    /// Returns its pid, for logs.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns `true` if it has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pidfd.is_alive()
    }

    /// Returns `true` if it is alive and still matches: a process may enter a new session, and
    /// execute another program. Facts that cannot be read count as unchanged.
    #[must_use]
    pub fn is_still_wanted(&self) -> bool {
        !matches!(is_wanted(self.pid, self.wanted), Ok(false)) && self.is_alive()
    }
}

impl AsFd for SessionProcess {
    /// Returns the pidfd, which is readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

enum Look {
    /// It does not match.
    Other,
    /// It matches, and is alive.
    Found(Pidfd),
    /// It matches, but is a zombie or has just ended.
    Zombie,
    /// It has ended. `wanted` is set if it matched before.
    Vanished { wanted: bool },
}

/// Checks the process with this pid.
fn look(pid: Pid, wanted: ScanFilter) -> Result<Look, Errno> {
    match is_wanted(pid, wanted) {
        Ok(true) => {}
        Ok(false) => return Ok(Look::Other),
        Err(errno) if has_ended(errno) => return Ok(Look::Vanished { wanted: false }),
        Err(errno) => return Err(errno),
    }
    let pidfd = match Pidfd::open(pid) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            return match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
                // A thread may have the pid by now.
                errno if has_ended(errno) || errno == Errno::EINVAL => Ok(Look::Vanished { wanted: true }),
                errno => Err(errno),
            };
        }
    };
    // Read again, now that a pidfd holds the process: true of this very process if it is alive
    // afterwards.
    match is_wanted(pid, wanted) {
        Ok(true) if pidfd.is_alive() => Ok(Look::Found(pidfd)),
        Ok(true) => Ok(Look::Zombie),
        // Another process has the pid by now, or the process has changed.
        Ok(false) => Ok(Look::Vanished { wanted: true }),
        Err(errno) if has_ended(errno) => Ok(Look::Vanished { wanted: true }),
        Err(errno) => Err(errno),
    }
}

/// Returns `true` if the process is in the session and does not have the excluded name.
fn is_wanted(pid: Pid, wanted: ScanFilter) -> Result<bool, Errno> {
    let mut buffer = [0; 64];
    let session = procfs::read_small(format_args!("{pid}/sessionid"), &mut buffer)?;
    if std::str::from_utf8(session).ok().and_then(|text| text.trim_end().parse().ok()) != Some(wanted.session)
    {
        return Ok(false);
    }
    let name = procfs::read_small(format_args!("{pid}/comm"), &mut buffer)?;
    Ok(name.strip_suffix(b"\n").unwrap_or(name) != wanted.exclude_comm.as_bytes())
}

/// Returns `true` for the errors of `/proc` for a process that has ended.
fn has_ended(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ESRCH)
}

/// Opens `/proc` to be listed from its beginning.
fn open_listing() -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(procfs::root()?, c".", flags, Mode::empty())
}

/// Reads the next entries of a directory. Returns 0 at its end.
fn list(dir: BorrowedFd<'_>, listing: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the length given into the buffer, which is ours alone for
    // the call.
    let filled =
        unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), listing.as_mut_ptr(), listing.len()) };
    let filled = usize::try_from(Errno::result(filled)?).map_err(|_| Errno::EOVERFLOW)?;
    (filled <= listing.len()).then_some(filled).ok_or(Errno::EOVERFLOW)
}

/// Iterator over the names that `getdents64(2)` wrote. An entry has its inode and offset (eight
/// bytes each), its length (two), its type (one), then the name and a NUL.
struct Names<'a>(&'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = io::Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        const LENGTH: usize = 16;
        const NAME: usize = 19;
        if self.0.is_empty() {
            return None;
        }
        let entry = self.0.get(LENGTH..LENGTH + 2).and_then(|length| {
            let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
            self.0.split_at_checked(length)
        });
        let name = entry.and_then(|(entry, rest)| {
            let name = entry.get(NAME..)?;
            let end = name.iter().position(|&b| b == 0)?;
            Some((&name[..end], rest))
        });
        Some(match name {
            Some((name, rest)) => {
                self.0 = rest;
                Ok(name)
            }
            None => {
                self.0 = &[];
                Err(io::Error::other("a listing of /proc is malformed"))
            }
        })
    }
}

/// The number a process's directory is named by. Others have other names.
fn number(name: &[u8]) -> Option<Pid> {
    if !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use keyrack_core::peer::AuditSession;

    use super::*;

    fn entry(name: &[u8], padding: usize) -> Vec<u8> {
        let mut entry = vec![1; 19];
        entry.extend(name);
        entry.resize(entry.len() + 1 + padding, 0);
        let length = u16::try_from(entry.len()).unwrap();
        entry[16..18].copy_from_slice(&length.to_ne_bytes());
        entry
    }

    #[test]
    fn names_iterates_over_a_listing() {
        let listing = [entry(b"1", 3), entry(b"self", 0), entry(b"32768", 7)].concat();
        let names: Vec<_> = Names(&listing).map(Result::unwrap).collect();
        assert_eq!(names, [&b"1"[..], b"self", b"32768"]);
        assert!(Names(&[]).next().is_none());
        // Cut anywhere: names, then one error, then nothing.
        for cut in 1..listing.len() {
            let read: Vec<_> = Names(&listing[..cut]).collect();
            let whole = cut == entry(b"1", 3).len() || cut == listing.len() - entry(b"32768", 7).len();
            assert_eq!(read.iter().filter(|name| name.is_err()).count(), usize::from(!whole), "{cut}");
            assert!(read[..read.len() - 1].iter().all(Result::is_ok), "{cut}");
        }
        // An entry that would never end.
        for length in [0_u16, 1, 18, 19, 20] {
            let mut bad = entry(b"1", 3);
            bad[16..18].copy_from_slice(&length.to_ne_bytes());
            assert!(Names(&bad).next().unwrap().is_err(), "{length}");
        }
    }

    #[test]
    fn number_accepts_only_pids() {
        for (name, expected) in [
            (&b"1"[..], Some(1)),
            (b"4194304", Some(4_194_304)),
            (b"self", None),
            (b"1x", None),
            (b"-1", None),
            (b"+1", None),
            (b"", None),
            (b".", None),
            (b"99999999999999999999", None),
        ] {
            assert_eq!(number(name), expected.map(Pid::from_raw), "{name:?}");
        }
    }

    #[test]
    fn scan_finds_another_process_of_this_session() {
        let session = match crate::peer::own_session().unwrap() {
            AuditSession::Set(id) => id,
            AuditSession::Unset => u32::MAX,
        };
        let _child = keyrack_testkit::Reaped::spawn(std::process::Command::new("sleep").arg("60"));
        let mut walk = SessionScan::start(ScanFilter { session, exclude_comm: "keyrackd" }).unwrap();
        let member = loop {
            match walk.step().unwrap() {
                ScanStep::More => {}
                ScanStep::Found(member) => break member,
                ScanStep::Done { .. } => panic!("at least the child is one"),
            }
        };
        assert!(member.is_still_wanted());
        assert_ne!(member.pid(), pid::current());
    }
}
