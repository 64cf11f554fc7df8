//! One daemon per socket. A daemon that holds the lock file may bind the socket, and keeps the lock
//! until it exits. Only the holder unlinks an old socket, and only one of the same user that no
//! process listens on.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use keyrack_core::{Error, ErrorCode};
use keyrack_sys::fs::file::{FileId, unlink_if_same};
use keyrack_sys::socket;

use crate::peer_auth::{LocalIdentity, PeerAuthError};
use crate::runtime_files::open_lock;
use keyrack_core::layout::lock_path;

/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(20);

/// Time that a daemon has to answer before it is probed again.
const ANSWER: Duration = Duration::from_millis(500);

/// Request without effect, which every daemon of either protocol answers.
const PROBE: &[u8] = br#"{"command":"GET","payload":{"slugs":[]}}"#;

/// Result of claiming a socket.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The caller may bind it. The lock lasts as long as this file is open.
    Ours(File),
    /// Another daemon of this user and session serves it and answers.
    AlreadyServed,
}

/// Claims the socket, and retries until `patience` is over.
///
/// # Errors
/// The obstacle, by name.
pub(crate) fn claim(path: &Path, own: &LocalIdentity, patience: Duration) -> Result<Claim, Error> {
    let lock = lock_path(path);
    let end = Instant::now() + patience;
    loop {
        let file = open_lock(&lock).map_err(|error| cannot("open the lock", &lock, &error))?;
        let held = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &lock, &error)),
        };
        let found = probe(path, own)?;
        match (held, found) {
            (_, Found::Answering) => return Ok(Claim::AlreadyServed),
            (true, Found::Nothing) if still_named(&lock, &file) => return Ok(Claim::Ours(file)),
            (true, Found::Dead(id)) if still_named(&lock, &file) => {
                unlink_if_same(path, id).map_err(|error| cannot("remove the dead socket", path, &error))?;
                tracing::info!(path = %path.display(), "a dead socket was removed");
                return Ok(Claim::Ours(file));
            }
            _ => {}
        }
        if Instant::now() >= end {
            return Err(match (held, found) {
                (true, _) => Error::new(
                    ErrorCode::DaemonUnresponsive,
                    format!("another daemon holds {} and does not answer", path.display()),
                ),
                (false, _) => Error::new(
                    ErrorCode::DaemonUnresponsive,
                    format!("another keyrackd holds {} and does not answer", lock.display()),
                ),
            });
        }
        drop(file);
        sleep(RETRY);
    }
}

/// Returns `true` if the path still leads to this file. No daemon unlinks a lock file, but a user
/// may clean the directory up.
fn still_named(path: &Path, file: &File) -> bool {
    let open = file.metadata().map(|found| FileId { dev: found.dev(), ino: found.ino() });
    matches!((open, FileId::of(path)), (Ok(open), Ok(named)) if open == named)
}

/// State of the socket's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A socket of this user that no process listens on.
    Dead(FileId),
    /// An authorized daemon that answers.
    Answering,
    /// A process listens, and did not answer in time.
    Silent,
}

fn probe(path: &Path, own: &LocalIdentity) -> Result<Found, Error> {
    let taken = |what: &str| {
        Error::new(
            ErrorCode::SocketPathTaken,
            format!("{} is {what}, and stands where the socket has to be", path.display()),
        )
        .hint("move it away")
    };
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(cannot("look at", path, &error)),
        Ok(file) => file,
    };
    match file.file_type() {
        kind if kind.is_socket() => {}
        kind if kind.is_symlink() => return Err(taken("a symbolic link")),
        kind if kind.is_dir() => return Err(taken("a directory")),
        _ => return Err(taken("not a socket")),
    }
    let stream = match socket::connect(path, ANSWER) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused
                    if file.uid() == keyrack_sys::user::effective_uid().as_raw() =>
                {
                    Ok(Found::Dead(FileId { dev: file.dev(), ino: file.ino() }))
                }
                io::ErrorKind::ConnectionRefused => Err(taken("another user's socket")),
                io::ErrorKind::NotFound => Ok(Found::Nothing),
                // The backlog is full, so a process listens.
                io::ErrorKind::TimedOut => Ok(Found::Silent),
                _ => Err(cannot("connect to", path, &error)),
            };
        }
    };
    match own.authenticate_server(stream.as_fd()) {
        Ok(_) => Ok(if answers(&stream) { Found::Answering } else { Found::Silent }),
        Err(PeerAuthError::Rejected(rejection)) => Err(rejection.into_server_error()),
        Err(PeerAuthError::OutOfDescriptors) => Ok(Found::Silent),
    }
}

fn answers(mut stream: &std::os::unix::net::UnixStream) -> bool {
    let mut first = [0];
    // The probe fits every socket's buffer.
    stream.write_all(PROBE).is_ok()
        && socket::wait_readable(stream.as_fd(), ANSWER).unwrap_or(false)
        && matches!(stream.read(&mut first), Ok(1))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
