//! Process that reads and discards output, so that its writer can continue.
//!
//! A process that a masked command leaves in the background writes into our pipe or
//! pseudo-terminal. If we closed our end, its next write would kill it. The reader is a separate
//! program: it has none of our memory, so none of the keys, and discards what it reads.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

use crate::hardening;
use crate::process::spawn::{spawn_detached_with_fds, take_passed_fds, take_ready_pipe};

/// The most that is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// Starts `program` as the reader of `sources`. It must call [`run`] when `argument` is its only
/// argument. It has its own session, an empty environment and none of our other descriptors.
/// Returns when it reads.
///
/// # Errors
/// Those of [`spawn_detached_with_fds`].
pub fn start(program: &Path, argument: &OsStr, sources: &[BorrowedFd<'_>]) -> io::Result<()> {
    spawn_detached_with_fds(program, &[argument], &[], sources).map(drop)
}

/// Reads and discards what comes from the descriptors this process was handed, until the last
/// writer of each is gone. Returns `false` at once if it was handed none.
#[must_use]
pub fn run() -> bool {
    let Some(ready) = take_ready_pipe() else { return false };
    // What it reads may hold a key until it is overwritten.
    let _ = hardening::not_dumpable();
    drop(ready);
    let sources = take_passed_fds();
    let is_handed_any = !sources.is_empty();
    discard(sources);
    is_handed_any
}

fn discard(sources: Vec<OwnedFd>) {
    let mut sources: Vec<File> = sources.into_iter().map(File::from).collect();
    let mut chunk = Zeroizing::new(vec![0; CHUNK]);
    while !sources.is_empty() {
        let mut waiting: Vec<PollFd<'_>> =
            sources.iter().map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN)).collect();
        let ready: Vec<bool> = match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) => waiting.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect(),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return,
        };
        let mut ready = ready.into_iter();
        sources.retain_mut(|source| {
            // A terminal has no end of file but EIO.
            let read = |source: &mut File, chunk: &mut [u8]| match source.read(chunk) {
                Ok(count) => count > 0,
                Err(error) => matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
            };
            !ready.next().unwrap_or(false) || read(source, &mut chunk)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn discard_ends_with_the_last_writer() {
        let (first, mut one) = io::pipe().unwrap();
        let (second, mut other) = io::pipe().unwrap();
        let reader = std::thread::spawn(move || discard(vec![first.into(), second.into()]));
        one.write_all(&[1; 200_000]).unwrap();
        drop(one);
        other.write_all(&[2; 200_000]).unwrap();
        assert!(!reader.is_finished());
        drop(other);
        reader.join().unwrap();
    }
}
