//! Patterns in text that repeats one byte.
//!
//! Such text has the head of a pattern at every place. A pattern that begins with `n` times this
//! byte and goes on with another can only begin where exactly `n` of them are left, so all other
//! places are passed over. Benchmark row: "masking, a key of 16 KiB of one character".

use zeroize::Zeroize as _;

/// Bytes that are the same before their number counts. A shorter run is searched like any text.
pub(crate) const SHORTEST: usize = 32;

/// Runs of one byte that the patterns begin with.
#[derive(Default)]
pub(crate) struct Runs {
    /// The byte and the length of the run that a pattern begins with and then leaves, in order.
    heads: Vec<(u8, usize)>,
    /// The same for patterns that are nothing else.
    whole: Vec<(u8, usize)>,
    /// Bytes that some pattern repeats that does not always count.
    uncertain: Vec<u8>,
}

/// A run of one byte in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) byte: u8,
    /// Number of bytes from the current place on.
    pub(crate) length: usize,
    /// `true` if more of it may come.
    pub(crate) is_open: bool,
}

/// Places of a run that need no comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// Number of them; the next one is looked at.
    pub(crate) count: usize,
    /// `true` if the whole run consists of occurrences.
    pub(crate) is_found: bool,
}

impl Runs {
    /// Adds a pattern.
    pub(crate) fn add(&mut self, bytes: &[u8], is_certain: bool) {
        let Some(first) = bytes.first() else { return };
        let length = bytes.iter().take_while(|b| *b == first).count();
        match (length == bytes.len(), is_certain) {
            (false, _) => self.heads.push((*first, length)),
            (true, true) => self.whole.push((*first, length)),
            (true, false) => self.uncertain.push(*first),
        }
    }

    /// Call this after the last pattern was added.
    pub(crate) fn sort(&mut self) {
        for runs in [&mut self.heads, &mut self.whole] {
            runs.sort_unstable();
            runs.dedup();
        }
    }

    /// Returns the places from the current one on where no pattern begins, or, if the run is full
    /// of occurrences, only such that lie in it. `None` if the current place has to be looked at.
    pub(crate) fn skip(&self, run: Run) -> Option<Skip> {
        if self.uncertain.contains(&run.byte) {
            return None;
        }
        let heads = lengths(&self.heads, run.byte);
        let whole = lengths(&self.whole, run.byte);
        let left = if run.is_open {
            // A pattern that needs more than is left is open, and one that begins with all of it
            // may be.
            let longest = whole.last().map_or(0, |(_, length)| length - 1);
            longest.max(heads.last().map_or(0, |(_, length)| *length))
        } else {
            let fits = heads.partition_point(|(_, length)| *length <= run.length);
            heads[..fits].last().map_or(0, |(_, length)| *length)
        };
        let is_found = whole.first().is_some_and(|(_, length)| *length <= run.length);
        (left < run.length).then(|| Skip { count: run.length - left, is_found })
    }
}

fn lengths(runs: &[(u8, usize)], byte: u8) -> &[(u8, usize)] {
    let first = runs.partition_point(|(b, _)| *b < byte);
    let end = runs.partition_point(|(b, _)| *b <= byte);
    &runs[first..end]
}

impl Drop for Runs {
    fn drop(&mut self) {
        for (byte, length) in self.heads.iter_mut().chain(&mut self.whole) {
            byte.zeroize();
            length.zeroize();
        }
        self.uncertain.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_stops_where_a_pattern_may_begin() {
        let mut runs = Runs::default();
        for pattern in [&[b'a'; 100][..], &[b'a'; 40], &[&[b'a'; 60][..], b"b"].concat(), b"caaa"] {
            runs.add(pattern, true);
        }
        runs.add(&[b'u'; 50], false);
        runs.sort();
        for (byte, length, is_open, expected) in [
            // 40 times `a` is in it; the one with 60 begins where 60 are left.
            (b'a', 500, false, Some((440, true))),
            (b'a', 60, false, None),
            (b'a', 59, false, Some((59, true))),
            (b'a', 39, false, Some((39, false))),
            // At the end of the text, the one with 100 is open from 99 on.
            (b'a', 500, true, Some((401, true))),
            (b'a', 99, true, None),
            (b'a', 40, true, None),
            (b'c', 50, false, Some((49, false))),
            (b'x', 50, true, Some((50, false))),
            (b'u', 50, false, None),
        ] {
            let skip = runs.skip(Run { byte, length, is_open });
            assert_eq!(skip.map(|skip| (skip.count, skip.is_found)), expected, "{length} of {byte}");
        }
    }
}
