//! What the tests share: names without ceremony, and buffers large enough to say nothing about size.

use keyrack_wire::native::{Decoded, Frame, decode};
use keyrack_wire::{CapacityError, EncodeError, Grade, Source, WipedBuffer, Writer};

pub(crate) fn grade<'a>(protection: &'a str, duration: &'a str) -> Grade<'a> {
    Grade { protection: protection.into(), duration: duration.into() }
}

pub(crate) fn source<'a>(vault: &'a str, mech: &'a str) -> Source<'a> {
    Source { vault: vault.into(), mech: mech.into() }
}

/// What `encode` puts.
pub(crate) fn encoded<T>(encode: impl FnOnce(&mut WipedBuffer) -> Result<T, EncodeError>) -> Vec<u8> {
    let mut writer = WipedBuffer::new(32 << 20);
    encode(&mut writer).unwrap();
    writer.as_slice().to_vec()
}

/// The one whole frame `bytes` are.
pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    let Ok(Decoded::Frame(frame)) = decode(bytes) else { panic!("not a frame: {bytes:?}") };
    assert_eq!(frame.consumed, bytes.len(), "bytes behind the frame");
    frame
}

/// A frame of a header and secrets as they are given, right or wrong.
pub(crate) fn raw_frame(header: &str, secrets: &[u8]) -> Vec<u8> {
    let header_len = u32::try_from(header.len()).unwrap();
    let length = 4 + header_len + u32::try_from(secrets.len()).unwrap();
    [&length.to_be_bytes(), &header_len.to_be_bytes(), header.as_bytes(), secrets].concat()
}

/// A sink that never keeps more than its limit, and takes what fits: the harshest one the daemon may have.
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
