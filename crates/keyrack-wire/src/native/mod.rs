//! The native protocol: length-prefixed frames with a JSON header, and secrets as bytes after it.
//!
//! A frame is `u32 BE length of the rest | u32 BE header length | header JSON | secret bytes`. The
//! header never holds a secret: it names ranges of the secret bytes, which tile them exactly, in
//! order.
//!
//! The daemon calls [`decode`] on its page, [`Request::decode`] on the frame, and encodes the reply
//! with one of the `encode_*_reply` functions or [`encode_reply`]. The client calls
//! [`Request::encode`] or [`encode_unlock`], then [`decode`] and [`decode_reply`].

mod fast_path;
mod frame;
mod get;
mod reply;
mod reply_encode;
mod request;
mod request_encode;
mod serde_util;
mod stack_buf;

pub use frame::{Decoded, Frame, FrameError, Span, decode, encode_frame};
pub use get::{Get, GetKey, GetOk};
pub use reply::{
    Counts, ErrorBody, Hardening, HelloOk, NothingOk, RelockOk, Reply, ReplyBody, ReplyError, StatusKey,
    StatusOk, UnlockGranted, UnlockOk, UnlockResult, decode_reply, reply_id,
};
pub use reply_encode::{
    GetItem, encode_error, encode_get_reply, encode_relock_reply, encode_reply, encode_status_reply,
    encode_unlock_reply,
};
pub use request::{Hello, Op, Request, RequestError, RequestErrorKind, Status, Unlock, UnlockKey};
pub use request_encode::{UnlockItem, encode_unlock, get_slugs_that_fit, unlock_keys_that_fit};

/// Greatest length of a frame, in bytes, after the four bytes of the length itself.
pub const MAX_LENGTH: usize = 1 << 20;

/// Greatest length of a header, in bytes.
pub const MAX_HEADER: usize = 64 << 10;

/// Newest protocol version that this crate speaks. Versions differ only by additions.
pub const PROTO: u32 = 1;

/// Oldest protocol version that this crate speaks.
pub const MIN_PROTO: u32 = 1;

/// Returns the newest version that this crate and a peer of versions `min_proto` to `proto` both
/// speak; `None` if there is none.
pub fn agreed_proto(proto: u32, min_proto: u32) -> Option<u32> {
    let newest = proto.min(PROTO);
    (newest >= min_proto.max(MIN_PROTO)).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreed_proto_is_the_newest_common_version() {
        for (proto, min_proto, expected) in [
            (1, 1, Some(1)),
            (2, 1, Some(1)),
            (u32::MAX, 0, Some(1)),
            (2, 2, None),
            (0, 0, None),
            (u32::MAX, u32::MAX, None),
            (1, 2, None),
        ] {
            assert_eq!(agreed_proto(proto, min_proto), expected, "{proto} {min_proto}");
        }
    }
}
