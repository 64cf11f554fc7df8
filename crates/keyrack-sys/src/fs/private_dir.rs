//! Private directories, checked by descriptor. An error never leaves anything created or changed,
//! and the last name of a path is never followed as a link.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, lstat};

use crate::fs::file::FileId;
use crate::user::{Uid, effective_uid};

/// Reason why a directory is not private.
#[derive(Debug)]
pub enum PrivateDirError {
    /// The path is empty.
    Empty,
    /// The path does not start with `/`.
    Relative,
    /// There is no such directory.
    Missing,
    /// The path names a file of another kind.
    NotADirectory,
    /// The path names a symbolic link.
    Symlink,
    /// The directory belongs to another user.
    NotOurs {
        /// That user.
        uid: Uid,
    },
    /// Other users may enter, read or write it.
    TooOpen {
        /// Its permission bits.
        mode: u32,
    },
    /// Any other error.
    Io(io::Error),
}

impl std::fmt::Display for PrivateDirError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::Relative => f.write_str("the path is not absolute"),
            Self::Missing => f.write_str("there is no such directory"),
            Self::NotADirectory => f.write_str("it is not a directory"),
            Self::Symlink => f.write_str("it is a symbolic link"),
            Self::NotOurs { uid } => write!(f, "it belongs to uid {uid}, not to uid {}", effective_uid()),
            Self::TooOpen { mode } => write!(f, "its mode is {mode:04o}, it must be 0700"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PrivateDirError {}

impl From<Errno> for PrivateDirError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::Missing,
            Errno::ENOTDIR => Self::NotADirectory,
            Errno::ELOOP => Self::Symlink,
            other => Self::Io(other.into()),
        }
    }
}

/// A directory held open that was, when opened, ours, mode 0700 or tighter, and no link.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
    fd: OwnedFd,
    id: FileId,
}

impl PrivateDir {
    /// Opens and checks the directory at an absolute path. Its ancestors may be links; it may not.
    ///
    /// # Errors
    /// The reason why it is not private.
    pub fn open(path: &Path) -> Result<Self, PrivateDirError> {
        if path.as_os_str().is_empty() {
            return Err(PrivateDirError::Empty);
        }
        if !path.is_absolute() {
            return Err(PrivateDirError::Relative);
        }
        let path = without_trailing_slashes(path);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| match errno {
            // O_DIRECTORY says the same of a file and of a link.
            Errno::ENOTDIR if is_link(path) => PrivateDirError::Symlink,
            other => other.into(),
        })?;
        let found = fstat(&fd)?;
        if Uid::from_raw(found.st_uid) != effective_uid() {
            return Err(PrivateDirError::NotOurs { uid: Uid::from_raw(found.st_uid) });
        }
        if found.st_mode & 0o077 != 0 {
            return Err(PrivateDirError::TooOpen { mode: found.st_mode & 0o7777 });
        }
        let id = FileId { dev: found.st_dev, ino: found.st_ino };
        Ok(Self { path: path.to_owned(), fd, id })
    }

    /// Makes the directory with mode 0700 if nothing is there (its parent must be), then opens and
    /// checks it.
    ///
    /// # Errors
    /// The reason why it is not private or could not be created.
    pub fn create_private(path: &Path) -> Result<Self, PrivateDirError> {
        if path.as_os_str().is_empty() {
            return Err(PrivateDirError::Empty);
        }
        if !path.is_absolute() {
            return Err(PrivateDirError::Relative);
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => match error.raw_os_error() {
                Some(errno) => Err(Errno::from_raw(errno).into()),
                None => Err(PrivateDirError::Io(error)),
            },
            _ => Self::open(path),
        }
    }

    /// Returns the path that it was opened at, without trailing slashes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }
}

impl AsFd for PrivateDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_link(path: &Path) -> bool {
    lstat(path).is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

/// `open` follows a last link if a slash comes after it.
fn without_trailing_slashes(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&b| b != b'/').map_or(1, |last| last + 1);
    Path::new(OsStr::from_bytes(&bytes[..end]))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn open_returns_an_error_for_each_kind_of_path() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::fs::create_dir(at("open")).unwrap();
        std::fs::set_permissions(at("open"), Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(at("group")).unwrap();
        std::fs::set_permissions(at("group"), Permissions::from_mode(0o710)).unwrap();
        DirBuilder::new().mode(0o700).create(at("good")).unwrap();
        symlink(at("good"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();

        let slashed = PathBuf::from(format!("{}//", at("link").display()));
        for (path, expected) in [
            (PathBuf::new(), "Empty"),
            (PathBuf::from("run/user"), "Relative"),
            (at("nothing"), "Missing"),
            (at("file"), "NotADirectory"),
            (at("file/below"), "NotADirectory"),
            (at("link"), "Symlink"),
            (slashed, "Symlink"),
            (at("dangling"), "Symlink"),
            (at("open"), "TooOpen { mode: 493 }"),
            (at("group"), "TooOpen { mode: 456 }"),
            (PathBuf::from(format!("/{}", "x".repeat(300))), "Io("),
        ] {
            let fault = PrivateDir::open(&path).unwrap_err();
            assert!(format!("{fault:?}").starts_with(expected), "{}: {fault:?}", path.display());
            assert!(!fault.to_string().is_empty());
        }
        assert!(!at("nothing").exists());
        let mode = std::fs::metadata(at("open")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "a refusal must not change the directory");
    }

    #[test]
    fn private_directory_opens_with_and_without_slashes() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("ours");
        let made = PrivateDir::create_private(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        let again = PrivateDir::create_private(&path).unwrap();
        let slashed = PrivateDir::open(Path::new(&format!("{}///", path.display()))).unwrap();
        assert_eq!(made.id(), again.id());
        assert_eq!(made.id(), slashed.id());
        assert_eq!(made.id(), FileId::of(&path).unwrap());
        assert_eq!(slashed.path(), path);
    }

    #[test]
    fn create_private_rejects_an_existing_open_directory() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("there");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(PrivateDir::create_private(&path), Err(PrivateDirError::TooOpen { mode: 0o777 })));
        assert!(matches!(PrivateDir::create_private(&path.join("a/b")), Err(PrivateDirError::Missing)));
        assert!(matches!(PrivateDir::create_private(Path::new("a")), Err(PrivateDirError::Relative)));
        assert!(matches!(PrivateDir::create_private(Path::new("")), Err(PrivateDirError::Empty)));
    }
}
