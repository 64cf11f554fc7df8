//! Directories of a rack: mode 0700, owned by the user, and never reached through a symbolic link.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use keyrack_core::{Error, ErrorCode};

use crate::failpoint::failpoint;
use crate::file_error::{foreign_file, io_error, unsafe_path};

const MODE: u32 = 0o700;

/// Behavior for a missing directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMissing {
    /// Creates it, and sets the mode of existing ones to 0700.
    Create,
    /// Stops, and changes nothing.
    ReturnFalse,
}

/// Creates `dir` and what is missing between `rack` and it, mode 0700 each, and tightens the mode
/// of what exists.
pub(crate) fn create(rack: &Path, dir: &Path) -> Result<(), Error> {
    walk(rack, dir, OnMissing::Create).map(drop)
}

/// Returns `true` if `dir`, inside `rack`, is a directory of the user.
pub(crate) fn exists(rack: &Path, dir: &Path) -> Result<bool, Error> {
    walk(rack, dir, OnMissing::ReturnFalse)
}

/// Walks from `rack` (`~/.rhachet/keyrack`) down to `dir`. Each directory from `rack` on must be a
/// real one that belongs to the user. Those above may be links: they are not keyrack's. Returns
/// `false` if one is missing.
fn walk(rack: &Path, dir: &Path, on_missing: OnMissing) -> Result<bool, Error> {
    let inner = dir.strip_prefix(rack).map_err(|_| {
        Error::new(ErrorCode::Internal, format!("{} is not below {}", dir.display(), rack.display()))
    })?;
    if on_missing == OnMissing::Create
        && let Some(above) = rack.parent()
    {
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(unsafe_path(above, "it is not a directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_one(above)?,
            Err(error) => return Err(io_error("access", above, &error)),
        }
    }
    let mut here = rack.to_owned();
    let mut rest = inner.components();
    loop {
        match fs::symlink_metadata(&here) {
            Ok(found) => {
                check(&here, &found)?;
                if on_missing == OnMissing::Create && found.mode() & 0o077 != 0 {
                    fs::set_permissions(&here, Permissions::from_mode(MODE))
                        .map_err(|error| io_error("set the mode of", &here, &error))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match on_missing {
                OnMissing::ReturnFalse => return Ok(false),
                OnMissing::Create => create_one(&here)?,
            },
            Err(error) => return Err(io_error("access", &here, &error)),
        }
        match rest.next() {
            Some(part) => here.push(part),
            None => return Ok(true),
        }
    }
}

fn create_one(path: &Path) -> Result<(), Error> {
    let created = failpoint("make directory").and_then(|()| DirBuilder::new().mode(MODE).create(path));
    match created {
        // Another process of the user was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(|error| io_error("access", path, &error))?;
            check(path, &found)
        }
        Err(error) => Err(io_error("create the directory", path, &error)),
        Ok(()) => match path.parent() {
            Some(parent) => sync(parent),
            None => Ok(()),
        },
    }
}

fn check(path: &Path, found: &Metadata) -> Result<(), Error> {
    if found.is_symlink() {
        return Err(unsafe_path(path, "it is a symbolic link"));
    }
    if !found.is_dir() {
        return Err(unsafe_path(path, "it is not a directory"));
    }
    check_owner(path, found)
}

/// Returns an error if the file belongs to another user.
pub(crate) fn check_owner(path: &Path, found: &Metadata) -> Result<(), Error> {
    let own_uid = keyrack_sys::user::effective_uid().as_raw();
    if found.uid() == own_uid {
        return Ok(());
    }
    Err(foreign_file(path, found.uid(), own_uid))
}

/// Flushes a directory, so that a created or removed name survives a crash of the machine
/// (fsync(2)).
pub(crate) fn sync(dir: &Path) -> Result<(), Error> {
    failpoint("flush directory")
        .and_then(|()| File::open(dir))
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error("flush the directory", dir, &error))
}
