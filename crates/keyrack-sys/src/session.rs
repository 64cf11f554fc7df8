//! The processes of one login session, found by a walk through `/proc`, and one of them held so that its end can be waited for.
//!
//! A walk that could not look at everything is an error, never an empty session. A process is held by a pidfd that was opened
//! before what decides about it is read, and is asked last whether it lives: so a number given to another process meanwhile
//! cannot deceive.
#![expect(unsafe_code, reason = "getdents64 has no safe wrapper that neither allocates nor seeks")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::process::pid::{self, Pid};
use crate::process::pidfd::Pidfd;
use crate::process::procfs;

/// Bytes of one reading of the directory: about forty processes. Few, so that one is looked at soon after it was listed.
const LISTING: usize = 1024;

/// Which processes are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanFilter {
    /// The audit session they are in, as `/proc/<pid>/sessionid` has it. Not the one that means none.
    pub session: u32,
    /// The name (`/proc/<pid>/comm`) that does not count. The calling process never counts.
    pub exclude_comm: &'static str,
}

/// How often a walk goes back for processes begun while it went on.
const ROUNDS: u32 = 8;

/// A walk through the processes of all users, a few at a time. A process can start another, behind where the walk has got to, and
/// end before it is looked at. So as long as some have ended meanwhile, the walk goes round again and looks at the new ones, but not
/// without end.
#[derive(Debug)]
pub struct SessionScan {
    dir: OwnedFd,
    wanted: ScanFilter,
    own: Pid,
    round: u32,
    /// The processes of this round that need no other look, in the order of their numbers, and those of the round before.
    known: Vec<Pid>,
    before: Vec<Pid>,
    /// Of those looked at in this round: whether any has ended, and whether one that is wanted has.
    ended: bool,
    vanished: bool,
}

/// What a few steps of a [`SessionScan`] came to.
#[derive(Debug)]
pub enum ScanStep {
    /// There are more to be looked at.
    More,
    /// A living process that is wanted: the first there is, and the end of the walk.
    Found(SessionProcess),
    /// Every process was looked at.
    Done {
        /// Whether one that was wanted ended in the last round, so that another that it started may have been missed.
        vanished: bool,
    },
}

/// A process that was wanted and alive when it was found.
#[derive(Debug)]
pub struct SessionProcess {
    pidfd: Pidfd,
    pid: Pid,
    wanted: ScanFilter,
}

/// Whether this process can walk and hold what it finds.
///
/// # Errors
/// What is missing: `pidfd_open(2)` (Linux 5.3), or a `/proc` of this process's own pid namespace.
pub fn check_scan_support() -> io::Result<()> {
    if !procfs::numbers_are_ours() {
        return Err(io::Error::other("/proc is not that of this process's pid namespace"));
    }
    Pidfd::open(pid::current()).map(drop)
}

impl SessionScan {
    /// Begins a walk. Holds one descriptor for as long as it lasts, and takes two more for moments.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
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

    /// Looks at the next few processes.
    ///
    /// # Errors
    /// Any that keeps a process from being looked at, but that it has ended. The walk is of no use then.
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
        // The kernel lists them in this order. Searching relies on it, so it is not taken for granted.
        self.known.sort_unstable();
        self.before = std::mem::take(&mut self.known);
        self.dir = open_listing()?;
        self.round += 1;
        (self.ended, self.vanished) = (false, false);
        Ok(ScanStep::More)
    }
}

impl SessionProcess {
    /// Its number, for logs.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pidfd.is_alive()
    }

    /// Whether it lives and is still what was wanted: a process may enter a new session, and execute another program. What cannot
    /// be read has not changed.
    #[must_use]
    pub fn is_still_wanted(&self) -> bool {
        !matches!(is_wanted(self.pid, self.wanted), Ok(false)) && self.is_alive()
    }
}

impl AsFd for SessionProcess {
    /// Readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

enum Look {
    /// Not wanted.
    Other,
    /// Wanted, and alive.
    Found(Pidfd),
    /// Wanted, but a zombie, or one that has ended just now.
    Zombie,
    /// Not there any more; whether it was wanted as long as it was.
    Vanished { wanted: bool },
}

/// Looks at the process of this number.
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
                // Its number may be that of a thread by now.
                errno if has_ended(errno) || errno == Errno::EINVAL => Ok(Look::Vanished { wanted: true }),
                errno => Err(errno),
            };
        }
    };
    // Once more, now that the number is held: true of this very process if that is alive behind it.
    match is_wanted(pid, wanted) {
        Ok(true) if pidfd.is_alive() => Ok(Look::Found(pidfd)),
        Ok(true) => Ok(Look::Zombie),
        // The number is another's by now, or it has become another by itself.
        Ok(false) => Ok(Look::Vanished { wanted: true }),
        Err(errno) if has_ended(errno) => Ok(Look::Vanished { wanted: true }),
        Err(errno) => Err(errno),
    }
}

/// Whether the process of this number is in the session and has another name than the one that does not count.
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

/// What `/proc` says of a process that is not there any more.
fn has_ended(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ESRCH)
}

/// Opens `/proc` to be listed from its beginning.
fn open_listing() -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(procfs::root()?, c".", flags, Mode::empty())
}

/// Reads the next entries of a directory. None at its end.
fn list(dir: BorrowedFd<'_>, listing: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most the length given into the buffer, which is ours alone for the call.
    let filled =
        unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), listing.as_mut_ptr(), listing.len()) };
    let filled = usize::try_from(Errno::result(filled)?).map_err(|_| Errno::EOVERFLOW)?;
    (filled <= listing.len()).then_some(filled).ok_or(Errno::EOVERFLOW)
}

/// The names in what `getdents64(2)` wrote: inode and offset of eight bytes each, the entry's length of two, its type of one, then
/// the name and a NUL.
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
    fn names_are_read_from_a_listing() {
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
    fn processes_are_named_by_numbers() {
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
    fn a_walk_finds_a_process_of_this_session_that_is_not_this_one() {
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
