//! Session file of logind. logind replaces it by rename, so a reader never sees half of it. The
//! daemon trusts its content because only root can have written it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Maximum number of bytes read. The file has about 500, with the state in its first lines.
const BYTES: u64 = 64 << 10;

/// Session file that existed when the daemon started.
#[derive(Debug)]
pub(crate) struct LogindSessionFile {
    path: PathBuf,
    owner: u32,
    /// The session was closing when the daemon started: the user unlocked keys after a logout, from
    /// a program that was left running (a terminal multiplexer). Then only the removal of the file
    /// ends the session.
    was_closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    /// The session is open.
    Open,
    Closing,
    /// There is no regular file of the expected owner.
    Gone,
    /// The file could not be read.
    Unknown,
}

impl LogindSessionFile {
    /// Finds the file of `session` in `dir`, if it exists and belongs to `owner`. logind names a
    /// session by its audit id if it has one.
    pub(crate) fn find(dir: &Path, session: u32, owner: u32) -> Option<Self> {
        let path = dir.join(session.to_string());
        let was_closing = match read_state(&path, owner) {
            FileState::Open => false,
            FileState::Closing => true,
            FileState::Gone | FileState::Unknown => return None,
        };
        Some(LogindSessionFile { path, owner, was_closing })
    }

    /// Returns `true` if the session has ended.
    pub(crate) fn has_ended(&self) -> bool {
        match read_state(&self.path, self.owner) {
            FileState::Gone => true,
            FileState::Closing => !self.was_closing,
            FileState::Open | FileState::Unknown => false,
        }
    }
}

fn read_state(path: &Path, owner: u32) -> FileState {
    match read(path, owner) {
        Ok(Some(text)) if is_closing(&text) => FileState::Closing,
        Ok(Some(_)) => FileState::Open,
        Ok(None) => FileState::Gone,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read logind's session file");
            FileState::Unknown
        }
    }
}

/// Returns the content of the file, if it exists.
fn read(path: &Path, owner: u32) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let mut read = || -> io::Result<bool> {
        // Between the check and the read, only root can replace the file.
        let found = fs::symlink_metadata(path)?;
        let ours = found.is_file() && found.uid() == owner;
        if ours {
            File::open(path)?.take(BYTES).read_to_end(&mut text)?;
        }
        Ok(ours)
    };
    match read() {
        Ok(ours) => Ok(ours.then_some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns `true` if the state is `closing`. The last of several `STATE=` lines counts, as in a
/// shell script.
fn is_closing(text: &[u8]) -> bool {
    let state = text.rsplit(|&b| b == b'\n').find_map(|line| line.trim_ascii().strip_prefix(b"STATE="));
    state.is_some_and(|state| [&b"closing"[..], b"\"closing\""].contains(&state))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn is_closing_reads_last_state_line() {
        for (text, closing) in [
            ("# This is private data. Do not parse.\nUID=1000\nACTIVE=1\nSTATE=active\nREMOTE=1\n", false),
            ("# This is private data. Do not parse.\nUID=1000\nACTIVE=0\nSTATE=closing\nREMOTE=1\n", true),
            ("STATE=closing", true),
            ("STATE=\"closing\"\r\n", true),
            ("STATE=closing \nUID=1\n", true),
            ("STATE=closing\nSTATE=active\n", false),
            ("STATE=online\n", false),
            ("STATE=opening\n", false),
            ("STATE=closings\n", false),
            ("LASTSTATE=closing\n", false),
            ("# STATE=closing\n", false),
            ("STATE\n", false),
            ("", false),
            ("\0\u{ff}STATE=closing", false),
        ] {
            assert_eq!(is_closing(text.as_bytes()), closing, "{text:?}");
        }
    }

    /// Creates the file of session 7, owned by our user, in a directory of its own.
    fn with(text: &str) -> (tempfile::TempDir, PathBuf, Option<LogindSessionFile>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("7");
        fs::write(&path, text).unwrap();
        let file = LogindSessionFile::find(dir.path(), 7, keyrack_sys::user::effective_uid().as_raw());
        (dir, path, file)
    }

    #[test]
    fn session_ends_when_file_is_closing_or_removed() {
        let (dir, path, file) = with("STATE=active\n");
        let file = file.unwrap();
        assert!(!file.has_ended());
        // As logind does: writes a temporary file and renames it.
        let rewrite = |text: &str| {
            fs::write(dir.path().join("beside"), text).unwrap();
            fs::rename(dir.path().join("beside"), &path).unwrap();
        };
        rewrite("STATE=online\n");
        assert!(!file.has_ended());
        rewrite("nothing that is known\n");
        assert!(!file.has_ended());
        rewrite("STATE=closing\n");
        assert!(file.has_ended());
        rewrite("STATE=active\n");
        fs::remove_file(&path).unwrap();
        assert!(file.has_ended());
        symlink("/dev/null", &path).unwrap();
        assert!(file.has_ended(), "a link is not the file");
        fs::remove_file(&path).unwrap();
        drop(dir);
        assert!(file.has_ended(), "the directory is gone");
    }

    #[test]
    fn find_requires_regular_file_of_expected_owner() {
        let uid = keyrack_sys::user::effective_uid().as_raw();
        let (dir, path, file) = with("STATE=active\n");
        assert!(file.is_some());
        assert!(LogindSessionFile::find(dir.path(), 7, uid + 1).is_none());
        assert!(LogindSessionFile::find(dir.path(), 8, uid).is_none());
        assert!(LogindSessionFile::find(Path::new("/nowhere"), 7, uid).is_none());
        symlink(&path, dir.path().join("8")).unwrap();
        assert!(LogindSessionFile::find(dir.path(), 8, uid).is_none());
    }

    #[test]
    fn session_closing_at_start_ends_with_its_file() {
        let (_dir, path, file) = with("STATE=closing\n");
        let file = file.unwrap();
        assert!(!file.has_ended(), "keys unlocked after a logout survive that logout");
        fs::remove_file(&path).unwrap();
        assert!(file.has_ended());
    }
}
