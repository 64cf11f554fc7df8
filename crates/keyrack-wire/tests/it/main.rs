//! The wire as its two sides use it: only the public API, against recorded messages and serde_json as the oracle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;
mod legacy_replies;
mod legacy_requests;
mod native;
mod support;
