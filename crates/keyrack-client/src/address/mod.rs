//! Address of a rack's daemon: the path of its socket, made of runtime directory, login session,
//! home and owner.
//!
//! Nothing is created but the fallback runtime directory, and that only for a daemon that is about
//! to start. A runtime directory that `XDG_RUNTIME_DIR` names is used or refused, never replaced.

mod runtime_dir;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keyrack_core::layout::SocketName;
use keyrack_core::peer::{AuditSession, ReadError};
use keyrack_core::{Error, ErrorCode};
use sha2::{Digest, Sha256};

use crate::context::Context;
use runtime_dir::{OnMissing, runtime_dir};

/// Session id of a process outside every login session. Also used where the kernel has no session
/// ids (no audit support).
pub const SESSION_UNSET: &str = "4294967295";

/// Address of one rack's daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackAddress {
    /// Directory of the socket.
    pub dir: PathBuf,
    /// File name of the socket.
    pub name: SocketName,
}

impl RackAddress {
    /// Returns the address of the context's rack.
    ///
    /// # Errors
    /// [`ErrorCode::NoHome`], [`ErrorCode::RuntimeDirMissing`], [`ErrorCode::RuntimeDirUnsafe`],
    /// [`ErrorCode::SocketPathTooLong`].
    pub fn of(ctx: &Context) -> Result<Self, Error> {
        Self::in_dir(ctx, runtime_dir(ctx, OnMissing::ReturnPath)?)
    }

    /// Returns the address for a daemon that is about to start. Creates the fallback runtime
    /// directory if there is no other.
    ///
    /// # Errors
    /// As [`RackAddress::of`].
    pub fn for_start(ctx: &Context) -> Result<Self, Error> {
        Self::in_dir(ctx, runtime_dir(ctx, OnMissing::Create)?)
    }

    fn in_dir(ctx: &Context, dir: PathBuf) -> Result<Self, Error> {
        let name =
            SocketName { session: session_id()?, home_hash: home_hash(ctx)?, owner: ctx.owner.clone() };
        let address = RackAddress { dir, name };
        let path = address.socket();
        if path.as_os_str().len() > keyrack_sys::socket::PATH_BYTES {
            let message = format!(
                "the socket path {} has {} bytes; the limit is {}",
                path.display(),
                path.as_os_str().len(),
                keyrack_sys::socket::PATH_BYTES
            );
            return Err(Error::new(ErrorCode::SocketPathTooLong, message)
                .hint("set XDG_RUNTIME_DIR to a shorter path, or use a shorter owner"));
        }
        Ok(address)
    }

    /// Path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(self.name.to_string())
    }

    /// Login sessions that have a socket of the same rack in this directory, in numeric order
    /// without our own. Such a socket may be dead; it is not connected to.
    pub fn other_sessions(&self) -> Vec<String> {
        let mut sessions: Vec<String> = sockets_in(&self.dir)
            .into_iter()
            .map(|other| other.name)
            .filter(|other| {
                other.session != self.name.session
                    && other.home_hash == self.name.home_hash
                    && other.owner == self.name.owner
            })
            .map(|other| other.session)
            .collect();
        sessions.sort_by_key(|session| session.parse::<u64>().unwrap_or(u64::MAX));
        sessions
    }
}

/// Returns the addresses of the sockets in a directory, sorted by path. An unreadable directory has
/// none.
pub fn sockets_in(dir: &Path) -> Vec<RackAddress> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let parse =
        |file_name: &OsStr| Some(RackAddress { dir: dir.to_owned(), name: SocketName::parse(file_name)? });
    let mut addresses: Vec<RackAddress> =
        entries.filter_map(|entry| parse(&entry.ok()?.file_name())).collect();
    addresses.sort_by_key(RackAddress::socket);
    addresses
}

/// Sentence about login sessions in which the same rack is open, where this process cannot reach
/// it. `None` if there are none.
pub fn describe_other_sessions(others: &[String]) -> Option<String> {
    match others {
        [] => None,
        [one] if one == SESSION_UNSET => {
            Some("your rack is open outside any login session, and this session cannot reach it".to_owned())
        }
        [one] => Some(format!("your rack is open in login session {one}, and this session cannot reach it")),
        many => Some(format!(
            "your rack is open in {} other login sessions, and this session cannot reach them",
            many.len()
        )),
    }
}

/// Returns `true` if an error of [`RackAddress::of`] means that no daemon can run here, because the
/// runtime directory is missing or unusable. Reads then answer as without a daemon; `unlock` fails.
pub fn is_address_unavailable(error: &Error) -> bool {
    matches!(
        error.code,
        ErrorCode::RuntimeDirMissing | ErrorCode::RuntimeDirUnsafe | ErrorCode::SocketPathTooLong
    )
}

/// Returns the id of our login session as a decimal number, or [`SESSION_UNSET`] where the kernel
/// has none.
///
/// # Errors
/// [`ErrorCode::Io`] if the kernel has one but it cannot be read, or is not a number.
pub fn session_id() -> Result<String, Error> {
    match keyrack_sys::peer::own_session() {
        Ok(session) => Ok(session_name(session)),
        Err(ReadError::NotFound) => Ok(SESSION_UNSET.to_owned()),
        Err(error) => {
            let message = format!("cannot read the login session from /proc/self/sessionid: {error}");
            Err(Error::new(ErrorCode::Io, message))
        }
    }
}

/// Returns the id of a session as a decimal number.
pub(crate) fn session_name(session: AuditSession) -> String {
    match session {
        AuditSession::Set(id) => id.to_string(),
        AuditSession::Unset => SESSION_UNSET.to_owned(),
    }
}

/// Returns the first eight hexadecimal digits of the SHA-256 of the real path of `HOME`.
///
/// # Errors
/// [`ErrorCode::NoHome`] if it is unset, not absolute, or does not exist.
pub fn home_hash(ctx: &Context) -> Result<String, Error> {
    let Some(home) = ctx.home() else {
        return Err(Error::new(ErrorCode::NoHome, "HOME is not set").hint("set HOME to your home directory"));
    };
    if !home.is_absolute() {
        let message = format!("HOME {:?} is not an absolute path", home.display().to_string());
        return Err(Error::new(ErrorCode::NoHome, message).hint("set HOME to your home directory"));
    }
    let real = home.canonicalize().map_err(|error| {
        let message = format!("HOME {:?} cannot be used: {error}", home.display().to_string());
        Error::new(ErrorCode::NoHome, message).hint("set HOME to a directory that exists")
    })?;
    Ok(hash_of(&real))
}

fn hash_of(real_home: &Path) -> String {
    let digest = Sha256::digest(real_home.as_os_str().as_bytes());
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use keyrack_testkit::Home;

    use super::*;
    use crate::context::Environment;

    fn context(home: &Home, runtime: &Path) -> Context {
        let env: Environment =
            [("HOME", home.home()), ("XDG_RUNTIME_DIR", runtime.to_owned())].into_iter().collect();
        Context::new(home.home(), env)
    }

    #[test]
    fn home_hash_matches_existing_sockets() {
        for (path, hash) in [("/home/vlad", "83db27ef"), ("/root", "94a6b447")] {
            assert_eq!(hash_of(Path::new(path)), hash);
        }
    }

    #[test]
    fn home_hash_is_of_the_real_path() {
        let home = Home::new();
        symlink(home.home(), home.root().join("link")).unwrap();
        let at = |path: PathBuf| home_hash(&Context::new("/", [("HOME", path)].into_iter().collect()));
        let real = at(home.home()).unwrap();
        assert_eq!(at(home.root().join("link")).unwrap(), real);
        assert_eq!(at(home.home().join("../home/.")).unwrap(), real);
        for bad in [PathBuf::new(), PathBuf::from("home"), home.root().join("nowhere")] {
            assert_eq!(at(bad).unwrap_err().code, ErrorCode::NoHome);
        }
        assert_eq!(
            home_hash(&Context::new("/", Environment::default())).unwrap_err().code,
            ErrorCode::NoHome
        );
    }

    #[test]
    fn named_runtime_dir_is_used_or_refused() {
        let home = Home::new();
        let named = |path: &Path| RackAddress::of(&context(&home, path));
        assert_eq!(named(&home.runtime()).unwrap().dir, home.runtime());
        let open = home.root().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        let link = home.root().join("link");
        symlink(home.runtime(), &link).unwrap();
        let file = home.root().join("file");
        fs::write(&file, "").unwrap();
        for (path, code) in [
            (Path::new(""), ErrorCode::RuntimeDirUnsafe),
            (Path::new("run"), ErrorCode::RuntimeDirUnsafe),
            (&open, ErrorCode::RuntimeDirUnsafe),
            (&link, ErrorCode::RuntimeDirUnsafe),
            (&file, ErrorCode::RuntimeDirUnsafe),
            (&home.root().join("nowhere"), ErrorCode::RuntimeDirMissing),
        ] {
            let error = named(path).unwrap_err();
            assert_eq!(error.code, code, "{}", path.display());
            assert!(error.hint.is_some() && error.message.contains("XDG_RUNTIME_DIR"), "{error}");
        }
    }

    #[test]
    fn runtime_dir_of_another_user_is_refused() {
        if !keyrack_testkit::can_run("runtime_dir_of_another_user_is_refused", &[keyrack_testkit::Need::Root])
        {
            return;
        }
        let home = Home::new();
        std::os::unix::fs::chown(home.runtime(), Some(65534), None).unwrap();
        let error = RackAddress::of(&context(&home, &home.runtime())).unwrap_err();
        assert_eq!(error.code, ErrorCode::RuntimeDirUnsafe);
    }

    #[test]
    fn socket_path_names_session_home_and_owner() {
        let home = Home::new();
        let mut ctx = context(&home, &home.runtime());
        let address = RackAddress::of(&ctx).unwrap();
        let session = session_id().unwrap();
        let hash = home_hash(&ctx).unwrap();
        assert_eq!(address.socket(), home.runtime().join(format!("keyrack.{session}.{hash}.sock")));
        ctx.owner = "ehmpath".parse().unwrap();
        let address = RackAddress::of(&ctx).unwrap();
        assert_eq!(address.socket(), home.runtime().join(format!("keyrack.{session}.{hash}.ehmpath.sock")));
        assert_eq!(SocketName::parse(address.socket().file_name().unwrap()), Some(address.name));
    }

    #[test]
    fn socket_path_too_long_is_refused() {
        let home = Home::new();
        let deep = home.root().join("d".repeat(80));
        fs::create_dir(&deep).unwrap();
        fs::set_permissions(&deep, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(RackAddress::of(&context(&home, &deep)).unwrap_err().code, ErrorCode::SocketPathTooLong);
    }

    #[test]
    fn other_sessions_are_those_of_the_same_rack() {
        let home = Home::new();
        let address = RackAddress::of(&context(&home, &home.runtime())).unwrap();
        let hash = &address.name.home_hash;
        for name in [
            format!("keyrack.900.{hash}.sock"),
            format!("keyrack.77.{hash}.sock"),
            format!("keyrack.78.{hash}.other.sock"),
            "keyrack.79.00000000.sock".to_owned(),
            address.socket().file_name().unwrap().to_str().unwrap().to_owned(),
        ] {
            fs::write(home.runtime().join(name), "").unwrap();
        }
        assert_eq!(address.other_sessions(), ["77", "900"]);
    }
}
