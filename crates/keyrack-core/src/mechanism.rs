//! Mechanisms: how a secret is obtained from what a vault stores. The list is open, so that an
//! unknown one in a file does not affect the others.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Way to obtain a secret from what a vault stores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// The vault stores the secret itself.
    Replica,
    /// The vault stores a pointer to the secret.
    Reference,
    /// Only the daemon has the secret.
    Session,
    /// A short-lived token, minted from a GitHub App's key.
    GithubApp,
    /// An AWS SSO profile.
    AwsSso,
    /// A GitHub OIDC token.
    GithubOidc,
    /// Unknown to this build, kept as it was read.
    Other(String),
}

impl Mechanism {
    /// The six that this build knows.
    pub const ALL: [Mechanism; 6] = [
        Mechanism::Replica,
        Mechanism::Reference,
        Mechanism::Session,
        Mechanism::GithubApp,
        Mechanism::AwsSso,
        Mechanism::GithubOidc,
    ];

    /// Name in files and flags.
    pub fn as_str(&self) -> &str {
        match self {
            Mechanism::Replica => "PERMANENT_VIA_REPLICA",
            Mechanism::Reference => "PERMANENT_VIA_REFERENCE",
            Mechanism::Session => "EPHEMERAL_VIA_SESSION",
            Mechanism::GithubApp => "EPHEMERAL_VIA_GITHUB_APP",
            Mechanism::AwsSso => "EPHEMERAL_VIA_AWS_SSO",
            Mechanism::GithubOidc => "EPHEMERAL_VIA_GITHUB_OIDC",
            Mechanism::Other(text) => text,
        }
    }

    /// Parses a mechanism. The old short names are accepted, but never written.
    pub fn parse(text: &str) -> Self {
        match text {
            "PERMANENT_VIA_REPLICA" | "REPLICA" => Mechanism::Replica,
            "PERMANENT_VIA_REFERENCE" | "REFERENCE" => Mechanism::Reference,
            "EPHEMERAL_VIA_SESSION" | "SESSION" => Mechanism::Session,
            "EPHEMERAL_VIA_GITHUB_APP" | "GITHUB_APP" => Mechanism::GithubApp,
            "EPHEMERAL_VIA_AWS_SSO" | "AWS_SSO" => Mechanism::AwsSso,
            "EPHEMERAL_VIA_GITHUB_OIDC" | "GITHUB_OIDC" => Mechanism::GithubOidc,
            other => Mechanism::Other(other.to_owned()),
        }
    }

    /// Returns `true` if the credential expires. An unknown mechanism counts as permanent, the
    /// weaker one.
    pub fn is_ephemeral(&self) -> bool {
        matches!(self, Mechanism::Session | Mechanism::GithubApp | Mechanism::AwsSso | Mechanism::GithubOidc)
    }

    /// Description for a user who chooses.
    pub fn describe(&self) -> &'static str {
        match self {
            Mechanism::Replica => "a static secret: an api key, a password",
            Mechanism::Reference => "a pointer to a secret in another vault",
            Mechanism::Session => "kept by the daemon for this login session only",
            Mechanism::GithubApp => "short-lived tokens of a github app",
            Mechanism::AwsSso => "an aws sso profile",
            Mechanism::GithubOidc => "github oidc tokens",
            Mechanism::Other(_) => "unknown to this version of keyrack",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Mechanism {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Mechanism {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Mechanism::parse(&String::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanism_parses_its_name_and_old_name() {
        for mech in Mechanism::ALL {
            assert_eq!(Mechanism::parse(mech.as_str()), mech);
            let (_, short) = mech.as_str().split_once("_VIA_").unwrap();
            assert_eq!(Mechanism::parse(short), mech, "old name {short}");
            assert_eq!(mech.is_ephemeral(), mech.as_str().starts_with("EPHEMERAL"));
        }
        assert_eq!(Mechanism::parse("NEW"), Mechanism::Other("NEW".into()));
    }
}
