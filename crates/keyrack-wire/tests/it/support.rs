//! Helpers that the tests share.

use keyrack_wire::native::{Decoded, Frame, decode};
use keyrack_wire::{CapacityError, EncodeError, Grade, Source, WipedBuffer, Writer};

pub(crate) fn grade<'a>(protection: &'a str, duration: &'a str) -> Grade<'a> {
    Grade { protection: protection.into(), duration: duration.into() }
}

pub(crate) fn source<'a>(vault: &'a str, mech: &'a str) -> Source<'a> {
    Source { vault: vault.into(), mech: mech.into() }
}

/// Returns the bytes that `encode` writes.
pub(crate) fn encoded<T>(encode: impl FnOnce(&mut WipedBuffer) -> Result<T, EncodeError>) -> Vec<u8> {
    let mut writer = WipedBuffer::new(32 << 20);
    encode(&mut writer).unwrap();
    writer.as_slice().to_vec()
}

/// Returns the one whole frame that `bytes` are.
pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    let Ok(Decoded::Frame(frame)) = decode(bytes) else { panic!("not a frame: {bytes:?}") };
    assert_eq!(frame.consumed, bytes.len(), "bytes after the frame");
    frame
}

/// Returns a frame of a header and secrets, valid or not.
pub(crate) fn raw_frame(header: &str, secrets: &[u8]) -> Vec<u8> {
    let header_len = u32::try_from(header.len()).unwrap();
    let length = 4 + header_len + u32::try_from(secrets.len()).unwrap();
    [&length.to_be_bytes(), &header_len.to_be_bytes(), header.as_bytes(), secrets].concat()
}

/// A writer that takes what fits its limit: the strictest one that the daemon may have.
pub(crate) struct Tight {
    pub(crate) bytes: Vec<u8>,
    pub(crate) limit: usize,
}

impl Writer for Tight {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        let fits = bytes.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits]);
        if fits == bytes.len() { Ok(()) } else { Err(CapacityError) }
    }
}
