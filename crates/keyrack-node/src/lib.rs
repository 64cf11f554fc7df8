//! The Node addon of keyrack: a thin, typed mapping over `keyrack-client`.
//!
//! All functions are synchronous and take and return plain data. The addon never reads the
//! process's environment or working directory (the caller passes both), opens no vault, starts no
//! daemon and no thread, and lets no panic reach Node. A secret is copied once, into the value that
//! JavaScript gets, and wiped on this side at once.
#![allow(unsafe_code, reason = "the expansion of napi's macros; no unsafe code is written here")]
#![allow(clippy::needless_pass_by_value, reason = "napi passes arguments by value")]

mod attempts;
pub mod caches;
mod call_context;
mod catch_panic;
pub mod get;
pub mod manifest;
pub mod source;
pub mod status;

use keyrack_core::ErrorCode;
use napi_derive::napi;

/// Returns the version of this addon.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Returns every error code that this build knows.
#[napi]
pub fn error_codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(ErrorCode::as_str).collect()
}
