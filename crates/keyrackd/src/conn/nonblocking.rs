//! Non-blocking reads and writes of a stream.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use keyrack_sys::memory::Buffer;
use keyrack_sys::socket::Sender;

/// Reads what has arrived. `None`: nothing yet. `Some(0)`: end of stream.
pub(super) fn read(mut stream: &UnixStream, into: &mut [u8]) -> Option<usize> {
    retry(|| stream.read(into))
}

/// Reads what has arrived, at most `max` bytes, and who sent it. Returns as [`read`].
pub(super) fn receive(stream: &UnixStream, into: &mut Buffer, max: usize) -> Option<(usize, Option<Sender>)> {
    retry(|| into.receive(stream.as_fd(), max))
}

fn retry<T: Default>(mut read: impl FnMut() -> io::Result<T>) -> Option<T> {
    loop {
        match read() {
            Ok(result) => return Some(result),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return None,
                // The peer is gone, and left something unread.
                _ => return Some(T::default()),
            },
        }
    }
}

/// Returns `true` if the result of a read into `room` bytes means that nothing is left to read. A
/// read also ends at bytes of another sender; the check that the opener is alive finds those.
pub(super) fn is_drained(result: Option<usize>, room: usize) -> bool {
    result.is_none_or(|n| 0 < n && n < room)
}

/// Writes the bytes after the first `sent`, and advances `sent`. `None`: the rest has to wait.
/// Otherwise returns `true` if all bytes are written, `false` if the peer is gone.
pub(super) fn write(mut stream: &UnixStream, bytes: &[u8], sent: &mut usize) -> Option<bool> {
    while *sent < bytes.len() {
        match stream.write(&bytes[*sent..]) {
            Ok(0) => return Some(false),
            Ok(n) => *sent += n,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return None,
                _ => return Some(false),
            },
        }
    }
    Some(true)
}
