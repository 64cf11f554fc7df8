//! One stream on its way through the masker.

use std::sync::Arc;

use crate::MASK;
use crate::canonical::{self, ByteSpan, Canonical};
use crate::patterns::Patterns;
use crate::set::{Found, Scan};
use crate::window::Window;

/// Fewest characters of a pattern at the end of the stream whose release must wait for the rest.
const WAIT: usize = 4;

/// Largest part of a chunk that is searched at once, in bytes. It fits the processor's cache.
const PART: usize = 32 * 1024;

/// Masks one stream.
pub struct Masker {
    patterns: Arc<Patterns>,
    /// Part of the stream that is not decided yet.
    stream: Window<u8>,
    literal: Scan,
    canonical: Canonical,
    found: Vec<Found>,
    /// Occurrences that are not masked yet.
    spans: Vec<ByteSpan>,
    /// End of the part of the stream that is written or masked.
    done: usize,
    /// End of the last run of occurrences.
    masked: usize,
    must_wait: bool,
}

impl Masker {
    /// Returns a masker for a new stream.
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

    /// Takes the next bytes, and appends the decided ones to `out`.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for part in chunk.chunks(PART) {
            let at = self.stream.end();
            self.stream.extend(part);
            self.canonical.feed(part, at);
            self.search(false, out);
        }
    }

    /// Ends the stream, and appends the held bytes to `out`. The next push begins a new stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.canonical.finish();
        self.search(true, out);
        *self = Masker::new(Arc::clone(&self.patterns));
    }

    /// Returns the number of bytes that are held, because they may begin a pattern or an escape. If
    /// no more can be read at once, the caller releases them ([`Masker::release`]): at once, or
    /// after a delay if they must wait ([`Masker::must_wait`]).
    pub fn holds(&self) -> usize {
        self.stream.end() - self.done
    }

    /// Returns `true` if the held bytes begin a pattern with so many characters that the release
    /// must wait: the rest may follow soon. In a beginning of more than eight characters, at least
    /// half are a pattern's, because patterns are hashes of only a few of their beginnings.
    pub fn must_wait(&self) -> bool {
        self.must_wait && self.holds() > 0
    }

    /// Appends the held bytes to `out`: the wait for the rest of a pattern is over. If the rest
    /// follows later, it is masked, and only the released part was shown.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        self.emit(self.stream.end(), out);
    }

    /// Returns the kept part of the stream.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> &[u8] {
        self.stream.all()
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

    /// Appends the stream up to a position to `out`, with masks.
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
            // Bytes that the literal search has not seen yet stay.
            wipe(&mut self.stream, span.start..span.end.min(self.literal.next()));
        }
        if self.done < until {
            out.extend_from_slice(self.stream.slice(self.done..until));
            self.done = until;
        }
    }
}

/// Overwrites a masked occurrence. Text after it may stay undecided for long, and the part that is
/// kept for it may begin earlier. Characters become others, so that counting them still gives
/// positions.
fn wipe(stream: &mut Window<u8>, span: ByteSpan) {
    let range = span.start.max(stream.start())..span.end;
    if !range.is_empty() {
        let characters = stream.slice_mut(range).iter_mut().filter(|b| canonical::is_character(**b));
        characters.for_each(|b| *b = b'x');
    }
}
