//! Replacement of several files as one: all of them or none, even if the process is killed.
//!
//! The new files are written into a directory beside the os.secure files and flushed. Renaming that
//! directory commits the replacement in one atomic step. Under its first name it is uncommitted,
//! and the next process that takes the lock removes it. Under its second name it is committed, and
//! the next process that takes the lock moves the rest of its files into place. Moving can be
//! repeated.

use std::fs;
use std::io;
use std::path::PathBuf;

use keyrack_core::Error;
use keyrack_core::layout::RackPaths;

use crate::failpoint::failpoint;
use crate::file_error::io_error;
use crate::lock::Lock;
use crate::{private_dir, private_file};

/// Directory of a replacement that is not committed.
const PLAN: &str = ".replace.plan";
/// Directory of a replacement that is committed.
const COMMIT_MARKER: &str = ".replace.decided";
/// Name of the host manifest in the replacement. No file of os.secure can have it.
const MANIFEST: &str = "manifest";

/// Takes the lock of a rack, and finishes or undoes what a killed process left behind.
///
/// # Errors
/// [`ErrorCode::TimedOut`](keyrack_core::ErrorCode::TimedOut) after 10 s;
/// [`ErrorCode::Io`](keyrack_core::ErrorCode::Io);
/// [`ErrorCode::FileUnsafe`](keyrack_core::ErrorCode::FileUnsafe).
pub fn lock_rack(paths: &RackPaths) -> Result<Lock, Error> {
    Lock::take(paths, recover)
}

/// A replacement that is being prepared. Removed when dropped without [`Replacement::commit`].
pub(crate) struct Replacement<'l> {
    lock: &'l Lock,
    paths: &'l RackPaths,
    dir: PathBuf,
    is_committed: bool,
}

impl<'l> Replacement<'l> {
    pub(crate) fn begin(lock: &'l Lock, paths: &'l RackPaths) -> Result<Self, Error> {
        let secure = paths.secure_dir();
        private_dir::create(lock.rack(), &secure)?;
        let dir = secure.join(PLAN);
        let replacement = Replacement { lock, paths, dir, is_committed: false };
        private_dir::create(lock.rack(), &replacement.dir)?;
        Ok(replacement)
    }

    /// Adds new content for an existing os.secure file. `verify` gets what was read back from the
    /// disk.
    pub(crate) fn add_secure(
        &self,
        name: &str,
        bytes: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        debug_assert!(is_secure_name(name), "{name}");
        private_file::create(&self.dir.join(name), bytes, verify)
    }

    /// Adds new content for the host manifest.
    pub(crate) fn add_manifest(
        &self,
        bytes: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        private_file::create(&self.dir.join(MANIFEST), bytes, verify)
    }

    /// Commits, and moves everything into place.
    ///
    /// # Errors
    /// If committing fails, nothing was changed. If moving fails, the next process that takes the
    /// lock moves the rest.
    pub(crate) fn commit(mut self) -> Result<(), Error> {
        private_dir::sync(&self.dir)?;
        let committed = self.paths.secure_dir().join(COMMIT_MARKER);
        failpoint("commit")
            .and_then(|()| fs::rename(&self.dir, &committed))
            .map_err(|error| io_error("replace the files in", &self.paths.secure_dir(), &error))?;
        self.is_committed = true;
        private_dir::sync(&self.paths.secure_dir())?;
        roll_forward(self.lock, self.paths)
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Finishes a committed replacement, and removes an uncommitted one.
fn recover(lock: &Lock, paths: &RackPaths) -> Result<(), Error> {
    let secure = paths.secure_dir();
    if private_dir::exists(lock.rack(), &secure.join(COMMIT_MARKER))? {
        roll_forward(lock, paths)?;
    }
    let uncommitted = secure.join(PLAN);
    if private_dir::exists(lock.rack(), &uncommitted)? {
        failpoint("remove plan")
            .and_then(|()| fs::remove_dir_all(&uncommitted))
            .map_err(|error| io_error("remove", &uncommitted, &error))?;
    }
    Ok(())
}

/// Finishes a committed replacement before a read. Failures are ignored: each file is whole in
/// itself, old or new.
pub(crate) fn recover_for_reading(paths: &RackPaths) {
    if is_unfinished(paths) {
        let _ = lock_rack(paths);
    }
}

/// Returns `true` if a replacement was committed and is not finished.
pub(crate) fn is_unfinished(paths: &RackPaths) -> bool {
    fs::symlink_metadata(paths.secure_dir().join(COMMIT_MARKER)).is_ok()
}

fn roll_forward(lock: &Lock, paths: &RackPaths) -> Result<(), Error> {
    let secure = paths.secure_dir();
    let committed = secure.join(COMMIT_MARKER);
    let unreadable = |error: io::Error| io_error("read", &committed, &error);
    // All names first: the directory is emptied in the loop.
    let entries: Vec<_> =
        fs::read_dir(&committed).and_then(Iterator::collect::<io::Result<_>>).map_err(unreadable)?;
    for entry in entries {
        let name = entry.file_name();
        let target = match name.to_str() {
            Some(MANIFEST) => paths.manifest_path(),
            Some(name) if is_secure_name(name) => secure.join(name),
            _ => continue,
        };
        private_file::metadata(&target)?;
        failpoint("move into place")
            .and_then(|()| fs::rename(entry.path(), &target))
            .map_err(|error| io_error("replace", &target, &error))?;
    }
    private_dir::sync(&secure)?;
    private_dir::sync(lock.rack())?;
    failpoint("remove committed")
        .and_then(|()| fs::remove_dir_all(&committed))
        .map_err(|error| io_error("remove", &committed, &error))?;
    private_dir::sync(&secure)
}

/// Returns `true` if `name` is that of an os.secure file: 16 hex digits and `.age`.
pub(crate) fn is_secure_name(name: &str) -> bool {
    name.strip_suffix(".age").is_some_and(|hash| {
        hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}
