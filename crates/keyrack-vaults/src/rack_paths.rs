//! Where an owner's files are: every path under `$HOME/.rhachet/keyrack`, in one place.
//!
//! Only names paths. It never looks at the disk, and no other module of this crate joins one of these paths itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use keyrack_core::{Error, ErrorCode, Owner, Slug};

/// The files of one owner in one home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackPaths {
    home: PathBuf,
    owner: Owner,
}

impl RackPaths {
    /// The racks of `owner` below `home`, which is the value of `HOME`.
    ///
    /// # Errors
    /// [`ErrorCode::NoHome`] when it is unset, empty, or not absolute.
    pub fn new(home: Option<&OsStr>, owner: Owner) -> Result<Self, Error> {
        let no_home = |message: &str| {
            Err(Error::new(ErrorCode::NoHome, message)
                .hint("set HOME to the absolute path of your home directory"))
        };
        match home.map(Path::new) {
            None => no_home("HOME is not set"),
            Some(path) if path.as_os_str().is_empty() => no_home("HOME is empty"),
            Some(path) if !path.is_absolute() => {
                no_home(&format!("HOME is not an absolute path: {}", path.display()))
            }
            Some(path) => Ok(RackPaths { home: path.to_owned(), owner }),
        }
    }

    /// `$HOME`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whose racks these are.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// `~/.ssh`.
    pub fn ssh_dir(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// `~/.rhachet/keyrack`, the directory everything of keyrack's is in, for all owners.
    pub fn dir(&self) -> PathBuf {
        self.home.join(".rhachet").join("keyrack")
    }

    /// The encrypted host manifest: `keyrack.host.age` for the default owner, else `keyrack.host.<owner>.age`.
    pub fn manifest_path(&self) -> PathBuf {
        self.dir().join(self.manifest_name())
    }

    /// The host manifest's own name for itself: its path with `~` in place of HOME.
    pub fn manifest_uri(&self) -> String {
        format!("~/.rhachet/keyrack/{}", self.manifest_name())
    }

    fn manifest_name(&self) -> String {
        match self.owner.name() {
            None => "keyrack.host.age".to_owned(),
            Some(name) => format!("keyrack.host.{name}.age"),
        }
    }

    /// Whose host manifest a file of [`RackPaths::dir`] is, by its name; `None` for any other file.
    pub fn owner_of(name: &str) -> Option<Owner> {
        match name.strip_prefix("keyrack.host")?.strip_suffix("age")? {
            "." => Some(Owner::DEFAULT),
            named => named.strip_prefix('.')?.strip_suffix('.')?.parse().ok(),
        }
    }

    /// The directory of the inventory's markers.
    pub fn inventory_dir(&self) -> PathBuf {
        self.dir().join("inventory").join(self.owner_segment())
    }

    /// The marker that says a key was set.
    pub fn inventory_path(&self, slug: &Slug) -> PathBuf {
        self.inventory_dir().join(format!("{}.stocked", slug.hash16()))
    }

    /// The directory of the vault os.secure.
    pub fn secure_dir(&self) -> PathBuf {
        self.dir().join("vault").join("os.secure").join(self.owner_segment())
    }

    /// The file of one key in os.secure.
    pub fn secure_path(&self, slug: &Slug) -> PathBuf {
        self.secure_dir().join(format!("{}.age", slug.hash16()))
    }

    /// The one file of the vault os.direct.
    pub fn direct_path(&self) -> PathBuf {
        self.dir().join("vault").join("os.direct").join(self.owner_segment()).join("keyrack.direct.json")
    }

    /// The paths of identities that were named once for this owner.
    pub fn identities_path(&self) -> PathBuf {
        self.dir().join(match self.owner.name() {
            None => "keyrack.identities".to_owned(),
            Some(name) => format!("keyrack.identities.{name}"),
        })
    }

    /// What writers of this owner's files lock. Never unlinked: a lock on an unlinked file excludes nobody.
    pub fn lock_path(&self) -> PathBuf {
        self.dir().join(match self.owner.name() {
            None => ".lock".to_owned(),
            Some(name) => format!(".lock.{name}"),
        })
    }

    fn owner_segment(&self) -> String {
        format!("owner={}", self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn racks(owner: &str) -> RackPaths {
        RackPaths::new(Some(OsStr::new("/home/u")), owner.parse().unwrap()).unwrap()
    }

    #[test]
    fn paths_are_those_of_the_files_in_use() {
        let slug = Slug::parse("testorg.test.API_KEY").unwrap();
        let default = racks("default");
        let named = racks("ehmpath");
        let dotted = racks("R2.D2");
        for racks in [&default, &named, &dotted] {
            assert_eq!(RackPaths::owner_of(&racks.manifest_name()).as_ref(), Some(racks.owner()));
        }
        for name in
            ["keyrack.host..age", "keyrack.hostage", "keyrack.host._A.age", "keyrack.host.age.tmp", "x"]
        {
            assert_eq!(RackPaths::owner_of(name), None, "{name}");
        }
        for (path, text) in [
            (default.manifest_path(), "/home/u/.rhachet/keyrack/keyrack.host.age"),
            (named.manifest_path(), "/home/u/.rhachet/keyrack/keyrack.host.ehmpath.age"),
            (
                default.inventory_path(&slug),
                "/home/u/.rhachet/keyrack/inventory/owner=default/327f51743887d75c.stocked",
            ),
            (
                named.secure_path(&slug),
                "/home/u/.rhachet/keyrack/vault/os.secure/owner=ehmpath/327f51743887d75c.age",
            ),
            (
                default.direct_path(),
                "/home/u/.rhachet/keyrack/vault/os.direct/owner=default/keyrack.direct.json",
            ),
        ] {
            assert_eq!(path, Path::new(text));
        }
        assert_eq!(default.manifest_uri(), "~/.rhachet/keyrack/keyrack.host.age");
        assert_eq!(named.manifest_uri(), "~/.rhachet/keyrack/keyrack.host.ehmpath.age");
        assert_ne!(default.lock_path(), named.lock_path());
        assert_ne!(default.identities_path(), named.identities_path());
    }

    #[test]
    fn a_home_is_required() {
        for home in [None, Some(OsStr::new("")), Some(OsStr::new("relative/home"))] {
            assert_eq!(RackPaths::new(home, Owner::DEFAULT).unwrap_err().code, ErrorCode::NoHome, "{home:?}");
        }
    }
}
