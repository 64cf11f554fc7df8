//! Lock of a rack: an flock on a file of the owner, held for a whole change, whatever number of
//! files it touches.
//!
//! A thread that holds the lock may take it again, so that a command can hold it around calls that
//! take it themselves. Other threads and processes wait. It is never held during a prompt, as
//! everyone else would wait for the answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use keyrack_core::layout::RackPaths;
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::fs::lock::lock_exclusive;

use crate::failpoint::failpoint;
use crate::file_error::io_error;
use crate::{private_dir, private_file};

/// Maximum wait for another process. A change takes milliseconds; one that takes this long hangs.
const MAX_WAIT: Duration = Duration::from_secs(10);

thread_local! {
    static HELD: RefCell<HashMap<PathBuf, Weak<HeldLock>>> = RefCell::default();
}

/// Right to change an owner's files, until dropped.
#[must_use = "the lock is released when this is dropped"]
#[derive(Debug)]
pub struct Lock {
    held: Rc<HeldLock>,
}

#[derive(Debug)]
struct HeldLock {
    rack: PathBuf,
    // Closing the descriptor releases the lock, also when the process is killed (flock(2)).
    _file: File,
}

impl Lock {
    /// Waits for the lock of a rack, and creates the rack's directory if it is missing. `recover`
    /// runs after the lock was acquired, but not when this thread already holds it.
    ///
    /// # Errors
    /// [`ErrorCode::TimedOut`] after 10 s; [`ErrorCode::Io`]; [`ErrorCode::FileUnsafe`]; those of
    /// `recover`.
    pub(crate) fn take(
        paths: &RackPaths,
        recover: impl FnOnce(&Lock, &RackPaths) -> Result<(), Error>,
    ) -> Result<Lock, Error> {
        let path = paths.lock_path();
        if let Some(held) = HELD.with_borrow(|held| held.get(&path).and_then(Weak::upgrade)) {
            return Ok(Lock { held });
        }
        let rack = paths.dir();
        private_dir::create(&rack, &rack)?;
        let file = open(&path)?;
        acquire(&file, &path)?;
        let lock = Lock { held: Rc::new(HeldLock { rack, _file: file }) };
        HELD.with_borrow_mut(|map| {
            map.retain(|_, held| held.strong_count() > 0);
            map.insert(path, Rc::downgrade(&lock.held));
        });
        recover(&lock, paths)?;
        Ok(lock)
    }

    /// Directory that all locked files are in.
    pub(crate) fn rack(&self) -> &Path {
        &self.held.rack
    }
}

fn open(path: &Path) -> Result<File, Error> {
    private_file::metadata(path)?;
    failpoint("open lock")
        .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path))
        .map_err(|error| io_error("open the lock", path, &error))
}

fn acquire(file: &File, path: &Path) -> Result<(), Error> {
    lock_exclusive(file, MAX_WAIT).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => {
            let seconds = MAX_WAIT.as_secs();
            let message = format!("another keyrack process has been changing these files for {seconds} s");
            let path = path.display();
            Error::new(ErrorCode::TimedOut, message)
                .hint(format!("the lock is {path}; find the process that holds it with `fuser {path}`"))
        }
        _ => io_error("lock", path, &error),
    })
}
