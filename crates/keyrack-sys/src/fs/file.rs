//! File identity by device and inode. A path alone does not identify a file, because it can be
//! reused.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs,
};
use nix::unistd::{AccessFlags, faccessat};

use crate::user::effective_uid;

/// Identity of a file. Two files that exist at the same time have different ids; the id of a
/// deleted file can come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Number of the device.
    pub dev: u64,
    /// Number of the inode on that device.
    pub ino: u64,
}

impl FileId {
    /// Returns the id of the file at `path`. A symbolic link is not followed.
    ///
    /// # Errors
    /// Those of `lstat(2)`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self { dev: found.dev(), ino: found.ino() })
    }

    /// The file that a descriptor refers to.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn of_fd(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let found = fstat(fd)?;
        Ok(Self { dev: found.st_dev, ino: found.st_ino })
    }
}

/// Returns `true` if the file system at `path` is a local one that sets the ctime of a file at
/// every change, as seen by every process. Not so on FUSE (virtiofs included), NFS, 9p and whatever
/// is not known here: a server or another machine may change a file behind a cached inode.
#[must_use]
pub fn has_exact_times(path: &Path) -> bool {
    /// `ZFS_SUPER_MAGIC` of OpenZFS.
    const ZFS: FsType = FsType(0x2fc1_2fc1);
    /// `BCACHEFS_STATFS_MAGIC` of linux/magic.h.
    const BCACHEFS: FsType = FsType(0xca45_1a4e);
    /// `XFS_SUPER_MAGIC` of linux/magic.h; nix has it for glibc alone.
    const XFS: FsType = FsType(0x5846_5342);
    /// `RAMFS_MAGIC` of linux/magic.h.
    const RAMFS: FsType = FsType(0x8584_58f6);
    const LOCAL: [FsType; 9] = [
        EXT4_SUPER_MAGIC,
        BTRFS_SUPER_MAGIC,
        XFS,
        F2FS_SUPER_MAGIC,
        TMPFS_MAGIC,
        OVERLAYFS_SUPER_MAGIC,
        ZFS,
        BCACHEFS,
        RAMFS,
    ];
    statfs(path).is_ok_and(|found| LOCAL.contains(&found.filesystem_type()))
}

/// Checks that this process may write at `path`, which must exist. Opens nothing.
///
/// # Errors
/// `EROFS` on a read-only file system, root's processes included; others of `access(2)`.
pub fn may_write(path: &Path) -> io::Result<()> {
    Ok(faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS)?)
}

/// Unlinks `path` if it is still this file. Returns `true` if it did; a path that is gone or that
/// another file has is left alone. Between the check and the unlink a process with write access to
/// the directory can still replace the file, so use it only in private directories.
///
/// # Errors
/// Those of `lstat(2)` and `unlink(2)`, except for a path that is gone.
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

/// Opens a private file for appending, and creates it with mode 0600 if it is missing. It must be a
/// regular file that belongs to us and that no other user can read or write. A symbolic link is not
/// followed. Never waits.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] with the reason for an unsuitable file; those of `open(2)`.
pub fn append_private(path: &Path) -> io::Result<File> {
    let file = append(path, OFlag::O_CREAT)?;
    let found = file.metadata()?;
    if found.uid() != effective_uid().as_raw() {
        return unfit(format!("it belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return unfit(format!("its mode is {:04o}, it must be 0600", found.mode() & 0o7777));
    }
    Ok(file)
}

/// Opens a regular file of any owner for appending, and creates it with mode 0600 if it is missing.
/// A symbolic link is not followed. Never waits.
///
/// # Errors
/// As [`append_private`], except for owner and mode; [`io::ErrorKind::NotFound`] for a missing
/// directory.
pub fn append_shared(path: &Path) -> io::Result<File> {
    append(path, OFlag::O_CREAT)
}

fn append(path: &Path, more: OFlag) -> io::Result<File> {
    let flags = more | OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW;
    // Opening a pipe would wait for a reader.
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(fd) => File::from(fd),
        Err(Errno::ELOOP) => return unfit("it is a symbolic link".to_owned()),
        Err(Errno::EISDIR | Errno::ENXIO) => return unfit("it is not a regular file".to_owned()),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return unfit("it is not a regular file".to_owned());
    }
    Ok(file)
}

fn unfit<T>(what: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn has_exact_times_is_false_for_procfs_and_missing_files() {
        assert!(!has_exact_times(Path::new("/proc/self/status")));
        assert!(!has_exact_times(Path::new("/nowhere/at/all")));
    }

    #[test]
    fn append_private_rejects_files_that_are_not_private() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for text in ["one", "two"] {
            append_private(&at("new")).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(at("new")).unwrap(), "onetwo");
        assert_eq!(std::fs::metadata(at("new")).unwrap().mode() & 0o7777, 0o600);

        std::fs::write(at("open"), "").unwrap();
        std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        std::os::unix::fs::symlink(at("new"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        for (name, what) in [
            ("open", "its mode is 0640"),
            ("dir", "not a regular file"),
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("pipe", "not a regular file"),
        ] {
            let error = append_private(&at(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
            assert!(error.to_string().contains(what), "{name}: {error}");
        }
        assert!(!at("nowhere").exists());
        assert_eq!(append_private(&at("no/dir")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(
            std::fs::metadata(at("open")).unwrap().mode() & 0o7777,
            0o640,
            "a refusal changes nothing"
        );
    }

    #[test]
    fn append_shared_opens_files_of_others_and_creates_missing_ones() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("open"), "one").unwrap();
        std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o666)).unwrap();
        append_shared(&at("open")).unwrap().write_all(b"two").unwrap();
        assert_eq!(std::fs::read_to_string(at("open")).unwrap(), "onetwo");
        std::os::unix::fs::symlink(at("open"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        for name in ["link", "pipe", "."] {
            assert_eq!(append_shared(&at(name)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        append_shared(&at("new")).unwrap().write_all(b"made").unwrap();
        assert_eq!(std::fs::read_to_string(at("new")).unwrap(), "made");
        assert_eq!(std::fs::metadata(at("new")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(append_shared(&at("no/dir")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn unlink_if_same_leaves_other_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let first = FileId::of(&path).unwrap();

        // Another file in its place. The first is kept under another name, so that its inode cannot
        // come back.
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
