//! Tests of the public API, against recorded messages and with serde_json as the oracle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")]

mod golden;
mod legacy_replies;
mod legacy_requests;
mod native_decode;
mod native_get;
mod native_limits;
mod support;
