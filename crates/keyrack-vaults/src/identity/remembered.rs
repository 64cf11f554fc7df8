//! Paths of identities that a person named once: kept beside the host manifest, so that later
//! commands find them without `--prikey`.
//!
//! The file holds absolute paths, one a line, the latest first. It holds no key, and losing it
//! loses nothing.

use std::path::{Path, PathBuf};

use keyrack_core::Error;

use keyrack_core::layout::RackPaths;

use crate::{atomic, journal, private_file};

/// Maximum number of paths kept.
const MAX_PATHS: usize = 16;
const MAX_FILE: usize = 64 << 10;

/// Returns the remembered paths. None where the file is missing or cannot be trusted: commands work
/// without it.
pub(super) fn paths(racks: &RackPaths) -> Vec<PathBuf> {
    let read = private_file::read(&racks.dir(), &racks.identities_path(), MAX_FILE);
    let Ok(Some(bytes)) = read else { return Vec::new() };
    let Ok(text) = std::str::from_utf8(&bytes) else { return Vec::new() };
    let paths = text.lines().map(PathBuf::from).filter(|path| path.is_absolute());
    paths.take(MAX_PATHS).collect()
}

/// Remembers the path of an identity that opens an owner's rack. `Ok(false)` if it is known already
/// or cannot be kept: it is not absolute, or not a line of text.
///
/// # Errors
/// Those of writing.
pub fn remember(racks: &RackPaths, path: &Path) -> Result<bool, Error> {
    let is_line = path.to_str().is_some_and(|text| !text.contains(['\n', '\r']));
    if !path.is_absolute() || !is_line {
        return Ok(false);
    }
    let lock = journal::lock_rack(racks)?;
    let mut known = paths(racks);
    if known.first().is_some_and(|first| first == path) {
        return Ok(false);
    }
    known.retain(|other| other != path);
    known.insert(0, path.to_owned());
    known.truncate(MAX_PATHS);
    let text: String = known.iter().map(|path| format!("{}\n", path.display())).collect();
    atomic::replace(&lock, &racks.identities_path(), text.as_bytes(), |_| Ok(()))?;
    Ok(true)
}
