//! Counter of the bytes that are read, so that a test can show without a clock that reading is
//! linear.

use std::cell::Cell;

thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

/// Counts `bytes` more.
pub fn add(bytes: usize) {
    COUNT.set(COUNT.get() + bytes);
}

/// Returns the bytes read on this thread since the last call.
pub fn take() -> usize {
    COUNT.take()
}
