//! The two protocols a keyrack daemon speaks on its socket: native frames and the legacy JSON form.
//!
//! Both are plain functions over the caller's bytes. The crate does no I/O, reads no clock,
//! allocates nothing from a length that it has not checked, and owns no secret: a secret is a
//! borrowed slice of the caller's buffer when it is read, and is written straight into the caller's
//! [`Writer`].
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

pub mod legacy;
mod names;
pub mod native;
mod writer;

pub use keyrack_json::{CapacityError, RawString, StringError, UnescapeError, WipedBuffer, Writer};
pub use names::{Grade, Relock, Source};
pub use writer::{EncodeError, SecretBytes, copy_short};

/// Longest slug, env, org, vault, mechanism or grade name in bytes, unescaped.
///
/// JSON can make six bytes of one. Even if every name of a grant is this long, its metadata fits
/// [`native::MAX_HEADER`], so one key always fits one reply.
pub const MAX_NAME: usize = 1024;

/// Longest secret in bytes, on either protocol: the space of a native frame after the largest
/// header.
pub const MAX_SECRET: usize = native::MAX_LENGTH - 4 - native::MAX_HEADER;

/// Protocol of a connection, identified by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Length-prefixed frames. A length of at most 1 MiB always begins with 0x00.
    Native,
    /// One JSON request, one JSON reply.
    Legacy,
    /// Neither. The daemon replies in the legacy form and closes the connection.
    Neither,
}

impl Protocol {
    /// Returns the protocol whose messages begin with `first_byte`.
    pub fn of(first_byte: u8) -> Self {
        match first_byte {
            0x00 => Self::Native,
            b'{' | b' ' | b'\t' | b'\n' | b'\r' => Self::Legacy,
            _ => Self::Neither,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_of_first_byte() {
        for byte in 0..=u8::MAX {
            let expected = match byte {
                0 => Protocol::Native,
                b'{' | 9 | 10 | 13 | 32 => Protocol::Legacy,
                _ => Protocol::Neither,
            };
            assert_eq!(Protocol::of(byte), expected, "{byte:#04x}");
        }
    }

    #[test]
    fn longest_frame_begins_with_the_native_byte() {
        let longest = u32::try_from(native::MAX_LENGTH).unwrap().to_be_bytes();
        assert_eq!(Protocol::of(longest[0]), Protocol::Native);
    }
}
