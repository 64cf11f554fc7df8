//! Writing to a socket within a deadline.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use keyrack_sys::socket::wait_writable;

use super::error::TransportError;

/// Time by which a round trip must be complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
    pub(crate) fn after(whole: Duration) -> Self {
        // The clock cannot represent every duration; a year stands for the rest.
        let now = Instant::now();
        let at = now.checked_add(whole).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600));
        Deadline { at, whole }
    }

    /// Returns the remaining time, or [`TransportError::TimedOut`].
    pub(crate) fn remaining(self) -> Result<Duration, TransportError> {
        let remaining = self.at.saturating_duration_since(Instant::now());
        if remaining.is_zero() { Err(self.timed_out()) } else { Ok(remaining) }
    }

    pub(crate) fn timed_out(self) -> TransportError {
        TransportError::TimedOut(self.whole)
    }
}

/// Writes all bytes. Returns `true` if one system call wrote them.
///
/// A peer that closes the connection while we write may have sent the reason. The caller reads it,
/// so that is not an error here.
pub(crate) fn write_all(
    mut stream: &UnixStream,
    mut bytes: &[u8],
    deadline: Deadline,
) -> Result<bool, TransportError> {
    let whole = bytes.len();
    let mut in_one_call = true;
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Ok(false),
            Ok(written) => {
                in_one_call = written == whole;
                bytes = &bytes[written..];
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    wait_writable(stream.as_fd(), deadline.remaining()?).map_err(TransportError::Io)?;
                }
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Ok(false),
                _ => return Err(TransportError::Io(error)),
            },
        }
    }
    Ok(in_one_call)
}
