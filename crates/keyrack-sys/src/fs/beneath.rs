//! Files below a directory that may be others', opened so that nothing leads out of it: every name
//! on the way is opened separately, relative to the descriptor of the directory before it, and
//! symbolic links are followed by hand. All facts about a file and its path come from opened
//! descriptors, so a name that is swapped meanwhile has no effect. As `openat2(2)` with
//! `RESOLVE_BENEATH`, which older kernels and some sandboxes lack.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::fs::file::FileId;
use crate::user::Uid;

/// Symbolic links that are followed for one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Bytes of a path, links on the way included (`PATH_MAX`).
const MAX_PATH: usize = 4096;

const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory that files are opened below.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    fd: OwnedFd,
    id: FileId,
    owner: Uid,
}

/// A regular file that was opened, with what the way to it showed.
#[derive(Debug)]
pub struct Opened {
    /// The file, open for reading.
    pub file: File,
    /// Its id.
    pub id: FileId,
    /// Each directory and symbolic link below the root that led to the file, and last the file
    /// itself: its path below the root and its owner.
    pub way: Vec<(PathBuf, Uid)>,
}

/// Error of opening a file below a directory.
#[derive(Debug)]
pub enum BeneathError {
    /// The file does not exist.
    Missing,
    /// The path, or a symbolic link on it, leads out of the directory.
    Outside,
    /// It exists, but is not a regular file.
    NotAFile,
    /// Any other error.
    Io(io::Error),
}

impl From<Errno> for BeneathError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => BeneathError::Missing,
            other => BeneathError::Io(other.into()),
        }
    }
}

impl Root {
    /// Opens a directory; links on the way to it are followed.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let found = fstat(&fd)?;
        Ok(Root { path: path.to_owned(), fd, id: id(&found), owner: Uid::from_raw(found.st_uid) })
    }

    /// Returns the path that it was opened at.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the id of the directory.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Returns the user that it belongs to.
    #[must_use]
    pub fn owner(&self) -> Uid {
        self.owner
    }

    /// Returns the user that an entry of the directory belongs to, the entry itself if it is a
    /// link; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub fn owner_of(&self, name: &OsStr) -> io::Result<Option<Uid>> {
        match openat(&self.fd, name, LOOK, Mode::empty()) {
            Ok(fd) => Ok(Some(Uid::from_raw(fstat(&fd)?.st_uid))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the regular file at a path below the directory. Nothing else is opened for reading: a
    /// pipe or a device is not read.
    ///
    /// # Errors Those of the path and of the files on it.
    pub fn open_file(&self, path: &Path) -> Result<Opened, BeneathError> {
        let mut walk =
            Walk { root: self, dirs: Vec::new(), way: Vec::new(), left: VecDeque::new(), links: 0 };
        walk.lead_on(path.as_os_str().as_bytes())?;
        walk.go()
    }
}

/// Walk along a path, name by name.
struct Walk<'r> {
    root: &'r Root,
    /// The directories from the root down to where the walk is, with their names.
    dirs: Vec<(OsString, OwnedFd)>,
    way: Vec<(PathBuf, Uid)>,
    /// Names that are left.
    left: VecDeque<OsString>,
    links: usize,
}

impl Walk<'_> {
    /// Puts the names of a path before those that are left.
    fn lead_on(&mut self, path: &[u8]) -> Result<(), BeneathError> {
        if self.left.iter().map(|name| name.len() + 1).sum::<usize>() + path.len() > MAX_PATH {
            return Err(Errno::ENAMETOOLONG.into());
        }
        // A slash at the end asks for a directory.
        let names = path.split(|&b| b == b'/').rev().filter(|name| !name.is_empty());
        names.for_each(|name| self.left.push_front(OsStr::from_bytes(name).to_owned()));
        Ok(())
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.dirs.last().map_or(self.root.fd.as_fd(), |(_, fd)| fd.as_fd())
    }

    fn note(&mut self, name: &OsStr, found: &FileStat) {
        let mut path: PathBuf = self.dirs.iter().map(|(name, _)| name).collect();
        path.push(name);
        self.way.push((path, Uid::from_raw(found.st_uid)));
    }

    fn go(mut self) -> Result<Opened, BeneathError> {
        while let Some(name) = self.left.pop_front() {
            if name == "." {
                continue;
            }
            if name == ".." {
                self.dirs.pop().ok_or(BeneathError::Outside)?;
                continue;
            }
            let fd = openat(self.here(), name.as_os_str(), LOOK, Mode::empty())?;
            let found = fstat(&fd)?;
            let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
            if kind == SFlag::S_IFLNK {
                self.note(&name, &found);
                self.follow(&fd)?;
            } else if kind == SFlag::S_IFDIR {
                self.note(&name, &found);
                self.dirs.push((name, fd));
            } else if !self.left.is_empty() {
                return Err(BeneathError::Missing);
            } else if kind == SFlag::S_IFREG {
                return self.open(&name);
            } else {
                return Err(BeneathError::NotAFile);
            }
        }
        Err(BeneathError::NotAFile)
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), BeneathError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = readlinkat(link, "")?;
        let target = match Path::new(&target).strip_prefix(&self.root.path) {
            // An absolute target inside the directory.
            Ok(rest) if self.root.path.is_absolute() => {
                self.dirs.clear();
                rest.as_os_str().to_owned()
            }
            _ if target.as_bytes().starts_with(b"/") => return Err(BeneathError::Outside),
            _ => target,
        };
        self.lead_on(target.as_bytes())
    }

    /// Opens the last name. The opened file may be another one than the one that was checked; the
    /// opened one counts.
    fn open(mut self, name: &OsStr) -> Result<Opened, BeneathError> {
        let flags =
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let fd = openat(self.here(), name, flags, Mode::empty())?;
        let found = fstat(&fd)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(BeneathError::NotAFile);
        }
        self.note(name, &found);
        Ok(Opened { file: File::from(fd), id: id(&found), way: self.way })
    }
}

fn id(found: &FileStat) -> FileId {
    FileId { dev: found.st_dev, ino: found.st_ino }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Result of opening a path: the file's text, or the error's name.
    fn opened(root: &Root, path: &str) -> String {
        match root.open_file(Path::new(path)) {
            Ok(mut opened) => {
                let mut text = String::new();
                opened.file.read_to_string(&mut text).unwrap();
                text
            }
            Err(BeneathError::Io(error)) => {
                format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or_default()))
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn open_file_never_leaves_the_root() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().join(path);
        fs::create_dir_all(at("root/dir/deep")).unwrap();
        for (path, text) in [("outside", "out"), ("root/file", "file"), ("root/dir/file", "in dir")] {
            fs::write(at(path), text).unwrap();
        }
        for (target, link) in [
            ("file".into(), "link"),
            ("dir".into(), "to-dir"),
            ("../file".into(), "dir/up"),
            ("../../outside".into(), "dir/out"),
            ("/etc/passwd".into(), "absolute"),
            (at("root/dir/file"), "in-full"),
            (at("root/dir/../../outside"), "out-in-full"),
            (at("outside"), "full-out"),
            ("loop".into(), "loop"),
            ("nowhere".into(), "dangling"),
            ("link".into(), "link-to-link"),
            ("..".into(), "parent"),
        ] {
            symlink(target, at("root").join(link)).unwrap();
        }
        nix::unistd::mkfifo(&at("root/pipe"), Mode::S_IRWXU).unwrap();
        let root = Root::open(&at("root")).unwrap();
        let long = "x".repeat(300);
        let endless = "dir/../".repeat(1000);
        for (path, result) in [
            ("file", "file"),
            ("./dir//file", "in dir"),
            ("dir/../file", "file"),
            ("link", "file"),
            ("link-to-link", "file"),
            ("to-dir/file", "in dir"),
            ("to-dir/up", "file"),
            ("dir/deep/../../to-dir/up", "file"),
            ("in-full", "in dir"),
            ("out-in-full", "Outside"),
            ("full-out", "Outside"),
            ("absolute", "Outside"),
            ("dir/out", "Outside"),
            ("../outside", "Outside"),
            ("dir/../../outside", "Outside"),
            ("parent/outside", "Outside"),
            ("/file", "file"),
            ("nowhere", "Missing"),
            ("dangling", "Missing"),
            ("file/below", "Missing"),
            ("dir", "NotAFile"),
            ("", "NotAFile"),
            ("pipe", "NotAFile"),
            ("loop", "ELOOP"),
            (&long, "ENAMETOOLONG"),
            (&endless, "ENAMETOOLONG"),
        ] {
            assert_eq!(opened(&root, path), result, "{path}");
        }
        assert!(Root::open(&at("outside")).is_err());
        assert_eq!(Root::open(&at("nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn open_file_reports_the_owner_of_each_step() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "").unwrap();
        symlink("a/b", at("link")).unwrap();
        let root = Root::open(base.path()).unwrap();
        let own = crate::user::effective_uid();
        let way = root.open_file(Path::new("link/file")).unwrap().way;
        let expected = ["link", "a", "a/b", "a/b/file"].map(|path| (PathBuf::from(path), own));
        assert_eq!(way, expected);
        assert_eq!((root.owner(), root.id()), (own, FileId::of(base.path()).unwrap()));
        assert_eq!(root.owner_of(OsStr::new("link")).unwrap(), Some(own));
        assert_eq!(root.owner_of(OsStr::new("nothing")).unwrap(), None);
        let same = root.open_file(Path::new("a/b/file")).unwrap().id;
        assert_eq!(root.open_file(Path::new("link/file")).unwrap().id, same);
    }
}
