//! Client of keyrackd: connecting, starting, get, status, relock, source; reading `keyrack.yml`;
//! rendering of results.
//!
//! The library of both the CLI and the Node addon. Everything that a call depends on is in its
//! [`Context`]: this crate never reads the process's environment or working directory, never
//! prints, exits or reads a terminal, opens no vault and runs no async code.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

pub mod address;
pub mod context;
pub mod daemon;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod get;
pub mod inventory;
pub mod manifest;
pub mod relock;
pub mod render;
pub mod sandbox;
pub mod secret;
pub mod session;
pub mod session_cache;
pub mod source;
pub mod status;
pub mod transport;

pub use address::RackAddress;
pub use context::{Context, Environment};
pub use daemon::Daemon;
pub use secret::Secret;
pub use session::Session;
