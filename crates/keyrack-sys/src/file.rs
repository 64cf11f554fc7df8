//! A file told apart by device and inode. Never by its name alone: names are taken over by others.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Which file a name stands for. Two files of one moment have different ids; a deleted file's id can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device's number.
    pub dev: u64,
    /// The inode's number on that device.
    pub ino: u64,
}

impl FileId {
    /// The file at `path` itself: a symbolic link is not followed.
    ///
    /// # Errors
    /// Those of `lstat(2)`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self { dev: found.dev(), ino: found.ino() })
    }
}

/// Unlinks `path` if it still stands for this file. Returns whether it did; a name gone or taken by another file is left
/// alone. Between the look and the unlink somebody with write access to the directory can still swap the name, so this
/// is for directories that are ours alone.
///
/// # Errors
/// Those of `lstat(2)` and `unlink(2)`, but for a name that is gone.
pub fn unlink_if_same(path: &Path, expected: FileId) -> io::Result<bool> {
    let result = FileId::of(path).and_then(|found| {
        if found != expected {
            return Ok(false);
        }
        std::fs::remove_file(path).map(|()| true)
    });
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlinks_only_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let first = FileId::of(&path).unwrap();

        // Another file in its place. The first is kept under another name, so that its inode cannot come back.
        std::fs::rename(&path, dir.path().join("kept")).unwrap();
        std::fs::write(&path, "2").unwrap();
        assert!(!unlink_if_same(&path, first).unwrap());
        assert!(path.exists());

        // A link to the very same file is not the file.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("kept"), &path).unwrap();
        assert!(!unlink_if_same(&path, first).unwrap());

        assert!(unlink_if_same(&dir.path().join("kept"), first).unwrap());
        assert!(!unlink_if_same(&dir.path().join("kept"), first).unwrap());
    }
}
