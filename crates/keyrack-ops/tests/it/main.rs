//! The operations as a library: what is asked of a person and when, and what a failure at a later step leaves.
#![allow(clippy::unwrap_used, reason = "a test that fails there says where")]

mod fake_prompts;
mod set;
mod unlock;
