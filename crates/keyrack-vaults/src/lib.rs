//! Vaults of keyrack: one file for each vault, one for each mechanism, and what they share: age
//! cryptography, identities and the host manifest.
//!
//! Everything here blocks. Nothing here talks to the daemon or reads the environment, a clock or a
//! terminal: the caller passes them in. Secrets are only in memory that is wiped, and in the
//! vaults' files.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

pub mod age_file;
mod atomic;
pub mod audit;
mod binding;
#[cfg(test)]
mod crash_tests;
mod failpoint;
mod file_error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod inventory;
mod journal;
mod lock;
pub mod manifest_file;
pub mod mech;
pub mod os_direct;
pub mod os_envvar;
pub mod os_secure;
mod private_dir;
mod private_file;
pub mod recipient_file;
pub mod recipient_key;
pub mod recipient_set;
pub mod registry;
pub mod vault;

pub use identity::{Identities, IdentitySource, NoPassphrasePrompt, PassphrasePrompt};
pub use journal::lock_rack;
pub use keyrack_core::layout::RackPaths;
pub use lock::Lock;
pub use vault::{ResolvedSecret, Vault, VaultContext, VaultEntry};
