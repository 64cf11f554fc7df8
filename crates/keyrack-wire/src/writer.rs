//! Shared parts of the encoders: errors, limits, numbers, and access to a secret while it is
//! copied.

use keyrack_json::{CapacityError, Writer};
use zeroize::Zeroizing;

/// Access to a secret for the length of a closure, so that it is copied once, from its own memory
/// to the writer.
pub trait SecretBytes {
    /// Calls `read` with the secret; `None` if it is erased.
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R>;

    /// Returns the length of the secret in bytes; `None` if it is erased.
    fn length(&self) -> Option<usize> {
        self.with(<[u8]>::len)
    }
}

impl SecretBytes for [u8] {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Some(read(self))
    }
}

impl SecretBytes for Zeroizing<Vec<u8>> {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Some(read(self))
    }
}

impl<T: SecretBytes + ?Sized> SecretBytes for &T {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        (**self).with(read)
    }

    fn length(&self) -> Option<usize> {
        (**self).length()
    }
}

/// Reason that a message could not be encoded. The fragment in the writer must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The writer is full.
    #[error("the message buffer is full")]
    Full,
    /// The message is longer than the protocol allows.
    #[error("the message is longer than {limit} bytes; request fewer keys at a time")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A secret was erased, or its length changed, while its message was encoded.
    #[error("a key was erased while its reply was encoded")]
    Gone,
    /// The ranges of the header do not match the secrets.
    #[error("the ranges of the header do not match its secrets")]
    Ranges,
    /// The list is empty, which the peer would read as "all keys".
    #[error("an empty list would be read as all keys")]
    Empty,
}

impl From<CapacityError> for EncodeError {
    fn from(_: CapacityError) -> Self {
        Self::Full
    }
}

/// Copies `from` to `to`, which have the same length.
///
/// A header consists of dozens of names and separators, and a call of `memcpy` costs more than most
/// of them: here each is one or two moves, which may overlap. The compiler would turn a loop into
/// that call. Benchmark row "GET, native, persistent, Rust client".
///
/// # Panics
/// If the lengths differ.
pub fn copy_short(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0 => {}
        // The first, the middle and the last byte are all of them.
        len @ 1..=3 => [0, len / 2, len - 1].into_iter().for_each(|at| to[at] = from[at]),
        4..=7 => copy_ends::<4>(to, from),
        8..=15 => copy_ends::<8>(to, from),
        16..=31 => copy_ends::<16>(to, from),
        32..=64 => copy_ends::<32>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first `N` and the last `N` bytes of `N` to `2 * N` bytes. It never moves an array by
/// value, which would leave bytes of a secret on the stack.
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        to.copy_from_slice(from);
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        to.copy_from_slice(from);
    }
}

/// Writes a number in decimal.
pub(crate) fn put_number(writer: &mut impl Writer, number: u64) -> Result<(), CapacityError> {
    const DIGITS: &[u8; 10] = b"0123456789";
    // 2^64 has 20 digits.
    let mut text = [b'0'; 20];
    let mut start = text.len() - 1;
    let mut left = number;
    loop {
        text[start] = DIGITS[usize::try_from(left % 10).unwrap_or(0)];
        left /= 10;
        if left == 0 {
            return writer.put(&text[start..]);
        }
        start -= 1;
    }
}

/// A [`Writer`] that enforces the limit of the protocol over another writer.
pub(crate) struct LimitedWriter<S> {
    pub(crate) writer: S,
    pub(crate) remaining: usize,
    pub(crate) is_over_limit: bool,
}

impl<S: Writer> Writer for LimitedWriter<S> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        match self.remaining.checked_sub(bytes.len()) {
            Some(remaining) => {
                self.writer.put(bytes)?;
                self.remaining = remaining;
                Ok(())
            }
            None => {
                self.is_over_limit = true;
                Err(CapacityError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_short_copies_every_length() {
        let from: Vec<u8> = (0..=255).collect();
        for len in 0..=200 {
            let mut to = vec![0; len];
            copy_short(&mut to, &from[..len]);
            assert_eq!(to, from[..len], "{len} bytes");
        }
    }
}
