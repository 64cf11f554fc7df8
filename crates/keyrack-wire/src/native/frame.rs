//! Frames. Lengths are checked before anything is allocated by them, and ranges before anything is
//! read through them.

use serde::{Deserialize, Serialize};

use super::serde_util::Object;
use super::{MAX_HEADER, MAX_LENGTH};
use crate::writer::{EncodeError, SecretBytes};
use keyrack_json::{CapacityError, Writer};

/// Content of a buffer that begins at a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Part of a frame. The buffer must hold this many bytes in all, at most `4 + MAX_LENGTH`,
    /// before decoding can continue.
    Need(usize),
    /// A whole frame.
    Frame(Frame<'a>),
}

/// A whole frame. Its header is not parsed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Header, as JSON.
    pub header: &'a [u8],
    /// Secret bytes after the header.
    pub secrets: &'a [u8],
    /// Length of the frame in the buffer: the offset of the next one.
    pub consumed: usize,
}

impl<'a> Frame<'a> {
    /// Returns the bytes of a range of the header; `None` if it is outside of the frame, which the
    /// ranges of a decoded message never are.
    pub fn secret(&self, span: Span) -> Option<&'a [u8]> {
        let start = usize::try_from(span.offset).ok()?;
        let end = start.checked_add(usize::try_from(span.len).ok()?)?;
        self.secrets.get(start..end)
    }
}

impl std::fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("header_bytes", &self.header.len())
            .field("secret_bytes", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// A range of the secret bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Offset from the first secret byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Reason that bytes are not a frame. The position of the next frame is unknown, so the connection
/// must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length has no space for the header's length and a header.
    #[error("a frame of {length} bytes is too short for a header")]
    TooShort {
        /// Length of the frame.
        length: u32,
    },
    /// The length is over [`MAX_LENGTH`].
    #[error("a frame of {length} bytes is longer than {MAX_LENGTH}")]
    TooLong {
        /// Length of the frame.
        length: u32,
    },
    /// The header is empty.
    #[error("a frame has an empty header")]
    HeaderEmpty,
    /// The header's length is over [`MAX_HEADER`].
    #[error("a header of {header} bytes is longer than {MAX_HEADER}")]
    HeaderTooLong {
        /// Length of the header.
        header: u32,
    },
    /// The header ends after the frame.
    #[error("a header of {header} bytes does not fit a frame of {length}")]
    HeaderPastEnd {
        /// Length of the header.
        header: u32,
        /// Length of the frame.
        length: u32,
    },
    /// The header is not a JSON object in the form of a message.
    #[error("a header is not a message (byte {column})")]
    Header {
        /// Byte of the header where parsing stopped, from 1.
        column: usize,
    },
    /// The ranges do not tile the secret bytes: ascending, disjoint, covering all of them.
    #[error("the ranges of a header do not cover its secret bytes exactly")]
    Ranges,
}

impl FrameError {
    /// Returns the error's code on the wire.
    pub fn code(&self) -> &'static str {
        "bad_frame"
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Decodes the frame at the start of `buffer`, in constant time.
///
/// # Errors
/// [`FrameError`] as soon as the bytes of a wrong length are there, before the rest of the frame
/// is.
pub fn decode(buffer: &[u8]) -> Result<Decoded<'_>, FrameError> {
    let Some(length) = be32(buffer, 0) else {
        return Ok(Decoded::Need(4));
    };
    let body = usize::try_from(length).unwrap_or(usize::MAX);
    if body > MAX_LENGTH {
        return Err(FrameError::TooLong { length });
    }
    if body < 4 {
        return Err(FrameError::TooShort { length });
    }
    let Some(header) = be32(buffer, 4) else {
        return Ok(Decoded::Need(8));
    };
    let header_len = usize::try_from(header).unwrap_or(usize::MAX);
    if header_len == 0 {
        return Err(FrameError::HeaderEmpty);
    }
    if header_len > MAX_HEADER {
        return Err(FrameError::HeaderTooLong { header });
    }
    if header_len > body - 4 {
        return Err(FrameError::HeaderPastEnd { header, length });
    }
    let consumed = 4 + body;
    let Some(frame) = buffer.get(..consumed) else {
        return Ok(Decoded::Need(consumed));
    };
    let (header, secrets) = frame[8..].split_at(header_len);
    Ok(Decoded::Frame(Frame { header, secrets, consumed }))
}

/// Parses the header as JSON of the form `T`.
pub(super) fn header<'a, T: Deserialize<'a>>(frame: &Frame<'a>) -> Result<T, FrameError> {
    let read = serde_json::from_slice(frame.header);
    // The error's own text quotes the input.
    read.map(|Object(header)| header).map_err(|error| FrameError::Header { column: error.column() })
}

/// Returns `true` if `spans` tile `total` bytes: each begins at the end of the previous one, and
/// the last ends at `total`.
pub(super) fn tile(spans: impl IntoIterator<Item = Span>, total: usize) -> bool {
    let end = spans
        .into_iter()
        .try_fold(0_u64, |end, span| (span.offset == end).then(|| end.checked_add(span.len)).flatten());
    end.is_some() && end == u64::try_from(total).ok()
}

/// Writes the lengths of a frame, and reserves capacity for all of it. The caller writes its header
/// and secrets next.
pub(super) fn put_lengths(
    writer: &mut impl Writer,
    header: usize,
    secrets: usize,
) -> Result<(), EncodeError> {
    if header > MAX_HEADER {
        return Err(EncodeError::TooLarge { limit: MAX_HEADER });
    }
    let body = 4 + header;
    let body = body.checked_add(secrets).filter(|body| *body <= MAX_LENGTH);
    let body = body.ok_or(EncodeError::TooLarge { limit: MAX_LENGTH })?;
    writer.reserve(4 + body)?;
    let too_large = |_| EncodeError::TooLarge { limit: MAX_LENGTH };
    writer.put(&u32::try_from(body).map_err(too_large)?.to_be_bytes())?;
    writer.put(&u32::try_from(header).map_err(too_large)?.to_be_bytes())?;
    Ok(())
}

/// Copies one secret from its own memory, if it still has the length that the header states.
pub(super) fn put_secret(
    writer: &mut impl Writer,
    secret: &impl SecretBytes,
    len: usize,
) -> Result<(), EncodeError> {
    let outcome = secret.with(|bytes| {
        if bytes.len() == len {
            writer.put(bytes).map_err(|CapacityError| EncodeError::Full)
        } else {
            Err(EncodeError::Gone)
        }
    });
    outcome.unwrap_or(Err(EncodeError::Gone))
}

/// Writes a frame of a header and its secrets.
///
/// # Errors
/// [`EncodeError::TooLarge`] before anything is written.
pub fn encode_frame(
    writer: &mut impl Writer,
    header: &[u8],
    secrets: &[impl SecretBytes],
) -> Result<(), EncodeError> {
    let mut lens = Vec::with_capacity(secrets.len());
    for secret in secrets {
        lens.push(secret.length().ok_or(EncodeError::Gone)?);
    }
    let total = lens.iter().try_fold(0_usize, |total, len| total.checked_add(*len));
    put_lengths(writer, header.len(), total.unwrap_or(usize::MAX))?;
    writer.put(header)?;
    for (secret, len) in secrets.iter().zip(lens) {
        put_secret(writer, secret, len)?;
    }
    Ok(())
}

/// Returns the ranges of secrets laid one after the other; `None` if their sum overflows.
pub(super) fn lay_out(lens: impl IntoIterator<Item = usize>) -> Option<Vec<Span>> {
    let mut offset = 0_u64;
    lens.into_iter()
        .map(|len| {
            let len = u64::try_from(len).ok()?;
            let span = Span { offset, len };
            offset = offset.checked_add(len)?;
            Some(span)
        })
        .collect()
}

/// Returns the header of a message.
pub(super) fn header_bytes(message: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    // It has only names and numbers with string keys, so serde_json cannot fail.
    serde_json::to_vec(message).map_err(|_| EncodeError::TooLarge { limit: MAX_HEADER })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use keyrack_json::WipedBuffer;

    fn lengths(length: u32, header: u32) -> Vec<u8> {
        [length.to_be_bytes(), header.to_be_bytes()].concat()
    }

    #[test]
    fn decode_checks_lengths_before_the_frame_is_complete() {
        let max = 1 << 20;
        for (bytes, expected) in [
            (vec![], Ok(Decoded::Need(4))),
            (vec![0], Ok(Decoded::Need(4))),
            (vec![0, 0, 0], Ok(Decoded::Need(4))),
            (vec![0, 0, 0, 0], Err(FrameError::TooShort { length: 0 })),
            (vec![0, 0, 0, 1], Err(FrameError::TooShort { length: 1 })),
            (vec![0, 0, 0, 3], Err(FrameError::TooShort { length: 3 })),
            (vec![0, 0, 0, 4], Ok(Decoded::Need(8))),
            (lengths(4, 0), Err(FrameError::HeaderEmpty)),
            (lengths(4, 1), Err(FrameError::HeaderPastEnd { header: 1, length: 4 })),
            (lengths(5, 1), Ok(Decoded::Need(9))),
            (lengths(5, 2), Err(FrameError::HeaderPastEnd { header: 2, length: 5 })),
            (lengths(100, 97), Err(FrameError::HeaderPastEnd { header: 97, length: 100 })),
            (lengths(100, 96), Ok(Decoded::Need(104))),
            (lengths(100, u32::MAX), Err(FrameError::HeaderTooLong { header: u32::MAX })),
            (lengths(max, 65_536), Ok(Decoded::Need(4 + MAX_LENGTH))),
            (lengths(max, 65_537), Err(FrameError::HeaderTooLong { header: 65_537 })),
            (lengths(max + 1, 1), Err(FrameError::TooLong { length: max + 1 })),
            ((max + 1).to_be_bytes().to_vec(), Err(FrameError::TooLong { length: max + 1 })),
            (vec![0xFF; 4], Err(FrameError::TooLong { length: u32::MAX })),
            (vec![0xFF; 64], Err(FrameError::TooLong { length: u32::MAX })),
            (vec![0x80, 0, 0, 0], Err(FrameError::TooLong { length: 1 << 31 })),
        ] {
            assert_eq!(decode(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn decode_accepts_the_longest_frame() {
        let mut bytes = lengths(1 << 20, 65_536);
        bytes.resize(4 + MAX_LENGTH, b'x');
        let Ok(Decoded::Frame(frame)) = decode(&bytes) else { panic!("no frame") };
        assert_eq!(frame.header.len(), MAX_HEADER);
        assert_eq!(frame.secrets.len(), crate::MAX_SECRET);
        assert_eq!(frame.consumed, bytes.len());
        bytes.pop();
        assert_eq!(decode(&bytes), Ok(Decoded::Need(4 + MAX_LENGTH)));
    }

    #[test]
    fn tile_accepts_only_ranges_that_cover_all_bytes() {
        let max = u64::MAX;
        for (spans, total, expected) in [
            (vec![], 0, true),
            (vec![], 1, false),
            (vec![(0, 0)], 0, true),
            (vec![(0, 1)], 1, true),
            (vec![(0, 0), (0, 0)], 0, true),
            (vec![(0, 2), (2, 3)], 5, true),
            (vec![(0, 2), (2, 0), (2, 3)], 5, true),
            (vec![(1, 1)], 2, false),
            (vec![(0, 1)], 2, false),
            (vec![(0, 2)], 1, false),
            (vec![(0, 2), (1, 3)], 4, false),
            (vec![(0, 2), (3, 2)], 5, false),
            (vec![(2, 3), (0, 2)], 5, false),
            (vec![(0, 2), (0, 2)], 2, false),
            (vec![(0, 2), (1, 0), (2, 3)], 5, false),
            (vec![(0, max)], 5, false),
            (vec![(max, 0)], 0, false),
            (vec![(max, max)], 0, false),
            (vec![(0, max), (max, 6)], 5, false),
            (vec![(0, 5), (5, max), (4, 0)], 5, false),
        ] {
            let all = spans.iter().map(|(offset, len)| Span { offset: *offset, len: *len });
            assert_eq!(tile(all, total), expected, "{spans:?} over {total}");
        }
    }

    #[test]
    fn header_rejects_what_is_not_an_object() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Head {
            id: u64,
        }
        let read = |header| super::header::<Head>(&Frame { header, secrets: b"", consumed: 0 });
        for object in [&b"{\"id\":1}"[..], b" \t\r\n{\"id\":1} "] {
            assert_eq!(read(object), Ok(Head { id: 1 }));
        }
        for other in [&b"[1]"[..], b" [1]", b"1", b"\"x\"", b"null", b" ", b""] {
            assert!(matches!(read(other), Err(FrameError::Header { .. })), "{other:?}");
        }
    }

    #[test]
    fn secret_rejects_ranges_outside_of_the_frame() {
        let frame = Frame { header: b"{}", secrets: b"abcdef", consumed: 16 };
        for (offset, len, expected) in [
            (0, 6, Some(&b"abcdef"[..])),
            (2, 3, Some(b"cde")),
            (6, 0, Some(b"")),
            (0, 7, None),
            (7, 0, None),
            (u64::MAX, 1, None),
            (1, u64::MAX, None),
            (u64::MAX, u64::MAX, None),
        ] {
            assert_eq!(frame.secret(Span { offset, len }), expected, "{offset} {len}");
        }
        assert!(!format!("{frame:?}").contains("abc"));
    }

    #[test]
    fn encode_frame_rejects_what_is_too_long() {
        let none: [&[u8]; 0] = [];
        let mut writer = WipedBuffer::new(4 << 20);
        for (header, secret, limit) in [
            (MAX_HEADER + 1, 0, MAX_HEADER),
            (MAX_HEADER, crate::MAX_SECRET + 1, MAX_LENGTH),
            (10, MAX_LENGTH - 13, MAX_LENGTH),
        ] {
            let outcome = encode_frame(&mut writer, &vec![b'x'; header], &[&vec![0; secret][..]]);
            assert_eq!(outcome, Err(EncodeError::TooLarge { limit }), "{header} {secret}");
            assert_eq!(writer.as_slice().len(), 0, "nothing is put");
        }
        encode_frame(&mut writer, &[b'x'; MAX_HEADER], &[&[0; crate::MAX_SECRET][..]]).unwrap();
        assert_eq!(writer.as_slice().len(), 4 + MAX_LENGTH);
        assert_eq!(encode_frame(&mut WipedBuffer::new(9), b"{}", &none), Err(EncodeError::Full));
    }

    /// A secret that changes after its length is written and before it is copied.
    struct ChangingSecret(std::cell::Cell<u8>, Option<&'static [u8]>);

    impl SecretBytes for ChangingSecret {
        fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
            let first = self.0.replace(1) == 0;
            if first { Some(read(b"first")) } else { self.1.map(read) }
        }
    }

    #[test]
    fn encode_frame_fails_when_a_secret_changes() {
        for then in [None, Some(&b"longer than first"[..]), Some(b"")] {
            let secret = ChangingSecret(0.into(), then);
            let mut writer = WipedBuffer::new(100);
            assert_eq!(encode_frame(&mut writer, b"{}", &[secret]), Err(EncodeError::Gone), "{then:?}");
        }
    }

    proptest! {
        #[test]
        fn any_frame_round_trips(
            header in prop::collection::vec(any::<u8>(), 1..200),
            secrets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut writer = WipedBuffer::new(10_000);
            let slices: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
            encode_frame(&mut writer, &header, &slices).unwrap();
            let len = writer.as_slice().len();
            let mut bytes = writer.as_slice().to_vec();
            for end in 0..len {
                let Ok(Decoded::Need(need)) = decode(&bytes[..end]) else { panic!("a part is not a frame") };
                prop_assert!(need > end && need <= len);
            }
            bytes.extend(after);
            let Ok(Decoded::Frame(frame)) = decode(&bytes) else { panic!("no frame") };
            prop_assert_eq!(frame.consumed, len);
            prop_assert_eq!(frame.header, header);
            prop_assert_eq!(frame.secrets, secrets.concat());
        }

        #[test]
        fn decode_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Decoded::Need(need)) = decode(&bytes) {
                prop_assert!(need > bytes.len() && need <= 4 + MAX_LENGTH);
            }
        }
    }
}
