//! One frame: its lengths checked before anything is made of them, its ranges before anything is read through them.

use serde::{Deserialize, Serialize};

use super::serde_util::Object;
use super::{MAX_HEADER, MAX_LENGTH};
use crate::writer::{EncodeError, SecretBytes};
use keyrack_json::{CapacityError, Writer};

/// What a buffer that begins at a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not yet a whole frame: nothing more can be said before the buffer holds this many bytes in all. At most
    /// `4 + MAX_LENGTH`.
    Need(usize),
    /// A whole frame.
    Frame(Frame<'a>),
}

/// A whole frame, its header not yet read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header's JSON.
    pub header: &'a [u8],
    /// The secret bytes behind it.
    pub secrets: &'a [u8],
    /// Length of the whole frame in the buffer: the next one begins there.
    pub consumed: usize,
}

impl<'a> Frame<'a> {
    /// The bytes of a range of the header; `None` if it points outside, which a decoded message never does.
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
    /// Where it begins, from the first secret byte.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
}

/// Bytes that are no frame. The connection has lost its place: close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length leaves no room for the header's length and a header.
    #[error("a frame of {length} bytes is too short for a header")]
    TooShort {
        /// The length it says.
        length: u32,
    },
    /// The length passes [`MAX_LENGTH`].
    #[error("a frame of {length} bytes is longer than {MAX_LENGTH}")]
    TooLong {
        /// The length it says.
        length: u32,
    },
    /// The header is empty.
    #[error("a frame has an empty header")]
    HeaderEmpty,
    /// The header's length passes [`MAX_HEADER`].
    #[error("a header of {header} bytes is longer than {MAX_HEADER}")]
    HeaderTooLong {
        /// The header length it says.
        header: u32,
    },
    /// The header would end behind the frame.
    #[error("a header of {header} bytes does not fit a frame of {length}")]
    HeaderPastEnd {
        /// The header length it says.
        header: u32,
        /// The frame length it says.
        length: u32,
    },
    /// The header is no JSON object of the form a message has.
    #[error("a header is not a message (byte {column})")]
    Header {
        /// Where reading stopped, from 1.
        column: usize,
    },
    /// The ranges do not tile the secret bytes: ascending, disjoint, covering all of them.
    #[error("the ranges of a header do not cover its secret bytes exactly")]
    Ranges,
}

impl FrameError {
    /// The error's code on the wire.
    pub fn code(&self) -> &'static str {
        "bad_frame"
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// The frame at the start of `buffer`. Costs the same however much of the frame has come.
///
/// # Errors
/// The lengths are checked as soon as their bytes are there, before the rest of the frame is.
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

/// Reads the header as JSON of the form `T`.
pub(super) fn header<'a, T: Deserialize<'a>>(frame: &Frame<'a>) -> Result<T, FrameError> {
    let read = serde_json::from_slice(frame.header);
    // The error's own text quotes the input.
    read.map(|Object(header)| header).map_err(|error| FrameError::Header { column: error.column() })
}

/// Whether `spans` tile `total` bytes: each begins where the one before it ends, and the last ends at `total`.
pub(super) fn tile(spans: impl IntoIterator<Item = Span>, total: usize) -> bool {
    let end = spans
        .into_iter()
        .try_fold(0_u64, |end, span| (span.offset == end).then(|| end.checked_add(span.len)).flatten());
    end.is_some() && end == u64::try_from(total).ok()
}

/// Puts the lengths of a frame whose header and secrets follow, and reserves room for all of it.
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

/// Puts one secret, straight from where it lives, if it still has the length the header says.
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

/// Puts a frame of a header as it is and the secrets behind it.
///
/// # Errors
/// [`EncodeError::TooLarge`] before anything is put.
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

/// The spans of secrets laid one behind the other.
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

/// Turns a message without secrets into the bytes of a header.
pub(super) fn header_bytes(message: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
    // Names and numbers with string keys only, so serde_json has nothing to refuse but length.
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
    fn lengths_are_judged_before_their_bytes_come() {
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
    fn the_longest_frame_passes() {
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
    fn only_ranges_that_tile_the_bytes_pass() {
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
    fn a_header_is_an_object() {
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
    fn a_range_outside_reads_nothing() {
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
    fn what_is_too_long_is_not_composed() {
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

    /// A secret that changes between the moment its length is written and the moment it is copied.
    struct Fickle(std::cell::Cell<u8>, Option<&'static [u8]>);

    impl SecretBytes for Fickle {
        fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
            let first = self.0.replace(1) == 0;
            if first { Some(read(b"first")) } else { self.1.map(read) }
        }
    }

    #[test]
    fn a_secret_that_goes_or_changes_meanwhile_is_an_error() {
        for then in [None, Some(&b"longer than first"[..]), Some(b"")] {
            let secret = Fickle(0.into(), then);
            let mut writer = WipedBuffer::new(100);
            assert_eq!(encode_frame(&mut writer, b"{}", &[secret]), Err(EncodeError::Gone), "{then:?}");
        }
    }

    proptest! {
        #[test]
        fn any_frame_comes_back(
            header in prop::collection::vec(any::<u8>(), 1..200),
            secrets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut writer = WipedBuffer::new(10_000);
            let slices: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
            encode_frame(&mut writer, &header, &slices).unwrap();
            let len = writer.as_slice().len();
            let mut bytes = writer.as_slice().to_vec();
            for end in 0..len {
                let Ok(Decoded::Need(need)) = decode(&bytes[..end]) else { panic!("a part is no frame") };
                prop_assert!(need > end && need <= len);
            }
            bytes.extend(behind);
            let Ok(Decoded::Frame(frame)) = decode(&bytes) else { panic!("no frame") };
            prop_assert_eq!(frame.consumed, len);
            prop_assert_eq!(frame.header, header);
            prop_assert_eq!(frame.secrets, secrets.concat());
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Decoded::Need(need)) = decode(&bytes) {
                prop_assert!(need > bytes.len() && need <= 4 + MAX_LENGTH);
            }
        }
    }
}
