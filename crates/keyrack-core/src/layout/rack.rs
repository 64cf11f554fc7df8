//! Files of a rack: every path under `~/.rhachet/keyrack`, and the ssh keys that open it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorCode, Owner, Slug};

/// Names in `~/.ssh` that keyrack tries, in this order, if no private key is named. ECDSA keys
/// cannot open age files; they are in the list so that the error names them.
pub const DEFAULT_SSH_KEYS: [&str; 3] = ["id_ed25519", "id_rsa", "id_ecdsa"];

/// Files that client and vaults keep for one owner in one home: the host manifest, the vaults'
/// files and the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackPaths {
    home: PathBuf,
    owner: Owner,
}

impl RackPaths {
    /// Paths of the rack of `owner` below `home`, the value of `HOME`.
    ///
    /// # Errors
    /// [`ErrorCode::NoHome`] if it is unset, empty or not absolute.
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

    /// Home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Owner of the rack.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// `~/.ssh`.
    pub fn ssh_dir(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// `~/.rhachet/keyrack`, the directory of all racks of a home.
    pub fn dir(&self) -> PathBuf {
        self.home.join(".rhachet").join("keyrack")
    }

    /// Encrypted host manifest: `keyrack.host.age` for the default owner, else
    /// `keyrack.host.<owner>.age`.
    pub fn manifest_path(&self) -> PathBuf {
        self.dir().join(self.manifest_name())
    }

    /// Path of the host manifest with `~` for HOME, as the manifest itself names it.
    pub fn manifest_uri(&self) -> String {
        format!("~/.rhachet/keyrack/{}", self.manifest_name())
    }

    fn manifest_name(&self) -> String {
        match self.owner.name() {
            None => "keyrack.host.age".to_owned(),
            Some(name) => format!("keyrack.host.{name}.age"),
        }
    }

    /// Parses the file name of a host manifest in [`RackPaths::dir`] to its owner. Returns `None`
    /// for any other file.
    pub fn owner_of(name: &str) -> Option<Owner> {
        match name.strip_prefix("keyrack.host")?.strip_suffix("age")? {
            "." => Some(Owner::DEFAULT),
            named => named.strip_prefix('.')?.strip_suffix('.')?.parse().ok(),
        }
    }

    /// Directory of the inventory's markers.
    pub fn inventory_dir(&self) -> PathBuf {
        self.dir().join("inventory").join(self.owner_segment())
    }

    /// Marker that exists once a key was set.
    pub fn inventory_path(&self, slug: &Slug) -> PathBuf {
        self.inventory_dir().join(format!("{}.stocked", slug.hash16()))
    }

    /// Directory of the vault os.secure.
    pub fn secure_dir(&self) -> PathBuf {
        self.dir().join("vault").join("os.secure").join(self.owner_segment())
    }

    /// File of one key in os.secure.
    pub fn secure_path(&self, slug: &Slug) -> PathBuf {
        self.secure_dir().join(format!("{}.age", slug.hash16()))
    }

    /// File of the vault os.direct.
    pub fn direct_path(&self) -> PathBuf {
        self.dir().join("vault").join("os.direct").join(self.owner_segment()).join("keyrack.direct.json")
    }

    /// File that remembers which private keys opened this rack when `--prikey` named them.
    pub fn identities_path(&self) -> PathBuf {
        self.dir().join(match self.owner.name() {
            None => "keyrack.identities".to_owned(),
            Some(name) => format!("keyrack.identities.{name}"),
        })
    }

    /// Lock file of this owner's writers. It is never unlinked: a lock on an unlinked file excludes
    /// no other process.
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
    fn rack_paths_match_existing_files() {
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
    fn rack_paths_require_an_absolute_home() {
        for home in [None, Some(OsStr::new("")), Some(OsStr::new("relative/home"))] {
            assert_eq!(RackPaths::new(home, Owner::DEFAULT).unwrap_err().code, ErrorCode::NoHome, "{home:?}");
        }
    }
}
