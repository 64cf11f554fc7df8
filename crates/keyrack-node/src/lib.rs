//! The Node addon of keyrack: a thin, typed mapping over `keyrack-client`.
//!
//! Synchronous functions over plain data. It never reads the process's environment or directory (the realm of the caller comes with each
//! call), never opens a vault, never starts a daemon or a thread, and no panic of it reaches Node. A secret is copied once into the value
//! handed to JavaScript and wiped on this side at once.
#![allow(unsafe_code, reason = "what napi's macros expand to; nothing here is written unsafe")]
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

pub mod call_context;
mod catch_panic;
pub mod get;
pub mod manifest;
pub mod reply;
pub mod source;
pub mod status;

use keyrack_core::ErrorCode;
use napi_derive::napi;

/// The release this addon is of.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Every error code this build knows.
#[napi]
pub fn error_codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(ErrorCode::as_str).collect()
}
