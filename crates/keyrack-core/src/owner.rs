//! Owners: whose rack it is. An owner's name stands in file and socket names, so its grammar is narrow.

use std::fmt;
use std::str::FromStr;

use crate::error::{ErrorCode, Problem};

/// The owner of a rack: the default one, or a named one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Option<String>);

impl Owner {
    /// The default owner; `default` means the same everywhere.
    pub const DEFAULT: Owner = Owner(None);

    /// The name, or `None` for the default owner.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The name, `default` included: the word in directory names (`owner=default`) and in what people read.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("default")
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Owner {
    type Err = Problem;

    /// `^[a-z0-9][a-z0-9_-]*$`, at most 64 bytes: nothing that could leave a directory or be read as another part of a
    /// socket's name. Fails with [`ErrorCode::BadOwner`].
    fn from_str(text: &str) -> Result<Self, Problem> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = text.len() <= 64
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|b| plain(b) || b == b'_' || b == b'-');
        match (ok, text) {
            (true, "default") => Ok(Owner(None)),
            (true, name) => Ok(Owner(Some(name.to_owned()))),
            (false, other) => Err(Problem::new(
                ErrorCode::BadOwner,
                format!(
                    "invalid owner {other:?}: must begin with a-z or 0-9 and hold only a-z, 0-9, _ and -"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        assert_eq!("default".parse::<Owner>().unwrap(), Owner::DEFAULT);
        assert_eq!("ehmpath".parse::<Owner>().unwrap().name(), Some("ehmpath"));
        for bad in ["", ".", "..", "../x", "a/b", "A", "-a", "_a", "a.b", "a b", "é", "a\n", &"a".repeat(65)]
        {
            assert_eq!(bad.parse::<Owner>().unwrap_err().code, ErrorCode::BadOwner, "{bad:?}");
        }
    }
}
