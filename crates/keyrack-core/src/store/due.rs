//! The ordered deadlines of all entries, on both clocks.

use std::collections::BTreeSet;

use crate::life::{Clock, Deadlines};

/// Deadlines of slots, least first on each clock.
#[derive(Default)]
pub(super) struct Due {
    boot: BTreeSet<(u64, u32)>,
    wall: BTreeSet<(i64, u32)>,
}

impl Due {
    pub(super) fn insert(&mut self, deadlines: Deadlines, slot: u32) {
        self.boot.insert((deadlines.boot_ns, slot));
        self.wall.insert((deadlines.wall_ms, slot));
    }

    pub(super) fn remove(&mut self, deadlines: Deadlines, slot: u32) {
        self.boot.remove(&(deadlines.boot_ns, slot));
        self.wall.remove(&(deadlines.wall_ms, slot));
    }

    /// A slot whose deadline has come on either clock.
    pub(super) fn first_passed(&self, now: Clock) -> Option<u32> {
        let boot = self.boot.first().filter(|(at, _)| *at <= now.boot_ns).map(|(_, slot)| *slot);
        boot.or_else(|| self.wall.first().filter(|(at, _)| *at <= now.wall_ms).map(|(_, slot)| *slot))
    }

    /// The least deadline of each clock; they may belong to different slots.
    pub(super) fn next(&self) -> Option<Deadlines> {
        let (boot_ns, _) = self.boot.first()?;
        let (wall_ms, _) = self.wall.first()?;
        Some(Deadlines { boot_ns: *boot_ns, wall_ms: *wall_ms })
    }
}
