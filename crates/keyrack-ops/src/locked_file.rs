//! Files of a repository, which are not secret and which others write too. They are replaced
//! atomically with their mode kept, under a lock on their directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyrack_core::{Error, ErrorCode};
use keyrack_sys::fs::lock::lock_exclusive;

/// Longest wait for another process. Holders need milliseconds.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A file that no other keyrack process changes until this is dropped.
pub(crate) struct LockedFile {
    path: PathBuf,
    dir: File,
}

impl LockedFile {
    /// Locks the file's directory, and creates it if it is missing. A symbolic link is followed, so
    /// that it stays a link.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(|error| io_error("make", parent, &error))?;
        let dir = File::open(parent).map_err(|error| io_error("open", parent, &error))?;
        lock_exclusive(&dir, MAX_WAIT).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => {
                let message = format!("{} has been locked for {} s", parent.display(), MAX_WAIT.as_secs());
                Error::new(ErrorCode::TimedOut, message)
            }
            _ => io_error("lock", parent, &error),
        })?;
        Ok(LockedFile { path, dir })
    }

    /// Text of the file; `None` if it does not exist.
    pub(crate) fn read(&self) -> Result<Option<String>, Error> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &self.path, &error)),
        }
    }

    /// Replaces the file atomically: readers see the old text or the new one.
    pub(crate) fn write(&self, text: &str) -> Result<(), Error> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.path.with_file_name(format!(".{name}.keyrack-{}", std::process::id()));
        self.replace(&temporary, text).map_err(|error| {
            let _ = fs::remove_file(&temporary);
            io_error("write", &self.path, &error)
        })
    }

    fn replace(&self, temporary: &Path, text: &str) -> io::Result<()> {
        let mode = match fs::metadata(&self.path) {
            Ok(found) => Some(found.permissions().mode() & 0o7777),
            Err(_) => None,
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(temporary)?;
        file.write_all(text.as_bytes())?;
        if let Some(mode) = mode {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        self.dir.sync_all()
    }
}

fn io_error(action: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_keeps_mode_and_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real.yml");
        let link = dir.path().join("link.yml");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.yml", &link).unwrap();
        let file = LockedFile::lock(&link).unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some("old"));
        file.write("new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn lock_creates_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = LockedFile::lock(&dir.path().join("a/b/k.yml")).unwrap();
        assert_eq!(file.read().unwrap(), None);
        file.write("x\n").unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some("x\n"));
    }
}
