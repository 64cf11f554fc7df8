//! The vaults against files: those of others, those of killed runs, broken ones, and those of two
//! at once.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")]

mod binding;
mod concurrency;
mod files;
mod identities;
mod interop;
mod recipient_set;
mod rig;
mod vaults;
