//! Handlers of the legacy protocol. An UNLOCK is validated as a whole before any key of it is
//! stored: all of its keys are, or none.

use keyrack_core::store::NewEntry;
use keyrack_core::timestamp::TimestampText;
use keyrack_core::{Deadlines, Env, GrantedTtl, Invocation, Org, Slug, TtlLimit, timestamp};
use keyrack_sys::memory::{Buffer, OutOfMemory, PooledSecret};
use keyrack_wire::legacy::{
    self, Get, GetItem, Grant, Request, StatusItem, encode_error, encode_get_reply, encode_relock_reply,
    encode_status_reply, encode_unlock_reply, escape_len,
};
use keyrack_wire::{CapacityError, EncodeError, Relock, Writer};
use smallvec::SmallVec;

use super::handler::{self, Hit, RequestContext};
use super::response::{AfterReply, Response, plain};
use crate::key_service::{KeyService, StoredKey};
use crate::limits;
use crate::reclaim::{ReclaimPages, ensure_spare};
use crate::reply::{PageWriter, PlainWriter, Reply};
use crate::stored_secret::{ExtrasRef, SecretRef, StoredSecret};

/// Answers a complete request.
pub(crate) fn answer(message: &[u8], mut cx: RequestContext<'_>) -> Response {
    cx.keys.note_request(cx.now);
    let outcome = match Request::parse(message) {
        Ok(Request::Unlock(grants)) => unlock(&mut cx, &grants),
        Ok(Request::Get(request)) => get(&mut cx, &request),
        Ok(Request::Status) => status(&mut cx),
        Ok(Request::Relock(request)) => relock(&mut cx, &request),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(reply) => Response { reply, then: AfterReply::Close },
        Err(message) => refuse(&message),
    }
}

/// Error response. The connection closes after it.
pub(crate) fn refuse(message: &str) -> Response {
    let mut writer = PlainWriter(Vec::new());
    encode_error(&mut writer, message).expect("an error's text is shorter than the longest reply");
    Response { reply: Reply::Plain(writer.0), then: AfterReply::Linger }
}

fn unlock(cx: &mut RequestContext<'_>, grants: &[Grant<'_>]) -> Result<Reply, String> {
    let slugs = grants.iter().map(|grant| &*grant.slug);
    let reply = plain(|writer| encode_unlock_reply(writer, slugs)).map_err(encode_failed)?;
    for entry in validate_unlock(cx, grants)? {
        cx.keys.insert(entry, cx.now);
    }
    Ok(reply)
}

/// Validates an UNLOCK and returns its keys, without those that have expired already.
fn validate_unlock(
    cx: &mut RequestContext<'_>,
    grants: &[Grant<'_>],
) -> Result<Vec<NewEntry<StoredSecret>>, String> {
    let now = cx.now;
    let mut validated = Vec::with_capacity(grants.len());
    for (index, grant) in grants.iter().enumerate() {
        let slug = Slug::parse_stored(&grant.slug)
            .map_err(|error| format!("payload.keys[{index}].slug: {error}"))?;
        let invalid = |field: &str, what: &str| format!("payload.keys[{index}].{field} ({slug}) {what}");
        let grade = handler::parse_grade(&grant.grade)
            .map_err(|(field, must)| invalid(&format!("key.{field}"), must))?;
        let expires_at = match &grant.expires_at {
            None => None,
            Some(text) => Some(
                timestamp::parse_ms(text).ok_or_else(|| invalid("expiresAt", "must be an ISO 8601 time"))?,
            ),
        };
        let deadlines = Deadlines::until(now, expires_at, slug.is_sudo());
        let clamped = expires_at.is_none_or(|at| at > deadlines.wall_ms);
        let given = GrantedTtl { ttl: None, limit: clamped.then_some(TtlLimit::Ceiling) };
        validated.push((slug, grade, deadlines, given));
    }
    let grades = validated.iter().map(|(slug, grade, ..)| (slug, *grade));
    cx.keys.check_grades(grades, now).map_err(|downgrade| {
        let error = downgrade.to_error(&cx.info.owner);
        match &error.fix {
            Some(fix) => format!("{error}; run: {}", fix.render(Invocation::default())),
            None => error.message,
        }
    })?;
    let live = grants.iter().zip(validated).filter(|(_, (_, _, deadlines, _))| !deadlines.is_expired(now));
    live.map(|(grant, (slug, grade, deadlines, given))| {
        let secret = allocate(cx.keys, grant).map_err(|error| handler::secret_memory_full(&error).message)?;
        let source = handler::parse_source(&grant.source);
        Ok(NewEntry { slug, secret, grade, source, deadlines, given })
    })
    .collect()
}

/// Copies the secret and the unknown fields of a grant into secret memory.
fn allocate(keys: &KeyService, grant: &Grant<'_>) -> Result<StoredSecret, OutOfMemory> {
    let secret = keys.allocate_with(grant.secret.len(), |target| {
        let written = grant.secret.unescape_into(target);
        debug_assert_eq!(written, Ok(grant.secret.len()), "the text was checked when it was parsed");
    })?;
    let extras = match grant.extras.packed_len() {
        0 => None,
        len => Some(keys.allocate_with(len, |target| {
            let packed = grant.extras.pack(&mut SliceWriter { target, len: 0 });
            debug_assert_eq!(packed, Ok(()), "the target is as long as what is packed");
        })?),
    };
    Ok(StoredSecret { secret, extras })
}

/// Writes into a slice of secret memory.
struct SliceWriter<'a> {
    target: &'a mut [u8],
    len: usize,
}

impl Writer for SliceWriter<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        let end = self.len + bytes.len();
        self.target.get_mut(self.len..end).ok_or(CapacityError)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

fn get(cx: &mut RequestContext<'_>, get: &Get<'_>) -> Result<Reply, String> {
    let matches = |key: &StoredKey| {
        let env = key.slug.env();
        let org = key.slug.org();
        get.org.as_deref().is_none_or(|wanted| org == wanted || org == Org::MACHINE)
            && get.env.as_deref().is_none_or(|wanted| env == wanted || env == Env::All.as_str())
    };
    let (live, pool) = cx.keys.live(cx.now);
    let hits = get.slugs.iter().filter_map(|slug| Hit::find(&live, slug)).filter(|hit| matches(hit.key));
    // Most clients ask for one key.
    let hits: SmallVec<[Hit<'_>; 1]> = hits.collect();
    if hits.is_empty() {
        return plain(|writer| encode_get_reply(writer, hits.iter().map(get_item)).map(|_| ()))
            .map_err(encode_failed);
    }
    let mut page = pool.buffer(limits::LEGACY_REPLY);
    reserve(&mut page, &hits, cx.reclaim);
    let mut writer = PageWriter { page: &mut page, reclaim: cx.reclaim };
    let omitted = encode_get_reply(&mut writer, hits.iter().map(get_item)).map_err(|error| match error {
        EncodeError::Full => handler::reply_memory_full(pool).message,
        error => encode_failed(error),
    })?;
    for index in omitted {
        let slug = &hits[index].key.slug;
        tracing::warn!(%slug, "the value of a key is not text: the legacy protocol cannot carry it");
    }
    Ok(Reply::Secret { page, carries: handler::carried(&hits) })
}

fn get_item<'a>(hit: &'a Hit<'_>) -> GetItem<'a, SecretRef<'a>, ExtrasRef<'a>> {
    let key = hit.key;
    GetItem {
        slug: key.slug.as_str(),
        protection: key.grade.protection.as_str(),
        duration: key.grade.duration.as_str(),
        vault: key.source.vault.as_str(),
        mech: key.source.mech.as_str(),
        env: key.slug.env(),
        org: key.slug.org(),
        expires_at: hit.expires_at.as_str(),
        secret: SecretRef(&key.secret.secret),
        extras: ExtrasRef(key.secret.extras.as_ref()),
    }
}

/// Reserves the pages of a long reply in one step: growing step by step would hold up to three
/// times as many. The size is an estimate. A reply that needs more grows; a reservation that fails
/// is left for the encoder to report.
fn reserve(page: &mut Buffer, hits: &[Hit<'_>], reclaim: &dyn ReclaimPages) {
    const METADATA: usize = 512;
    let secrets = || hits.iter().map(|hit| &hit.key.secret);
    if secrets().map(|stored| stored.secret.len()).sum::<usize>() > METADATA {
        let estimate = secrets().map(|stored| {
            let text = stored.secret.with(|secret| escape_len(secret).unwrap_or(0)).unwrap_or(0);
            text + stored.extras.as_ref().map_or(0, PooledSecret::len) + METADATA
        });
        let _ = ensure_spare(page, estimate.sum(), reclaim);
    }
}

fn status(cx: &mut RequestContext<'_>) -> Result<Reply, String> {
    let now = cx.now;
    let page = cx.keys.list(None, usize::MAX, now);
    let times: Vec<TimestampText> =
        page.entries.iter().map(|key| TimestampText::of_ms(key.deadlines.wall_ms)).collect();
    let keys = page.entries.iter().zip(&times).map(|(key, time)| StatusItem {
        slug: key.slug.as_str(),
        env: key.slug.env(),
        org: key.slug.org(),
        expires_at: time.as_str(),
        ttl_left_ms: key.deadlines.remaining(now).as_ms(),
    });
    plain(|writer| encode_status_reply(writer, &cx.info.home_hash, keys)).map_err(|_| {
        format!("the legacy protocol cannot list {} keys in one reply; use keyrack status", times.len())
    })
}

fn relock(cx: &mut RequestContext<'_>, request: &Relock<'_>) -> Result<Reply, String> {
    let relocked = handler::relock(cx, request);
    plain(|writer| encode_relock_reply(writer, relocked.iter().map(Slug::as_str))).map_err(encode_failed)
}

fn encode_failed(error: EncodeError) -> String {
    error.to_string()
}

const _: () = assert!(legacy::MAX_REPLY == limits::LEGACY_REPLY, "one limit, two names");
