//! The operations as a library: what is asked of a person and when, and what a failure at a later step leaves.
#![allow(clippy::unwrap_used, reason = "a test that fails there says where")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")]

mod fake_prompts;
mod set;
mod unlock;
