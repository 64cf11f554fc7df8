//! Environments of keys. The set is closed: dots separate the parts of a slug, so a free-form env
//! would be ambiguous.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::name_error::NameError;
use crate::suggest::did_you_mean;

/// One of the six environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Env {
    /// Elevated keys: never in `keyrack.yml`, requested one by one, short-lived.
    Sudo,
    /// Production.
    Prod,
    /// Preparation, as close to production as possible.
    Prep,
    /// Automated tests.
    Test,
    /// Bound to no environment: answers a request for any env but `sudo`.
    All,
    /// Account that a system is launched from.
    Camp,
}

impl Env {
    /// Every env, in the order in which messages name them.
    pub const ALL: [Env; 6] = [Env::Sudo, Env::Prod, Env::Prep, Env::Test, Env::All, Env::Camp];

    /// Name in slugs, flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Env::Sudo => "sudo",
            Env::Prod => "prod",
            Env::Prep => "prep",
            Env::Test => "test",
            Env::All => "all",
            Env::Camp => "camp",
        }
    }
}

impl fmt::Display for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Env {
    type Err = NameError;

    /// Parses the name of an env.
    ///
    /// # Errors
    /// [`ErrorCode::BadEnv`].
    fn from_str(text: &str) -> Result<Self, NameError> {
        Env::ALL.into_iter().find(|env| env.as_str() == text).ok_or_else(|| {
            let known = Env::ALL.map(Env::as_str).join(", ");
            let error = NameError::new(ErrorCode::BadEnv, format!("invalid env: must be one of {known}"));
            NameError { hint: did_you_mean(text, Env::ALL.map(Env::as_str)), ..error }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_round_trips_through_its_name() {
        for env in Env::ALL {
            assert_eq!(env.as_str().parse::<Env>().unwrap(), env);
        }
        for bad in ["", "Test", "dev", "test ", "all.", "sudo\n"] {
            assert_eq!(bad.parse::<Env>().unwrap_err().code, ErrorCode::BadEnv, "{bad:?}");
        }
        assert_eq!("tset".parse::<Env>().unwrap_err().hint.unwrap(), "did you mean test?");
        assert_eq!("dev".parse::<Env>().unwrap_err().hint, None);
    }
}
