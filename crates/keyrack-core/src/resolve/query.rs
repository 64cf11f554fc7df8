//! A key as the caller typed it.

use crate::env::Env;
use crate::error::Error;
use crate::org::Org;
use crate::owner::Owner;
use crate::repo_manifest::RepoManifest;

/// Words of the user, and the repository in which they were typed.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    /// `--key`: a name, or a full slug `org.env.NAME` whose org may be `@this`.
    pub key: Option<&'a str>,
    /// `--env`.
    pub env: Option<&'a str>,
    /// `--org`; `None` means `@this`.
    pub org: Option<&'a str>,
    /// Owner of the rack, for the commands in errors.
    pub owner: &'a Owner,
    /// Manifest of the repository, if the caller is in one that has one.
    pub manifest: Option<&'a RepoManifest>,
}

impl KeyQuery<'_> {
    pub(super) fn env(&self) -> Result<Option<Env>, Error> {
        Ok(self.env.map(str::parse).transpose()?)
    }

    pub(super) fn org(&self) -> Result<Org, Error> {
        Ok(self.org.map_or(Ok(Org::This), str::parse)?)
    }
}

/// Operation that the key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read it.
    Get,
    /// Read it into a shell or a process.
    Source,
    /// Open its vault.
    Unlock,
    /// Remove it from the daemon.
    Relock,
    /// Store it.
    Set,
    /// Delete it.
    Del,
}

impl Operation {
    /// Name of the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Source => "source",
            Operation::Unlock => "unlock",
            Operation::Relock => "relock",
            Operation::Set => "set",
            Operation::Del => "del",
        }
    }

    /// Returns `true` if it changes what is stored. The key's org must be certain then: named by a
    /// manifest, or `@all`.
    pub(super) fn is_write(self) -> bool {
        matches!(self, Operation::Set | Operation::Del)
    }
}
