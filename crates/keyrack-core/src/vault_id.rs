//! Vault ids. The list is open, so that an unknown one in a file does not affect the others.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mechanism::Mechanism;

/// Id of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VaultId {
    /// Variables of the caller's environment. Read-only.
    OsEnvvar,
    /// A plain file.
    OsDirect,
    /// An age file.
    OsSecure,
    /// Memory of the daemon only.
    OsDaemon,
    /// Items of 1Password.
    OnePassword,
    /// An AWS profile.
    AwsConfig,
    /// AWS SSM Parameter Store.
    AwsParams,
    /// GitHub repository secrets. Write-only.
    GithubSecrets,
    /// Unknown to this build, kept as it was read.
    Other(String),
}

impl VaultId {
    /// The eight that this build knows, in the order in which messages name them.
    pub const ALL: [VaultId; 8] = [
        VaultId::OsDirect,
        VaultId::OsSecure,
        VaultId::OsDaemon,
        VaultId::OsEnvvar,
        VaultId::OnePassword,
        VaultId::AwsConfig,
        VaultId::AwsParams,
        VaultId::GithubSecrets,
    ];

    /// Name in files, in flags and on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            VaultId::OsEnvvar => "os.envvar",
            VaultId::OsDirect => "os.direct",
            VaultId::OsSecure => "os.secure",
            VaultId::OsDaemon => "os.daemon",
            VaultId::OnePassword => "1password",
            VaultId::AwsConfig => "aws.config",
            VaultId::AwsParams => "aws.params",
            VaultId::GithubSecrets => "github.secrets",
            VaultId::Other(text) => text,
        }
    }

    /// Parses a vault id.
    pub fn parse(text: &str) -> Self {
        VaultId::ALL
            .into_iter()
            .find(|vault| vault.as_str() == text)
            .unwrap_or_else(|| VaultId::Other(text.to_owned()))
    }

    /// Mechanisms that a key in this vault can have.
    pub fn mechanisms(&self) -> &'static [Mechanism] {
        use Mechanism::{AwsSso, GithubApp, Reference, Replica, Session};
        match self {
            VaultId::OsEnvvar | VaultId::OsSecure | VaultId::AwsParams => &[Replica, GithubApp],
            VaultId::OsDirect => &[Replica],
            VaultId::OsDaemon => &[Session],
            VaultId::OnePassword => &[Replica, Reference, GithubApp],
            VaultId::AwsConfig => &[AwsSso],
            VaultId::GithubSecrets => &[GithubApp, Replica],
            VaultId::Other(_) => &[],
        }
    }
}

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for VaultId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for VaultId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(VaultId::parse(&String::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vault_id_round_trips_through_its_name() {
        for vault in VaultId::ALL {
            assert_eq!(VaultId::parse(vault.as_str()), vault);
            assert!(!vault.mechanisms().is_empty());
        }
        assert_eq!(VaultId::parse("os.keyring"), VaultId::Other("os.keyring".into()));
    }
}
