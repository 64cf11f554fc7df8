//! Room in the memory for requests and replies, taken from slow connections when there is none.

use keyrack_sys::memory::{Buffer, OutOfMemory, Partition};

/// Frees pages for requests and replies.
pub(crate) trait ReclaimPages {
    /// Frees some pages. Returns `false` if there are none to free.
    fn reclaim(&self, error: &OutOfMemory) -> bool;
}

/// Frees nothing: for handlers without connections.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct NoReclaim;

#[cfg(any(test, feature = "fuzzing"))]
impl ReclaimPages for NoReclaim {
    fn reclaim(&self, _: &OutOfMemory) -> bool {
        false
    }
}

/// Ensures room for `n` more bytes in `buffer`. While the partition for requests is full, reclaims
/// pages and tries again.
///
/// # Errors
/// As [`Buffer::ensure_spare`], when nothing is left to reclaim or reclaiming could not help.
pub(crate) fn ensure_spare(
    buffer: &mut Buffer,
    n: usize,
    pages: &dyn ReclaimPages,
) -> Result<(), OutOfMemory> {
    loop {
        let Err(error) = buffer.ensure_spare(n) else { return Ok(()) };
        let cannot_help = error.partition != Partition::Requests || n > error.limit;
        // Each round closes a connection, so the loop ends.
        if cannot_help || !pages.reclaim(&error) {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use keyrack_sys::memory::{Budget, MemoryMode, ModeRequest, Pool};

    use super::*;

    struct FreeOneAtATime(RefCell<Vec<Buffer>>);

    impl ReclaimPages for FreeOneAtATime {
        fn reclaim(&self, _: &OutOfMemory) -> bool {
            self.0.borrow_mut().pop().is_some()
        }
    }

    /// Fills the memory for requests.
    fn exhausted(pool: &Pool) -> FreeOneAtATime {
        let mut buffers = Vec::new();
        loop {
            let mut buffer = pool.buffer(4096);
            match buffer.ensure_spare(1) {
                Ok(()) => buffers.push(buffer),
                Err(_) => return FreeOneAtATime(RefCell::new(buffers)),
            }
        }
    }

    #[test]
    fn ensure_spare_reclaims_until_there_is_room() {
        let pool =
            Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::bytes(Budget::LEAST)).unwrap();
        let held = exhausted(&pool);
        let count = held.0.borrow().len();
        let mut buffer = pool.buffer(4096);
        ensure_spare(&mut buffer, 1, &held).unwrap();
        assert_eq!(held.0.borrow().len(), count - 1, "no more than needed");
        held.0.borrow_mut().clear();
        let refill = exhausted(&pool);
        assert!(ensure_spare(&mut pool.buffer(4096), 1, &NoReclaim).is_err());
        drop(refill);
    }

    #[test]
    fn ensure_spare_reclaims_nothing_for_what_could_never_fit() {
        let pool =
            Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::bytes(Budget::LEAST)).unwrap();
        let held = exhausted(&pool);
        let count = held.0.borrow().len();
        assert!(ensure_spare(&mut pool.buffer(8 << 20), 4 << 20, &held).is_err(), "beyond the partition");
        assert!(ensure_spare(&mut pool.buffer(4096), 4097, &held).is_err(), "beyond the buffer");
        assert_eq!(held.0.borrow().len(), count);
    }
}
