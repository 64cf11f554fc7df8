//! One writer at a time: an flock on a file of the owner's rack, held over a whole change however many files it touches.
//!
//! Taking it twice in one thread is taking it once, so that a command may hold it around calls that take it themselves; other
//! threads and processes are kept out. It is never held while a person is asked something, or everybody else would wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use keyrack_core::{Error, ErrorCode};

use crate::atomic::{self, io_error};
use crate::failpoint::failpoint;
use crate::journal;
use keyrack_core::layout::RackPaths;

/// The longest wait for another writer. A change takes milliseconds; one that takes this long is stuck.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(3);

thread_local! {
    static HELD: RefCell<HashMap<PathBuf, Weak<HeldLock>>> = RefCell::default();
}

/// The right to change an owner's files, until dropped.
#[must_use = "the lock is given back when this is dropped"]
#[derive(Debug)]
pub struct Lock {
    held: Rc<HeldLock>,
}

#[derive(Debug)]
struct HeldLock {
    rack: PathBuf,
    // Closing the descriptor gives the lock back, also when the process is killed (flock(2)).
    _file: File,
}

impl Lock {
    /// Waits for the lock of `racks`, makes their directory if it is missing, and finishes or undoes what a killed run left half
    /// done.
    ///
    /// # Errors
    /// [`ErrorCode::TimedOut`] after 10 s; [`ErrorCode::Io`]; [`ErrorCode::FileUnsafe`].
    pub fn take(racks: &RackPaths) -> Result<Lock, Error> {
        let path = racks.lock_path();
        if let Some(held) = HELD.with_borrow(|held| held.get(&path).and_then(Weak::upgrade)) {
            return Ok(Lock { held });
        }
        let rack = racks.dir();
        atomic::make_private_dir(&rack, &rack)?;
        let file = open(&path)?;
        wait(&file, &path)?;
        let held = Rc::new(HeldLock { rack, _file: file });
        let lock = Lock { held: Rc::clone(&held) };
        HELD.with_borrow_mut(|map| {
            map.retain(|_, held| held.strong_count() > 0);
            map.insert(path, Rc::downgrade(&held));
        });
        drop(held);
        journal::recover(&lock, racks)?;
        Ok(lock)
    }

    /// The directory everything locked is in.
    pub(crate) fn rack(&self) -> &Path {
        &self.held.rack
    }
}

fn open(path: &Path) -> Result<File, Error> {
    atomic::look(path)?;
    failpoint("open lock")
        .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path))
        .map_err(|error| io_error("open the lock", path, &error))
}

fn wait(file: &File, path: &Path) -> Result<(), Error> {
    let end = Instant::now() + LONGEST_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                let message =
                    format!("another keyrack has been changing these files for {} s", LONGEST_WAIT.as_secs());
                return Err(Error::new(ErrorCode::TimedOut, message)
                    .hint(format!("the lock is {}; see who holds it with: fuser {0}", path.display())));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", path, &error)),
        }
    }
}
