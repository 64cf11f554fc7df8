//! A short header, composed on the stack before its length is known. Never a secret: headers hold none.

use crate::writer::copy_short;
use keyrack_json::{CapacityError, Writer};

/// The longest header that is composed before it is put.
const SHORT: usize = 512;

/// A header, as far as it is put together.
pub(super) struct StackBuf {
    bytes: [u8; SHORT],
    filled: usize,
}

impl StackBuf {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Default for StackBuf {
    fn default() -> Self {
        StackBuf { bytes: [0; SHORT], filled: 0 }
    }
}

impl Writer for StackBuf {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        let place = self.bytes.get_mut(self.filled..self.filled + bytes.len()).ok_or(CapacityError)?;
        copy_short(place, bytes);
        self.filled += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_full_and_changes_nothing() {
        let mut short = StackBuf::default();
        short.put(&[1; SHORT - 2]).expect("it fits");
        assert_eq!(short.put(&[2; 3]), Err(CapacityError));
        assert_eq!(short.bytes(), [1; SHORT - 2]);
        short.put(&[2; 2]).expect("it fits to the last byte");
        assert_eq!(short.bytes().len(), SHORT);
    }
}
