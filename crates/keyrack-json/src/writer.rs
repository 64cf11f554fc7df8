//! Destinations of encoded bytes.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A writer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapacityError;

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply buffer is full")
    }
}

impl std::error::Error for CapacityError {}

/// Takes encoded bytes, in order. After an error it may hold a fragment, which the caller drops.
pub trait Writer {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`CapacityError`] if they do not all fit. A part of them may have been appended.
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError>;

    /// Ensures capacity for `more` bytes, so that a buffer grows once and fails before the first
    /// byte.
    ///
    /// # Errors
    /// [`CapacityError`] if they would not fit.
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

/// A [`Writer`] that counts bytes instead of keeping them, for lengths that are written before
/// what they measure.
#[derive(Debug, Default)]
pub struct ByteCounter(pub usize);

impl Writer for ByteCounter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(())
    }
}

/// A [`Writer`] in ordinary memory with a limit. Its content is wiped when the buffer grows, is
/// cleared or is dropped.
pub struct WipedBuffer {
    /// The spare capacity holds no byte that was not wiped.
    bytes: Vec<u8>,
    limit: usize,
}

impl WipedBuffer {
    /// Returns an empty buffer of at most `limit` bytes. It allocates with the first byte.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    /// Returns the bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Wipes the content, and keeps the limit and the capacity.
    pub fn clear(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.bytes.clear();
    }

    /// Returns the number of bytes that fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns the content, which is wiped when it is dropped.
    pub fn into_inner(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut self.bytes))
    }
}

impl Drop for WipedBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for WipedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let needed = self.bytes.len().checked_add(more);
        let needed = needed.filter(|needed| *needed <= self.limit).ok_or(CapacityError)?;
        if needed > self.bytes.capacity() {
            // A Vec that grows on its own frees its old block unwiped.
            let doubled = self.bytes.capacity().saturating_mul(2);
            let mut grown = Vec::with_capacity(needed.max(doubled).max(256).min(self.limit));
            grown.extend_from_slice(&self.bytes);
            self.clear();
            self.bytes = grown;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiped_buffer_rejects_bytes_over_its_limit() {
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
    fn wiped_buffer_keeps_its_content_when_it_grows() {
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
    fn wiped_buffer_debug_shows_no_content() {
        let mut buffer = WipedBuffer::new(100);
        buffer.put(b"hunter2").unwrap();
        assert!(!format!("{buffer:?}").contains("hunter2"));
    }
}
