//! Names that keyrack's programs agree on: files, directories and environment variables.
//!
//! Pure: nothing here reads the disk or the environment. Client, daemon and vaults take every
//! shared name from here, so that no two of them can disagree.

mod rack;
mod runtime;
pub mod variables;

pub use rack::{DEFAULT_SSH_KEYS, RackPaths};
pub use runtime::{SocketName, fallback_runtime_dir, lock_path, login_runtime_dir, pid_path};
