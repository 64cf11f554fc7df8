//! Files that the daemon creates and removes: its socket, and the pid file that older tools read.
//!
//! The daemon identifies each by device and inode, and unlinks only that very file. No process ever
//! unlinks the lock file: two processes could then each hold "the" lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keyrack_core::Owner;
use keyrack_core::layout::{SocketName, pid_path};
use keyrack_sys::fs::file::{FileId, unlink_if_same};

/// Returns the home hash and the owner in a socket's name,
/// `keyrack.<session>.<home hash>[.<owner>].sock`. A socket of another name has no home and the
/// default owner.
pub(crate) fn rack(socket: &Path) -> (String, Owner) {
    let name = socket.file_name().and_then(SocketName::parse);
    name.map(|name| (name.home_hash, name.owner)).unwrap_or_default()
}

/// Files that this daemon created and may remove.
#[derive(Debug)]
pub(crate) struct RuntimeFiles {
    socket: (PathBuf, FileId),
    pid: Option<(PathBuf, FileId)>,
}

impl RuntimeFiles {
    /// Records the socket that was just bound, and writes the pid file. Only older tools read the
    /// pid file, so a failure to write it is only logged.
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

    /// Returns `true` if the socket's path still leads to the socket of this daemon.
    pub(crate) fn is_socket_in_place(&self) -> bool {
        let (path, id) = &self.socket;
        FileId::of(path).is_ok_and(|found| found == *id)
    }

    /// Unlinks the files of this daemon. Leaves a path alone that now leads to another file.
    pub(crate) fn remove(&self) {
        for (path, id) in [Some(&self.socket), self.pid.as_ref()].into_iter().flatten() {
            if let Err(error) = unlink_if_same(path, *id) {
                tracing::warn!(path = %path.display(), %error, "a file of ours was not unlinked");
            }
        }
    }
}

/// Writes a temporary file and renames it into place, so that a reader never sees half a number and
/// no link is followed. Only the holder of the lock does this, so the temporary file has a fixed
/// name: a daemon that is killed in between leaves one file, which the next daemon replaces.
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

/// Opens the lock file, and creates it if it does not exist. Fails if it is not a regular file:
/// then no daemon created it.
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
    fn remove_unlinks_only_files_of_this_daemon() {
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
    fn open_lock_rejects_anything_but_a_regular_file() {
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
