//! Owners of racks. An owner's name is part of file and socket names, so its grammar is narrow.

use std::fmt;
use std::str::FromStr;

use crate::error::ErrorCode;
use crate::name_error::NameError;

/// Owner of a rack: the default one, or a named one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Option<String>);

impl Owner {
    /// The default owner. The name `default` means the same.
    pub const DEFAULT: Owner = Owner(None);

    /// Name, or `None` for the default owner.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Name, with `default` for the default owner, as in directory names (`owner=default`) and
    /// messages.
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
    type Err = NameError;

    /// Parses `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$` without `..`: the names that today's racks have,
    /// and none that could leave a directory. Case matters.
    ///
    /// # Errors
    /// [`ErrorCode::BadOwner`].
    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let ok = text.len() <= 64
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && text.bytes().all(word)
            && !text.contains("..");
        match (ok, text) {
            (true, "default") => Ok(Owner(None)),
            (true, name) => Ok(Owner(Some(name.to_owned()))),
            (false, _) => Err(NameError::new(
                ErrorCode::BadOwner,
                "invalid owner: must begin with a letter or digit, hold only letters, digits, _, - and single dots, and \
                 have at most 64 characters",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_parses_names_that_fit_in_paths() {
        assert_eq!("default".parse::<Owner>().unwrap(), Owner::DEFAULT);
        assert_eq!("ehmpath".parse::<Owner>().unwrap().name(), Some("ehmpath"));
        for ok in ["Alice", "casey", "a.b", "R2.d2-x_Y", "9", "a.", &"a".repeat(64)] {
            assert_eq!(ok.parse::<Owner>().unwrap().name(), Some(ok));
        }
        assert_ne!("Default".parse::<Owner>().unwrap(), Owner::DEFAULT, "case counts");
        for bad in
            ["", ".", "..", "../x", "a/b", "-a", "_a", ".a", "a..b", "a b", "é", "a\n", &"a".repeat(65)]
        {
            assert_eq!(bad.parse::<Owner>().unwrap_err().code, ErrorCode::BadOwner, "{bad:?}");
        }
    }
}
