//! Where the socket of a rack is: runtime directory, login session, home and owner make its name. Creates nothing but
//! `/tmp/keyrack-<uid>`, and that only for a daemon that is about to start; never falls back from a directory that was named.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keyrack_core::{Error, ErrorCode, Owner};
use keyrack_sys::fs::private_dir::{PrivateDir, PrivateDirError};
use sha2::{Digest, Sha256};

use crate::context::Context;

/// What the kernel says for a process outside any login session, and what stands in a socket's name where it cannot say.
pub const SESSION_UNSET: &str = "4294967295";

/// The place of one rack's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackAddress {
    /// The directory the socket is in.
    pub dir: PathBuf,
    /// The login session, as a decimal number.
    pub session: String,
    /// First eight hexadecimal digits of the SHA-256 of the home directory's real path.
    pub home_hash: String,
    /// Whose rack.
    pub owner: Owner,
}

impl RackAddress {
    /// The place of the context's rack.
    ///
    /// # Errors
    /// [`ErrorCode::NoHome`], [`ErrorCode::RuntimeDirMissing`], [`ErrorCode::RuntimeDirUnsafe`], [`ErrorCode::SocketPathTooLong`].
    pub fn of(ctx: &Context) -> Result<Self, Error> {
        Self::in_dir(ctx, runtime_dir(ctx, Missing::Name)?)
    }

    /// The same, for a daemon about to start: `/tmp/keyrack-<uid>` is made if it comes to that.
    ///
    /// # Errors
    /// As [`RackAddress::of`].
    pub fn for_start(ctx: &Context) -> Result<Self, Error> {
        Self::in_dir(ctx, runtime_dir(ctx, Missing::Make)?)
    }

    fn in_dir(ctx: &Context, dir: PathBuf) -> Result<Self, Error> {
        let address =
            RackAddress { dir, session: session_id()?, home_hash: home_hash(ctx)?, owner: ctx.owner.clone() };
        let path = address.socket();
        if path.as_os_str().len() > keyrack_sys::socket::PATH_BYTES {
            let message = format!(
                "the socket's path {} has {} bytes, more than the {} a socket can have",
                path.display(),
                path.as_os_str().len(),
                keyrack_sys::socket::PATH_BYTES
            );
            return Err(Error::new(ErrorCode::SocketPathTooLong, message)
                .hint("set XDG_RUNTIME_DIR to a shorter path, or use a shorter owner"));
        }
        Ok(address)
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(format!("{}.sock", self.stem()))
    }

    /// The path of the pid file that today's tools look at. Written by the daemon, trusted by nobody.
    pub fn pid_file(&self) -> PathBuf {
        self.dir.join(format!("{}.pid", self.stem()))
    }

    fn stem(&self) -> String {
        let mut stem = format!("keyrack.{}.{}", self.session, self.home_hash);
        if let Some(owner) = self.owner.name() {
            write!(stem, ".{owner}").expect("writing to a String cannot fail");
        }
        stem
    }

    /// Reads a socket's file name back: session, home hash, owner. `None` for any other file.
    pub fn parse(dir: &Path, file_name: &OsStr) -> Option<Self> {
        let mut parts = file_name.to_str()?.strip_prefix("keyrack.")?.strip_suffix(".sock")?.splitn(3, '.');
        let (session, home_hash, owner) = (parts.next()?, parts.next()?, parts.next());
        let digits = !session.is_empty() && session.bytes().all(|b| b.is_ascii_digit());
        let hash = home_hash.len() == 8 && home_hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits || !hash {
            return None;
        }
        let owner = match owner {
            None => Owner::DEFAULT,
            // `default` has no suffix, so a file that spells it out is none of ours.
            Some(name) => name.parse::<Owner>().ok().filter(|owner| owner.name().is_some())?,
        };
        Some(RackAddress {
            dir: dir.to_owned(),
            session: session.to_owned(),
            home_hash: home_hash.to_owned(),
            owner,
        })
    }

    /// The same rack of ours in other login sessions, by the sockets that stand beside: their session ids, in order. A socket may be
    /// dead; nobody is asked.
    pub fn other_sessions(&self) -> Vec<String> {
        let mut sessions: Vec<String> = sockets_in(&self.dir)
            .into_iter()
            .filter(|other| {
                other.session != self.session
                    && other.home_hash == self.home_hash
                    && other.owner == self.owner
            })
            .map(|other| other.session)
            .collect();
        sessions.sort_by_key(|session| session.parse::<u64>().unwrap_or(u64::MAX));
        sessions
    }
}

/// Every rack whose socket stands in a directory, sorted by path. A directory that cannot be read has none.
pub fn sockets_in(dir: &Path) -> Vec<RackAddress> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut addresses: Vec<RackAddress> =
        entries.filter_map(|entry| RackAddress::parse(dir, &entry.ok()?.file_name())).collect();
    addresses.sort_by_key(RackAddress::socket);
    addresses
}

/// Returns `true` if the error of [`RackAddress::of`] says that no daemon can be here, because the runtime directory
/// is missing or unusable. Reads then answer as without a daemon; what unlocks fails.
pub fn is_address_unavailable(error: &Error) -> bool {
    matches!(
        error.code,
        ErrorCode::RuntimeDirMissing | ErrorCode::RuntimeDirUnsafe | ErrorCode::SocketPathTooLong
    )
}

/// What to do when the last choice of a directory is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Name it all the same: whoever connects will find nothing.
    Name,
    /// Make it.
    Make,
}

/// The directory sockets are in: `XDG_RUNTIME_DIR`; if that is not set, `/run/user/<uid>` if it is there, else `/tmp/keyrack-<uid>`.
/// Ours, mode 0700, no link; one that was named and is not so is an error, never passed over.
fn runtime_dir(ctx: &Context, missing: Missing) -> Result<PathBuf, Error> {
    let uid = keyrack_sys::user::uid();
    if let Some(named) = ctx.env.get("XDG_RUNTIME_DIR") {
        let path = Path::new(named);
        return PrivateDir::open(path)
            .map(|dir| dir.path().to_owned())
            .map_err(|fault| unusable(path, "XDG_RUNTIME_DIR", &fault));
    }
    let of_login = PathBuf::from(format!("/run/user/{uid}"));
    match PrivateDir::open(&of_login) {
        Ok(dir) => return Ok(dir.path().to_owned()),
        Err(PrivateDirError::Missing) => {}
        Err(fault) => return Err(unusable(&of_login, "the runtime directory", &fault)),
    }
    own_dir(PathBuf::from(format!("/tmp/keyrack-{uid}")), missing)
}

fn own_dir(path: PathBuf, missing: Missing) -> Result<PathBuf, Error> {
    let opened = match missing {
        Missing::Name => PrivateDir::open(&path),
        Missing::Make => PrivateDir::create_private(&path),
    };
    match opened {
        Ok(dir) => Ok(dir.path().to_owned()),
        Err(PrivateDirError::Missing) if missing == Missing::Name => Ok(path),
        Err(fault) => Err(unusable(&path, "the runtime directory", &fault)),
    }
}

fn unusable(path: &Path, what: &str, fault: &PrivateDirError) -> Error {
    let code = match fault {
        PrivateDirError::Missing => ErrorCode::RuntimeDirMissing,
        _ => ErrorCode::RuntimeDirUnsafe,
    };
    let message = match fault {
        PrivateDirError::Empty => format!("{what} is set but empty"),
        _ => format!("{what} {:?} cannot be used: {fault}", path.display().to_string()),
    };
    let uid = keyrack_sys::user::uid();
    let hint = match fault {
        PrivateDirError::TooOpen { .. } => format!("chmod 700 {}", path.display()),
        PrivateDirError::NotOurs { .. } if what == "XDG_RUNTIME_DIR" => {
            "XDG_RUNTIME_DIR belongs to another user, as it does after su or sudo: unset it".to_owned()
        }
        _ if what == "XDG_RUNTIME_DIR" => {
            format!(
                "unset XDG_RUNTIME_DIR, or set it to a directory of your own with mode 0700 such as /run/user/{uid}"
            )
        }
        _ => "set XDG_RUNTIME_DIR to a directory of your own with mode 0700".to_owned(),
    };
    Error::new(code, message).hint(hint)
}

/// Our login session as the kernel tells it, decimal; [`SESSION_UNSET`] where the kernel has no such thing.
///
/// # Errors
/// [`ErrorCode::Io`] when the kernel has it but does not say, or says something else than a number.
pub fn session_id() -> Result<String, Error> {
    let unreadable = |why: String| {
        Error::new(ErrorCode::Io, format!("cannot read the login session from /proc/self/sessionid: {why}"))
    };
    match keyrack_sys::peer::own_session() {
        Ok(raw) => {
            let text = std::str::from_utf8(&raw).unwrap_or("").trim();
            if !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit()) {
                Ok(text.to_owned())
            } else {
                Err(unreadable("it holds no number".to_owned()))
            }
        }
        Err(ENOENT) => Ok(SESSION_UNSET.to_owned()),
        Err(errno) => Err(unreadable(std::io::Error::from_raw_os_error(errno).to_string())),
    }
}

/// `ENOENT`, the same number on every Linux.
const ENOENT: i32 = 2;

/// First eight hexadecimal digits of the SHA-256 of the real path of `HOME`.
///
/// # Errors
/// [`ErrorCode::NoHome`] when it is not set, not absolute, or not there.
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
    fn home_hashes_are_the_ones_in_socket_names() {
        for (path, hash) in [("/home/vlad", "83db27ef"), ("/root", "94a6b447")] {
            assert_eq!(hash_of(Path::new(path)), hash);
        }
    }

    #[test]
    fn the_real_home_is_hashed() {
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
    fn a_runtime_dir_that_was_named_is_used_or_refused() {
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
    fn a_foreign_runtime_dir_is_refused() {
        if !keyrack_testkit::can_run("a_foreign_runtime_dir_is_refused", &[keyrack_testkit::Need::Root]) {
            return;
        }
        let home = Home::new();
        std::os::unix::fs::chown(home.runtime(), Some(65534), None).unwrap();
        let error = RackAddress::of(&context(&home, &home.runtime())).unwrap_err();
        assert_eq!(error.code, ErrorCode::RuntimeDirUnsafe);
    }

    #[test]
    fn our_own_dir_is_made_only_for_a_start() {
        let home = Home::new();
        let path = home.root().join("keyrack-0");
        assert_eq!(own_dir(path.clone(), Missing::Name).unwrap(), path);
        assert!(!path.exists());
        own_dir(path.clone(), Missing::Make).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        for missing in [Missing::Name, Missing::Make] {
            assert_eq!(own_dir(path.clone(), missing).unwrap_err().code, ErrorCode::RuntimeDirUnsafe);
        }
    }

    #[test]
    fn names_of_sockets() {
        let home = Home::new();
        let mut ctx = context(&home, &home.runtime());
        let address = RackAddress::of(&ctx).unwrap();
        let session = session_id().unwrap();
        let hash = home_hash(&ctx).unwrap();
        assert_eq!(address.socket(), home.runtime().join(format!("keyrack.{session}.{hash}.sock")));
        ctx.owner = "ehmpath".parse().unwrap();
        let address = RackAddress::of(&ctx).unwrap();
        assert_eq!(address.socket(), home.runtime().join(format!("keyrack.{session}.{hash}.ehmpath.sock")));
        assert_eq!(address.pid_file(), home.runtime().join(format!("keyrack.{session}.{hash}.ehmpath.pid")));
        assert_eq!(RackAddress::parse(&address.dir, address.socket().file_name().unwrap()), Some(address));
    }

    #[test]
    fn a_path_no_socket_can_have_is_refused() {
        let home = Home::new();
        let deep = home.root().join("d".repeat(80));
        fs::create_dir(&deep).unwrap();
        fs::set_permissions(&deep, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(RackAddress::of(&context(&home, &deep)).unwrap_err().code, ErrorCode::SocketPathTooLong);
    }

    #[test]
    fn other_files_are_not_sockets_of_ours() {
        let parsed = |name: &str| RackAddress::parse(Path::new("/run"), OsStr::new(name));
        let address = parsed("keyrack.12.0123abcd.me.sock").unwrap();
        assert_eq!((address.session.as_str(), address.home_hash.as_str()), ("12", "0123abcd"));
        assert_eq!(address.owner.name(), Some("me"));
        for other in [
            "keyrack.12.0123abcd.pid",
            "keyrack.12.0123abcd.sock.lock",
            "keyrack.x.0123abcd.sock",
            "keyrack..0123abcd.sock",
            "keyrack.12.0123ABCD.sock",
            "keyrack.12.0123abc.sock",
            "keyrack.12.sock",
            "keyrack.12.0123abcd.default.sock",
            "keyrack.12.0123abcd.a..b.sock",
            "keyrack.12.0123abcd..sock",
            "other.12.0123abcd.sock",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn the_same_rack_in_other_sessions() {
        let home = Home::new();
        let address = RackAddress::of(&context(&home, &home.runtime())).unwrap();
        let hash = &address.home_hash;
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
