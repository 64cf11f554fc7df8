//! What both protocols write with: errors, limits, numbers, and access to a secret while it is
//! copied.

use keyrack_json::{CapacityError, Writer};
use zeroize::Zeroizing;

/// A secret that is lent for the length of a closure, so that it can be copied from where it lives to where it goes.
pub trait SecretBytes {
    /// Calls `read` with the secret; `None` once it has been erased.
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R>;

    /// Its length in bytes; `None` once it has been erased.
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

/// Why a message could not be composed. What the sink holds of it by then must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The sink took no more.
    #[error("the message buffer is full")]
    Full,
    /// The message would be longer than the protocol allows.
    #[error("the message is longer than {limit} bytes; ask for fewer keys at a time")]
    TooLarge {
        /// The limit it passes, in bytes.
        limit: usize,
    },
    /// A secret was erased, or changed its length, while the message that carries it was composed.
    #[error("a key was erased while its reply was composed")]
    Gone,
    /// The ranges given for the secrets do not match the secrets given.
    #[error("the ranges of the header do not match the secrets behind it")]
    Ranges,
    /// An empty list that the peer would read as "everything".
    #[error("an empty list would be read as everything; name what is meant")]
    Empty,
}

impl From<CapacityError> for EncodeError {
    fn from(_: CapacityError) -> Self {
        Self::Full
    }
}

/// Copies `from` to `to`, which are of one length. A header is put together from some dozens of names and commas, and a call of `memcpy`
/// costs more than most of them: here those are a move or two, which may overlap. Not a loop: the compiler would make it the very call.
///
/// # Panics
/// When the lengths differ.
pub fn copy_short(to: &mut [u8], from: &[u8]) {
    match from.len() {
        0 => {}
        // First, middle and last are all there are.
        len @ 1..=3 => [0, len / 2, len - 1].into_iter().for_each(|at| to[at] = from[at]),
        4..=7 => copy_ends::<4>(to, from),
        8..=15 => copy_ends::<8>(to, from),
        16..=31 => copy_ends::<16>(to, from),
        32..=64 => copy_ends::<32>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first `N` and the last `N` bytes, of at least `N` and at most twice as many. From place to place, never as an array by value:
/// that would lie on the stack in between, and what is copied may be a secret.
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        to.copy_from_slice(from);
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        to.copy_from_slice(from);
    }
}

/// Puts a number in decimal.
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

/// Passes bytes on until `left` is used up, so that a limit of the protocol holds whatever the sink's own is.
pub(crate) struct Limited<S> {
    pub(crate) writer: S,
    pub(crate) left: usize,
    pub(crate) passed_limit: bool,
}

impl<S: Writer> Writer for Limited<S> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        match self.left.checked_sub(bytes.len()) {
            Some(left) => {
                self.writer.put(bytes)?;
                self.left = left;
                Ok(())
            }
            None => {
                self.passed_limit = true;
                Err(CapacityError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_whole() {
        let from: Vec<u8> = (0..=255).collect();
        for len in 0..=200 {
            let mut to = vec![0; len];
            copy_short(&mut to, &from[..len]);
            assert_eq!(to, from[..len], "{len} bytes");
        }
    }
}
