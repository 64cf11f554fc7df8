//! Exclusive file locks with a time limit (flock(2)).

use std::fs::{File, TryLockError};
use std::io;
use std::time::{Duration, Instant};

/// Pause between two attempts. Holders need milliseconds.
const PAUSE: Duration = Duration::from_millis(3);

/// Locks an open file until it is closed, and waits up to `limit` for another holder.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if another open file still holds the lock; what flock(2) fails with.
pub fn lock_exclusive(file: &File, limit: Duration) -> io::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_exclusive_waits_for_the_holder_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let (first, second) = (open(), open());
        lock_exclusive(&first, Duration::ZERO).unwrap();
        let start = Instant::now();
        let error = lock_exclusive(&second, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(50));
        drop(first);
        lock_exclusive(&second, Duration::from_millis(50)).unwrap();
    }
}
