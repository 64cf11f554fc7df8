//! What the changing commands do: client and vaults together, with a person asked through a trait.
//!
//! The library never prints, never exits and never reads a terminal, the environment or a clock.

mod declare;
pub mod del;
pub mod doctor;
pub mod fill;
pub mod firewall;
pub mod get;
pub mod init;
pub mod init_guide;
pub mod list;
pub mod outside;
pub mod prompts;
pub mod recipient;
mod repo;
mod repo_file;
mod repo_manifest_edit;
pub mod set;
pub mod types;
pub mod unlock;

pub use keyrack_vaults::armor::MAX_SECRET;
pub use outside::{Outside, owners};
pub use prompts::{Nobody, Prompts, prompt_needed};
