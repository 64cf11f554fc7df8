//! Expiry queue: the deadlines of all stored keys, earliest first on each clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ttl::{Clock, Deadlines};

/// Deadlines of slots, in one heap per clock.
///
/// A heap takes a third of the memory of a B-tree. The price: a key that is removed early leaves a
/// stale deadline in the heaps. Stale deadlines are dropped when they reach the top, and all at
/// once when they outnumber the live ones; see [`ExpiryQueue::compact`].
#[derive(Default)]
pub(super) struct ExpiryQueue {
    boot: BinaryHeap<Reverse<(u64, u32)>>,
    wall: BinaryHeap<Reverse<(i64, u32)>>,
}

impl ExpiryQueue {
    /// Adds the deadlines of the key in `slot`.
    pub(super) fn insert(&mut self, deadlines: Deadlines, slot: u32) {
        self.boot.push(Reverse((deadlines.boot_ns, slot)));
        self.wall.push(Reverse((deadlines.wall_ms, slot)));
    }

    /// Drops stale deadlines: those on top of either heap, and all of them once a heap holds more
    /// than twice the `live` ones. `current` returns the deadlines that a slot has now.
    ///
    /// The store calls this after every removal, so the top of each heap is never stale.
    pub(super) fn compact(&mut self, live: usize, current: impl Fn(u32) -> Option<Deadlines>) {
        let is_current_boot = |at: u64, slot| current(slot).is_some_and(|deadlines| deadlines.boot_ns == at);
        let is_current_wall = |at: i64, slot| current(slot).is_some_and(|deadlines| deadlines.wall_ms == at);
        while self.boot.peek().is_some_and(|Reverse((at, slot))| !is_current_boot(*at, *slot)) {
            self.boot.pop();
        }
        while self.wall.peek().is_some_and(|Reverse((at, slot))| !is_current_wall(*at, *slot)) {
            self.wall.pop();
        }
        let bound = 2 * live + 64;
        if self.boot.len() > bound {
            retain_current(&mut self.boot, is_current_boot);
        }
        if self.wall.len() > bound {
            retain_current(&mut self.wall, is_current_wall);
        }
    }

    /// Returns a slot whose deadline has passed on either clock.
    pub(super) fn first_expired(&self, now: Clock) -> Option<u32> {
        let boot = self.boot.peek().filter(|Reverse((at, _))| *at <= now.boot_ns).map(|top| top.0.1);
        boot.or_else(|| self.wall.peek().filter(|Reverse((at, _))| *at <= now.wall_ms).map(|top| top.0.1))
    }

    /// Returns the earliest deadline on each clock. The two may belong to different slots.
    pub(super) fn next_deadline(&self) -> Option<Deadlines> {
        let Reverse((boot_ns, _)) = self.boot.peek()?;
        let Reverse((wall_ms, _)) = self.wall.peek()?;
        Some(Deadlines { boot_ns: *boot_ns, wall_ms: *wall_ms })
    }

    /// Returns the number of queued deadlines, stale ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.boot.len().max(self.wall.len())
    }
}

/// Keeps each current deadline once. A key that was replaced by one with the same deadline is
/// queued twice.
fn retain_current<T: Ord + Copy>(
    heap: &mut BinaryHeap<Reverse<(T, u32)>>,
    is_current: impl Fn(T, u32) -> bool,
) {
    let mut all = std::mem::take(heap).into_vec();
    all.retain(|Reverse((at, slot))| is_current(*at, *slot));
    all.sort_unstable();
    all.dedup();
    all.shrink_to_fit();
    *heap = all.into();
}
