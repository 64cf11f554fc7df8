//! Buffer that a reply is read into. Its memory is wiped.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use keyrack_core::{Error, ErrorCode};
use keyrack_sys::socket::wait_readable;
use zeroize::Zeroize;

use super::error::TransportError;
use super::stream::Deadline;

#[cfg(test)]
mod tests;

/// Bytes that were read. All of them are wiped when the buffer grows and when it is dropped.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    /// End of the bytes that were read. No byte after it was ever written to.
    filled: usize,
    /// Start of the bytes that are not consumed yet.
    consumed: usize,
    limit: usize,
}

/// First capacity: one read call gets most replies.
const FIRST_CAPACITY: usize = 1024;

impl ReadBuffer {
    /// Creates an empty buffer that never holds more than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        ReadBuffer { bytes: Vec::new(), filled: 0, consumed: 0, limit }
    }

    /// Wipes and empties the buffer for the next reply. Keeps its allocation unless it is larger
    /// than most replies need.
    pub(crate) fn reset(mut self) -> Self {
        self.wipe();
        (self.filled, self.consumed) = (0, 0);
        if self.bytes.len() > FIRST_CAPACITY {
            self.bytes = Vec::new();
        }
        self
    }

    /// Bytes that were read and not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.consumed..self.filled]
    }

    /// Moves the first `count` bytes of [`ReadBuffer::unread`] into a buffer of their own.
    pub(crate) fn split_off(&mut self, count: usize) -> ReadBuffer {
        let taken = self.unread()[..count].to_vec();
        self.consumed += count;
        ReadBuffer { filled: taken.len(), limit: taken.len(), bytes: taken, consumed: 0 }
    }

    /// Returns `true` if nothing was ever read.
    pub(crate) fn is_untouched(&self) -> bool {
        self.filled == 0
    }

    /// Waits until the stream is readable, and reads once. Makes room for `want` unread bytes in
    /// all. Returns `false` at the end of the stream. With `blocking`, the stream itself waits, for
    /// about as long as the deadline.
    pub(crate) fn read(
        &mut self,
        mut stream: &UnixStream,
        want: usize,
        deadline: Deadline,
        mut blocking: bool,
    ) -> Result<bool, TransportError> {
        self.make_room(want)?;
        loop {
            if !std::mem::take(&mut blocking)
                && !wait_readable(stream.as_fd(), deadline.remaining()?).map_err(TransportError::Io)?
            {
                return Err(deadline.timed_out());
            }
            match stream.read(&mut self.bytes[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                    // The peer closed the connection before it read all of our bytes.
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
        let unread = self.filled - self.consumed;
        if self.consumed + want <= self.bytes.len() && self.filled < self.bytes.len() {
            return Ok(());
        }
        let want = want.max(unread + 1);
        if want > self.limit {
            let message = format!("the daemon's reply is longer than {} bytes", self.limit);
            return Err(Error::new(ErrorCode::TooLarge, message).into());
        }
        // A Vec that reallocates frees its old block unwiped.
        let size = want.max(FIRST_CAPACITY).max(unread * 2).min(self.limit);
        let mut grown = vec![0; size];
        grown[..unread].copy_from_slice(self.unread());
        self.wipe();
        self.bytes = grown;
        self.filled = unread;
        self.consumed = 0;
        Ok(())
    }
}

impl fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBuffer({} bytes)", self.filled)
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.wipe();
    }
}
