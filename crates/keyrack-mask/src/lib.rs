//! Masking: whatever a program writes, without any asked secret in it, as it is or as programs usually write it down ([`forms`]).
//!
//! What is replaced: every byte that belongs to an occurrence of a pattern, occurrences that overlap included. Each run of occurrences of
//! which one overlaps the next becomes one `***`; two that only touch become two. So no piece of a secret is left beside another's mask.
//!
//! A stream is masked as it comes, and the outcome does not depend on how it was cut. Only bytes that may be the beginning of a pattern are
//! held back; everything before them is out at once.
//!
//! The search: a table says for four bytes whether any pattern begins with them, a few instructions a byte, and what it lets through is
//! compared with the patterns themselves. Its cost grows with the text alone, but for text that repeats the beginning of a long pattern over
//! and over without being it.
//!
//! Must never: let go of a byte before it is certain that it is not a pattern's, or keep a pattern in memory that is not wiped.

mod forms;
mod members;
mod patterns;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use zeroize::Zeroizing;

pub use members::{LINE, MEMBER, Text, lines, members};
pub use patterns::Patterns;

/// Shortest key that is masked, in bytes. A shorter one would be found everywhere.
pub const MIN: usize = 4;

/// What stands in the place of a secret.
pub const MASK: &[u8] = b"***";

/// The largest part of a chunk that is looked at in one go, in bytes.
const PART: usize = 64 * 1024;

/// One stream on its way through.
pub struct Masker {
    patterns: Arc<Patterns>,
    /// What may be the beginning of a pattern. It never grows beyond the room it was made with.
    held: Zeroizing<Vec<u8>>,
    /// How many of the bytes to come belong to an occurrence that has its mask already.
    covered: usize,
}

impl Masker {
    /// A stream of which nothing has come yet.
    pub fn new(patterns: Arc<Patterns>) -> Self {
        let held = Zeroizing::new(Vec::with_capacity(patterns.longest() + PART));
        Masker { patterns, held, covered: 0 }
    }

    /// Takes what came and appends to `out` what may go on.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for part in chunk.chunks(PART) {
            if self.held.is_empty() {
                let done = scan(&self.patterns, part, &mut self.covered, false, out);
                self.held.extend_from_slice(&part[done..]);
            } else {
                self.held.extend_from_slice(part);
                let done = scan(&self.patterns, &self.held, &mut self.covered, false, out);
                let rest = self.held.len() - done;
                self.held.copy_within(done.., 0);
                self.held[rest..].fill(0);
                self.held.truncate(rest);
            }
        }
    }

    /// Appends what was held back: nothing more comes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        scan(&self.patterns, &self.held, &mut self.covered, true, out);
        self.held.fill(0);
        self.held.clear();
        self.covered = 0;
    }

    /// Number of bytes that are held back, because they may be the beginning of a pattern. When no more can be read at
    /// once, let them go ([`Masker::release`]): at once, or after a while if they must wait ([`Masker::must_wait`]).
    pub fn holds(&self) -> usize {
        self.held.len()
    }

    /// Returns `true` if what is held back begins a pattern with so many characters that its release must wait for a
    /// while: the rest may be on its way.
    pub fn must_wait(&self) -> bool {
        self.held.len() >= MIN
    }

    /// Appends what is held back: the wait for the rest of a pattern is over. Should the rest come all the same, it is
    /// masked, and the part that is released here was shown.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        self.finish(out);
    }
}

/// Masks `text` as far as that can be decided, all of it if it is the `last`. Returns how far. `covered` bytes at its front have their mask
/// already; it is set to how many there are behind what was decided.
fn scan(patterns: &Patterns, text: &[u8], covered: &mut usize, last: bool, out: &mut Vec<u8>) -> usize {
    // Up to here everything is out, or has its mask: the end of the latest run of occurrences.
    let mut end = *covered;
    let mut at = 0;
    let decided = loop {
        at = patterns.candidate(text, at);
        if at == text.len() {
            break at;
        }
        let found = patterns.at(&text[at..]);
        if found.open && !last {
            break at;
        }
        if let Some(length) = found.longest {
            if at >= end {
                out.extend_from_slice(&text[end..at]);
                out.extend_from_slice(MASK);
            }
            end = end.max(at + length);
        }
        at += 1;
    };
    if end < decided {
        out.extend_from_slice(&text[end..decided]);
    }
    *covered = end.saturating_sub(decided);
    decided
}
