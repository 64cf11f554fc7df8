//! Runtime directory: the directory of the daemons' sockets.

use std::path::{Path, PathBuf};

use keyrack_core::layout::variables::RUNTIME_DIR;
use keyrack_core::layout::{fallback_runtime_dir, login_runtime_dir};
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::fs::private_dir::{PrivateDir, PrivateDirError};

use crate::context::Context;

/// Action if the fallback directory does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnMissing {
    /// Return its path: a connect will find no socket.
    ReturnPath,
    Create,
}

/// Returns the directory of the sockets: `XDG_RUNTIME_DIR`; if that is unset, `/run/user/<uid>`; if
/// that does not exist, `/tmp/keyrack-<uid>`. It must be a directory of ours with mode 0700, not a
/// symbolic link. The first candidate that exists is used or refused, never skipped.
pub(super) fn runtime_dir(ctx: &Context, on_missing: OnMissing) -> Result<PathBuf, Error> {
    let uid = keyrack_sys::user::effective_uid();
    if let Some(named) = ctx.env.get(RUNTIME_DIR) {
        let path = Path::new(named);
        return PrivateDir::open(path)
            .map(|dir| dir.path().to_owned())
            .map_err(|fault| unusable(path, RUNTIME_DIR, &fault));
    }
    let of_login = login_runtime_dir(uid.as_raw());
    match PrivateDir::open(&of_login) {
        Ok(dir) => return Ok(dir.path().to_owned()),
        Err(PrivateDirError::Missing) => {}
        Err(fault) => return Err(unusable(&of_login, "the runtime directory", &fault)),
    }
    fallback(fallback_runtime_dir(uid.as_raw()), on_missing)
}

fn fallback(path: PathBuf, on_missing: OnMissing) -> Result<PathBuf, Error> {
    let opened = match on_missing {
        OnMissing::ReturnPath => PrivateDir::open(&path),
        OnMissing::Create => PrivateDir::create_private(&path),
    };
    match opened {
        Ok(dir) => Ok(dir.path().to_owned()),
        Err(PrivateDirError::Missing) if on_missing == OnMissing::ReturnPath => Ok(path),
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
    let uid = keyrack_sys::user::effective_uid();
    let hint = match fault {
        PrivateDirError::TooOpen { .. } => format!("chmod 700 {}", path.display()),
        PrivateDirError::NotOurs { .. } if what == RUNTIME_DIR => {
            "XDG_RUNTIME_DIR belongs to another user, as it does after su or sudo: unset it".to_owned()
        }
        _ if what == RUNTIME_DIR => {
            format!(
                "unset XDG_RUNTIME_DIR, or set it to a directory of your own with mode 0700 such as /run/user/{uid}"
            )
        }
        _ => "set XDG_RUNTIME_DIR to a directory of your own with mode 0700".to_owned(),
    };
    Error::new(code, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use keyrack_testkit::Home;

    use super::*;

    #[test]
    fn fallback_dir_is_created_only_for_a_start() {
        let home = Home::new();
        let path = home.root().join("keyrack-0");
        assert_eq!(fallback(path.clone(), OnMissing::ReturnPath).unwrap(), path);
        assert!(!path.exists());
        fallback(path.clone(), OnMissing::Create).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        for on_missing in [OnMissing::ReturnPath, OnMissing::Create] {
            assert_eq!(fallback(path.clone(), on_missing).unwrap_err().code, ErrorCode::RuntimeDirUnsafe);
        }
    }
}
