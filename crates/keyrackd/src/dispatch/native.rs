//! The native protocol's ops. Each key of an unlock ends with a result of its own.

use std::borrow::Cow;

use keyrack_core::store::{Entry, Inserted, NewEntry, RelockScope, Store};
use keyrack_core::ttl::resolve_ttl;
use keyrack_core::{
    Clock, Deadlines, Error, ErrorCode, GrantedTtl, Slug, Ttl, TtlLimit, timestamp, ttl::TtlRequest,
};
use keyrack_wire::EncodeError;
use keyrack_wire::native::{
    Counts, ErrorBody, Frame, Get, GetItem, Hello, HelloOk, MIN_PROTO, NothingOk, Op, PROTO, Relock, Request,
    RequestError, Status, StatusKey, StatusOk, Unlock, UnlockGranted, UnlockKey, UnlockOk, UnlockResult,
    agreed_proto, encode_error, encode_get_reply, encode_relock_reply, encode_reply, encode_status_reply,
    encode_unlock_reply,
};
use smallvec::SmallVec;

use super::{AfterReply, Response, error_body};
use crate::conn::reply::{Carries, Page, Reply, Text};
use crate::limits;
use crate::state::Daemon;
use crate::stored_secret::{SecretRef, StoredSecret};

/// This release.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The most keys of one status reply. A header holds fewer than this of any length.
const MOST_LISTED: u32 = 1024;

/// The longest reply in a page: a frame and its length.
const LONGEST: usize = keyrack_wire::native::MAX_LENGTH + 4;

/// Answers a whole request.
pub(crate) fn answer(daemon: &Daemon, frame: &Frame<'_>) -> Response {
    let request = match Request::decode(frame) {
        Ok(request) => request,
        Err(error) => {
            daemon.touch();
            let then = match error {
                RequestError::BadFrame(_) => AfterReply::Refuse,
                RequestError::BadRequest { .. } => AfterReply::Next,
            };
            let body = ErrorBody {
                code: error.code().into(),
                message: error.to_string().into(),
                slug: None,
                fix: None,
            };
            return Response { reply: error_reply(error.id(), &body), then };
        }
    };
    let id = request.id;
    if matches!(request.op, Op::Hello(_) | Op::Ping | Op::Unknown(_)) {
        daemon.touch();
    }
    let then = match &request.op {
        Op::Shutdown => AfterReply::Shutdown,
        Op::Get(get) if get.slugs.len() > limits::FEW => AfterReply::Yield,
        Op::Get(_) | Op::Hello(_) | Op::Ping | Op::Unknown(_) => AfterReply::Next,
        Op::Unlock(_) | Op::Status(_) | Op::Relock(_) => AfterReply::Yield,
    };
    let outcome = match request.op {
        Op::Hello(hello) => self::hello(daemon, id, &hello),
        Op::Get(get) => self::get(daemon, id, &get),
        Op::Unlock(unlock) => self::unlock(daemon, id, frame, &unlock),
        Op::Status(status) => self::status(daemon, id, &status),
        Op::Relock(relock) => self::relock(daemon, id, &relock),
        Op::Ping => plain(|sink| encode_reply(sink, id, &NothingOk {})),
        Op::Shutdown => {
            daemon.erase_all();
            plain(|sink| encode_reply(sink, id, &NothingOk {}))
        }
        Op::Unknown(op) => Err(Error::new(
            ErrorCode::UnknownOp,
            format!("this daemon has no op {:?}", op.chars().take(64).collect::<String>()),
        )),
    };
    let reply = outcome.unwrap_or_else(|error| error_reply(id, &error_body(&error)));
    Response { reply, then }
}

/// A refusal that belongs to no request, after which the connection ends.
pub(crate) fn refuse(code: &str, message: &str) -> Response {
    let body = ErrorBody { code: code.into(), message: message.into(), slug: None, fix: None };
    Response { reply: error_reply(0, &body), then: AfterReply::Refuse }
}

fn error_reply(id: u64, body: &ErrorBody<'_>) -> Reply {
    let mut sink = Text(Vec::new());
    if encode_error(&mut sink, id, body).is_err() {
        // Only a message that quotes a very long name could be too long.
        let short = ErrorBody { message: "".into(), slug: None, fix: None, code: body.code.clone() };
        encode_error(&mut sink, id, &short).expect("a code fits a header");
    }
    Reply::Plain(sink.0)
}

fn hello(daemon: &Daemon, id: u64, hello: &Hello<'_>) -> Result<Reply, Error> {
    if agreed_proto(hello.proto, hello.min_proto).is_none() {
        return Err(Error::new(
            ErrorCode::DaemonIncompatible,
            format!(
                "this daemon speaks protocol {MIN_PROTO} to {PROTO}, the client {} to {}",
                hello.min_proto, hello.proto
            ),
        )
        .fix(keyrack_core::Fix::with_owner("daemon restart", &daemon.info.owner, [])));
    }
    let info = &daemon.info;
    let ok = HelloOk {
        proto: PROTO,
        min_proto: MIN_PROTO,
        version: VERSION.into(),
        build: crate::BUILD.into(),
        boot_id: info.boot_id.as_str().into(),
        pid: info.pid,
        boundary: info.boundary.into(),
        namespaces: Some(info.namespaces.into()),
        memory: info.memory.into(),
        hardening: info.hardening.clone(),
    };
    plain(|sink| encode_reply(sink, id, &ok))
}

/// A hit, as it was when it was looked up.
struct Hit<'a> {
    asked: &'a str,
    slug: Slug,
    held: StoredSecret,
    grade: keyrack_core::Grade,
    source: std::sync::Arc<keyrack_core::GrantSource>,
    expires_at: String,
    left: Ttl,
}

impl Hit<'_> {
    fn of<'a>(asked: &'a str, entry: &Entry<StoredSecret>, now: Clock) -> Hit<'a> {
        Hit {
            asked,
            slug: entry.slug.clone(),
            held: entry.secret.clone(),
            grade: entry.grade,
            source: std::sync::Arc::clone(&entry.source),
            expires_at: timestamp::format_ms(entry.deadlines.wall_ms),
            left: entry.deadlines.remaining(now),
        }
    }

    fn item(&self) -> GetItem<'_, SecretRef<'_>> {
        GetItem {
            asked: self.asked,
            slug: self.slug.as_str(),
            protection: self.grade.protection.as_str(),
            duration: self.grade.duration.as_str(),
            vault: self.source.vault.as_str(),
            mech: self.source.mech.as_str(),
            env: self.slug.env(),
            org: self.slug.org(),
            expires_at: &self.expires_at,
            ttl_ms: self.left.as_ms(),
            secret: SecretRef(&self.held.secret),
        }
    }
}

fn get(daemon: &Daemon, id: u64, get: &Get<'_>) -> Result<Reply, Error> {
    // Most callers ask for one key.
    let mut hits: SmallVec<[Hit<'_>; 1]> = daemon.with_store(|store, now| {
        let hit = |asked| store.live(now).get(asked).map(|entry| Hit::of(asked, entry, now));
        get.slugs.iter().map(AsRef::as_ref).filter_map(hit).collect()
    });
    let items: SmallVec<[_; 1]> = hits.iter().map(Hit::item).collect();
    if items.is_empty() {
        return plain(|sink| encode_get_reply(sink, id, &items).map(|_| ()));
    }
    let mut page = daemon.pool.buffer(LONGEST);
    let put = encode_get_reply(&mut Page(&mut page, daemon), id, &items).map_err(|error| match error {
        EncodeError::Full => {
            let limit = daemon.pool.usage().requests_limit / 1024;
            let message =
                format!("the memory for replies is full ({limit} KiB); ask for fewer keys at a time");
            Error::new(ErrorCode::MemoryFull, message)
        }
        error => too_large(error),
    })?;
    drop(items);
    let mut carries = Carries::None;
    for hit in hits.drain(..put) {
        tracing::debug!(slug = %hit.slug, "a key is handed out");
        carries.push(hit.held);
    }
    Ok(Reply::Secret { page, carries })
}

fn unlock(daemon: &Daemon, id: u64, frame: &Frame<'_>, unlock: &Unlock<'_>) -> Result<Reply, Error> {
    let results = daemon.with_store(|store, now| {
        let results = unlock.keys.iter().map(|key| {
            let outcome = unlock_one(daemon, store, frame, key, now);
            UnlockResult {
                slug: Cow::Borrowed(&*key.slug),
                outcome: outcome.map_err(|error| {
                    tracing::info!(code = %error.code, "a key is not unlocked");
                    // The result names the key already.
                    ErrorBody { slug: None, ..error_body(&error) }
                }),
            }
        });
        results.collect()
    });
    plain(|sink| encode_unlock_reply(sink, id, UnlockOk { results }))
}

fn unlock_one(
    daemon: &Daemon,
    store: &mut Store<StoredSecret>,
    frame: &Frame<'_>,
    key: &UnlockKey<'_>,
    now: Clock,
) -> Result<UnlockGranted<'static>, Error> {
    let slug = Slug::parse_stored(&key.slug)?;
    let grade = super::grade(&key.grade).map_err(|(field, must)| {
        Error::new(ErrorCode::BadRequest, format!("{slug}: {field} {must}")).of(&slug)
    })?;
    let credential = match &key.credential_expires_at {
        None => None,
        Some(text) => Some(timestamp::parse_ms(text).ok_or_else(|| {
            let message = format!("{slug}: credential_expires_at must be an ISO 8601 time");
            Error::new(ErrorCode::BadRequest, message).of(&slug)
        })?),
    };
    let ask = TtlRequest {
        requested: Some(Ttl(key.ttl_ms)),
        max_duration: None,
        credential_expires_at_ms: credential,
        sudo: slug.is_sudo(),
    };
    let (ttl, by) = resolve_ttl(ask, now).map_err(|error| error.of(&slug))?;
    let ended = || {
        let message = match credential.filter(|end| *end <= now.wall_ms) {
            Some(end) => format!("{slug}: the credential ended at {}", timestamp::format_ms(end)),
            None => format!("{slug}: a life of 0 ms is over before it begins"),
        };
        Error::new(ErrorCode::BadDuration, message).of(&slug)
    };
    if ttl.as_ms() == 0 {
        return Err(ended());
    }
    store.check_replace(&slug, grade, now).map_err(|downgrade| downgrade.to_error(&daemon.info.owner))?;
    let bytes = frame.secret(key.secret).expect("decoding has found every range inside the frame");
    let secret = daemon.pool.store(bytes).map_err(|full| super::full(&full).of(&slug))?;
    let deadlines = Deadlines::after(now, ttl);
    let entry = NewEntry {
        slug: slug.clone(),
        secret: StoredSecret { secret, extras: None },
        grade,
        source: super::source(&key.source),
        deadlines,
        given: given(key, by),
    };
    match store.insert(entry, now) {
        Inserted::Stored => {
            tracing::info!(%slug, "a key is unlocked");
            let expires_at = timestamp::format_ms(deadlines.wall_ms).into();
            Ok(UnlockGranted { ttl_ms: ttl.as_ms(), expires_at })
        }
        Inserted::AlreadyExpired => Err(ended()),
    }
}

/// What is told of the key's life. The client knows best: the daemon sees neither a `maxDuration` nor what a person asked for.
fn given(key: &UnlockKey<'_>, by: TtlLimit) -> GrantedTtl {
    let said = key.life_by.as_deref().and_then(TtlLimit::parse);
    GrantedTtl { ttl: key.life_ms.map(Ttl), by: said.or((by == TtlLimit::Credential).then_some(by)) }
}

fn status(daemon: &Daemon, id: u64, status: &Status) -> Result<Reply, Error> {
    let limit = status.limit.unwrap_or(MOST_LISTED).min(MOST_LISTED);
    daemon.with_store(|store, now| {
        store.expire(now);
        let bytes: usize = store.secrets().map(|held| held.secret.len()).sum();
        let counts = Counts { keys: store.len() as u64, bytes: bytes as u64 };
        let page = store.list(status.after, usize::try_from(limit).unwrap_or(usize::MAX), now);
        let keys = page.entries.iter().map(|entry| StatusKey {
            slug: entry.slug.as_str().into(),
            env: entry.slug.env().into(),
            org: entry.slug.org().into(),
            grade: keyrack_wire::Grade {
                protection: entry.grade.protection.as_str().into(),
                duration: entry.grade.duration.as_str().into(),
            },
            source: keyrack_wire::Source {
                vault: entry.source.vault.as_str().into(),
                mech: entry.source.mech.as_str().into(),
            },
            expires_at: timestamp::format_ms(entry.deadlines.wall_ms).into(),
            ttl_ms: entry.deadlines.remaining(now).as_ms(),
            ends_by: ends_by(entry.deadlines, now).into(),
            life_ms: entry.given.ttl.map(Ttl::as_ms),
            life_by: entry.given.by.map(|by| by.as_str().into()),
            n: entry.seq,
        });
        let info = &daemon.info;
        let page = StatusOk {
            keys: keys.collect(),
            more: page.has_more,
            home_hash: info.home_hash.as_str().into(),
            memory: info.memory.into(),
            boundary: info.boundary.into(),
            namespaces: Some(info.namespaces.into()),
            hardening: info.hardening.clone(),
            counts,
        };
        plain(|sink| encode_status_reply(sink, id, page).map(|_| ()))
    })
}

/// The clock whose deadline comes first as things stand; the one nobody can set, if both come together.
pub(super) fn ends_by(deadlines: Deadlines, now: Clock) -> &'static str {
    let boot_ms = deadlines.boot_ns.saturating_sub(now.boot_ns) / 1_000_000;
    let wall_ms = u64::try_from(deadlines.wall_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
    if wall_ms < boot_ms { "wall" } else { "boot" }
}

fn relock(daemon: &Daemon, id: u64, relock: &Relock<'_>) -> Result<Reply, Error> {
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
    let slugs: Vec<&str> = relocked.iter().map(Slug::as_str).collect();
    plain(|sink| encode_relock_reply(sink, id, &slugs))
}

/// Composes a reply that carries no secret.
fn plain(compose: impl FnOnce(&mut Text) -> Result<(), EncodeError>) -> Result<Reply, Error> {
    let mut sink = Text(Vec::new());
    compose(&mut sink).map_err(too_large)?;
    Ok(Reply::Plain(sink.0))
}

fn too_large(error: EncodeError) -> Error {
    let code = match error {
        EncodeError::TooLarge { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::Internal,
    };
    Error::new(code, error.to_string())
}
