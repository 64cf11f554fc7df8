//! A short header, composed on the stack before its length is known. Never a secret: headers hold none.

use crate::sink::{Full, Sink};

/// The longest header that is composed before it is put.
const SHORT: usize = 512;

/// A header, as far as it is put together.
pub(super) struct Short {
    bytes: [u8; SHORT],
    filled: usize,
}

impl Short {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Default for Short {
    fn default() -> Self {
        Short { bytes: [0; SHORT], filled: 0 }
    }
}

impl Sink for Short {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let place = self.bytes.get_mut(self.filled..self.filled + bytes.len()).ok_or(Full)?;
        copy_short(place, bytes);
        self.filled += bytes.len();
        Ok(())
    }
}

/// Copies `from` to `to`, which are of one length. A header is put together from some dozens of names and commas, and a call of `memcpy`
/// costs more than most of them: here those are a move or two, which may overlap.
fn copy_short(to: &mut [u8], from: &[u8]) {
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

/// Copies the first `N` and the last `N` bytes, of at least `N` and at most twice as many.
fn copy_ends<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
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
    fn what_does_not_fit_is_full_and_changes_nothing() {
        let mut short = Short::default();
        short.put(&[1; SHORT - 2]).expect("it fits");
        assert_eq!(short.put(&[2; 3]), Err(Full));
        assert_eq!(short.bytes(), [1; SHORT - 2]);
        short.put(&[2; 2]).expect("it fits to the last byte");
        assert_eq!(short.bytes().len(), SHORT);
    }
}
