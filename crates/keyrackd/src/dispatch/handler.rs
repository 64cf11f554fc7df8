//! Functions that the handlers of both protocols share.

use keyrack_core::store::{LiveKeys, RelockScope};
use keyrack_core::timestamp::TimestampText;
use keyrack_core::{
    Clock, DurationGrade, Error, ErrorCode, Grade, GrantSource, Mechanism, Protection, Slug, VaultId,
};
use keyrack_sys::memory::{OutOfMemory, Pool};
use keyrack_wire::Relock;
use smallvec::SmallVec;

use crate::daemon_info::DaemonInfo;
use crate::key_service::{KeyService, StoredKey};
use crate::reclaim::ReclaimPages;
use crate::stored_secret::StoredSecret;

/// Everything that a handler may use to answer a request.
pub(crate) struct RequestContext<'a> {
    pub(crate) keys: &'a mut KeyService,
    pub(crate) info: &'a DaemonInfo,
    /// Frees pages when a reply finds none.
    pub(crate) reclaim: &'a dyn ReclaimPages,
    pub(crate) now: Clock,
}

/// A live key that a request for `requested` found.
pub(super) struct Hit<'a> {
    pub(super) requested: &'a str,
    pub(super) key: &'a StoredKey,
    pub(super) expires_at: TimestampText,
}

impl<'a> Hit<'a> {
    pub(super) fn find(live: &LiveKeys<'a, StoredSecret>, requested: &'a str) -> Option<Self> {
        let key = live.get(requested)?;
        Some(Hit { requested, key, expires_at: TimestampText::of_ms(key.deadlines.wall_ms) })
    }
}

/// Returns the secrets that a reply with these hits carries.
pub(super) fn carried(hits: &[Hit<'_>]) -> SmallVec<[StoredSecret; 1]> {
    let sent = hits.iter().inspect(|hit| tracing::debug!(slug = %hit.key.slug, "key sent"));
    sent.map(|hit| hit.key.secret.clone()).collect()
}

/// Erases keys and returns their slugs. Text that is not a slug erases nothing.
pub(super) fn relock(cx: &mut RequestContext<'_>, request: &Relock<'_>) -> Vec<Slug> {
    let slugs: Vec<Slug>;
    let scope = match request {
        Relock::Slugs(texts) => {
            slugs = texts.iter().filter_map(|text| Slug::parse_stored(text).ok()).collect();
            RelockScope::Slugs(&slugs)
        }
        Relock::Env(env) => RelockScope::Env(env),
        Relock::All => RelockScope::All,
    };
    cx.keys.relock(scope, cx.now)
}

/// Parses a grade. The error names the invalid field, and what it must be.
pub(super) fn parse_grade(names: &keyrack_wire::Grade<'_>) -> Result<Grade, (&'static str, &'static str)> {
    let protection = Protection::parse(&names.protection)
        .ok_or(("grade.protection", "must be one of reference, encrypted, plaintext"))?;
    let duration = DurationGrade::parse(&names.duration)
        .ok_or(("grade.duration", "must be one of transient, ephemeral, permanent"))?;
    Ok(Grade { protection, duration })
}

/// Parses the vault and the mechanism of a key. Unknown names are kept.
pub(super) fn parse_source(names: &keyrack_wire::Source<'_>) -> GrantSource {
    GrantSource { vault: VaultId::parse(&names.vault), mech: Mechanism::parse(&names.mech) }
}

/// Error for a secret that the memory has no room for. Nothing was changed.
pub(super) fn secret_memory_full(error: &OutOfMemory) -> Error {
    Error::new(ErrorCode::MemoryFull, format!("{error}; relock keys that are not needed"))
}

/// Error for a reply that the memory has no room for.
pub(super) fn reply_memory_full(pool: &Pool) -> Error {
    let limit = pool.usage().requests_limit / 1024;
    let message = format!("the memory for replies is full ({limit} KiB); ask for fewer keys at a time");
    Error::new(ErrorCode::MemoryFull, message)
}
