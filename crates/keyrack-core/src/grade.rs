//! Grades: how well a key is protected, and how long its credential is valid. A grade never
//! degrades. This module defines "weaker".

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mechanism::Mechanism;
use crate::vault_id::VaultId;

/// Protection of the secret where it is stored. Stronger first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// Only a pointer is stored; the secret is elsewhere.
    Reference,
    /// The stored secret is encrypted.
    Encrypted,
    /// The stored secret is readable.
    Plaintext,
}

/// Validity of the credential itself. Stronger first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurationGrade {
    /// It is never stored.
    Transient,
    /// It expires.
    Ephemeral,
    /// It is valid until it is revoked.
    Permanent,
}

/// Grade of a key, on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grade {
    /// Protection of the stored secret.
    pub protection: Protection,
    /// Validity of the credential.
    pub duration: DurationGrade,
}

impl Protection {
    /// Name in files and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Protection::Reference => "reference",
            Protection::Encrypted => "encrypted",
            Protection::Plaintext => "plaintext",
        }
    }

    /// Protection of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Protection::Reference, Protection::Encrypted, Protection::Plaintext]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

impl DurationGrade {
    /// Name in files and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            DurationGrade::Transient => "transient",
            DurationGrade::Ephemeral => "ephemeral",
            DurationGrade::Permanent => "permanent",
        }
    }

    /// Duration grade of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [DurationGrade::Transient, DurationGrade::Ephemeral, DurationGrade::Permanent]
            .into_iter()
            .find(|d| d.as_str() == text)
    }
}

impl Grade {
    /// Grade of a key in this vault with this mechanism. An unknown vault counts as the weakest.
    pub fn of(vault: &VaultId, mech: &Mechanism) -> Self {
        let protection = match vault {
            VaultId::AwsConfig => Protection::Reference,
            VaultId::OsSecure | VaultId::OsDaemon | VaultId::OnePassword | VaultId::AwsParams => {
                Protection::Encrypted
            }
            VaultId::OsEnvvar | VaultId::OsDirect | VaultId::GithubSecrets | VaultId::Other(_) => {
                Protection::Plaintext
            }
        };
        let duration = match (vault, mech) {
            (VaultId::OsDaemon, _) => DurationGrade::Transient,
            (_, mech) if mech.is_ephemeral() => DurationGrade::Ephemeral,
            _ => DurationGrade::Permanent,
        };
        Grade { protection, duration }
    }

    /// Returns `true` if this grade is weaker than `other` on either axis.
    pub fn is_weaker_than(self, other: Grade) -> bool {
        self.protection > other.protection || self.duration > other.duration
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.protection.as_str(), self.duration.as_str())
    }
}

/// Minimum grade that a `keyrack.yml` entry requires. An axis that it does not name is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MinimumGrade {
    /// Weakest protection that is accepted.
    pub protection: Option<Protection>,
    /// Weakest duration grade that is accepted.
    pub duration: Option<DurationGrade>,
}

impl MinimumGrade {
    /// Parses the shorthand of a manifest entry: `encrypted`, `ephemeral`, or both with a comma.
    /// `Err` is the first unknown word: an unreadable requirement must not count as none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut minimum = MinimumGrade::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if let Some(protection) = Protection::parse(word) {
                minimum.protection = Some(protection);
            } else if let Some(duration) = DurationGrade::parse(word) {
                minimum.duration = Some(duration);
            } else {
                return Err(word.to_owned());
            }
        }
        Ok(minimum)
    }

    /// Returns `true` if `grade` is high enough.
    pub fn is_met_by(self, grade: Grade) -> bool {
        self.protection.is_none_or(|least| grade.protection <= least)
            && self.duration.is_none_or(|least| grade.duration <= least)
    }
}

impl fmt::Display for MinimumGrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self
            .protection
            .map(Protection::as_str)
            .into_iter()
            .chain(self.duration.map(DurationGrade::as_str))
            .collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_P: [Protection; 3] = [Protection::Reference, Protection::Encrypted, Protection::Plaintext];
    const ALL_D: [DurationGrade; 3] =
        [DurationGrade::Transient, DurationGrade::Ephemeral, DurationGrade::Permanent];

    #[test]
    fn is_weaker_than_compares_each_axis() {
        for (a, pa) in ALL_P.into_iter().enumerate() {
            for (b, da) in ALL_D.into_iter().enumerate() {
                for (c, pb) in ALL_P.into_iter().enumerate() {
                    for (d, db) in ALL_D.into_iter().enumerate() {
                        let left = Grade { protection: pa, duration: da };
                        let right = Grade { protection: pb, duration: db };
                        assert_eq!(left.is_weaker_than(right), a > c || b > d, "{left} against {right}");
                    }
                }
            }
        }
    }

    #[test]
    fn grade_follows_from_vault_and_mechanism() {
        use Mechanism::{AwsSso, GithubApp, Reference, Replica, Session};
        for (vault, mech, grade) in [
            (VaultId::OsEnvvar, Replica, "plaintext,permanent"),
            (VaultId::OsEnvvar, GithubApp, "plaintext,ephemeral"),
            (VaultId::OsDirect, Replica, "plaintext,permanent"),
            (VaultId::OsSecure, Replica, "encrypted,permanent"),
            (VaultId::OsSecure, GithubApp, "encrypted,ephemeral"),
            (VaultId::OsDaemon, Session, "encrypted,transient"),
            (VaultId::OsDaemon, Replica, "encrypted,transient"),
            (VaultId::OnePassword, Reference, "encrypted,permanent"),
            (VaultId::AwsConfig, AwsSso, "reference,ephemeral"),
            (VaultId::AwsParams, Replica, "encrypted,permanent"),
            (VaultId::Other("x".into()), Mechanism::Other("y".into()), "plaintext,permanent"),
        ] {
            assert_eq!(Grade::of(&vault, &mech).to_string(), grade, "{vault} {mech}");
        }
    }

    #[test]
    fn minimum_grade_accepts_equal_or_stronger_grades() {
        let encrypted = MinimumGrade::parse("encrypted").unwrap();
        let both = MinimumGrade::parse(" encrypted , ephemeral ").unwrap();
        assert_eq!(MinimumGrade::parse("").unwrap(), MinimumGrade::default());
        assert_eq!(MinimumGrade::parse("encrypted,forever").unwrap_err(), "forever");
        let direct = Grade::of(&VaultId::OsDirect, &Mechanism::Replica);
        let secure = Grade::of(&VaultId::OsSecure, &Mechanism::Replica);
        let daemon = Grade::of(&VaultId::OsDaemon, &Mechanism::Session);
        assert!(!encrypted.is_met_by(direct) && encrypted.is_met_by(secure));
        assert!(!both.is_met_by(secure) && both.is_met_by(daemon));
        assert!(MinimumGrade::default().is_met_by(direct));
    }
}
