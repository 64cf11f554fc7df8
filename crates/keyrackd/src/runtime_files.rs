//! The files a daemon makes and takes away: its socket, and the file that tells older tools its pid. Each is known by device
//! and inode, and only that very file is ever unlinked. The lock file is made, held, and never unlinked by anybody: two
//! processes could then each hold "the" lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyrack_core::Owner;
use keyrack_core::layout::{SocketName, pid_path};
use keyrack_sys::fs::file::{FileId, unlink_if_same};

/// The home hash and the owner in a socket's name, `keyrack.<session>.<home hash>[.<owner>].sock`. A socket of another name
/// serves no home and the default owner.
pub(crate) fn rack(socket: &Path) -> (String, Owner) {
    let name = socket.file_name().and_then(SocketName::parse);
    name.map(|name| (name.home_hash, name.owner)).unwrap_or_default()
}

/// What this daemon made, and may take away.
#[derive(Debug)]
pub(crate) struct RuntimeFiles {
    socket: (PathBuf, FileId),
    pid: Option<(PathBuf, FileId)>,
}

impl RuntimeFiles {
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
        Ok(RuntimeFiles { socket: (socket.to_owned(), id), pid })
    }

    /// Whether the socket's name still stands for our socket.
    pub(crate) fn is_socket_in_place(&self) -> bool {
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
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
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
    fn socket_of_another_name_has_no_home_and_the_default_owner() {
        for (name, hash, owner) in [
            ("/r/keyrack.3.83db27ef.ehmpath.sock", "83db27ef", "ehmpath"),
            ("/r/keyrack.3.83db27e.sock", "", "default"),
            ("/r/k.sock", "", "default"),
            ("/", "", "default"),
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
        let ours = RuntimeFiles::of_bound(&socket).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "a link is replaced, not followed");
        assert_eq!(fs::read_to_string(&pid).unwrap(), std::process::id().to_string());
        assert_eq!(fs::symlink_metadata(&pid).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(ours.is_socket_in_place());

        // A successor's files, while ours are kept elsewhere so that their inodes do not come back.
        fs::rename(&socket, dir.path().join("kept.sock")).unwrap();
        fs::rename(&pid, dir.path().join("kept.pid")).unwrap();
        let _other = UnixListener::bind(&socket).unwrap();
        fs::write(&pid, "1").unwrap();
        assert!(!ours.is_socket_in_place());
        ours.remove();
        assert!(socket.exists() && pid.exists());

        let theirs = RuntimeFiles::of_bound(&socket).unwrap();
        theirs.remove();
        theirs.remove();
        assert!(!socket.exists() && !pid.exists());
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 3, "the kept ones and the victim, and no half-written file");

        // What one that was killed half way has left is taken, not followed, and not left again.
        symlink(&victim, dir.path().join("k.pid.new")).unwrap();
        let _bound = UnixListener::bind(&socket).unwrap();
        RuntimeFiles::of_bound(&socket).unwrap().remove();
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
