//! Flags that several commands share.
//!
//! The structs have no doc comments: clap would print them as the description of every command that
//! flattens them.

use std::path::PathBuf;

use clap::Args;
use keyrack_core::{Error, Owner};
use keyrack_ops::OpContext;

use crate::app::App;

// Selects the rack.
#[derive(Args, Debug, Default)]
pub(crate) struct OwnerFlags {
    /// Whose rack: the default one if not given
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// The same as --owner
    #[arg(long = "for", value_name = "OWNER")]
    pub(crate) owner_for: Option<String>,
}

impl OwnerFlags {
    /// Returns the owner as given, if any. `--owner` wins over `--for`.
    pub(crate) fn name(&self) -> Option<&String> {
        self.owner.as_ref().or(self.owner_for.as_ref())
    }

    /// Returns the owner of these flags, else of the flags before the command, else the default one.
    pub(crate) fn resolve(&self, app: &App) -> Result<Owner, Error> {
        app.owner(self.name())
    }
}

// Selects and opens the rack, and formats the answer.
#[derive(Args, Debug)]
pub(crate) struct RackFlags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// An ssh key to open the rack with, tried first; may be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) prikey: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl RackFlags {
    /// Runs an operation on the rack.
    pub(crate) fn operate<T>(
        &self,
        app: &App,
        operation: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        app.operate(self.owner.resolve(app)?, &self.prikey, operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_wins_over_for() {
        for (owner, owner_for, name) in
            [(None, None, None), (Some("a"), Some("b"), Some("a")), (None, Some("b"), Some("b"))]
        {
            let flags = OwnerFlags { owner: owner.map(Into::into), owner_for: owner_for.map(Into::into) };
            assert_eq!(flags.name().map(String::as_str), name);
        }
    }
}
