//! TTL store: unlocked keys until they expire.
//!
//! The store alone decides which keys are live. It keeps the entries, their insertion order and
//! both deadlines of each key.
//!
//! It never holds a secret (only handles), never returns a key whose deadline has passed on either
//! clock, never reports a key as erased before its secret is, and never reads a clock.

mod entry;
mod expiry;
#[cfg(test)]
mod tests;

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::error::{Error, ErrorCode};
use crate::fix::Fix;
use crate::grade::Grade;
use crate::grant::GrantSource;
use crate::owner::Owner;
use crate::slug::Slug;
use crate::ttl::{Clock, Deadlines, GrantedTtl, Ttl, TtlLimit};

pub use entry::{Entry, Erase, KeyPage, NewEntry, RelockScope};
use expiry::ExpiryQueue;

/// Time after which the index forgets a slug that the store never removed: an hour beyond the
/// longest TTL, so it can never expire a live key.
const INDEX_TTL: Duration = Duration::from_millis(Ttl::CEILING.0 + 3_600_000);

/// Maximum number of distinct sources that entries share.
const MAX_SHARED_SOURCES: usize = 64;

/// The unlocked keys of one rack.
///
/// Every method that takes the time first erases the keys that have expired by then. A wall clock
/// that is set back later therefore revives no key that the store has seen expire.
pub struct Store<S: Erase> {
    slots: Vec<Option<Entry<S>>>,
    free: Vec<u32>,
    expiry: ExpiryQueue,
    /// Index from slug to slot, and nothing more. moka drops values lazily, on a clock that stops
    /// while the machine is suspended, so it must never be what expires or erases a key: `evict`
    /// does both. A lookup trusts the index only if the entry in the slot agrees.
    index: Cache<Slug, u32>,
    sources: HashSet<Arc<GrantSource>>,
    next_seq: u64,
    erasures: u64,
}

/// Result of [`Store::insert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The key is stored. A key that had the same slug is erased.
    Stored,
    /// The key had already expired. Its secret is erased, and the store is unchanged.
    AlreadyExpired,
}

/// A key would replace a live key of a stronger grade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DowngradeError {
    /// Slug of both keys.
    pub slug: Slug,
    /// Grade of the live key.
    pub held: Grade,
    /// Grade of the key that would replace it.
    pub offered: Grade,
}

impl DowngradeError {
    /// Returns the error that callers see, with the command that fixes it.
    pub fn to_error(&self, owner: &Owner) -> Error {
        let DowngradeError { slug, held, offered } = self;
        Error::new(
            ErrorCode::GradeDegraded,
            format!("{slug} is unlocked with grade {held}; a key of grade {offered} must not replace it"),
        )
        .of(slug)
        .fix(Fix::relock(owner, slug))
    }
}

impl<S: Erase> Default for Store<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Erase> Store<S> {
    /// Creates an empty store.
    pub fn new() -> Self {
        Store {
            slots: Vec::new(),
            free: Vec::new(),
            expiry: ExpiryQueue::default(),
            index: Cache::builder().time_to_live(INDEX_TTL).build(),
            sources: HashSet::new(),
            next_seq: 1,
            erasures: 0,
        }
    }

    /// Returns the number of stored keys.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Returns `true` if no key is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of keys erased so far, for any reason.
    ///
    /// A caller that keeps copies of secrets (such as a queued reply) compares it after each call.
    /// When it has grown, the caller drops the copies of erased secrets before it acknowledges
    /// anything.
    pub fn erasures(&self) -> u64 {
        self.erasures
    }

    /// Rejects a key that is weaker, on either axis, than a live key of the same slug.
    pub fn check_replace(&mut self, slug: &Slug, offered: Grade, now: Clock) -> Result<(), DowngradeError> {
        self.check_batch([(slug, offered)], now)
    }

    /// Rejects a batch if any key in it is weaker than the live key it would replace, or than an
    /// earlier key of the same slug in the batch.
    pub fn check_batch<'a, I>(&mut self, batch: I, now: Clock) -> Result<(), DowngradeError>
    where
        I: IntoIterator<Item = (&'a Slug, Grade)>,
    {
        self.expire(now);
        let mut earlier: HashMap<&Slug, Grade> = HashMap::new();
        for (slug, offered) in batch {
            let stored = || Some(self.slots[self.find(slug.as_str())?].as_ref()?.grade);
            match earlier.get(slug).copied().or_else(stored) {
                Some(held) if offered.is_weaker_than(held) => {
                    return Err(DowngradeError { slug: slug.clone(), held, offered });
                }
                _ => earlier.insert(slug, offered),
            };
        }
        Ok(())
    }

    /// Stores a key. A key of the same slug is erased, and the new one takes its position.
    /// Deadlines beyond the ceiling are shortened to it.
    ///
    /// Does not compare grades: call [`Store::check_replace`] first.
    pub fn insert(&mut self, new: NewEntry<S>, now: Clock) -> Inserted {
        self.expire(now);
        let ceiling = Ttl::ceiling_of(new.slug.is_sudo());
        let deadlines = new.deadlines.min(Deadlines::after(now, ceiling));
        if deadlines.is_expired(now) {
            new.secret.erase();
            return Inserted::AlreadyExpired;
        }
        let remaining = deadlines.remaining(now);
        let given = GrantedTtl {
            ttl: Some(new.given.ttl.map_or(remaining, |ttl| ttl.clamp(remaining, ceiling))),
            limit: if deadlines == new.deadlines { new.given.limit } else { Some(TtlLimit::Ceiling) },
        };
        let seq = match self.find(new.slug.as_str()).and_then(|slot| self.evict(slot)) {
            Some(replaced) => replaced.seq,
            None => {
                self.next_seq += 1;
                self.next_seq - 1
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends long before 2^32 keys")
        });
        let source = self.share(new.source);
        self.expiry.insert(deadlines, slot);
        self.index.insert(new.slug.clone(), slot);
        let NewEntry { slug, secret, grade, .. } = new;
        self.slots[slot as usize] = Some(Entry { slug, secret, grade, source, deadlines, given, seq });
        Inserted::Stored
    }

    /// Erases expired keys and returns a view of the live ones.
    pub fn live(&mut self, now: Clock) -> LiveKeys<'_, S> {
        self.expire(now);
        LiveKeys(self)
    }

    /// Erases the keys in `scope` and returns the slugs of those that were live: in the order of
    /// the request for [`RelockScope::Slugs`], otherwise in insertion order.
    pub fn relock(&mut self, scope: RelockScope<'_>, now: Clock) -> Vec<Slug> {
        self.expire(now);
        let slots: Vec<usize> = match scope {
            RelockScope::Slugs(slugs) => slugs.iter().filter_map(|slug| self.find(slug.as_str())).collect(),
            RelockScope::Env(env) => self.slots_in_order(|entry| entry.slug.env() == env),
            RelockScope::All => self.slots_in_order(|_| true),
        };
        let relocked =
            slots.into_iter().filter_map(|slot| self.evict(slot)).map(|entry| entry.slug).collect();
        self.release_memory();
        relocked
    }

    /// Erases every key whose deadline has passed on either clock, and returns their slugs.
    pub fn expire(&mut self, now: Clock) -> Vec<Slug> {
        let mut expired = Vec::new();
        while let Some(slot) = self.expiry.first_expired(now) {
            let entry = self.evict(slot as usize).expect("a deadline belongs to a stored key");
            expired.push(entry.slug);
        }
        if !expired.is_empty() {
            self.release_memory();
        }
        expired
    }

    /// Returns the earliest deadline on each clock. When either passes, call [`Store::expire`].
    pub fn next_deadline(&self) -> Option<Deadlines> {
        self.expiry.next_deadline()
    }

    /// Returns at most `limit` live keys that follow position `after`, or the first ones if `None`.
    pub fn list(&mut self, after: Option<u64>, limit: usize, now: Clock) -> KeyPage<'_, S> {
        self.expire(now);
        let from = after.map_or(0, |after| after.saturating_add(1));
        // One walk finds the `limit` lowest positions. A list kept in insertion order would cost
        // memory for every key.
        let mut lowest: BinaryHeap<(u64, usize)> = BinaryHeap::new();
        let mut has_more = false;
        for (slot, entry) in self.entries().filter(|(_, entry)| entry.seq >= from) {
            lowest.push((entry.seq, slot));
            if lowest.len() > limit {
                lowest.pop();
                has_more = true;
            }
        }
        let slots = lowest.into_sorted_vec().into_iter();
        KeyPage { entries: slots.filter_map(|(_, slot)| self.slots[slot].as_ref()).collect(), has_more }
    }

    /// Returns the handles of all stored secrets, in no particular order.
    pub fn secrets(&self) -> impl Iterator<Item = &S> {
        self.entries().map(|(_, entry)| &entry.secret)
    }

    /// Erases every key.
    pub fn erase_all(&mut self) {
        for slot in 0..self.slots.len() {
            self.evict(slot);
        }
        self.release_memory();
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &Entry<S>)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| entry.as_ref().map(|entry| (slot, entry)))
    }

    /// Returns the slots of the keys that match, in insertion order.
    fn slots_in_order(&self, matches: impl Fn(&Entry<S>) -> bool) -> Vec<usize> {
        let matching = self.entries().filter(|(_, entry)| matches(entry));
        let mut slots: Vec<(u64, usize)> = matching.map(|(slot, entry)| (entry.seq, slot)).collect();
        slots.sort_unstable();
        slots.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Returns the slot of a slug. Trusts the index only if the entry in the slot agrees.
    fn find(&self, slug: &str) -> Option<usize> {
        let slot = self.index.get(slug)? as usize;
        let entry = self.slots.get(slot)?.as_ref()?;
        (entry.slug.as_str() == slug).then_some(slot)
    }

    /// Removes a key and erases its secret. Every key leaves the store through here.
    fn evict(&mut self, slot: usize) -> Option<Entry<S>> {
        let entry = self.slots.get_mut(slot)?.take()?;
        entry.secret.erase();
        self.erasures += 1;
        self.index.invalidate(entry.slug.as_str());
        self.free.push(u32::try_from(slot).expect("slots are counted in u32"));
        let Store { slots, expiry, free, .. } = self;
        let current = |slot: u32| slots[slot as usize].as_ref().map(|entry| entry.deadlines);
        expiry.compact(slots.len() - free.len(), current);
        Some(entry)
    }

    /// Gives memory back after keys were evicted: the index frees its entries now rather than
    /// later, and an empty store keeps nothing.
    fn release_memory(&mut self) {
        self.index.run_pending_tasks();
        if self.is_empty() {
            self.slots = Vec::new();
            self.expiry = ExpiryQueue::default();
            self.free = Vec::new();
            self.sources = HashSet::new();
        }
    }

    /// Returns the shared copy of a source.
    fn share(&mut self, source: GrantSource) -> Arc<GrantSource> {
        if let Some(known) = self.sources.get(&source) {
            return Arc::clone(known);
        }
        if self.sources.len() >= MAX_SHARED_SOURCES {
            self.sources.retain(|known| Arc::strong_count(known) > 1);
        }
        let source = Arc::new(source);
        // Sources beyond the bound are not shared: a caller that invents many pays for its own.
        if self.sources.len() < MAX_SHARED_SOURCES {
            self.sources.insert(Arc::clone(&source));
        }
        source
    }
}

impl<S: Erase> Drop for Store<S> {
    fn drop(&mut self) {
        self.erase_all();
    }
}

/// The live keys of a store at one moment, so that one reply can borrow several of them.
pub struct LiveKeys<'a, S: Erase>(&'a Store<S>);

impl<'a, S: Erase> LiveKeys<'a, S> {
    /// Returns the key of exactly this slug, or else its `org.all.NAME`. A `sudo` slug has no
    /// fallback. Text that is not a slug finds nothing.
    pub fn get(&self, slug: &str) -> Option<&'a Entry<S>> {
        let slot = match self.0.find(slug) {
            Some(slot) => slot,
            None => self.0.find(Slug::parse_stored(slug).ok()?.fallback()?.as_str())?,
        };
        self.0.slots[slot].as_ref()
    }
}
