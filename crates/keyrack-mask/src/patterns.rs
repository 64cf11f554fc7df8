//! Patterns of a run, in memory that is wiped, and the search for them.

use std::cmp::Ordering;
use std::fmt;

use zeroize::Zeroizing;

use crate::{MIN, forms};

/// The bits of a hash of four bytes: as many as leave the table near a processor's first cache.
const HASH_BITS: u32 = 16;
const TABLE: usize = 1 << HASH_BITS;

/// What is to be masked.
pub struct Patterns {
    /// All of them, one after the other.
    bytes: Zeroizing<Vec<u8>>,
    /// Where each lies: its start and its length, in the order of their bytes.
    spans: Vec<(usize, usize)>,
    /// Whether a pattern begins with four bytes of this hash.
    begins: Box<[bool; TABLE]>,
    /// The first four bytes of the patterns, each once, in order; and with each which spans begin with them. So much of a pattern may lie in
    /// memory that is only wiped.
    heads: Zeroizing<Vec<u32>>,
    headed: Vec<std::ops::Range<usize>>,
    longest: usize,
}

/// What there is at a place of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The longest pattern that stands here, whole.
    pub(super) longest: Option<usize>,
    /// Whether all of the text from here on is the beginning of a longer one.
    pub(super) open: bool,
}

impl Patterns {
    /// Patterns for every form of these keys. `hash_key` is random, and known to nobody else.
    pub fn new(keys: impl IntoIterator<Item: AsRef<[u8]>>, _hash_key: &[u8; 32]) -> Self {
        Self::of(keys.into_iter().flat_map(|key| forms::of(key.as_ref())).collect())
    }

    /// Returns `true` if a key is long enough to be masked.
    pub fn can_mask(key: &[u8]) -> bool {
        !forms::of(key).is_empty()
    }

    /// Takes these patterns; those shorter than [`MIN`] are left out.
    pub(crate) fn of(mut forms: Vec<Zeroizing<Vec<u8>>>) -> Self {
        forms.retain(|form| form.len() >= MIN);
        forms.sort_unstable_by(|a, b| a.as_slice().cmp(b));
        forms.dedup_by(|a, b| a.as_slice() == b.as_slice());
        let total = forms.iter().map(|form| form.len()).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(total));
        let mut spans = Vec::with_capacity(forms.len());
        let mut begins = Box::new([false; TABLE]);
        let mut heads = Zeroizing::new(Vec::with_capacity(forms.len()));
        let mut headed: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, form) in forms.iter().enumerate() {
            spans.push((bytes.len(), form.len()));
            bytes.extend_from_slice(form);
            let head = first_four(form);
            begins[hash(form)] = true;
            match headed.last_mut() {
                Some(range) if heads.last() == Some(&head) => range.end = at + 1,
                _ => {
                    heads.push(head);
                    headed.push(at..at + 1);
                }
            }
        }
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or(0);
        Patterns { bytes, spans, begins, heads, headed, longest }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// The length of the longest, in bytes; 0 when there is none.
    pub fn longest(&self) -> usize {
        self.longest
    }

    fn pattern(&self, span: (usize, usize)) -> &[u8] {
        &self.bytes[span.0..span.0 + span.1]
    }

    /// The first place from `at` on where a pattern may stand or begin; the text's length if there is none.
    pub(super) fn candidate(&self, text: &[u8], at: usize) -> usize {
        if self.spans.is_empty() {
            return text.len();
        }
        let begins = &*self.begins;
        let mut at = at;
        // Eight places at once, so that the branch is taken once in eight.
        while let Some(eleven) = text.get(at..at + 11) {
            let mut any = false;
            for offset in 0..8 {
                any |= begins[hash(&eleven[offset..])];
            }
            if any {
                break;
            }
            at += 8;
        }
        while let Some(four) = text.get(at..at + 4) {
            if begins[hash(four)] {
                return at;
            }
            at += 1;
        }
        // Fewer than four bytes are left from here on: what they may become is looked up.
        at
    }

    /// What there is at the beginning of `text`, which is not empty.
    pub(super) fn at(&self, text: &[u8]) -> Found {
        let mut found = Found { longest: None, open: false };
        let spans = if text.len() >= MIN {
            let Ok(at) = self.heads.binary_search(&first_four(text)) else { return found };
            &self.spans[self.headed[at].clone()]
        } else {
            let order = |span: &(usize, usize)| self.pattern(*span)[..text.len()].cmp(text);
            let first = self.spans.partition_point(|span| order(span) == Ordering::Less);
            found.open = self.spans.get(first).is_some_and(|span| order(span) == Ordering::Equal);
            &[]
        };
        for span in spans {
            let pattern = self.pattern(*span);
            if pattern.len() > text.len() {
                found.open |= pattern.starts_with(text);
            } else if text.starts_with(pattern) {
                found.longest = found.longest.max(Some(pattern.len()));
            }
        }
        found
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patterns({})", self.count())
    }
}

impl Drop for Patterns {
    fn drop(&mut self) {
        self.begins.fill(false);
    }
}

/// In the order of the bytes themselves.
fn first_four(text: &[u8]) -> u32 {
    u32::from_be_bytes([text[0], text[1], text[2], text[3]])
}

/// Of the first four bytes: the upper bits of a product, which is Knuth's multiplicative hash.
fn hash(text: &[u8]) -> usize {
    let four = u32::from_le_bytes([text[0], text[1], text[2], text[3]]);
    (four.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}
