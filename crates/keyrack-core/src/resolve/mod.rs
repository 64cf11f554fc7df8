//! Resolution of what the caller typed to slugs. Every command uses it.
//!
//! A full slug obeys the same rules as a bare name: its org must be the manifest's or the
//! machine's, its env must agree with `--env`, and a `sudo` key is only found by a query for
//! `sudo`.

mod errors;
mod key;
mod keys;
mod query;
#[cfg(test)]
mod tests;

pub use key::{resolve_anywhere, resolve_key};
pub use keys::{relock_slugs, repo_keys, unlock_slugs};
pub use query::{KeyQuery, Operation};
