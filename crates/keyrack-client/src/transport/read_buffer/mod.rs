//! Reading and writing a non-blocking socket against a deadline. What is read lies in memory that is wiped.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use keyrack_core::{Error, ErrorCode, Fix, Owner};
use keyrack_sys::socket::{wait_readable, wait_writable};
use zeroize::Zeroize;

#[cfg(test)]
mod tests;

/// Why an exchange broke off.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// The connection ended before a byte of the reply had come: it may be tried again.
    Lost,
    /// The connection ended in the midst of a reply.
    Cut,
    /// The deadline passed.
    Late(Duration),
    /// The kernel said no.
    Io(io::Error),
    /// Nothing of the connection.
    Other(Error),
}

impl TransportError {
    /// What to tell whoever asked the daemon of an owner.
    pub(crate) fn error(self, owner: &Owner) -> Error {
        match self {
            TransportError::Lost => unresponsive("the daemon closed the connection without a reply", owner),
            TransportError::Cut => {
                unresponsive("the daemon closed the connection in the midst of a reply", owner)
            }
            TransportError::Late(deadline) => {
                let message = format!("the daemon did not answer within {} ms", deadline.as_millis());
                unresponsive(&message, owner)
            }
            TransportError::Io(error) => {
                Error::new(ErrorCode::Io, format!("the connection to the daemon broke: {error}"))
            }
            TransportError::Other(error) => error,
        }
    }
}

/// A daemon that is there and does not do its work, with the way to be rid of it.
pub(crate) fn unresponsive(message: &str, owner: &Owner) -> Error {
    Error::new(ErrorCode::DaemonUnresponsive, message)
        .hint("if it stays so, end it; its keys are to be unlocked again then")
        .fix(Fix::with_owner("daemon prune", owner, []))
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        TransportError::Other(error)
    }
}

/// A moment by which an exchange has to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
    pub(crate) fn after(whole: Duration) -> Self {
        // A deadline that no clock can hold is as good as a year.
        let now = Instant::now();
        let at = now.checked_add(whole).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600));
        Deadline { at, whole }
    }

    /// What is left, or that it is over.
    fn left(self) -> Result<Duration, TransportError> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(TransportError::Late(self.whole)) } else { Ok(left) }
    }
}

/// Writes all of it, and returns whether that was done at once. A peer that hangs up while we write may have said why: what it said is read
/// by the caller, so that is no error here.
pub(crate) fn write_all(
    mut stream: &UnixStream,
    mut bytes: &[u8],
    until: Deadline,
) -> Result<bool, TransportError> {
    let whole = bytes.len();
    let mut at_once = true;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Ok(false),
            Ok(written) => {
                at_once = written == whole;
                bytes = &bytes[written..];
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    wait_writable(stream.as_fd(), until.left()?).map_err(TransportError::Io)?;
                }
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Ok(false),
                _ => return Err(TransportError::Io(error)),
            },
        }
    }
    Ok(at_once)
}

/// What was read and not yet used. All that ever came is wiped when the inbox grows and when it is dropped.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    /// Nothing behind it has ever held a byte that came.
    filled: usize,
    used: usize,
    limit: usize,
}

/// Room for most replies: they come in one read then.
const FIRST: usize = 1024;

impl ReadBuffer {
    /// An empty one, which never holds more than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        ReadBuffer { bytes: Vec::new(), filled: 0, used: 0, limit }
    }

    /// Wiped and empty, to be used again. Keeps its room if that is no more than most replies need.
    pub(crate) fn again(mut self) -> Self {
        self.wipe();
        (self.filled, self.used) = (0, 0);
        if self.bytes.len() > FIRST {
            self.bytes = Vec::new();
        }
        self
    }

    /// What is there.
    pub(crate) fn unused(&self) -> &[u8] {
        &self.bytes[self.used..self.filled]
    }

    /// Takes the first `count` bytes of [`ReadBuffer::unused`] into an inbox of their own.
    pub(crate) fn split_off(&mut self, count: usize) -> ReadBuffer {
        let taken = self.unused()[..count].to_vec();
        self.used += count;
        ReadBuffer { filled: taken.len(), limit: taken.len(), bytes: taken, used: 0 }
    }

    /// Whether anything has ever come.
    pub(crate) fn is_untouched(&self) -> bool {
        self.filled == 0
    }

    /// Reads once, having waited for something to read. Makes room for `want` unused bytes in all. Returns whether something came: if
    /// not, the peer has ended its side. A stream that is `patient` waits by itself, for about as long as until the deadline.
    pub(crate) fn read(
        &mut self,
        mut stream: &UnixStream,
        want: usize,
        until: Deadline,
        mut patient: bool,
    ) -> Result<bool, TransportError> {
        self.make_room(want)?;
        loop {
            if !std::mem::take(&mut patient)
                && !wait_readable(stream.as_fd(), until.left()?).map_err(TransportError::Io)?
            {
                return Err(TransportError::Late(until.whole));
            }
            match stream.read(&mut self.bytes[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                    // It ended with bytes of ours unread.
                    io::ErrorKind::ConnectionReset => return Ok(false),
                    _ => return Err(TransportError::Io(error)),
                },
            }
        }
    }

    fn wipe(&mut self) {
        self.bytes[..self.filled].zeroize();
    }

    fn make_room(&mut self, want: usize) -> Result<(), TransportError> {
        let unused = self.filled - self.used;
        if self.used + want <= self.bytes.len() && self.filled < self.bytes.len() {
            return Ok(());
        }
        let want = want.max(unused + 1);
        if want > self.limit {
            let message = format!("the daemon's reply is longer than {} bytes", self.limit);
            return Err(Error::new(ErrorCode::TooLarge, message).into());
        }
        // A Vec that grows by itself frees its old block unwiped.
        let size = want.max(FIRST).max(unused * 2).min(self.limit);
        let mut grown = vec![0; size];
        grown[..unused].copy_from_slice(self.unused());
        self.wipe();
        self.bytes = grown;
        self.filled = unused;
        self.used = 0;
        Ok(())
    }
}

impl std::fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbox({} bytes)", self.filled)
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.wipe();
    }
}
