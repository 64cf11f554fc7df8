//! Files that are ours alone, read with a limit and replaced so that whoever looks finds the old content or the new one.
//!
//! A write goes to a temporary file beside the target, 0600 in 0700 from its first instant, is flushed, read back, checked,
//! renamed over the target, and the directory flushed. A crash at any moment leaves the old file or the new one, and at
//! worst a temporary file that the next write sweeps. Nothing here follows a link in keyrack's own directories, and nothing
//! here knows what the bytes mean.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use keyrack_core::{Error, ErrorCode};
use zeroize::Zeroizing;

use crate::failpoint::failpoint;
use crate::lock::Lock;

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIR: u32 = 0o700;
/// Ends the names of our temporary files; they begin with a dot and the target's name.
const TEMPORARY: &str = ".tmp";

/// An I/O failure as a problem that names what was done to which path.
pub(crate) fn io_error(doing: &str, path: &Path, error: &io::Error) -> Error {
    let failure = Error::new(ErrorCode::Io, format!("cannot {doing} {}: {}", path.display(), why(error)));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.hint("free some space and try again; what was there is untouched")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            failure.hint("keyrack needs a home directory it can write; what was there is untouched")
        }
        _ => failure,
    }
}

/// The reason without Rust's `(os error N)`.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

fn unsafe_path(path: &Path, why: &str) -> Error {
    unsafe_file(path, why).hint(
        "keyrack's own files and directories must be yours and must not be links; move it away and try again",
    )
}

fn unsafe_file(path: &Path, why: &str) -> Error {
    Error::new(ErrorCode::FileUnsafe, format!("refused to use {}: {why}", path.display()))
}

/// A file of another user. Moving it away would remove that user's keys.
fn foreign(path: &Path, owner: u32, us: u32) -> Error {
    let error = unsafe_file(path, &format!("it belongs to uid {owner}, not to uid {us}"));
    match (owner, us) {
        (_, 0) => error.hint(
            "you are root and HOME is another user's: run keyrack as that user, or with your own HOME (`sudo -H`)",
        ),
        (0, _) => error
            .hint("root made it, as `sudo keyrack` does with your HOME: give it back to yourself with `chown -R`"),
        _ => error.hint("HOME is another user's: set it to your own home directory"),
    }
}

/// Whether a directory on the way is made when it is missing, and its mode set to 0700.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMissing {
    Create,
    ReturnFalse,
}

/// Goes down from `rack` (`~/.rhachet/keyrack`) to `dir` inside it. Each directory from `rack` on must be a real one and ours.
/// What is above may be a link: it is not keyrack's. `Ok(false)` when something is missing (only under [`OnMissing::ReturnFalse`]).
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_dir(above)?,
            Err(error) => return Err(io_error("look at", above, &error)),
        }
    }
    let mut here = rack.to_owned();
    let mut rest = inner.components();
    loop {
        match fs::symlink_metadata(&here) {
            Ok(found) => {
                check_dir(&here, &found)?;
                if on_missing == OnMissing::Create && found.mode() & 0o077 != 0 {
                    fs::set_permissions(&here, Permissions::from_mode(PRIVATE_DIR))
                        .map_err(|error| io_error("make private", &here, &error))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match on_missing {
                OnMissing::ReturnFalse => return Ok(false),
                OnMissing::Create => make_dir(&here)?,
            },
            Err(error) => return Err(io_error("look at", &here, &error)),
        }
        match rest.next() {
            Some(part) => here.push(part),
            None => return Ok(true),
        }
    }
}

fn make_dir(path: &Path) -> Result<(), Error> {
    let made = failpoint("make directory").and_then(|()| DirBuilder::new().mode(PRIVATE_DIR).create(path));
    match made {
        // Somebody of ours was faster. Look at what they made.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(|error| io_error("look at", path, &error))?;
            check_dir(path, &found)
        }
        Err(error) => Err(io_error("make the directory", path, &error)),
        Ok(()) => match path.parent() {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        },
    }
}

fn check_dir(path: &Path, found: &Metadata) -> Result<(), Error> {
    if found.is_symlink() {
        return Err(unsafe_path(path, "it is a symbolic link"));
    }
    if !found.is_dir() {
        return Err(unsafe_path(path, "it is not a directory"));
    }
    check_owner(path, found)
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), Error> {
    let us = keyrack_sys::user::uid();
    if found.uid() == us {
        return Ok(());
    }
    Err(foreign(path, found.uid(), us))
}

/// The file at `path` itself, if one is there. It must be a regular one and ours.
pub(crate) fn look(path: &Path) -> Result<Option<Metadata>, Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("look at", path, &error)),
    };
    if found.is_symlink() {
        return Err(unsafe_path(path, "it is a symbolic link"));
    }
    if !found.is_file() {
        return Err(unsafe_path(path, "it is not a regular file"));
    }
    check_owner(path, &found)?;
    Ok(Some(found))
}

/// Makes `dir` and what is missing above it down from `rack`, 0700 each, and tightens what is there.
pub(crate) fn make_private_dir(rack: &Path, dir: &Path) -> Result<(), Error> {
    walk(rack, dir, OnMissing::Create).map(drop)
}

/// Whether a directory of ours is at `dir`, inside `rack`.
pub(crate) fn dir_exists(rack: &Path, dir: &Path) -> Result<bool, Error> {
    walk(rack, dir, OnMissing::ReturnFalse)
}

/// Whether a regular file of ours is at `path`, inside `rack`.
pub(crate) fn exists(rack: &Path, path: &Path) -> Result<bool, Error> {
    Ok(walk(rack, parent(path), OnMissing::ReturnFalse)? && look(path)?.is_some())
}

/// Reads a file of ours inside `rack` into memory that is wiped when dropped and is never moved while it fills. `None` when nothing
/// is there.
///
/// # Errors
/// [`ErrorCode::VaultCorrupt`] when it is over `limit` bytes; [`ErrorCode::FileUnsafe`] when it or a directory on the way is a
/// link, not a file, or somebody else's; [`ErrorCode::Io`].
pub(crate) fn read_private(
    rack: &Path,
    path: &Path,
    limit: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    if !walk(rack, parent(path), OnMissing::ReturnFalse)? {
        return Ok(None);
    }
    let Some(found) = look(path)? else { return Ok(None) };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, &error)),
    };
    let opened = file.metadata().map_err(|error| io_error("look at", path, &error))?;
    let same = (opened.dev(), opened.ino()) == (found.dev(), found.ino());
    // Replaced between the look and the open: by a writer of ours that is fine, and then it is a regular file of ours again.
    if !same && (!opened.is_file() || opened.uid() != found.uid()) {
        return Err(unsafe_path(path, "it was swapped while it was opened"));
    }
    read_bounded(&mut file, path, limit).map(Some)
}

/// Reads an open file into a buffer made large enough beforehand.
pub(crate) fn read_bounded(file: &mut File, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io = |error: &io::Error| io_error("read", path, error);
    let size = file.metadata().map_err(|error| io(&error))?.len();
    let too_large = || {
        let message = format!("{} is larger than the {limit} bytes keyrack reads", path.display());
        Error::new(ErrorCode::VaultCorrupt, message)
    };
    let size = usize::try_from(size).ok().filter(|&size| size <= limit).ok_or_else(too_large)?;
    // One byte more than the file has: a file that grows meanwhile is seen, not followed.
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(&error)),
        }
    }
    if filled > size {
        return Err(Error::new(ErrorCode::Io, format!("{} grew while it was read", path.display())));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Replaces `path` (inside `rack`) by `bytes`: all of them, checked, or nothing. `verify` is given what was read back from the disk
/// before it takes the old file's place.
///
/// # Errors
/// Those of `verify`; [`ErrorCode::Io`]; [`ErrorCode::FileUnsafe`]. In each case the old file is what it was.
pub(crate) fn write_private(
    lock: &Lock,
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let rack = lock.rack();
    make_private_dir(rack, parent(path))?;
    look(path)?;
    sweep(rack, path);
    let temporary = stage(path, bytes, verify)?;
    let renamed = failpoint("rename").and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = renamed {
        let _ = fs::remove_file(&temporary);
        return Err(io_error("replace", path, &error));
    }
    sync_dir(parent(path))
}

/// Writes the temporary file that is to take the place of `path`, flushed and checked. Removed again when anything fails.
fn stage(
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let (temporary, file) = create_beside(path)?;
    let done = fill(file, &temporary, path, bytes).and_then(|back| verify(&back));
    match done {
        Ok(()) => Ok(temporary),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Creates `path`, which must not be there, with the given bytes, flushed and read back. For files in a directory that has no
/// reader yet.
pub(crate) fn create_private(
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = failpoint("create")
        .and_then(|()| open_new(path))
        .map_err(|error| io_error("create", path, &error))?;
    let back = fill(file, path, path, bytes)?;
    verify(&back)
}

fn fill(mut file: File, temporary: &Path, path: &Path, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let written = failpoint("write")
        .and_then(|()| file.write_all(bytes))
        // The umask may have taken bits that the owner needs.
        .and_then(|()| file.set_permissions(Permissions::from_mode(PRIVATE_FILE)))
        .and_then(|()| failpoint("flush"))
        .and_then(|()| file.sync_all());
    written.map_err(|error| io_error("write", path, &error))?;
    let mut file = failpoint("read back")
        .and_then(|()| File::open(temporary))
        .map_err(|error| io_error("read back", path, &error))?;
    match read_bounded(&mut file, path, bytes.len()) {
        Ok(back) if back.as_slice() == bytes => Ok(back),
        Err(error) if error.code == ErrorCode::Io => Err(error),
        _ => Err(Error::new(
            ErrorCode::Io,
            format!("what was written for {} did not read back the same", path.display()),
        )
        .hint("the old file is untouched")),
    }
}

fn create_beside(path: &Path) -> Result<(PathBuf, File), Error> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..16 {
        let temporary = parent(path).join(temporary_name(path));
        match failpoint("create").and_then(|()| open_new(&temporary)) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(io_error("write beside", path, &error)),
        }
    }
    Err(io_error("write beside", path, &last))
}

/// `O_CREAT|O_EXCL` follows no link, a dangling one included (open(2)).
fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path)
}

fn temporary_name(path: &Path) -> String {
    // Keyed by the system's randomness at the first use in this thread; told apart by O_EXCL in any case.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!(".{}.{random:016x}{TEMPORARY}", file_name(path))
}

/// Whether `name` is one of our temporary files for `target`.
fn is_temporary_of(name: &str, target: &str) -> bool {
    name.strip_prefix('.')
        .and_then(|rest| rest.strip_suffix(TEMPORARY))
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(of, random)| {
            of == target && random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

/// Removes what killed runs left beside `path`. The lock is held, so no temporary file there has a living writer; in the rack's own
/// directory, where the files of all owners are, only those of `path` itself are ours to remove.
fn sweep(rack: &Path, path: &Path) {
    let dir = parent(path);
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let stale = if dir == rack {
            is_temporary_of(name, &file_name(path))
        } else {
            name.strip_prefix('.')
                .and_then(|rest| rest.strip_suffix(TEMPORARY))
                .and_then(|rest| rest.rsplit_once('.'))
                .is_some_and(|(target, _)| is_temporary_of(name, target))
        };
        if stale {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes a file of ours and flushes the directory. `Ok(false)` when it was not there.
pub(crate) fn remove_private(lock: &Lock, path: &Path) -> Result<bool, Error> {
    if !walk(lock.rack(), parent(path), OnMissing::ReturnFalse)? || look(path)?.is_none() {
        return Ok(false);
    }
    match failpoint("remove").and_then(|()| fs::remove_file(path)) {
        Ok(()) => sync_dir(parent(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("remove", path, &error)),
    }
}

/// Flushes a directory, so that a name made or removed in it survives a crash of the machine (fsync(2)).
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    failpoint("flush directory")
        .and_then(|()| File::open(dir))
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error("flush the directory", dir, &error))
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("every path of the racks has a directory above it")
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("every path of the racks ends in a name").to_string_lossy().into_owned()
}
