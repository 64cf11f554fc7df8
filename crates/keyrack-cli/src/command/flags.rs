//! Flags that several commands share.
//!
//! The structs have no doc comments: clap would print them as the description of every command that
//! flattens them.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::get::GetOptions;
use keyrack_core::{Env, Error, Org, Owner};
use keyrack_ops::OpContext;

use crate::app::App;

// Selects the rack.
#[derive(Args, Debug, Default)]
pub(crate) struct OwnerFlags {
    /// Owner of the rack, if not the default one
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// Alias of --owner
    #[arg(long = "for", value_name = "OWNER")]
    pub(crate) owner_for: Option<String>,
}

impl OwnerFlags {
    /// Returns the owner as given, if any. `--owner` wins over `--for`.
    pub(crate) fn name(&self) -> Option<&String> {
        self.owner.as_ref().or(self.owner_for.as_ref())
    }

    /// Returns the owner of these flags, else of the flags before the command, else the default
    /// one.
    pub(crate) fn resolve(&self, app: &App) -> Result<Owner, Error> {
        app.owner(self.name())
    }
}

// Selects and opens the rack, and formats the answer.
#[derive(Args, Debug)]
pub(crate) struct RackFlags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// SSH key to open the rack with, tried first; repeatable
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

// Selects a daemon, and formats the answer.
#[derive(Args, Debug)]
pub(crate) struct DaemonFlags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

// Selects keys to read.
#[derive(Args, Debug)]
pub(crate) struct ReadFlags {
    /// Env of the key: sudo, prod, prep, test, all or camp; taken from keyrack.yml if unambiguous
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Org of the key: @this (the org of keyrack.yml) or @all (this machine)
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    /// Allow keys that look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
}

impl ReadFlags {
    pub(crate) fn env(&self) -> Result<Option<Env>, Error> {
        parse_env(self.env.as_deref())
    }

    pub(crate) fn org(&self) -> Result<Org, Error> {
        Ok(self.org.parse()?)
    }

    pub(crate) fn options(&self) -> GetOptions {
        read_options(self.allow_dangerous)
    }
}

// Unlocks what a read finds locked.
#[derive(Args, Debug)]
pub(crate) struct UnlockFlags {
    /// Unlock locked keys first
    #[arg(long)]
    pub(crate) unlock: bool,
    /// SSH key to unlock with, tried first; repeatable
    #[arg(long, value_name = "PATH", requires = "unlock")]
    pub(crate) prikey: Vec<PathBuf>,
}

/// Parses the value of an optional `--env`.
pub(crate) fn parse_env(env: Option<&str>) -> Result<Option<Env>, Error> {
    Ok(env.map(str::parse).transpose()?)
}

/// Returns the options of the commands that read keys.
pub(crate) fn read_options(allow_dangerous: bool) -> GetOptions {
    GetOptions { allow_dangerous, undeclared_is_absent: true }
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
