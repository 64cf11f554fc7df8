//! Texts that are sought, kept as hashes, and the search for them.

use std::mem::size_of;
use std::ops::Range;

use zeroize::{Zeroize as _, Zeroizing};

use crate::MIN;
use crate::hash::Hasher;
use crate::runs::{self, Run, Runs};
use crate::window::Window;

/// A text to be sought.
pub(crate) struct Form {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Number of its bytes that an escape before it has taken. It counts only behind one: see
    /// [`crate::forms`].
    pub(crate) lead: u8,
    /// So short that blanks inside it would be found in ordinary words.
    pub(crate) is_short: bool,
}

/// Known properties of a text that is sought.
pub(crate) struct Pattern {
    pub(crate) length: usize,
    pub(crate) lead: u8,
    pub(crate) is_short: bool,
    hash: u64,
    /// Power of the hash's base for the length.
    power: u64,
    /// Index in [`Set::beginnings`] of the hash of its first 16 bytes; those of 32, 64 and so on
    /// follow.
    beginnings: usize,
}

/// Patterns with the same head, in the order of their length.
#[derive(Clone, Copy, Default)]
struct Group {
    tag: u32,
    first: u32,
    behind: u32,
}

/// Texts that are sought in one go.
///
/// The search looks at four bytes at every [`Set::stride`]th place. A table says whether any
/// pattern has these four at one of its first places; if so, the hash of eight bytes chooses the
/// patterns that may begin here, and that of the whole decides. So the cost of a place depends on
/// neither the number of patterns nor their length.
pub(crate) struct Set {
    patterns: Vec<Pattern>,
    /// A bit for each hash of four bytes that some pattern has at one of its first places.
    grams: Vec<u32>,
    stride: usize,
    /// A bit for each hash of eight bytes that some pattern begins with.
    heads: Vec<u32>,
    head_shift: u32,
    /// A hash table with open addressing, by [`Hasher::head`].
    groups: Vec<Group>,
    has_short: bool,
    beginnings: Vec<u32>,
    /// Hashes of the first byte of the patterns, of the first two and so on, each in order.
    first_bytes: [Vec<u32>; HEAD - 1],
    runs: Runs,
    longest: usize,
    longest_lead: u8,
}

/// An occurrence of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: usize,
    pub(crate) length: usize,
    pub(crate) lead: u8,
    pub(crate) is_short: bool,
}

impl Found {
    /// Returns `true` if it counts whatever is before it or between its characters.
    fn is_certain(&self) -> bool {
        self.lead == 0 && !self.is_short
    }

    /// Returns `true` if another occurrence overlaps the end of this one, and both are certain.
    pub(crate) fn is_followed_by(&self, next: &Found) -> bool {
        let end = self.at + self.length;
        self.is_certain() && next.is_certain() && next.at < end && next.at + next.length >= end
    }
}

/// The end of the text begins a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Position of its first byte.
    pub(crate) at: usize,
    /// Length of the longest pattern that it begins, as far as is known.
    pub(crate) length: usize,
    pub(crate) lead: u8,
}

/// Bytes that are hashed for the head of a pattern, if it has so many.
const HEAD: usize = 8;

/// Shortest beginning whose hash is kept.
const BEGINNING: usize = 16;

/// Longest window whose hash is computed from its bytes in any case. That of a longer one follows
/// from running sums, unless it is one of a few in a part of the text as long as a quarter of it:
/// so the cost is linear, and running sums are not computed for a single use.
const DIRECT: usize = 128;

impl Set {
    pub(crate) fn new(mut forms: Vec<Form>, hasher: &Hasher) -> Self {
        forms.retain(|form| form.bytes.len() >= MIN);
        forms.sort_unstable_by(|a, b| a.bytes.as_slice().cmp(&b.bytes));
        forms.dedup_by(|next, kept| {
            let is_same = next.bytes == kept.bytes;
            if is_same {
                kept.lead = kept.lead.min(next.lead);
                kept.is_short &= next.is_short;
            }
            is_same
        });
        let shortest = forms.iter().map(|form| form.bytes.len()).min().unwrap_or(HEAD);
        // A pattern has a place with four bytes in it among any `stride` places next to one
        // another.
        let stride = match shortest - (MIN - 1) {
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        let words = match forms.len() * stride {
            0..1024 => GRAM_WORDS[0],
            1024..8192 => GRAM_WORDS[1],
            _ => GRAM_WORDS[2],
        };
        let head_bits = (forms.len() * 32).next_power_of_two().ilog2().max(10);
        let mut set = Set {
            patterns: Vec::with_capacity(forms.len()),
            grams: vec![0; words],
            stride,
            heads: vec![0; 1 << (head_bits - 5)],
            head_shift: 32 - head_bits,
            groups: vec![Group::default(); (forms.len() * 2).next_power_of_two()],
            has_short: shortest < HEAD,
            beginnings: Vec::new(),
            first_bytes: Default::default(),
            runs: Runs::default(),
            longest: forms.iter().map(|form| form.bytes.len()).max().unwrap_or(0),
            longest_lead: forms.iter().map(|form| form.lead).max().unwrap_or(0),
        };
        let mut by_head: Vec<(u64, &Form)> =
            forms.iter().map(|form| (hasher.head(&form.bytes), form)).collect();
        by_head.sort_unstable_by_key(|(head, form)| (*head, form.bytes.len()));
        for same in by_head.chunk_by(|a, b| a.0 == b.0) {
            let first = set.patterns.len();
            for (_, form) in same {
                set.add(form, hasher);
            }
            set.add_group(same[0].0, first);
        }
        for hashes in &mut set.first_bytes {
            hashes.sort_unstable();
            hashes.dedup();
        }
        set.runs.sort();
        by_head.iter_mut().for_each(|(head, _)| head.zeroize());
        set
    }

    fn add(&mut self, form: &Form, hasher: &Hasher) {
        let bytes = form.bytes.as_slice();
        for four in bytes.windows(4).take(self.stride) {
            let (word, bit) = gram(hasher, four, self.grams.len());
            self.grams[word] |= bit;
        }
        for (at, hashes) in self.first_bytes.iter_mut().enumerate() {
            if let Some(first) = bytes.get(..=at) {
                hashes.push(short_hash(hasher.text(first)));
            }
        }
        self.runs.add(bytes, form.lead == 0 && !form.is_short);
        let beginnings = self.beginnings.len();
        let mut length = BEGINNING;
        while length < bytes.len() {
            self.beginnings.push(short_hash(hasher.text(&bytes[..length])));
            length *= 2;
        }
        self.patterns.push(Pattern {
            length: bytes.len(),
            lead: form.lead,
            is_short: form.is_short,
            hash: hasher.text(bytes),
            power: hasher.power(bytes.len()),
            beginnings,
        });
    }

    fn add_group(&mut self, head: u64, first: usize) {
        let index = |at: usize| u32::try_from(at).expect("patterns are counted in millions at most");
        let group = Group { tag: tag(head), first: index(first), behind: index(self.patterns.len()) };
        let bit = (tag(head) >> self.head_shift) as usize;
        self.heads[bit >> 5] |= 1 << (bit & 31);
        let mask = self.groups.len() - 1;
        let mut slot = slot(head) & mask;
        while self.groups[slot].behind != 0 {
            slot = (slot + 1) & mask;
        }
        self.groups[slot] = group;
    }

    pub(crate) fn count(&self) -> usize {
        self.patterns.len()
    }

    /// Length of the longest pattern; 0 if there is none.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// First place from `at` on, in steps of the stride, whose four bytes some pattern has; or the
    /// first that has less than four.
    fn candidate(&self, hasher: &Hasher, text: &[u8], at: usize) -> usize {
        match (self.stride, self.grams.len()) {
            (4, SMALL) => self.candidate_in::<4, SMALL>(hasher, text, at),
            (4, MIDDLE) => self.candidate_in::<4, MIDDLE>(hasher, text, at),
            (4, _) => self.candidate_in::<4, LARGE>(hasher, text, at),
            (2, SMALL) => self.candidate_in::<2, SMALL>(hasher, text, at),
            (2, MIDDLE) => self.candidate_in::<2, MIDDLE>(hasher, text, at),
            (2, _) => self.candidate_in::<2, LARGE>(hasher, text, at),
            (_, SMALL) => self.candidate_in::<1, SMALL>(hasher, text, at),
            (_, MIDDLE) => self.candidate_in::<1, MIDDLE>(hasher, text, at),
            (_, _) => self.candidate_in::<1, LARGE>(hasher, text, at),
        }
    }

    fn candidate_in<const STRIDE: usize, const WORDS: usize>(
        &self,
        hasher: &Hasher,
        text: &[u8],
        mut at: usize,
    ) -> usize {
        // With both sizes known, no index needs a check.
        let Some(grams) = self.grams.first_chunk::<WORDS>() else { return text.len() };
        let hit = |four: &[u8]| {
            let (word, bit) = gram(hasher, four, WORDS);
            grams[word] & bit != 0
        };
        // Eight places at once, so that the branch is taken once in eight.
        while let Some(block) = text.get(at..at + 7 * STRIDE + 4) {
            let mut any = false;
            for place in 0..8 {
                any |= hit(&block[place * STRIDE..place * STRIDE + 4]);
            }
            if any {
                break;
            }
            at += 8 * STRIDE;
        }
        while let Some(four) = text.get(at..at + 4) {
            if hit(four) {
                return at;
            }
            at += STRIDE;
        }
        at
    }

    /// Returns `false` if no pattern of eight bytes or more begins with this head.
    fn may_have(&self, head: u64) -> bool {
        let bit = (tag(head) >> self.head_shift) as usize;
        self.heads[bit >> 5] >> (bit & 31) & 1 == 1
    }

    fn group(&self, head: u64) -> Range<usize> {
        let mask = self.groups.len() - 1;
        let mut slot = slot(head) & mask;
        loop {
            let group = self.groups[slot];
            if group.behind == 0 {
                return 0..0;
            }
            if group.tag == tag(head) {
                return group.first as usize..group.behind as usize;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Returns `true` if these bytes, less than [`HEAD`], begin a pattern.
    fn begins(&self, hasher: &Hasher, text: &[u8]) -> bool {
        self.first_bytes[text.len() - 1].binary_search(&short_hash(hasher.text(text))).is_ok()
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.grams.zeroize();
        self.heads.zeroize();
        self.beginnings.zeroize();
        self.first_bytes.iter_mut().for_each(|hashes| hashes.zeroize());
        for group in &mut self.groups {
            group.tag.zeroize();
        }
        for pattern in &mut self.patterns {
            pattern.hash.zeroize();
            pattern.power.zeroize();
            pattern.length.zeroize();
        }
    }
}

/// Sizes of the table for four bytes, in words of 32 bits: as small as the patterns allow, for it
/// should stay in a cache.
const GRAM_WORDS: [usize; 3] = [SMALL, MIDDLE, LARGE];
const SMALL: usize = (64 << 10) / 32;
const MIDDLE: usize = (256 << 10) / 32;
const LARGE: usize = (1024 << 10) / 32;

/// The word and the bit in it for four bytes, in a table of so many words.
#[inline(always)]
fn gram(hasher: &Hasher, four: &[u8], words: usize) -> (usize, u32) {
    let four = u32::from_le_bytes(*four.first_chunk().expect("four bytes are given"));
    let hash = four.wrapping_mul(hasher.gram()) >> (27 - words.ilog2());
    ((hash >> 5) as usize, 1 << (hash & 31))
}

fn tag(head: u64) -> u32 {
    (head >> 32) as u32
}

fn slot(head: u64) -> usize {
    const { assert!(size_of::<usize>() >= 4, "half of the hash chooses the slot") };
    (head & 0xffff_ffff) as usize
}

/// The upper half, which every byte has a say in.
fn short_hash(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Search for a [`Set`] in a stream.
pub(crate) struct Scan {
    /// First place that is not decided.
    next: usize,
    /// Hashes of the stream from some place on, up to each place after it.
    sums: Window<u64>,
    direct: Direct,
    /// The occurrence that reaches farthest.
    covered: Range<usize>,
}

/// Places at which hashes of long windows are computed from their bytes.
#[derive(Clone, Copy, Default)]
struct Direct {
    /// The last place.
    at: usize,
    /// Number of direct hashes left at it.
    more: u8,
    /// The next place.
    next: usize,
}

impl Scan {
    /// Begins at this position of the stream.
    pub(crate) fn at(next: usize) -> Self {
        Scan { next, sums: Window::new(next, 0), direct: Direct::default(), covered: 0..0 }
    }

    /// Place from which on the text is needed.
    pub(crate) fn next(&self) -> usize {
        self.next
    }

    /// Passes over one place: what begins there is none of the patterns.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// Searches on in `text`, which begins at the position `start` of the stream. Stops where the
    /// end of the text begins a pattern, unless it is the `last`.
    pub(crate) fn run(
        &mut self,
        set: &Set,
        hasher: &Hasher,
        text: &[u8],
        start: usize,
        last: bool,
        found: &mut Vec<Found>,
    ) -> Option<Open> {
        let end = text.len();
        let mut next = self.next - start;
        if set.patterns.is_empty() {
            self.next = start + end;
            return None;
        }
        self.sums.drop_before(start);
        let Scan { sums, direct, covered, .. } = self;
        let mut sums = Sums { window: sums, direct, covered, hasher, text, start };
        loop {
            let place = set.candidate(hasher, text, (next + set.stride - 1) & !(set.stride - 1));
            next = next.max((place + 1).saturating_sub(set.stride)).min(end);
            if place + 4 > end {
                break;
            }
            while next <= place {
                if let Some(count) = skip_run(set, &mut sums, next, last, found) {
                    next += count;
                    continue;
                }
                if let Some(open) = look(set, &mut sums, next, last, found) {
                    self.next = start + next;
                    return Some(Open { at: start + next, ..open });
                }
                next += 1;
            }
        }
        // Each place left has less than eight bytes after it, and no pattern fits in.
        let open = (next..end).find(|at| !last && set.begins(hasher, &text[*at..]));
        self.next = start + open.unwrap_or(end);
        open.map(|at| Open { at: start + at, length: set.longest, lead: set.longest_lead })
    }
}

/// Returns the number of places in a run of one byte that need no comparison. If the run is full of
/// occurrences, they are found as one.
#[inline(always)]
fn skip_run(set: &Set, sums: &mut Sums<'_>, at: usize, last: bool, found: &mut Vec<Found>) -> Option<usize> {
    let text = &sums.text[at..];
    let eight = u64::from_le_bytes(*text.first_chunk()?);
    let is_run = eight == (eight & 0xff) * 0x0101_0101_0101_0101;
    if is_run { skip_long_run(set, sums, at, last, found) } else { None }
}

fn skip_long_run(
    set: &Set,
    sums: &mut Sums<'_>,
    at: usize,
    last: bool,
    found: &mut Vec<Found>,
) -> Option<usize> {
    let text = &sums.text[at..];
    let byte = *text.first()?;
    let length = text.iter().take_while(|b| **b == byte).count();
    if length < runs::SHORTEST {
        return None;
    }
    let skip = set.runs.skip(Run { byte, length, is_open: !last && length == text.len() })?;
    let span = sums.start + at..sums.start + at + length;
    let is_covered = sums.covered.start <= span.start && span.end <= sums.covered.end;
    if skip.is_found && !is_covered {
        found.push(Found { at: span.start, length, lead: 0, is_short: false });
        *sums.covered = span;
    }
    Some(skip.count)
}

/// Looks for the patterns that begin at one place.
fn look(set: &Set, sums: &mut Sums<'_>, at: usize, last: bool, found: &mut Vec<Found>) -> Option<Open> {
    let rest = &sums.text[at..];
    let first = found.len();
    let mut open: Option<Open> = None;
    let mut groups = [0..0, 0..0];
    if let Some(eight) = rest.get(..HEAD) {
        let head = sums.hasher.head(eight);
        if set.may_have(head) {
            groups[0] = set.group(head);
        } else if !set.has_short {
            return None;
        }
    } else if !last && set.begins(sums.hasher, rest) {
        open = Some(Open { at, length: set.longest, lead: set.longest_lead });
    }
    if set.has_short && rest.len() >= MIN {
        groups[1] = set.group(sums.hasher.head(&rest[..MIN]));
    }
    for group in groups {
        for pattern in &set.patterns[group] {
            let Pattern { length, lead, is_short, .. } = *pattern;
            if length <= rest.len() {
                let position = sums.start + at;
                // What is inside of another occurrence is masked with it.
                if position + length <= sums.covered.end && position >= sums.covered.start + usize::from(lead)
                {
                    continue;
                }
                if sums.hash(at, length, pattern.power) == pattern.hash {
                    found.push(Found { at: position, length, lead, is_short });
                }
            } else if !last && rest.len() >= HEAD && is_begun(set, pattern, sums, at) {
                let lead = open.map_or(lead, |open| open.lead.max(lead));
                open = Some(Open { at, length, lead });
            }
        }
    }
    if let Some(open) = &mut open {
        // Those that are whole are decided when the longer one is.
        open.lead = found.drain(first..).map(|found| found.lead).fold(open.lead, u8::max);
    }
    // The others may turn out not to count.
    for found in found[first..].iter().filter(|found| found.is_certain()) {
        if found.at + found.length > sums.covered.end {
            *sums.covered = found.at..found.at + found.length;
        }
    }
    open
}

/// Returns `true` if the rest of the text begins the pattern, as far as its longest beginning of 2ⁿ
/// bytes says.
fn is_begun(set: &Set, pattern: &Pattern, sums: &mut Sums<'_>, at: usize) -> bool {
    let available = sums.text.len() - at;
    if available < BEGINNING {
        return true;
    }
    let power = available.ilog2();
    let index = pattern.beginnings + (power - BEGINNING.ilog2()) as usize;
    short_hash(sums.hash(at, 1 << power, sums.hasher.power_of_two(power))) == set.beginnings[index]
}

impl Direct {
    fn may_hash(&mut self, at: usize, length: usize) -> bool {
        if at >= self.next {
            *self = Direct { at, more: 4, next: at + length / 4 };
        }
        let may = at == self.at && self.more > 0;
        self.more -= u8::from(may);
        may
    }
}

/// Hashes of windows of a text.
struct Sums<'t> {
    window: &'t mut Window<u64>,
    direct: &'t mut Direct,
    covered: &'t mut Range<usize>,
    hasher: &'t Hasher,
    text: &'t [u8],
    start: usize,
}

impl Sums<'_> {
    /// Hash of `length` bytes from `at` on, with the power of the hash's base for that length.
    fn hash(&mut self, at: usize, length: usize, power: u64) -> u64 {
        let (from, to) = (self.start + at, self.start + at + length);
        if length <= DIRECT || self.direct.may_hash(from, length) {
            return self.hasher.text(&self.text[at..at + length]);
        }
        if from < self.window.start() || from >= self.window.end() {
            self.window.restart(from);
            self.window.push(0);
        }
        if to >= self.window.end() {
            let mut sum = *self.window.all().last().expect("the sum of nothing is there");
            // Some more, so that the next windows find theirs.
            let until = self.text.len().min(to - self.start + DIRECT);
            let more = &self.text[self.window.end() - 1 - self.start..until];
            self.window.extend_with(more.len(), |sums| {
                for (slot, b) in sums.iter_mut().zip(more) {
                    sum = self.hasher.next(sum, *b);
                    *slot = sum;
                }
                more.len()
            });
        }
        let sums = self.window.all();
        let first = self.window.start();
        Hasher::window(sums[from - first], sums[to - first], power)
    }
}
