//! Handlers of the native protocol. Each key of an unlock has a result of its own.

use std::borrow::Cow;

use keyrack_core::store::{Inserted, NewEntry};
use keyrack_core::{
    Clock, Deadlines, Error, ErrorCode, Fix, GrantedTtl, Invocation, Slug, Ttl, TtlLimit, TtlRequest,
    resolve_ttl, timestamp,
};
use keyrack_wire::native::{
    Counts, ErrorBody, Frame, Get, GetItem, Hello, HelloOk, MAX_LENGTH, MIN_PROTO, NothingOk, Op, PROTO,
    Request, RequestError, Status, StatusKey, StatusOk, Unlock, UnlockGranted, UnlockKey, UnlockOk,
    UnlockResult, agreed_proto, encode_error, encode_get_reply, encode_relock_reply, encode_reply,
    encode_status_reply, encode_unlock_reply,
};
use keyrack_wire::{EncodeError, Relock};
use smallvec::SmallVec;

use super::handler::{self, Hit, RequestContext};
use super::response::{AfterReply, Response, plain};
use crate::daemon_info::{BUILD, VERSION};
use crate::limits;
use crate::reply::{PageWriter, PlainWriter, Reply};
use crate::stored_secret::{SecretRef, StoredSecret};

/// Maximum number of keys in one status reply. A header holds fewer than this of any length.
const MAX_LISTED: u32 = 1024;

/// Maximum length of a reply: a frame and its length field.
const MAX_REPLY: usize = MAX_LENGTH + 4;

/// Answers a complete request.
pub(crate) fn answer(frame: &Frame<'_>, mut cx: RequestContext<'_>) -> Response {
    cx.keys.note_request(cx.now);
    let request = match Request::decode(frame) {
        Ok(request) => request,
        Err(error) => {
            let then = match error {
                RequestError::BadFrame(_) => AfterReply::Linger,
                RequestError::BadRequest { .. } => AfterReply::Continue,
            };
            let message = error.to_string();
            let reply = error_reply(error.id(), &error_body(error.code(), &message));
            return Response { reply, then };
        }
    };
    let then = match &request.op {
        Op::Shutdown => AfterReply::Shutdown,
        Op::Get(get) if get.slugs.len() > limits::SMALL_GET => AfterReply::Yield,
        Op::Get(_) | Op::Hello(_) | Op::Ping | Op::Unknown(_) => AfterReply::Continue,
        Op::Unlock(_) | Op::Status(_) | Op::Relock(_) => AfterReply::Yield,
    };
    let id = request.id;
    let outcome = match request.op {
        Op::Hello(request) => hello(&cx, id, &request),
        Op::Get(request) => get(&mut cx, id, &request),
        Op::Unlock(request) => unlock(&mut cx, id, frame, &request),
        Op::Status(request) => status(&mut cx, id, &request),
        Op::Relock(request) => relock(&mut cx, id, &request),
        Op::Ping => nothing(id),
        Op::Shutdown => {
            cx.keys.erase_all();
            nothing(id)
        }
        Op::Unknown(op) => Err(Error::new(
            ErrorCode::UnknownOp,
            format!("this daemon has no op {:?}", op.chars().take(64).collect::<String>()),
        )),
    };
    let reply = outcome.unwrap_or_else(|error| error_reply(id, &body_of(&error)));
    Response { reply, then }
}

/// Error response that belongs to no request. The connection closes after it.
pub(crate) fn refuse(code: &str, message: &str) -> Response {
    Response { reply: error_reply(0, &error_body(code, message)), then: AfterReply::Linger }
}

fn error_body<'a>(code: &'a str, message: &'a str) -> ErrorBody<'a> {
    ErrorBody { code: code.into(), message: message.into(), slug: None, fix: None }
}

/// Converts an error to its form on the wire.
fn body_of(error: &Error) -> ErrorBody<'static> {
    ErrorBody {
        code: error.code.as_str().to_owned().into(),
        message: error.message.clone().into(),
        slug: error.slug.as_ref().map(|slug| slug.as_str().to_owned().into()),
        fix: error.fix.as_ref().map(|fix| fix.render(Invocation::default()).into()),
    }
}

fn error_reply(id: u64, body: &ErrorBody<'_>) -> Reply {
    let mut writer = PlainWriter(Vec::new());
    if encode_error(&mut writer, id, body).is_err() {
        // Only a message that quotes a very long name could be too long.
        encode_error(&mut writer, id, &error_body(&body.code, "")).expect("a code fits a header");
    }
    Reply::Plain(writer.0)
}

fn nothing(id: u64) -> Result<Reply, Error> {
    plain(|writer| encode_reply(writer, id, &NothingOk {})).map_err(encode_failed)
}

fn hello(cx: &RequestContext<'_>, id: u64, hello: &Hello<'_>) -> Result<Reply, Error> {
    let info = cx.info;
    if agreed_proto(hello.proto, hello.min_proto).is_none() {
        return Err(Error::new(
            ErrorCode::DaemonIncompatible,
            format!(
                "this daemon speaks protocol {MIN_PROTO} to {PROTO}, the client {} to {}",
                hello.min_proto, hello.proto
            ),
        )
        .fix(Fix::with_owner("daemon restart", &info.owner, [])));
    }
    let ok = HelloOk {
        proto: PROTO,
        min_proto: MIN_PROTO,
        version: VERSION.into(),
        build: BUILD.into(),
        boot_id: info.boot_id.as_str().into(),
        pid: info.pid,
        boundary: info.boundary.into(),
        namespaces: Some(info.namespaces.into()),
        memory: info.memory.into(),
        hardening: info.hardening.clone(),
    };
    plain(|writer| encode_reply(writer, id, &ok)).map_err(encode_failed)
}

fn get(cx: &mut RequestContext<'_>, id: u64, get: &Get<'_>) -> Result<Reply, Error> {
    let (live, pool) = cx.keys.live(cx.now);
    // Most clients ask for one key.
    let hits: SmallVec<[Hit<'_>; 1]> = get.slugs.iter().filter_map(|slug| Hit::find(&live, slug)).collect();
    let items: SmallVec<[_; 1]> = hits.iter().map(|hit| get_item(hit, cx.now)).collect();
    if items.is_empty() {
        return plain(|writer| encode_get_reply(writer, id, &items).map(|_| ())).map_err(encode_failed);
    }
    let mut page = pool.buffer(MAX_REPLY);
    let mut writer = PageWriter { page: &mut page, reclaim: cx.reclaim };
    let written = encode_get_reply(&mut writer, id, &items).map_err(|error| match error {
        EncodeError::Full => handler::reply_memory_full(pool),
        error => encode_failed(error),
    })?;
    Ok(Reply::Secret { page, carries: handler::carried(&hits[..written]) })
}

fn get_item<'a>(hit: &'a Hit<'_>, now: Clock) -> GetItem<'a, SecretRef<'a>> {
    let key = hit.key;
    GetItem {
        asked: hit.requested,
        slug: key.slug.as_str(),
        protection: key.grade.protection.as_str(),
        duration: key.grade.duration.as_str(),
        vault: key.source.vault.as_str(),
        mech: key.source.mech.as_str(),
        env: key.slug.env(),
        org: key.slug.org(),
        expires_at: hit.expires_at.as_str(),
        ttl_ms: key.deadlines.remaining(now).as_ms(),
        secret: SecretRef(&key.secret.secret),
    }
}

fn unlock(
    cx: &mut RequestContext<'_>,
    id: u64,
    frame: &Frame<'_>,
    unlock: &Unlock<'_>,
) -> Result<Reply, Error> {
    let results = unlock.keys.iter().map(|key| UnlockResult {
        slug: Cow::Borrowed(&*key.slug),
        outcome: unlock_one(cx, frame, key).map_err(|error| {
            tracing::info!(code = %error.code, "key not unlocked");
            // The result names the key already.
            ErrorBody { slug: None, ..body_of(&error) }
        }),
    });
    let results = results.collect();
    plain(|writer| encode_unlock_reply(writer, id, UnlockOk { results })).map_err(encode_failed)
}

fn unlock_one(
    cx: &mut RequestContext<'_>,
    frame: &Frame<'_>,
    key: &UnlockKey<'_>,
) -> Result<UnlockGranted<'static>, Error> {
    let now = cx.now;
    let slug = Slug::parse_stored(&key.slug)?;
    let grade = handler::parse_grade(&key.grade).map_err(|(field, must)| {
        Error::new(ErrorCode::BadRequest, format!("{slug}: {field} {must}")).of(&slug)
    })?;
    let credential = match &key.credential_expires_at {
        None => None,
        Some(text) => Some(timestamp::parse_ms(text).ok_or_else(|| {
            let message = format!("{slug}: credential_expires_at must be an ISO 8601 time");
            Error::new(ErrorCode::BadRequest, message).of(&slug)
        })?),
    };
    let request = TtlRequest {
        requested: Some(Ttl(key.ttl_ms)),
        max_duration: None,
        credential_expires_at_ms: credential,
        sudo: slug.is_sudo(),
    };
    let (ttl, by) = resolve_ttl(request, now).map_err(|error| error.of(&slug))?;
    let expired = || {
        let message = match credential.filter(|end| *end <= now.wall_ms) {
            Some(end) => format!("{slug}: the credential expired at {}", timestamp::format_ms(end)),
            None => format!("{slug}: a TTL of 0 ms expires at once"),
        };
        Error::new(ErrorCode::BadDuration, message).of(&slug)
    };
    if ttl.as_ms() == 0 {
        return Err(expired());
    }
    cx.keys.check_grades([(&slug, grade)], now).map_err(|downgrade| downgrade.to_error(&cx.info.owner))?;
    let bytes = frame.secret(key.secret).expect("decoding has found every range inside the frame");
    let secret = cx.keys.allocate(bytes).map_err(|error| handler::secret_memory_full(&error).of(&slug))?;
    let deadlines = Deadlines::after(now, ttl);
    let entry = NewEntry {
        slug: slug.clone(),
        secret: StoredSecret { secret, extras: None },
        grade,
        source: handler::parse_source(&key.source),
        deadlines,
        given: granted_ttl(key, by),
    };
    match cx.keys.insert(entry, now) {
        Inserted::Stored => {
            let expires_at = timestamp::format_ms(deadlines.wall_ms).into();
            Ok(UnlockGranted { ttl_ms: ttl.as_ms(), expires_at })
        }
        Inserted::AlreadyExpired => Err(expired()),
    }
}

/// Returns the TTL that `status` reports. The client's word counts: the daemon sees neither the
/// `maxDuration` nor the TTL that the user requested.
fn granted_ttl(key: &UnlockKey<'_>, limit: TtlLimit) -> GrantedTtl {
    let by_client = key.life_by.as_deref().and_then(TtlLimit::parse);
    GrantedTtl {
        ttl: key.life_ms.map(Ttl),
        limit: by_client.or((limit == TtlLimit::Credential).then_some(limit)),
    }
}

fn status(cx: &mut RequestContext<'_>, id: u64, status: &Status) -> Result<Reply, Error> {
    let RequestContext { info, now, .. } = *cx;
    let limit = status.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED);
    let (keys, bytes) = cx.keys.totals(now);
    let counts = Counts { keys: keys as u64, bytes: bytes as u64 };
    let page = cx.keys.list(status.after, usize::try_from(limit).unwrap_or(usize::MAX), now);
    let keys = page.entries.iter().map(|key| StatusKey {
        slug: key.slug.as_str().into(),
        env: key.slug.env().into(),
        org: key.slug.org().into(),
        grade: keyrack_wire::Grade {
            protection: key.grade.protection.as_str().into(),
            duration: key.grade.duration.as_str().into(),
        },
        source: keyrack_wire::Source {
            vault: key.source.vault.as_str().into(),
            mech: key.source.mech.as_str().into(),
        },
        expires_at: timestamp::format_ms(key.deadlines.wall_ms).into(),
        ttl_ms: key.deadlines.remaining(now).as_ms(),
        ends_by: expiry_clock(key.deadlines, now).into(),
        life_ms: key.given.ttl.map(Ttl::as_ms),
        life_by: key.given.limit.map(|limit| limit.as_str().into()),
        n: key.seq,
    });
    let ok = StatusOk {
        keys: keys.collect(),
        more: page.has_more,
        home_hash: info.home_hash.as_str().into(),
        memory: info.memory.into(),
        boundary: info.boundary.into(),
        namespaces: Some(info.namespaces.into()),
        hardening: info.hardening.clone(),
        counts,
    };
    plain(|writer| encode_status_reply(writer, id, ok).map(|_| ())).map_err(encode_failed)
}

/// Returns the clock whose deadline comes first as things are now. If both come together, it is the
/// boot clock, which cannot be set.
pub(super) fn expiry_clock(deadlines: Deadlines, now: Clock) -> &'static str {
    let boot_ms = deadlines.boot_ns.saturating_sub(now.boot_ns) / 1_000_000;
    let wall_ms = u64::try_from(deadlines.wall_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
    if wall_ms < boot_ms { "wall" } else { "boot" }
}

fn relock(cx: &mut RequestContext<'_>, id: u64, request: &Relock<'_>) -> Result<Reply, Error> {
    let relocked = handler::relock(cx, request);
    let slugs: Vec<&str> = relocked.iter().map(Slug::as_str).collect();
    plain(|writer| encode_relock_reply(writer, id, &slugs)).map_err(encode_failed)
}

fn encode_failed(error: EncodeError) -> Error {
    let code = match error {
        EncodeError::TooLarge { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::Internal,
    };
    Error::new(code, error.to_string())
}
