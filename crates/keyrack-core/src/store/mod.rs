//! The TTL store: unlocked keys until they end.
//!
//! The store itself is the authority on what lives: entries, their order of insertion, and both deadlines of each. moka is only the index from slug to slot. Its
//! own expiry comes later than any of ours: it drops lazily, on a clock that stops while the machine sleeps, and so may never be what ends a key.
//!
//! Must never: hold a secret (it holds handles), return a key whose deadline has come on either clock, acknowledge the end of a key before its
//! secret is erased, read a clock.

mod due;
mod entry;
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

use due::Due;
pub use entry::{Entry, Erase, NewEntry, Page, Relock};

/// How much later than the longest life the index forgets a slug by itself.
const BACKSTOP: Duration = Duration::from_millis(Ttl::CEILING.0 + 3_600_000);

/// How many different sources are shared before those without a key are dropped.
const SOURCES: usize = 64;

/// The unlocked keys of one rack.
///
/// Every call that is given the time first erases what has ended by then, so that a wall clock that is set back later revives nothing the store
/// has once seen end.
pub struct Store<S: Erase> {
    slots: Vec<Option<Entry<S>>>,
    free: Vec<u32>,
    due: Due,
    index: Cache<Slug, u32>,
    sources: HashSet<Arc<GrantSource>>,
    next_n: u64,
    erasures: u64,
}

/// What became of a key that was given to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored, and a key of the same slug that was there before is erased.
    Stored,
    /// Its end had already come: its secret is erased, and nothing else changed.
    AlreadyPast,
}

/// The refusal to replace a live key by a weaker one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// The key.
    pub slug: Slug,
    /// The grade it has.
    pub held: Grade,
    /// The grade it would have had.
    pub offered: Grade,
}

impl Degraded {
    /// The refusal as callers hear it, with the way out.
    pub fn error(&self, owner: &Owner) -> Error {
        let Degraded { slug, held, offered } = self;
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
    /// An empty store.
    pub fn new() -> Self {
        Store {
            slots: Vec::new(),
            free: Vec::new(),
            due: Due::default(),
            index: Cache::builder().time_to_live(BACKSTOP).build(),
            sources: HashSet::new(),
            next_n: 1,
            erasures: 0,
        }
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys have been erased so far, for whatever reason. Whoever keeps copies of secrets (a queued reply) compares it after each call:
    /// when it grew, copies whose handle is erased must go before anything is acknowledged.
    pub fn erasures(&self) -> u64 {
        self.erasures
    }

    /// Refuses a key that is weaker, on either axis, than a live key of the same slug.
    pub fn check_replace(&mut self, slug: &Slug, offered: Grade, now: Clock) -> Result<(), Degraded> {
        self.check_batch([(slug, offered)], now)
    }

    /// Refuses a batch in which any key is weaker than the live key it would replace, one given earlier in the same batch included.
    pub fn check_batch<'a, I>(&mut self, batch: I, now: Clock) -> Result<(), Degraded>
    where
        I: IntoIterator<Item = (&'a Slug, Grade)>,
    {
        self.expire(now);
        let mut earlier: HashMap<&Slug, Grade> = HashMap::new();
        for (slug, offered) in batch {
            let stored = || Some(self.slots[self.find(slug.as_str())?].as_ref()?.grade);
            match earlier.get(slug).copied().or_else(stored) {
                Some(held) if offered.is_weaker_than(held) => {
                    return Err(Degraded { slug: slug.clone(), held, offered });
                }
                _ => earlier.insert(slug, offered),
            };
        }
        Ok(())
    }

    /// Stores a key. One of the same slug that was there before is erased and its place in the order is kept. Deadlines beyond the ceiling are
    /// shortened to it. Grades are not looked at: [`Store::check_replace`] comes first.
    pub fn insert(&mut self, new: NewEntry<S>, now: Clock) -> Inserted {
        self.expire(now);
        let most = Ttl::ceiling_of(new.slug.is_sudo());
        let deadlines = new.deadlines.min(Deadlines::after(now, most));
        if deadlines.is_expired(now) {
            new.secret.erase();
            return Inserted::AlreadyPast;
        }
        let left = deadlines.remaining(now);
        let given = GrantedTtl {
            ttl: Some(new.given.ttl.map_or(left, |ttl| ttl.clamp(left, most))),
            by: if deadlines == new.deadlines { new.given.by } else { Some(TtlLimit::Ceiling) },
        };
        let n = match self.find(new.slug.as_str()).and_then(|slot| self.end(slot)) {
            Some(replaced) => replaced.n,
            None => {
                self.next_n += 1;
                self.next_n - 1
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends long before 2^32 keys")
        });
        let source = self.shared(new.source);
        self.due.insert(deadlines, slot);
        self.index.insert(new.slug.clone(), slot);
        let NewEntry { slug, secret, grade, extra, .. } = new;
        self.slots[slot as usize] = Some(Entry { slug, secret, grade, source, deadlines, given, n, extra });
        Inserted::Stored
    }

    /// The live key that answers an ask: the one of this very slug, else its `org.all.NAME`; for `sudo` nothing stands in.
    pub fn get(&mut self, asked: &Slug, now: Clock) -> Option<&Entry<S>> {
        self.expire(now);
        let slot = match self.find(asked.as_str()) {
            Some(slot) => slot,
            None => self.find(asked.fallback()?.as_str())?,
        };
        self.slots[slot].as_ref()
    }

    /// The same for an ask as a peer wrote it; what is no slug finds nothing.
    pub fn get_as_written(&mut self, asked: &str, now: Clock) -> Option<&Entry<S>> {
        self.expire(now);
        let slot = match self.find(asked) {
            Some(slot) => slot,
            None => self.find(Slug::parse_stored(asked).ok()?.fallback()?.as_str())?,
        };
        self.slots[slot].as_ref()
    }

    /// Relocks keys: their secrets are erased when this returns. Names those that were live: in the order asked for, otherwise of insertion.
    pub fn relock(&mut self, which: Relock<'_>, now: Clock) -> Vec<Slug> {
        self.expire(now);
        let slots: Vec<usize> = match which {
            Relock::Slugs(slugs) => slugs.iter().filter_map(|slug| self.find(slug.as_str())).collect(),
            Relock::Env(env) => self.in_order(|entry| entry.slug.env() == env),
            Relock::All => self.in_order(|_| true),
        };
        let relocked = slots.into_iter().filter_map(|slot| self.end(slot)).map(|entry| entry.slug).collect();
        self.tidy();
        relocked
    }

    /// Erases every key whose deadline has come on either clock, and names them.
    pub fn expire(&mut self, now: Clock) -> Vec<Slug> {
        let mut ended = Vec::new();
        while let Some(slot) = self.due.first_passed(now) {
            let entry = self.end(slot as usize).expect("a deadline belongs to a stored key");
            ended.push(entry.slug);
        }
        if !ended.is_empty() {
            self.tidy();
        }
        ended
    }

    /// The least deadline on each clock, of whichever keys; when either comes, [`Store::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Deadlines> {
        self.due.next()
    }

    /// The live keys inserted behind place `after` (from the first one if `None`), at most `limit`.
    pub fn list(&mut self, after: Option<u64>, limit: usize, now: Clock) -> Page<'_, S> {
        self.expire(now);
        let from = after.map_or(0, |after| after.saturating_add(1));
        // The `limit` least places behind `after`, found in one walk: an order kept beside would cost every key memory.
        let mut least: BinaryHeap<(u64, usize)> = BinaryHeap::new();
        let mut more = false;
        for (slot, entry) in self.entries().filter(|(_, entry)| entry.n >= from) {
            least.push((entry.n, slot));
            if least.len() > limit {
                least.pop();
                more = true;
            }
        }
        let slots = least.into_sorted_vec().into_iter();
        Page { entries: slots.filter_map(|(_, slot)| self.slots[slot].as_ref()).collect(), more }
    }

    /// The handles of the secrets that are held, in no order and without a copy of anything.
    pub fn held(&self) -> impl Iterator<Item = &S> {
        self.entries().map(|(_, entry)| &entry.secret)
    }

    /// Erases every key.
    pub fn erase_all(&mut self) {
        for slot in 0..self.slots.len() {
            self.end(slot);
        }
        self.tidy();
    }

    /// Hands every live key over, in the order of insertion, and holds none any more. Their secrets are not erased: that is now up to the
    /// receiver. Those whose deadline has come are erased.
    pub fn drain(&mut self, now: Clock) -> Vec<Entry<S>> {
        self.expire(now);
        let slots = self.in_order(|_| true);
        let entries = slots.into_iter().filter_map(|slot| self.remove(slot)).collect();
        self.tidy();
        entries
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &Entry<S>)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| entry.as_ref().map(|entry| (slot, entry)))
    }

    /// The slots of the keys that are wanted, in the order of insertion.
    fn in_order(&self, wanted: impl Fn(&Entry<S>) -> bool) -> Vec<usize> {
        let mut places: Vec<(u64, usize)> =
            self.entries().filter(|(_, entry)| wanted(entry)).map(|(slot, entry)| (entry.n, slot)).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, slot)| slot).collect()
    }

    /// The slot of a slug. What the index says is believed only if the entry there agrees.
    fn find(&self, slug: &str) -> Option<usize> {
        let slot = self.index.get(slug)? as usize;
        let entry = self.slots.get(slot)?.as_ref()?;
        (entry.slug.as_str() == slug).then_some(slot)
    }

    /// Takes a key out and erases its secret.
    fn end(&mut self, slot: usize) -> Option<Entry<S>> {
        let entry = self.remove(slot)?;
        entry.secret.erase();
        self.erasures += 1;
        Some(entry)
    }

    fn remove(&mut self, slot: usize) -> Option<Entry<S>> {
        let entry = self.slots.get_mut(slot)?.take()?;
        let place = u32::try_from(slot).expect("slots are counted in u32");
        self.index.invalidate(entry.slug.as_str());
        self.free.push(place);
        let Store { slots, due, free, .. } = self;
        let current = |slot: u32| slots[slot as usize].as_ref().map(|entry| entry.deadlines);
        due.settle(slots.len() - free.len(), current);
        Some(entry)
    }

    /// Gives memory back after keys have ended: at once to the index, and all of the slots when none is in use.
    fn tidy(&mut self) {
        self.index.run_pending_tasks();
        if self.is_empty() {
            self.slots = Vec::new();
            self.due = Due::default();
            self.free = Vec::new();
            self.sources = HashSet::new();
        }
    }

    fn shared(&mut self, source: GrantSource) -> Arc<GrantSource> {
        if let Some(known) = self.sources.get(&source) {
            return Arc::clone(known);
        }
        if self.sources.len() >= SOURCES {
            self.sources.retain(|known| Arc::strong_count(known) > 1);
        }
        let source = Arc::new(source);
        // Sources beyond the bound are simply not shared: a caller that invents many pays for its own.
        if self.sources.len() < SOURCES {
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
