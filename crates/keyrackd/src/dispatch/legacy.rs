//! The legacy protocol's commands. An UNLOCK is checked whole before any of it is stored, and stored whole or not at all.

use keyrack_core::store::{Entry, NewEntry, RelockScope, Store};
use keyrack_core::{Clock, Deadlines, GrantedTtl, Org, Slug, TtlLimit, timestamp};
use keyrack_sys::memory::{Buffer, Pool, Secret};
use keyrack_wire::EncodeError;
use keyrack_wire::legacy::{
    self, Get, GetItem, Grant, Relock, Request, StatusItem, encode_error, encode_get_reply,
    encode_relock_reply, encode_status_reply, encode_unlock_reply, escape_len,
};
use smallvec::SmallVec;

use super::{AfterReply, Response};
use crate::conn::reply::{Carries, Page, Reply, Text};
use crate::limits;
use crate::state::Daemon;
use crate::stored_secret::{ExtrasRef, SecretRef, StoredSecret};

/// Answers a whole request.
pub(crate) fn answer(daemon: &Daemon, message: &[u8]) -> Response {
    let outcome = match Request::parse(message) {
        Ok(Request::Unlock(grants)) => self::unlock(daemon, &grants),
        Ok(Request::Get(get)) => self::get(daemon, &get),
        Ok(Request::Status) => self::status(daemon),
        Ok(Request::Relock(relock)) => self::relock(daemon, &relock),
        Err(error) => {
            daemon.touch();
            Err(error.to_string())
        }
    };
    match outcome {
        Ok(reply) => Response { reply, then: AfterReply::Close },
        Err(text) => refuse(&text),
    }
}

/// An error reply, after which the connection ends.
pub(crate) fn refuse(text: &str) -> Response {
    let mut reply = Text(Vec::new());
    encode_error(&mut reply, text).expect("an error's text is shorter than the longest reply");
    Response { reply: Reply::Plain(reply.0), then: AfterReply::Refuse }
}

fn unlock(daemon: &Daemon, grants: &[Grant<'_>]) -> Result<Reply, String> {
    let reply = plain(|sink| encode_unlock_reply(sink, grants.iter().map(|grant| &*grant.slug)))?;
    daemon.with_store(|store, now| {
        let new = validate_unlock(store, &daemon.info.owner, &daemon.pool, grants, now)?;
        for entry in new {
            tracing::info!(slug = %entry.slug, "a key is unlocked");
            store.insert(entry, now);
        }
        Ok(reply)
    })
}

/// The keys of an UNLOCK, ready to be stored, if each of them may be. Those that have ended already are left out.
fn validate_unlock(
    store: &mut Store<StoredSecret>,
    owner: &keyrack_core::Owner,
    pool: &Pool,
    grants: &[Grant<'_>],
    now: Clock,
) -> Result<Vec<NewEntry<StoredSecret>>, String> {
    let mut checked = Vec::with_capacity(grants.len());
    for (index, grant) in grants.iter().enumerate() {
        let slug = Slug::parse_stored(&grant.slug)
            .map_err(|error| format!("payload.keys[{index}].slug: {error}"))?;
        let wrong = |field: &str, what: &str| format!("payload.keys[{index}].{field} ({slug}) {what}");
        let grade =
            super::grade(&grant.grade).map_err(|(field, must)| wrong(&format!("key.{field}"), must))?;
        let end = match &grant.expires_at {
            None => None,
            Some(text) => Some(
                timestamp::parse_ms(text).ok_or_else(|| wrong("expiresAt", "must be an ISO 8601 time"))?,
            ),
        };
        let deadlines = Deadlines::until(now, end, slug.is_sudo());
        let clamped = end.is_none_or(|end| end > deadlines.wall_ms);
        let given = GrantedTtl { ttl: None, by: clamped.then_some(TtlLimit::Ceiling) };
        checked.push((slug, grade, deadlines, given));
    }
    store.check_batch(checked.iter().map(|(slug, grade, ..)| (slug, *grade)), now).map_err(|downgrade| {
        let error = downgrade.to_error(owner);
        match &error.fix {
            Some(fix) => format!("{error}; run: {}", fix.render(keyrack_core::Invocation::default())),
            None => error.message,
        }
    })?;
    let live = grants.iter().zip(checked).filter(|(_, (_, _, deadlines, _))| !deadlines.is_expired(now));
    live.map(|(grant, (slug, grade, deadlines, given))| {
        let secret = copy_to_pool(pool, grant).map_err(|full| super::full(&full).message)?;
        let source = super::source(&grant.source);
        Ok(NewEntry { slug, secret, grade, source, deadlines, given })
    })
    .collect()
}

/// Copies a grant's secret, and what is not known of it, into the store's pages. Dropped again, they are wiped.
fn copy_to_pool(pool: &Pool, grant: &Grant<'_>) -> Result<StoredSecret, keyrack_sys::memory::OutOfMemory> {
    let secret = pool.store_with(grant.secret.len(), |place| {
        let written = grant.secret.unescape_into(place);
        debug_assert_eq!(written, Ok(grant.secret.len()), "the text was checked when it was parsed");
    })?;
    let extras = match grant.extras.packed_len() {
        0 => None,
        len => Some(pool.store_with(len, |place| {
            let packed = grant.extras.pack(&mut Place { place, at: 0 });
            debug_assert_eq!(packed, Ok(()), "the place is as long as what is packed");
        })?),
    };
    Ok(StoredSecret { secret, extras })
}

/// A place of known length in a secret page.
struct Place<'a> {
    place: &'a mut [u8],
    at: usize,
}

impl keyrack_wire::Writer for Place<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), keyrack_wire::CapacityError> {
        let end = self.at + bytes.len();
        self.place.get_mut(self.at..end).ok_or(keyrack_wire::CapacityError)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }
}

/// A hit, as it was when it was looked up.
struct Hit {
    slug: Slug,
    held: StoredSecret,
    grade: keyrack_core::Grade,
    source: std::sync::Arc<keyrack_core::GrantSource>,
    expires_at: String,
}

impl Hit {
    fn of(entry: &Entry<StoredSecret>) -> Self {
        Hit {
            slug: entry.slug.clone(),
            held: entry.secret.clone(),
            grade: entry.grade,
            source: std::sync::Arc::clone(&entry.source),
            expires_at: timestamp::format_ms(entry.deadlines.wall_ms),
        }
    }

    fn item(&self) -> GetItem<'_, SecretRef<'_>, ExtrasRef<'_>> {
        GetItem {
            slug: self.slug.as_str(),
            protection: self.grade.protection.as_str(),
            duration: self.grade.duration.as_str(),
            vault: self.source.vault.as_str(),
            mech: self.source.mech.as_str(),
            env: self.slug.env(),
            org: self.slug.org(),
            expires_at: &self.expires_at,
            secret: SecretRef(&self.held.secret),
            extras: ExtrasRef(self.held.extras.as_ref()),
        }
    }
}

fn get(daemon: &Daemon, get: &Get<'_>) -> Result<Reply, String> {
    let wanted = |entry: &Entry<StoredSecret>| {
        let env = entry.slug.env();
        let org = entry.slug.org();
        get.org.as_deref().is_none_or(|wanted| org == wanted || org == Org::MACHINE)
            && get.env.as_deref().is_none_or(|wanted| env == wanted || env == keyrack_core::Env::All.as_str())
    };
    // Most callers ask for one key.
    let hits: SmallVec<[Hit; 1]> = daemon.with_store(|store, now| {
        let asked = get.slugs.iter().filter_map(|slug| Slug::parse_stored(slug).ok());
        asked
            .filter_map(|slug| store.live(now).get(slug.as_str()).filter(|entry| wanted(entry)).map(Hit::of))
            .collect()
    });
    if hits.is_empty() {
        return plain(|sink| encode_get_reply(sink, hits.iter().map(Hit::item)).map(|_| ()));
    }
    let mut page = daemon.pool.buffer(limits::LEGACY_REPLY);
    make_room(daemon, &mut page, &hits);
    let omitted = encode_get_reply(&mut Page(&mut page, daemon), hits.iter().map(Hit::item))
        .map_err(|error| no_reply(daemon, &mut page, error))?;
    for index in omitted {
        tracing::warn!(slug = %hits[index].slug, "a key's value is not text, which this protocol cannot carry");
    }
    let mut carries = Carries::None;
    for hit in hits {
        tracing::debug!(slug = %hit.slug, "a key is handed out");
        carries.push(hit.held);
    }
    Ok(Reply::Secret { page, carries })
}

/// Takes the pages a long reply needs in one go: growing step by step it would hold up to three times as many. An estimate: what
/// it falls short of is taken as it is needed, and what cannot be had is found out then.
fn make_room(daemon: &Daemon, page: &mut Buffer, hits: &[Hit]) {
    const NAMES: usize = 512;
    let text = |hit: &Hit| hit.held.secret.with(|secret| escape_len(secret).unwrap_or(0)).unwrap_or(0);
    let extras = |hit: &Hit| hit.held.extras.as_ref().map_or(0, Secret::len);
    if hits.iter().map(|hit| hit.held.secret.len()).sum::<usize>() > NAMES {
        let estimate = hits.iter().map(|hit| text(hit) + extras(hit) + NAMES).sum();
        let _ = daemon.ensure_spare(page, estimate);
    }
}

fn status(daemon: &Daemon) -> Result<Reply, String> {
    daemon.with_store(|store, now| {
        let page = store.list(None, usize::MAX, now);
        let times: Vec<String> =
            page.entries.iter().map(|entry| timestamp::format_ms(entry.deadlines.wall_ms)).collect();
        let keys = page.entries.iter().zip(&times).map(|(entry, time)| StatusItem {
            slug: entry.slug.as_str(),
            env: entry.slug.env(),
            org: entry.slug.org(),
            expires_at: time,
            ttl_left_ms: entry.deadlines.remaining(now).as_ms(),
        });
        plain(|sink| encode_status_reply(sink, &daemon.info.home_hash, keys)).map_err(|_| {
            format!("{} keys are more than this protocol can list; use keyrack status", times.len())
        })
    })
}

fn relock(daemon: &Daemon, relock: &Relock<'_>) -> Result<Reply, String> {
    let relocked = daemon.with_store(|store, now| match relock {
        Relock::Slugs(slugs) => {
            let slugs: Vec<Slug> = slugs.iter().filter_map(|slug| Slug::parse_stored(slug).ok()).collect();
            store.relock(RelockScope::Slugs(&slugs), now)
        }
        Relock::Env(env) => store.relock(RelockScope::Env(env), now),
        Relock::All => store.relock(RelockScope::All, now),
    });
    for slug in &relocked {
        tracing::info!(%slug, "a key is relocked");
    }
    plain(|sink| encode_relock_reply(sink, relocked.iter().map(Slug::as_str)))
}

/// Composes a reply that carries no secret.
fn plain(compose: impl FnOnce(&mut Text) -> Result<(), EncodeError>) -> Result<Reply, String> {
    let mut sink = Text(Vec::new());
    compose(&mut sink).map_err(|error| error.to_string())?;
    Ok(Reply::Plain(sink.0))
}

/// Why a reply was not composed, in words.
fn no_reply(daemon: &Daemon, page: &mut Buffer, error: EncodeError) -> String {
    page.release();
    match error {
        EncodeError::Full => {
            let limit = daemon.pool.usage().requests_limit / 1024;
            format!("the memory for replies is full ({limit} KiB); ask for fewer keys at a time")
        }
        error => error.to_string(),
    }
}

/// The longest reply of the protocol is the longest one a page may hold.
const _: () = assert!(legacy::MAX_REPLY == limits::LEGACY_REPLY, "one limit, two names");
