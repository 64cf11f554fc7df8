//! Inventory: an empty marker for every key that was set. It tells "locked" from "absent" without
//! opening anything.
//!
//! A marker is empty and its name is a hash, so the names of keys are never on disk in the clear.

use std::path::Path;

use keyrack_core::{Error, Slug};

use keyrack_core::layout::RackPaths;

use crate::{atomic, journal, private_dir, private_file};

/// Returns `true` if the key was set on this machine. `false` also if the markers cannot be read:
/// nothing is known then.
pub fn has(racks: &RackPaths, slug: &Slug) -> bool {
    private_file::exists(&racks.dir(), &racks.inventory_path(slug)).unwrap_or(false)
}

/// Creates the marker, empty and with mode 0600 in a directory of mode 0700. An existing one is
/// corrected.
///
/// # Errors
/// [`keyrack_core::ErrorCode::Io`], [`keyrack_core::ErrorCode::FileUnsafe`].
pub fn add(racks: &RackPaths, slug: &Slug) -> Result<(), Error> {
    let path = racks.inventory_path(slug);
    let lock = journal::lock_rack(racks)?;
    if is_whole(racks, &path)? {
        return Ok(());
    }
    atomic::replace(&lock, &path, &[], |_| Ok(()))
}

fn is_whole(racks: &RackPaths, path: &Path) -> Result<bool, Error> {
    use std::os::unix::fs::MetadataExt as _;
    private_dir::create(&racks.dir(), &racks.inventory_dir())?;
    Ok(private_file::metadata(path)?.is_some_and(|found| found.len() == 0 && found.mode() & 0o7777 == 0o600))
}

/// Removes the marker. Returns `false` if there was none.
///
/// # Errors
/// [`keyrack_core::ErrorCode::Io`], [`keyrack_core::ErrorCode::FileUnsafe`].
pub fn remove(racks: &RackPaths, slug: &Slug) -> Result<bool, Error> {
    if !has(racks, slug) && !racks.dir().exists() {
        return Ok(false);
    }
    let lock = journal::lock_rack(racks)?;
    atomic::remove(&lock, &racks.inventory_path(slug))
}
