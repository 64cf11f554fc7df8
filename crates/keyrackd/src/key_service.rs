//! Key service: the unlocked keys and the secret memory that holds them. Knows no connection and
//! reads no clock; time is an argument.

use std::time::Duration;

use keyrack_core::store::{DowngradeError, Entry, Inserted, KeyPage, LiveKeys, NewEntry, RelockScope, Store};
use keyrack_core::{Clock, Deadlines, Grade, Slug};
use keyrack_sys::memory::{OutOfMemory, Pool, PooledSecret};

use crate::stored_secret::StoredSecret;

/// A stored key of this daemon.
pub(crate) type StoredKey = Entry<StoredSecret>;

/// The unlocked keys of one rack, in secret memory.
pub(crate) struct KeyService {
    store: Store<StoredSecret>,
    pool: Pool,
    /// Time of the last request, on CLOCK_BOOTTIME.
    last_request_ns: u64,
    /// Erasures that [`KeyService::take_erased`] has reported.
    reported_erasures: u64,
}

impl KeyService {
    pub(crate) fn new(pool: Pool, now: Clock) -> Self {
        KeyService { store: Store::new(), pool, last_request_ns: now.boot_ns, reported_erasures: 0 }
    }

    /// Notes that a client sent a request: the idle period starts over.
    pub(crate) fn note_request(&mut self, now: Clock) {
        self.last_request_ns = now.boot_ns;
    }

    /// Returns the live keys, and the pool for a reply that carries some of them.
    pub(crate) fn live(&mut self, now: Clock) -> (LiveKeys<'_, StoredSecret>, &Pool) {
        (self.store.live(now), &self.pool)
    }

    /// Copies a secret into secret memory. Dropping the handle unstored wipes the copy.
    pub(crate) fn allocate(&self, bytes: &[u8]) -> Result<PooledSecret, OutOfMemory> {
        self.pool.store(bytes)
    }

    /// Allocates `len` bytes of secret memory and lets `fill` write them.
    pub(crate) fn allocate_with(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<PooledSecret, OutOfMemory> {
        self.pool.store_with(len, fill)
    }

    /// Rejects keys that are weaker than the live keys they would replace.
    pub(crate) fn check_grades<'a>(
        &mut self,
        batch: impl IntoIterator<Item = (&'a Slug, Grade)>,
        now: Clock,
    ) -> Result<(), DowngradeError> {
        self.store.check_batch(batch, now)
    }

    /// Stores a key whose grade was checked.
    pub(crate) fn insert(&mut self, entry: NewEntry<StoredSecret>, now: Clock) -> Inserted {
        let slug = entry.slug.clone();
        let inserted = self.store.insert(entry, now);
        if inserted == Inserted::Stored {
            tracing::info!(%slug, "key unlocked");
        }
        inserted
    }

    /// Returns at most `limit` live keys that follow position `after`.
    pub(crate) fn list(&mut self, after: Option<u64>, limit: usize, now: Clock) -> KeyPage<'_, StoredSecret> {
        self.store.list(after, limit, now)
    }

    /// Returns the number of live keys and the bytes of their secrets.
    pub(crate) fn totals(&mut self, now: Clock) -> (usize, usize) {
        self.store.expire(now);
        (self.store.len(), self.store.secrets().map(|stored| stored.secret.len()).sum())
    }

    /// Erases the keys in `scope` and returns their slugs.
    pub(crate) fn relock(&mut self, scope: RelockScope<'_>, now: Clock) -> Vec<Slug> {
        let relocked = self.store.relock(scope, now);
        for slug in &relocked {
            tracing::info!(%slug, "key relocked");
        }
        relocked
    }

    /// Erases the keys that have expired.
    pub(crate) fn expire(&mut self, now: Clock) {
        for slug in self.store.expire(now) {
            tracing::info!(%slug, "key expired");
        }
    }

    /// Erases every key. Wipes the secrets first, in one step, then takes the store apart.
    pub(crate) fn erase_all(&mut self) {
        self.wipe();
        self.store.erase_all();
    }

    /// Wipes every secret at once. The store still lists the keys, so only a daemon that exits
    /// stops here.
    pub(crate) fn wipe(&self) {
        self.pool.erase_all();
    }

    /// Returns `true` if a secret was erased since the last call. The caller then drops every copy
    /// of an erased secret before it acknowledges anything.
    pub(crate) fn take_erased(&mut self) -> bool {
        std::mem::replace(&mut self.reported_erasures, self.store.erasures()) != self.store.erasures()
    }

    /// Returns the earliest deadline on each clock.
    pub(crate) fn next_deadline(&self) -> Option<Deadlines> {
        self.store.next_deadline()
    }

    /// Returns `true` if there is no live key and no client has sent a request for `window`.
    pub(crate) fn is_idle(&mut self, window: Duration, now: Clock) -> bool {
        self.expire(now);
        let quiet = Duration::from_nanos(now.boot_ns.saturating_sub(self.last_request_ns));
        self.store.is_empty() && quiet >= window
    }
}

#[cfg(test)]
mod tests {
    use keyrack_core::{DurationGrade, GrantSource, GrantedTtl, Mechanism, Protection, Ttl, VaultId};
    use keyrack_sys::memory::{Budget, MemoryMode, ModeRequest};

    use super::*;

    const START: Clock = Clock { boot_ns: 1_000_000_000, wall_ms: 1_767_225_600_000 };

    fn later(ms: u32) -> Clock {
        Clock { boot_ns: START.boot_ns + u64::from(ms) * 1_000_000, wall_ms: START.wall_ms + i64::from(ms) }
    }

    fn service() -> (KeyService, Pool) {
        let pool =
            Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::bytes(Budget::LEAST)).unwrap();
        (KeyService::new(pool.clone(), START), pool)
    }

    fn unlock(keys: &mut KeyService, slug: &str, secret: &[u8], ttl_ms: u64) -> StoredSecret {
        let secret = StoredSecret { secret: keys.allocate(secret).unwrap(), extras: None };
        let entry = NewEntry {
            slug: Slug::parse_stored(slug).unwrap(),
            secret: secret.clone(),
            grade: Grade { protection: Protection::Encrypted, duration: DurationGrade::Ephemeral },
            source: GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica },
            deadlines: Deadlines::after(START, Ttl(ttl_ms)),
            given: GrantedTtl::default(),
        };
        assert_eq!(keys.insert(entry, START), Inserted::Stored);
        secret
    }

    #[test]
    fn take_erased_reports_each_erasure_once() {
        let (mut keys, _) = service();
        assert!(!keys.take_erased());
        let secret = unlock(&mut keys, "a.test.K", b"one", 1000);
        assert!(!keys.take_erased());
        keys.relock(RelockScope::All, START);
        assert!(secret.is_erased());
        assert!(keys.take_erased() && !keys.take_erased());
        unlock(&mut keys, "a.test.K", b"one", 1000);
        unlock(&mut keys, "a.test.K", b"two", 1000);
        assert!(keys.take_erased(), "a replaced key is erased");
        keys.expire(later(1000));
        assert!(keys.take_erased());
    }

    #[test]
    fn totals_count_live_keys_and_their_bytes() {
        let (mut keys, _) = service();
        unlock(&mut keys, "a.test.A", b"four", 1000);
        unlock(&mut keys, "a.test.B", b"sixsix", 2000);
        assert_eq!(keys.totals(START), (2, 10));
        assert_eq!(keys.totals(later(1000)), (1, 6));
    }

    #[test]
    fn erase_all_wipes_secrets_and_frees_their_memory() {
        let (mut keys, pool) = service();
        let empty = pool.usage().secrets;
        let secret = unlock(&mut keys, "a.test.K", b"secret", 1000);
        keys.erase_all();
        assert!(secret.is_erased());
        drop(secret);
        assert_eq!(pool.usage().secrets, empty);
        assert_eq!(keys.next_deadline(), None);
    }

    #[test]
    fn service_is_idle_without_keys_and_requests_for_the_window() {
        let (mut keys, _) = service();
        let window = Duration::from_millis(100);
        assert!(!keys.is_idle(window, later(99)));
        assert!(keys.is_idle(window, later(100)));
        keys.note_request(later(100));
        assert!(!keys.is_idle(window, later(199)));
        unlock(&mut keys, "a.test.K", b"secret", 1000);
        assert!(!keys.is_idle(window, later(999)), "a key is live");
        assert!(keys.is_idle(window, later(1000)), "the key has expired");
    }
}
