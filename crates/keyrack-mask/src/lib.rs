//! Masking: a stream without any of some keys in it, in every form that writers give them.
//!
//! # What is found
//!
//! Each character of a key as itself or as any escape of it, in any mix; the key encoded as a whole; and whatever writers put between
//! its characters. The tests hold this as a table of writers × forms × offsets × widths.
//!
//! | form | found |
//! |---|---|
//! | verbatim | the key without white space around it; its lines from 8 bytes; members of a JSON key ([`members()`]) |
//! | escapes | those that [`decode`] lists, also inside one another |
//! | Base64 | both alphabets, any offset, of the key, of its JSON-escaped, percent-encoded and UTF-16 forms, of its Base64 |
//! | hexadecimal | either case, with `:`, `-`, blanks, `0x` and commas; decimal lists |
//! | broken | by line ends, indentation, quotes, terminal sequences, anywhere and at any width |
//!
//! Encoded forms need eight characters that do not depend on what is around them.
//!
//! # How
//!
//! Two searches run over the same bytes. The *literal* one seeks keys, lines and members as they are: a key may be part of something that
//! looks like an escape, `C:\\new…`, so decoding alone would lose it. The *canonical* one seeks all forms in the stream's canonical form
//! ([`decode`]), and maps what it finds back to positions in the stream ([`canonical`]). Patterns are kept as keyed hashes ([`set`]):
//! each candidate costs the same, so the whole is linear in the stream, whatever the keys are.
//!
//! What is replaced: every byte that belongs to an occurrence. Each run of occurrences of which one overlaps the next becomes one [`MASK`];
//! two that only touch become two.
//!
//! A stream is masked as it comes, and the outcome does not depend on how it is cut, unless a beginning is let go ([`Masker::release`]).
//!
//! Must never: let go of a byte that may be part of an occurrence unless told to, keep a key in memory that is not wiped, do I/O, read a clock.

mod canonical;
mod decode;
mod forms;
mod hash;
mod members;
mod patterns;
mod runs;
mod set;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use canonical::{Canonical, Span};
use set::{Found, Scan};
use window::Window;

pub use members::{LINE, MEMBER, Text, lines, members};
pub use patterns::Patterns;

/// Shortest key that is masked, in bytes. Shorter ones occur in too many other words.
pub const MIN: usize = 4;

/// Text that replaces a secret.
pub const MASK: &[u8] = b"***";

/// Fewest characters at the end of the stream that begin a pattern and must wait for the rest.
const WAIT: usize = 4;

/// Largest part of a chunk that is looked at in one go, in bytes: it stays in the processor's cache.
const PART: usize = 32 * 1024;

/// One stream on its way through.
pub struct Masker {
    patterns: Arc<Patterns>,
    /// The stream, as far as it is undecided.
    stream: Window<u8>,
    literal: Scan,
    canonical: Canonical,
    found: Vec<Found>,
    /// Occurrences that are not masked yet.
    spans: Vec<Span>,
    /// Up to here the stream is out, or has its mask.
    done: usize,
    /// Where the last run of occurrences ends.
    masked: usize,
    must_wait: bool,
}

impl Masker {
    /// A stream of which nothing has come yet.
    pub fn new(patterns: Arc<Patterns>) -> Self {
        Masker {
            patterns,
            stream: Window::new(0, 2 * PART),
            literal: Scan::at(0),
            canonical: Canonical::new(),
            found: Vec::new(),
            spans: Vec::new(),
            done: 0,
            masked: 0,
            must_wait: false,
        }
    }

    /// Takes what came and appends to `out` what may go on.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for part in chunk.chunks(PART) {
            let at = self.stream.end();
            self.stream.extend(part);
            self.canonical.feed(part, at);
            self.search(false, out);
        }
    }

    /// Appends what was held back: nothing more comes. A next push begins a new stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.canonical.finish();
        self.search(true, out);
        *self = Masker::new(Arc::clone(&self.patterns));
    }

    /// Number of bytes that are held back, because they may be the beginning of a pattern or of an escape. When no more can be read at
    /// once, let them go ([`Masker::release`]): at once, or after a while if they must wait ([`Masker::must_wait`]).
    pub fn holds(&self) -> usize {
        self.stream.end() - self.done
    }

    /// Returns `true` if what is held back begins a pattern with so many characters that its release must wait for a
    /// while: the rest may be on its way. Of a beginning of more than eight characters, at least half of them are a
    /// pattern's: patterns are hashes, and have few of their beginnings.
    pub fn must_wait(&self) -> bool {
        self.must_wait && self.holds() > 0
    }

    /// Appends what is held back: the wait for the rest of a pattern is over. Should the rest come all the same, it is
    /// masked, and only the part that is released here was shown.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        self.emit(self.stream.end(), out);
    }

    fn search(&mut self, last: bool, out: &mut Vec<u8>) {
        let Masker { patterns, stream, literal, canonical, found, spans, .. } = self;
        let hasher = &patterns.hasher;
        let open = literal.run(&patterns.literal, hasher, stream.all(), stream.start(), last, found);
        spans.extend(found.drain(..).map(|found| found.at..found.at + found.length));
        let decided = canonical.search(&patterns.canonical, hasher, stream, last, spans);
        let begun = open.map_or(0, |open| stream.end() - open.at).max(decided.begun);
        self.must_wait = begun >= WAIT;
        let until = literal.next().min(decided.until);
        let needed = literal.next().min(decided.needed);
        self.emit(if last { self.stream.end() } else { until }, out);
        self.stream.drop_before(needed.min(self.done));
    }

    /// Appends the stream up to a position, with masks.
    fn emit(&mut self, until: usize, out: &mut Vec<u8>) {
        // Two runs in order, one of each search: the stable sort merges them.
        self.spans.sort_by_key(|span| span.start);
        let count = self.spans.partition_point(|span| span.start < until);
        for span in self.spans.drain(..count) {
            if span.end <= self.done {
                continue;
            }
            if span.start >= self.masked {
                if self.done < span.start {
                    out.extend_from_slice(self.stream.slice(self.done..span.start));
                }
                out.extend_from_slice(MASK);
            }
            self.done = span.end;
            self.masked = span.end;
            // What the literal search has yet to see stays.
            wipe(&mut self.stream, span.start..span.end.min(self.literal.next()));
        }
        if self.done < until {
            out.extend_from_slice(self.stream.slice(self.done..until));
            self.done = until;
        }
    }
}

/// Overwrites an occurrence that has its mask. Text after it may be undecided for long, and what is kept for that may
/// begin before it. Characters become others, so that positions are still found by counting them.
fn wipe(stream: &mut Window<u8>, span: Span) {
    let range = span.start.max(stream.start())..span.end;
    if !range.is_empty() {
        let characters = stream.slice_mut(range).iter_mut().filter(|b| canonical::is_character(**b));
        characters.for_each(|b| *b = b'x');
    }
}
