//! Tests of the operations as a library: the prompts and their order, and the state after a failure
//! of a later step.
#![allow(clippy::unwrap_used, reason = "a test that fails there says where")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")]

mod fake_prompts;
mod set;
mod unlock;
