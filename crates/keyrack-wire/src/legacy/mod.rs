//! The legacy protocol: one JSON request and one JSON reply for each connection. TypeScript clients
//! speak it to this daemon, and this client to a TypeScript daemon.
//!
//! No general JSON parser is used: a secret stays a slice of the caller's buffer, and is unescaped
//! from there into a buffer of the caller.
//!
//! The daemon feeds a [`Scanner`] until the request is complete, calls [`Request::parse`], and then
//! one of the `encode_*_reply` functions. The client calls `encode_*_request`, then
//! `parse_*_reply`.

mod error;
mod extras;
mod grant;
mod reply;
mod reply_encode;
mod request;
mod request_encode;
mod scan;

pub use error::{FieldError, LegacyError};
pub use extras::{ExtraText, Extras};
pub use grant::Grant;
pub use reply::{
    GetData, Reply, StatusData, StatusEntry, is_session_mismatch, parse_get_reply, parse_relock_reply,
    parse_status_reply,
};
pub use reply_encode::{
    GetItem, NoExtras, StatusItem, encode_error, encode_get_reply, encode_relock_reply, encode_status_reply,
    encode_unlock_reply,
};
pub use request::{Get, Request};
pub use request_encode::{encode_get_request, encode_relock_request, encode_status_request};
pub use scan::{Progress, Scanner};

pub use keyrack_json::escape_len;

/// Longest request in bytes, including white space around it.
pub const MAX_REQUEST: usize = 1 << 20;

/// Longest reply in bytes.
pub const MAX_REPLY: usize = 8 << 20;

/// Most slugs, or grants, in one message.
pub const MAX_ITEMS: usize = 4096;

/// Most unknown fields that are kept of one object of a grant.
pub const MAX_UNKNOWN_FIELDS: usize = 64;
