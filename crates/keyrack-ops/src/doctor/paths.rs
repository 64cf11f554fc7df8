//! Checks of the home directory, the runtime directory and the socket path in it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use keyrack_client::address::home_hash;
use keyrack_client::{Context, RackAddress};
use keyrack_core::ErrorCode;
use keyrack_sys::{fs::file, user};

use super::check::Check;

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.push(match home_hash(ctx) {
        Ok(_) => home(&ctx.home().unwrap_or_default()),
        Err(error) => Check::error("place.home", error),
    });
    checks.push(match RackAddress::of(ctx) {
        Ok(address) => {
            let named = ctx.env.get("XDG_RUNTIME_DIR").is_some();
            let dir = address.dir.display();
            Check::ok(
                "place.runtime_dir",
                match (named, address.dir.exists()) {
                    (true, _) => format!("XDG_RUNTIME_DIR is {dir}, which is private"),
                    (false, true) => {
                        format!("XDG_RUNTIME_DIR is not set, so keyrack uses {dir}, which is private")
                    }
                    (false, false) => format!("XDG_RUNTIME_DIR is not set, so keyrack will create {dir}"),
                },
            )
        }
        // The directory is checked before the socket path, so it is usable.
        Err(error) if error.code == ErrorCode::SocketPathTooLong => Check::error("place.socket_path", error),
        // Told above.
        Err(error) if error.code == ErrorCode::NoHome => return checks,
        Err(error) => Check::error("place.runtime_dir", error),
    });
    checks
}

/// Checks the home directory: its owner, and if a rack in it can be changed.
fn home(home: &Path) -> Check {
    let name = "place.home";
    let shown = home.display();
    let us = user::effective_uid().as_raw();
    if let Ok(found) = fs::metadata(home)
        && found.uid() != us
    {
        let owner = found.uid();
        let check = Check::warn(
            name,
            format!("HOME is {shown}, which belongs to uid {owner}, not to you (uid {us})"),
        );
        return check.hint(match us {
            0 => "run keyrack as that user, or with root's own HOME (`sudo -H`)",
            _ => "set HOME to your own home directory",
        });
    }
    let mut address = home.join(".rhachet/keyrack");
    while !address.exists() && address != home {
        address.pop();
    }
    match file::may_write(&address) {
        Ok(()) => Check::ok(name, format!("HOME is {shown}")),
        Err(error) => {
            let why = match error.kind() {
                ErrorKind::ReadOnlyFilesystem => "it is on a read-only file system".to_owned(),
                ErrorKind::PermissionDenied => "you have no permission".to_owned(),
                _ => error.to_string(),
            };
            let address = address.display();
            Check::warn(
                name,
                format!("cannot write {address}: {why}; keys can be unlocked and read, but not set"),
            )
        }
    }
}
