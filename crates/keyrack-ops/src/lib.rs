//! Operations of the commands that change something, and of those that only the command line has:
//! client and vaults together, with prompts through a trait.
//!
//! The library never prints, never exits and never reads a terminal, the environment or a clock.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

pub mod context;
pub mod credential;
mod declaration;
pub mod del;
pub mod doctor;
mod evict;
pub mod fill;
pub mod firewall;
pub mod get;
pub mod init;
mod input;
pub mod list;
mod locked_file;
pub mod prompts;
pub mod recipient;
mod repo;
mod repo_manifest_edit;
pub mod run;
pub mod set;
pub mod types;
pub mod unlock;

pub use context::{OpContext, owners};
pub use keyrack_core::set_rule::MAX_SECRET;
pub use prompts::{NoPrompts, Prompts, prompt_needed};
