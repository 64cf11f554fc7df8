//! Where composed bytes go, and how a secret is lent for the copy. Nothing here keeps a secret but [`WipedBuffer`],
//! which is wiped when it grows and when it is dropped.

use zeroize::{Zeroize, Zeroizing};

/// The sink takes no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reply buffer is full")]
pub struct CapacityError;

/// Takes composed bytes, in order. After an error what was put is a fragment: the caller drops it.
pub trait Writer {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`CapacityError`] when they do not all fit; nothing or a part of them may then have been appended.
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError>;

    /// Announces that `more` bytes follow, so that a sink that grows can do so once, and fail before the first byte.
    ///
    /// # Errors
    /// [`CapacityError`] when they would not fit.
    fn reserve(&mut self, more: usize) -> Result<(), CapacityError> {
        let _ = more;
        Ok(())
    }
}

impl<T: Writer + ?Sized> Writer for &mut T {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        (**self).put(bytes)
    }

    fn reserve(&mut self, more: usize) -> Result<(), CapacityError> {
        (**self).reserve(more)
    }
}

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

/// A [`Writer`] in ordinary memory with an upper limit, wiped when it grows, is cleared or is dropped.
pub struct WipedBuffer {
    /// Nothing behind its length has ever held a byte that was not wiped.
    bytes: Vec<u8>,
    limit: usize,
}

impl WipedBuffer {
    /// An empty buffer that takes at most `limit` bytes. Allocates when bytes come, not before.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    /// What was put so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Wipes the content; the limit stays, and so does the room.
    pub fn clear(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.bytes.clear();
    }

    /// Bytes there is room for without another allocation.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The content, which is wiped on drop.
    pub fn into_inner(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut self.bytes))
    }
}

impl Drop for WipedBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

impl std::fmt::Debug for WipedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WipedBuffer")
            .field("len", &self.bytes.len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Writer for WipedBuffer {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn reserve(&mut self, more: usize) -> Result<(), CapacityError> {
        let needed =
            self.bytes.len().checked_add(more).filter(|needed| *needed <= self.limit).ok_or(CapacityError)?;
        if needed > self.bytes.capacity() {
            // A Vec that grows by itself frees its old block unwiped.
            let capacity = needed.max(self.bytes.capacity().saturating_mul(2)).max(256).min(self.limit);
            let mut grown = Vec::with_capacity(capacity);
            grown.extend_from_slice(&self.bytes);
            self.clear();
            self.bytes = grown;
        }
        Ok(())
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

/// Counts instead of keeping: the length of a header is needed before its first byte is written.
pub(crate) struct Counter(pub(crate) usize);

impl Writer for Counter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(())
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

    #[test]
    fn a_wiped_buffer_stops_at_its_limit() {
        let mut buffer = WipedBuffer::new(5);
        buffer.put(b"abc").unwrap();
        assert_eq!(buffer.put(b"def"), Err(CapacityError));
        assert_eq!(buffer.as_slice(), b"abc");
        buffer.put(b"de").unwrap();
        assert_eq!(buffer.put(b"f"), Err(CapacityError));
        buffer.put(b"").unwrap();
        assert_eq!(buffer.as_slice(), b"abcde");
        buffer.clear();
        assert_eq!(buffer.as_slice(), b"");
        assert_eq!(buffer.reserve(usize::MAX), Err(CapacityError));
    }

    #[test]
    fn a_wiped_buffer_keeps_its_content_as_it_grows() {
        let mut buffer = WipedBuffer::new(100_000);
        let mut expected = Vec::new();
        for round in 0..1000_u32 {
            let chunk = round.to_be_bytes();
            buffer.put(&chunk).unwrap();
            expected.extend_from_slice(&chunk);
        }
        assert_eq!(buffer.as_slice(), expected);
        assert_eq!(&*buffer.into_inner(), &expected);
    }

    #[test]
    fn a_wiped_buffer_shows_no_content() {
        let mut buffer = WipedBuffer::new(100);
        buffer.put(b"hunter2").unwrap();
        assert!(!format!("{buffer:?}").contains("hunter2"));
    }
}
