//! Atomic replacement of files of a rack: a reader finds the old content or the new one.
//!
//! A write goes to a temporary file beside the target, mode 0600 in a directory of mode 0700. It is
//! flushed, read back, verified and renamed over the target, and the directory is flushed. A crash
//! at any moment leaves the old file or the new one, and at worst a temporary file that the next
//! write removes.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use keyrack_core::Error;

use crate::failpoint::failpoint;
use crate::file_error::io_error;
use crate::lock::Lock;
use crate::private_dir;
use crate::private_file::{self, parent};

/// Ends the names of temporary files. They begin with a dot and the target's name.
const TEMPORARY: &str = ".tmp";

/// Replaces `path`, inside the locked rack, by `bytes`. `verify` gets what was read back from the
/// disk, before it replaces the old file.
///
/// # Errors
/// Those of `verify`; [`ErrorCode::Io`](keyrack_core::ErrorCode::Io);
/// [`ErrorCode::FileUnsafe`](keyrack_core::ErrorCode::FileUnsafe). The old file is unchanged then.
pub(crate) fn replace(
    lock: &Lock,
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let rack = lock.rack();
    private_dir::create(rack, parent(path))?;
    private_file::metadata(path)?;
    remove_stale(rack, path);
    let temporary = stage(path, bytes, verify)?;
    let renamed = failpoint("rename").and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = renamed {
        let _ = fs::remove_file(&temporary);
        return Err(io_error("replace", path, &error));
    }
    private_dir::sync(parent(path))
}

/// Writes, flushes and verifies the temporary file for `path`. Removes it on failure.
fn stage(
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let (temporary, file) = create_temporary(path)?;
    let done = private_file::fill(file, &temporary, path, bytes).and_then(|back| verify(&back));
    match done {
        Ok(()) => Ok(temporary),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

fn create_temporary(path: &Path) -> Result<(PathBuf, File), Error> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..16 {
        let temporary = parent(path).join(temporary_name(path));
        match private_file::open_new(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(io_error("create a file beside", path, &error)),
        }
    }
    Err(io_error("create a file beside", path, &last))
}

fn temporary_name(path: &Path) -> String {
    // Seeded by the system at the first use in this thread; O_EXCL keeps names apart in any case.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!(".{}.{random:016x}{TEMPORARY}", file_name(path))
}

/// Returns the target of a temporary file by its name. `None` for any other file.
fn target_of(name: &str) -> Option<&str> {
    let (target, random) = name.strip_prefix('.')?.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    (random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())).then_some(target)
}

/// Removes the temporary files of killed processes beside `path`. The lock is held, so no living
/// process writes to them. The rack's own directory has files of all owners: there, only those of
/// `path` are removed.
fn remove_stale(rack: &Path, path: &Path) {
    let dir = parent(path);
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(target) = name.to_str().and_then(target_of) else { continue };
        if dir != rack || target == file_name(path) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes a file of the locked rack and flushes its directory. Returns `false` if it did not
/// exist.
pub(crate) fn remove(lock: &Lock, path: &Path) -> Result<bool, Error> {
    if !private_file::exists(lock.rack(), path)? {
        return Ok(false);
    }
    match failpoint("remove").and_then(|()| fs::remove_file(path)) {
        Ok(()) => private_dir::sync(parent(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("remove", path, &error)),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("every path of a rack ends in a name").to_string_lossy().into_owned()
}
