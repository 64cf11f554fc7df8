//! A short header, encoded on the stack before its length is known, so that it is not encoded
//! twice. Headers never hold a secret. Benchmark row "GET, native, persistent, Rust client".

use crate::writer::copy_short;
use keyrack_json::{CapacityError, Writer};

/// Longest header that is encoded on the stack, in bytes.
const CAPACITY: usize = 512;

/// The bytes written so far.
pub(super) struct StackBuf {
    bytes: [u8; CAPACITY],
    filled: usize,
}

impl StackBuf {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Default for StackBuf {
    fn default() -> Self {
        StackBuf { bytes: [0; CAPACITY], filled: 0 }
    }
}

impl Writer for StackBuf {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        let target = self.bytes.get_mut(self.filled..self.filled + bytes.len()).ok_or(CapacityError)?;
        copy_short(target, bytes);
        self.filled += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn put_over_the_capacity_fails_and_changes_nothing() {
        let mut short = StackBuf::default();
        short.put(&[1; CAPACITY - 2]).expect("it fits");
        assert_eq!(short.put(&[2; 3]), Err(CapacityError));
        assert_eq!(short.bytes(), [1; CAPACITY - 2]);
        short.put(&[2; 2]).expect("it fits to the last byte");
        assert_eq!(short.bytes().len(), CAPACITY);
    }
}
