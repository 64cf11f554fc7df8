//! Files of a rack: regular files with mode 0600 that belong to the user, read with a limit into
//! memory that is wiped. Nothing here knows what the bytes mean.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use keyrack_core::{Error, ErrorCode};
use zeroize::Zeroizing;

use crate::failpoint::failpoint;
use crate::file_error::{io_error, unsafe_path};
use crate::private_dir;

const MODE: u32 = 0o600;

/// Returns the metadata of the file at `path`, if one exists. It must be a regular one that belongs
/// to the user.
pub(crate) fn metadata(path: &Path) -> Result<Option<Metadata>, Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("access", path, &error)),
    };
    if found.is_symlink() {
        return Err(unsafe_path(path, "it is a symbolic link"));
    }
    if !found.is_file() {
        return Err(unsafe_path(path, "it is not a regular file"));
    }
    private_dir::check_owner(path, &found)?;
    Ok(Some(found))
}

/// Returns `true` if `path`, inside `rack`, is a regular file of the user.
pub(crate) fn exists(rack: &Path, path: &Path) -> Result<bool, Error> {
    Ok(private_dir::exists(rack, parent(path))? && metadata(path)?.is_some())
}

/// Reads a file inside `rack` into memory that is wiped when dropped and does not move while it
/// fills. Returns `None` if it does not exist.
///
/// # Errors
/// [`ErrorCode::VaultCorrupt`] for a file over `limit` bytes; [`ErrorCode::FileUnsafe`] if it or a
/// directory above it is a link, of another type, or of another user; [`ErrorCode::Io`].
pub(crate) fn read(rack: &Path, path: &Path, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    if !private_dir::exists(rack, parent(path))? {
        return Ok(None);
    }
    let Some(found) = metadata(path)? else { return Ok(None) };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, &error)),
    };
    let opened = file.metadata().map_err(|error| io_error("access", path, &error))?;
    let is_same = (opened.dev(), opened.ino()) == (found.dev(), found.ino());
    // Another keyrack may replace the file between the check and the open. What it puts there is a
    // regular file of the same user again.
    if !is_same && (!opened.is_file() || opened.uid() != found.uid()) {
        return Err(unsafe_path(path, "it was replaced while keyrack opened it"));
    }
    read_bounded(&mut file, path, limit).map(Some)
}

/// Reads an open file into a buffer that is large enough from the start.
pub(crate) fn read_bounded(file: &mut File, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |error: &io::Error| io_error("read", path, error);
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let too_large = || {
        let message = format!("{} is larger than the {limit} bytes that keyrack reads", path.display());
        Error::new(ErrorCode::VaultCorrupt, message)
    };
    let size = usize::try_from(size).ok().filter(|&size| size <= limit).ok_or_else(too_large)?;
    // One byte more than the file has, to notice a file that grows meanwhile.
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    if filled > size {
        return Err(Error::new(ErrorCode::Io, format!("{} grew while keyrack read it", path.display())));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Creates a file. `O_CREAT|O_EXCL` follows no link, not even a dangling one (open(2)).
pub(crate) fn open_new(path: &Path) -> io::Result<File> {
    failpoint("create")?;
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

/// Creates `path`, which must not exist, with the given bytes, flushed and read back. For a
/// directory without readers.
pub(crate) fn create(
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = open_new(path).map_err(|error| io_error("create", path, &error))?;
    let back = fill(file, path, path, bytes)?;
    verify(&back)
}

/// Writes and flushes the new file `written`, and returns what it reads back. `target` is the path
/// that errors name.
pub(crate) fn fill(
    mut file: File,
    written: &Path,
    target: &Path,
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let done = failpoint("write")
        .and_then(|()| file.write_all(bytes))
        // The umask may have removed bits that the owner needs.
        .and_then(|()| file.set_permissions(Permissions::from_mode(MODE)))
        .and_then(|()| failpoint("flush"))
        .and_then(|()| file.sync_all());
    done.map_err(|error| io_error("write", target, &error))?;
    let mut file = failpoint("read back")
        .and_then(|()| File::open(written))
        .map_err(|error| io_error("read back", target, &error))?;
    match read_bounded(&mut file, target, bytes.len()) {
        Ok(back) if back.as_slice() == bytes => Ok(back),
        Err(error) if error.code == ErrorCode::Io => Err(error),
        _ => {
            let message = format!("cannot write {}: it read back differently", target.display());
            Err(Error::new(ErrorCode::Io, message).hint("the old file was not changed"))
        }
    }
}

pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().expect("every path of a rack has a directory above it")
}
