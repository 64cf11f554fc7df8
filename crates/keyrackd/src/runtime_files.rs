//! The files a daemon makes and takes away: its socket, and the file that tells older tools its pid. Each is known by device
//! and inode, and only that very file is ever unlinked. The lock file is made, held, and never unlinked by anybody: two
//! processes could then each hold "the" lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyrack_core::Owner;
use keyrack_sys::fs::file::{FileId, unlink_if_same};

/// Where the lock of a socket is.
pub(crate) fn lock_path(socket: &Path) -> PathBuf {
    with_suffix(socket, ".lock")
}

/// Where the pid of a socket's daemon is written: the socket's name with `.pid` for `.sock`, or behind it.
pub(crate) fn pid_path(socket: &Path) -> PathBuf {
    if socket.extension().is_some_and(|extension| extension == "sock") {
        socket.with_extension("pid")
    } else {
        with_suffix(socket, ".pid")
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The home hash and the owner in a socket's name, `keyrack.<session>.<home hash>[.<owner>].sock`. A socket of another name
/// serves no home and the default owner.
pub(crate) fn rack(socket: &Path) -> (String, Owner) {
    let name = socket.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rack = || {
        let (session, rest) = name.strip_prefix("keyrack.")?.strip_suffix(".sock")?.split_once('.')?;
        let (hash, owner) = match rest.split_once('.') {
            Some((hash, owner)) => (hash, owner.parse().ok()?),
            None => (rest, Owner::DEFAULT),
        };
        let number = !session.is_empty() && session.bytes().all(|b| b.is_ascii_digit());
        let hex = hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (number && hex).then(|| (hash.to_owned(), owner))
    };
    rack().unwrap_or_default()
}

/// What this daemon made, and may take away.
#[derive(Debug)]
pub(crate) struct OwnFiles {
    socket: (PathBuf, FileId),
    pid: Option<(PathBuf, FileId)>,
}

impl OwnFiles {
    /// Takes the socket that was just bound at `socket` as our own, and writes our pid beside it. That file serves older
    /// tools only, so a failure to write it is no failure.
    pub(crate) fn of_bound(socket: &Path) -> io::Result<Self> {
        let id = FileId::of(socket)?;
        let path = pid_path(socket);
        let pid = match write_pid(&path) {
            Ok(id) => Some((path, id)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the pid file was not written");
                None
            }
        };
        Ok(OwnFiles { socket: (socket.to_owned(), id), pid })
    }

    /// Whether the socket's name still stands for our socket.
    pub(crate) fn socket_stands(&self) -> bool {
        let (path, id) = &self.socket;
        FileId::of(path).is_ok_and(|found| found == *id)
    }

    /// Unlinks what is still ours. What is gone, or another file by now, is left alone.
    pub(crate) fn remove(&self) {
        for (path, id) in [Some(&self.socket), self.pid.as_ref()].into_iter().flatten() {
            if let Err(error) = unlink_if_same(path, *id) {
                tracing::warn!(path = %path.display(), %error, "a file of ours was not unlinked");
            }
        }
    }
}

/// Writes a file beside, then renames it into place: a reader never sees half a number, and a link there is not followed. Only the
/// holder of the lock does this, so the file beside is always of the same name, and none that was killed in between leaves more
/// than the next one takes.
fn write_pid(path: &Path) -> io::Result<FileId> {
    let pid = std::process::id();
    let beside = with_suffix(path, ".new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = write!(file, "{pid}").and_then(|()| FileId::of(&beside)).and_then(|id| {
        fs::rename(&beside, path)?;
        Ok(id)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Opens the lock file, making it if need be. It has to be a plain file: anything else was not made by a daemon.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(io::Error::other("it is not a plain file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn names_beside_a_socket() {
        for (socket, pid) in [
            ("/r/keyrack.3.83db27ef.sock", "/r/keyrack.3.83db27ef.pid"),
            ("/r/keyrack.3.83db27ef.ehmpath.sock", "/r/keyrack.3.83db27ef.ehmpath.pid"),
            ("/r/other", "/r/other.pid"),
            ("/r/a.socket", "/r/a.socket.pid"),
        ] {
            assert_eq!(pid_path(Path::new(socket)), Path::new(pid));
        }
        assert_eq!(lock_path(Path::new("/r/a.sock")), Path::new("/r/a.sock.lock"));
    }

    #[test]
    fn racks() {
        for (name, hash, owner) in [
            ("/r/keyrack.4294967295.94a6b447.sock", "94a6b447", "default"),
            ("/r/keyrack.3.83db27ef.ehmpath.sock", "83db27ef", "ehmpath"),
            ("/r/keyrack.3.83db27ef.A.b.sock", "83db27ef", "A.b"),
            ("/r/keyrack.3.83db27ef.a..b.sock", "", "default"),
            ("/r/keyrack.3.83db27e.sock", "", "default"),
            ("/r/keyrack.3.83DB27EF.sock", "", "default"),
            ("/r/keyrack.x.83db27ef.sock", "", "default"),
            ("/r/keyrack..83db27ef.sock", "", "default"),
            ("/r/keyrack.3.83db27ef", "", "default"),
            ("/r/krack.3.83db27ef.sock", "", "default"),
            ("/r/k.sock", "", "default"),
        ] {
            let (found, whose) = rack(Path::new(name));
            assert_eq!((found.as_str(), whose.as_str()), (hash, owner), "{name}");
        }
    }

    #[test]
    fn only_what_is_still_ours_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("k.sock");
        let pid = dir.path().join("k.pid");
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &pid).unwrap();
        let _bound = UnixListener::bind(&socket).unwrap();
        let ours = OwnFiles::of_bound(&socket).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "a link is replaced, not followed");
        assert_eq!(fs::read_to_string(&pid).unwrap(), std::process::id().to_string());
        assert_eq!(fs::symlink_metadata(&pid).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(ours.socket_stands());

        // A successor's files, while ours are kept elsewhere so that their inodes do not come back.
        fs::rename(&socket, dir.path().join("kept.sock")).unwrap();
        fs::rename(&pid, dir.path().join("kept.pid")).unwrap();
        let _other = UnixListener::bind(&socket).unwrap();
        fs::write(&pid, "1").unwrap();
        assert!(!ours.socket_stands());
        ours.remove();
        assert!(socket.exists() && pid.exists());

        let theirs = OwnFiles::of_bound(&socket).unwrap();
        theirs.remove();
        theirs.remove();
        assert!(!socket.exists() && !pid.exists());
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 3, "the kept ones and the victim, and no half-written file");

        // What one that was killed half way has left is taken, not followed, and not left again.
        symlink(&victim, dir.path().join("k.pid.new")).unwrap();
        let _bound = UnixListener::bind(&socket).unwrap();
        OwnFiles::of_bound(&socket).unwrap().remove();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_lock_is_a_plain_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.sock.lock");
        symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(open_lock(&path).is_err());
        assert!(!dir.path().join("elsewhere").exists());
        fs::remove_file(&path).unwrap();
        open_lock(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        open_lock(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(open_lock(&path).is_err());
    }
}
