//! The deadlines of all entries, least first on each clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ttl::{Clock, Deadlines};

/// Deadlines of slots, as one heap for each clock.
///
/// A heap takes a third of the memory of a tree. A deadline of a key that went early stays behind until it comes to the top, or until most of the heap
/// is such; the caller says which deadlines still hold.
#[derive(Default)]
pub(super) struct Due {
    boot: BinaryHeap<Reverse<(u64, u32)>>,
    wall: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Due {
    pub(super) fn insert(&mut self, deadlines: Deadlines, slot: u32) {
        self.boot.push(Reverse((deadlines.boot_ns, slot)));
        self.wall.push(Reverse((deadlines.wall_ms, slot)));
    }

    /// Drops what no longer holds from the top of both heaps, and from all of them when they hold more than twice the `live` ones.
    /// `current` is what a slot's deadlines are now. Must follow every removal, before the tops are looked at.
    pub(super) fn settle(&mut self, live: usize, current: impl Fn(u32) -> Option<Deadlines>) {
        let boot_holds = |at: u64, slot| current(slot).is_some_and(|deadlines| deadlines.boot_ns == at);
        let wall_holds = |at: i64, slot| current(slot).is_some_and(|deadlines| deadlines.wall_ms == at);
        while self.boot.peek().is_some_and(|Reverse((at, slot))| !boot_holds(*at, *slot)) {
            self.boot.pop();
        }
        while self.wall.peek().is_some_and(|Reverse((at, slot))| !wall_holds(*at, *slot)) {
            self.wall.pop();
        }
        let bound = 2 * live + 64;
        if self.boot.len() > bound {
            distinct(&mut self.boot, boot_holds);
        }
        if self.wall.len() > bound {
            distinct(&mut self.wall, wall_holds);
        }
    }

    /// A slot whose deadline has come on either clock.
    pub(super) fn first_passed(&self, now: Clock) -> Option<u32> {
        let boot = self.boot.peek().filter(|Reverse((at, _))| *at <= now.boot_ns).map(|top| top.0.1);
        boot.or_else(|| self.wall.peek().filter(|Reverse((at, _))| *at <= now.wall_ms).map(|top| top.0.1))
    }

    /// The least deadline of each clock; they may belong to different slots.
    pub(super) fn next(&self) -> Option<Deadlines> {
        let Reverse((boot_ns, _)) = self.boot.peek()?;
        let Reverse((wall_ms, _)) = self.wall.peek()?;
        Some(Deadlines { boot_ns: *boot_ns, wall_ms: *wall_ms })
    }

    /// How many deadlines are kept, those that no longer hold included.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.boot.len().max(self.wall.len())
    }
}

/// Keeps what holds, once: a key that was replaced by one with the same deadline has left it behind twice.
fn distinct<T: Ord + Copy>(heap: &mut BinaryHeap<Reverse<(T, u32)>>, holds: impl Fn(T, u32) -> bool) {
    let mut all = std::mem::take(heap).into_vec();
    all.retain(|Reverse((at, slot))| holds(*at, *slot));
    all.sort_unstable();
    all.dedup();
    all.shrink_to_fit();
    *heap = all.into();
}
