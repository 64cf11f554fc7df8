//! Organizations. `@all` is the machine itself, `@this` the org that `keyrack.yml` names.

use std::fmt;
use std::str::FromStr;

use crate::error::ErrorCode;
use crate::name_error::NameError;

/// Org as a user types it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Org {
    /// `@all`: the key belongs to the machine and not to a repository.
    Machine,
    /// `@this`: the org of the repository's manifest. Never stored.
    This,
    /// Any other name.
    Named(String),
}

impl Org {
    /// Text of [`Org::Machine`].
    pub const MACHINE: &'static str = "@all";
    /// Text of [`Org::This`].
    pub const THIS: &'static str = "@this";

    /// Returns `true` if today's TypeScript reads the name in a host manifest:
    /// `^[a-z][a-z0-9_-]*$`.
    pub fn is_storable_name(name: &str) -> bool {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
            && name.len() <= 128
    }

    /// Text in slugs and flags.
    pub fn as_str(&self) -> &str {
        match self {
            Org::Machine => Self::MACHINE,
            Org::This => Self::THIS,
            Org::Named(name) => name,
        }
    }
}

impl fmt::Display for Org {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Org {
    type Err = NameError;

    /// Parses any name without dots, blanks and control characters, as `keyrack.yml` files in use
    /// have such. It must not contain `=`, which may precede a secret.
    ///
    /// # Errors
    /// [`ErrorCode::BadOrg`].
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            Self::MACHINE => Ok(Org::Machine),
            Self::THIS => Ok(Org::This),
            name if !name.is_empty()
                && name.len() <= 128
                && !name.starts_with(['@', '-'])
                && !name
                    .chars()
                    .any(|c| matches!(c, '.' | '/' | '=') || c.is_whitespace() || c.is_control()) =>
            {
                Ok(Org::Named(name.to_owned()))
            }
            _ => Err(NameError::new(
                ErrorCode::BadOrg,
                "invalid org: must be a name such as acme, @this (the org of keyrack.yml) or @all (this machine)",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn org_parses_sigils_and_names() {
        assert_eq!("@all".parse::<Org>().unwrap(), Org::Machine);
        assert_eq!("@this".parse::<Org>().unwrap(), Org::This);
        assert_eq!("Acme".parse::<Org>().unwrap(), Org::Named("Acme".into()));
        for bad in ["", "@else", "a.b", "a b", "a/b", "A=hunter2", "a\u{1b}[31m", "--help", "-a"] {
            assert_eq!(bad.parse::<Org>().unwrap_err().code, ErrorCode::BadOrg, "{bad:?}");
        }
    }

    #[test]
    fn is_storable_name_accepts_what_typescript_reads() {
        for (name, ok) in
            [("acme", true), ("a-b_9", true), ("Acme", false), ("9a", false), ("", false), ("a.b", false)]
        {
            assert_eq!(Org::is_storable_name(name), ok, "{name:?}");
        }
    }
}
