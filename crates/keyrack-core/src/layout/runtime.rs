//! Runtime files of a daemon: its socket, and the lock and pid file next to it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Owner;

/// File name of a daemon's socket: `keyrack.<session>.<home hash>[.<owner>].sock`. The default
/// owner has no suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketName {
    /// Login session, as a decimal number.
    pub session: String,
    /// First eight hexadecimal digits of the SHA-256 of the home directory's real path.
    pub home_hash: String,
    /// Owner of the rack.
    pub owner: Owner,
}

impl SocketName {
    /// Parses the file name of a socket. Returns `None` for any other file.
    pub fn parse(file_name: &OsStr) -> Option<Self> {
        let mut parts = file_name.to_str()?.strip_prefix("keyrack.")?.strip_suffix(".sock")?.splitn(3, '.');
        let (session, home_hash, owner) = (parts.next()?, parts.next()?, parts.next());
        let is_number = !session.is_empty() && session.bytes().all(|b| b.is_ascii_digit());
        let is_hash =
            home_hash.len() == 8 && home_hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_number || !is_hash {
            return None;
        }
        let owner = match owner {
            None => Owner::DEFAULT,
            // keyrack never writes out `default`, so such a file is not one of its sockets.
            Some(name) => name.parse::<Owner>().ok().filter(|owner| owner.name().is_some())?,
        };
        Some(SocketName { session: session.to_owned(), home_hash: home_hash.to_owned(), owner })
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keyrack.{}.{}", self.session, self.home_hash)?;
        if let Some(owner) = self.owner.name() {
            write!(f, ".{owner}")?;
        }
        f.write_str(".sock")
    }
}

/// Path of the lock file of a socket. The daemon holds the lock while it runs. The file is never
/// unlinked: two processes could then each hold "the" lock.
pub fn lock_path(socket: &Path) -> PathBuf {
    with_suffix(socket, ".lock")
}

/// Path of the file that holds the pid of a socket's daemon: the socket's name with `.pid` instead
/// of `.sock`, or with `.pid` appended. For tools older than keyrack's Rust release; keyrack itself
/// never trusts it.
pub fn pid_path(socket: &Path) -> PathBuf {
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

/// Runtime directory that the login manager creates for a user (`pam_systemd(8)`).
pub fn login_runtime_dir(uid: u32) -> PathBuf {
    PathBuf::from(format!("/run/user/{uid}"))
}

/// Runtime directory where neither `XDG_RUNTIME_DIR` is set nor [`login_runtime_dir`] exists.
pub fn fallback_runtime_dir(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/keyrack-{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_names_round_trip() {
        for (name, session, home_hash, owner) in [
            ("keyrack.4294967295.94a6b447.sock", "4294967295", "94a6b447", "default"),
            ("keyrack.3.83db27ef.ehmpath.sock", "3", "83db27ef", "ehmpath"),
            ("keyrack.3.83db27ef.A.b.sock", "3", "83db27ef", "A.b"),
        ] {
            let parsed = SocketName::parse(OsStr::new(name)).unwrap();
            assert_eq!(
                (parsed.session.as_str(), parsed.home_hash.as_str(), parsed.owner.as_str()),
                (session, home_hash, owner)
            );
            assert_eq!(parsed.to_string(), name);
        }
    }

    #[test]
    fn other_file_names_are_not_socket_names() {
        for name in [
            "keyrack.3.83db27ef.default.sock",
            "keyrack.3.83db27ef.a..b.sock",
            "keyrack.3.83db27ef..sock",
            "keyrack.3.83db27e.sock",
            "keyrack.3.83DB27EF.sock",
            "keyrack.x.83db27ef.sock",
            "keyrack..83db27ef.sock",
            "keyrack.3.83db27ef",
            "keyrack.3.83db27ef.pid",
            "krack.3.83db27ef.sock",
            "k.sock",
            "",
        ] {
            assert_eq!(SocketName::parse(OsStr::new(name)), None, "{name}");
        }
    }

    #[test]
    fn lock_and_pid_file_are_named_after_the_socket() {
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
    fn runtime_dirs_are_named_after_the_user() {
        assert_eq!(login_runtime_dir(1000), Path::new("/run/user/1000"));
        assert_eq!(fallback_runtime_dir(0), Path::new("/tmp/keyrack-0"));
    }
}
