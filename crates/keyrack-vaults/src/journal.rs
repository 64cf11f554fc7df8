//! Several files replaced as one: all of them, or none, whatever happens in between.
//!
//! The new files are written into a directory beside the os.secure files and flushed. Renaming that directory is the decision, one
//! atomic step: under its first name it is a plan, and whoever takes the lock next removes it; under its second name it is decided, and
//! whoever takes the lock next moves what is still in it into place. Moving is the same however often it is begun.

use std::fs;
use std::io;
use std::path::PathBuf;

use keyrack_core::Error;

use crate::atomic::{self, io_error, sync_dir};
use crate::failpoint::failpoint;
use crate::lock::Lock;
use keyrack_core::layout::RackPaths;

const PLAN: &str = ".replace.plan";
const COMMIT_MARKER: &str = ".replace.decided";
/// The name the host manifest has in the plan; no file of os.secure can have it.
const MANIFEST: &str = "manifest";

/// A replacement being prepared. Dropped without [`Replacement::commit`], it is removed.
pub(crate) struct Replacement<'l> {
    lock: &'l Lock,
    racks: &'l RackPaths,
    dir: PathBuf,
    decided: bool,
}

impl<'l> Replacement<'l> {
    pub(crate) fn begin(lock: &'l Lock, racks: &'l RackPaths) -> Result<Self, Error> {
        let secure = racks.secure_dir();
        atomic::make_private_dir(lock.rack(), &secure)?;
        let dir = secure.join(PLAN);
        let replacement = Replacement { lock, racks, dir, decided: false };
        atomic::make_private_dir(lock.rack(), &replacement.dir)?;
        Ok(replacement)
    }

    /// Adds a new content for an os.secure file that is there. `verify` is given what was read back from the disk.
    pub(crate) fn secure(
        &self,
        name: &str,
        bytes: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        debug_assert!(is_secure_name(name), "{name}");
        atomic::create_private(&self.dir.join(name), bytes, verify)
    }

    /// Adds a new content for the host manifest.
    pub(crate) fn manifest(
        &self,
        bytes: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        atomic::create_private(&self.dir.join(MANIFEST), bytes, verify)
    }

    /// Decides, and moves everything into place.
    ///
    /// # Errors
    /// Before the decision: nothing was changed. After it: the rest is moved by whoever takes the lock next.
    pub(crate) fn commit(mut self) -> Result<(), Error> {
        sync_dir(&self.dir)?;
        let decided = self.racks.secure_dir().join(COMMIT_MARKER);
        failpoint("decide")
            .and_then(|()| fs::rename(&self.dir, &decided))
            .map_err(|error| io_error("replace the files of", &self.racks.secure_dir(), &error))?;
        self.decided = true;
        sync_dir(&self.racks.secure_dir())?;
        roll_forward(self.lock, self.racks)
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.decided {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Finishes what was decided, removes what was only planned. Called with every first taking of the lock.
pub(crate) fn recover(lock: &Lock, racks: &RackPaths) -> Result<(), Error> {
    let secure = racks.secure_dir();
    if atomic::dir_exists(lock.rack(), &secure.join(COMMIT_MARKER))? {
        roll_forward(lock, racks)?;
    }
    let replacement = secure.join(PLAN);
    if atomic::dir_exists(lock.rack(), &replacement)? {
        failpoint("remove plan")
            .and_then(|()| fs::remove_dir_all(&replacement))
            .map_err(|error| io_error("remove", &replacement, &error))?;
    }
    Ok(())
}

/// The same for who only reads: nothing is done when there is nothing to do, and a failure is no failure to read. Each file is whole by
/// itself, old or new.
pub(crate) fn recover_for_reading(racks: &RackPaths) {
    if is_unfinished(racks) {
        let _ = Lock::take(racks);
    }
}

/// Whether a replacement was decided and is not finished. Only looks.
pub(crate) fn is_unfinished(racks: &RackPaths) -> bool {
    fs::symlink_metadata(racks.secure_dir().join(COMMIT_MARKER)).is_ok()
}

fn roll_forward(lock: &Lock, racks: &RackPaths) -> Result<(), Error> {
    let secure = racks.secure_dir();
    let decided = secure.join(COMMIT_MARKER);
    let unreadable = |error: io::Error| io_error("read", &decided, &error);
    // The names first: the directory is emptied while it is gone through.
    let entries: Vec<_> =
        fs::read_dir(&decided).and_then(Iterator::collect::<io::Result<_>>).map_err(unreadable)?;
    for entry in entries {
        let name = entry.file_name();
        let target = match name.to_str() {
            Some(MANIFEST) => racks.manifest_path(),
            Some(name) if is_secure_name(name) => secure.join(name),
            _ => continue,
        };
        atomic::look(&target)?;
        failpoint("move into place")
            .and_then(|()| fs::rename(entry.path(), &target))
            .map_err(|error| io_error("replace", &target, &error))?;
    }
    sync_dir(&secure)?;
    sync_dir(lock.rack())?;
    failpoint("remove decided")
        .and_then(|()| fs::remove_dir_all(&decided))
        .map_err(|error| io_error("remove", &decided, &error))?;
    sync_dir(&secure)
}

/// Whether `name` is that of an os.secure file: 16 hex digits and `.age`.
pub(crate) fn is_secure_name(name: &str) -> bool {
    name.strip_suffix(".age").is_some_and(|hash| {
        hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}
