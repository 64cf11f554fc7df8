//! Composing replies: the daemon's half. The reply to a get is written by hand, without an allocation, header first and
//! then each secret straight from where it lives; the others, which carry no secret, go through serde.

use std::borrow::Cow;

use serde::Serialize;

use super::frame::{compose_frame, header_bytes, put_lengths, put_secret};
use super::reply::{ErrorBody, RelockOk, StatusOk, UnlockOk};
use super::short::Short;
use super::{MAX_HEADER, MAX_LENGTH};
use crate::json::escape_str;
use crate::sink::{ComposeError, Counter, Full, SecretBytes, Sink};

const NO_SECRETS: [&[u8]; 0] = [];

/// One key of a get reply.
pub struct GetItem<'a, S> {
    /// The slug it was asked by: what `rest` holds if the key does not fit.
    pub asked: &'a str,
    /// Its true slug.
    pub slug: &'a str,
    /// Its grade's protection.
    pub protection: &'a str,
    /// Its grade's duration.
    pub duration: &'a str,
    /// Its vault.
    pub vault: &'a str,
    /// Its mechanism.
    pub mech: &'a str,
    /// Its env.
    pub env: &'a str,
    /// Its org.
    pub org: &'a str,
    /// When it ends by the wall clock, an ISO 8601 time in UTC.
    pub expires_at: &'a str,
    /// How long it still lives, in milliseconds.
    pub ttl_ms: u64,
    /// Its secret.
    pub secret: S,
}

/// Puts the reply to a get: as many of `items`, from the first, as fit one frame, the slugs of the others in `rest`.
/// Returns how many were put.
///
/// # Errors
/// [`ComposeError::TooLarge`] when not even one key and the slugs of the others fit a header (the caller asked for
/// too many at a time); [`ComposeError::Gone`] when a secret is erased already.
pub fn compose_get_reply<S: SecretBytes>(
    sink: &mut impl Sink,
    id: u64,
    items: &[GetItem<'_, S>],
) -> Result<usize, ComposeError> {
    // Most replies carry one key, and a short header.
    if let [item] = items
        && let Some(done) = compose_short(sink, id, item)
    {
        return done.map(|()| 1);
    }
    let mut lens = vec![0; items.len()];
    for (len, item) in lens.iter_mut().zip(items) {
        *len = item.secret.length().ok_or(ComposeError::Gone)?;
    }
    let (count, header) = fit(id, items, &lens)?;
    let (put, rest) = items.split_at(count);
    // `fit` has added these up without overflow.
    let secrets = lens[..count].iter().sum();
    put_lengths(sink, header, secrets)?;
    put_header(sink, id, put, &lens, rest)?;
    for (item, len) in put.iter().zip(&lens) {
        put_secret(sink, &item.secret, *len)?;
    }
    Ok(count)
}

/// The reply of one key whose header fits [`Short`]: composed there once, so that its length need not be counted before. `None`: it does
/// not fit, and nothing was put.
fn compose_short<S: SecretBytes>(
    sink: &mut impl Sink,
    id: u64,
    item: &GetItem<'_, S>,
) -> Option<Result<(), ComposeError>> {
    let Some(len) = item.secret.length() else { return Some(Err(ComposeError::Gone)) };
    let mut header = Short::default();
    put_header(&mut header, id, std::slice::from_ref(item), &[len], &[]).ok()?;
    if len > MAX_LENGTH - 4 - header.bytes().len() {
        return None;
    }
    Some((|| {
        put_lengths(sink, header.bytes().len(), len)?;
        sink.put(header.bytes())?;
        put_secret(sink, &item.secret, len)
    })())
}

/// How many items fit one frame, and the length of its header then.
fn fit<S>(id: u64, items: &[GetItem<'_, S>], lens: &[usize]) -> Result<(usize, usize), ComposeError> {
    let mut base = Counter(0);
    put_header::<S>(&mut base, id, &[], &[], &[])?;
    let mut rest = items.iter().map(|item| string_len(item.asked) + 1).fold(0, usize::saturating_add);
    let (mut count, mut header, mut secrets) = (0, 0, 0_usize);
    let mut keys = 0_usize;
    let mut limit = MAX_HEADER;
    // A long asked slug may take more of the header than the key itself, so one that does not fit does not end it.
    for (index, item) in items.iter().enumerate() {
        let mut key = Counter(0);
        put_key(&mut key, item, secrets, lens[index])?;
        keys = keys.saturating_add(key.0 + usize::from(index > 0));
        rest = rest.saturating_sub(string_len(item.asked) + 1);
        secrets = secrets.saturating_add(lens[index]);
        // One comma fewer than strings.
        let length = base.0.saturating_add(keys).saturating_add(rest.saturating_sub(1));
        if length > MAX_HEADER {
            continue;
        }
        if length.saturating_add(secrets) > MAX_LENGTH - 4 {
            limit = MAX_LENGTH;
            break;
        }
        (count, header) = (index + 1, length);
    }
    match (count, items.is_empty()) {
        (0, true) => Ok((0, base.0)),
        (0, false) => Err(ComposeError::TooLarge { limit }),
        _ => Ok((count, header)),
    }
}

fn put_header<S>(
    sink: &mut impl Sink,
    id: u64,
    keys: &[GetItem<'_, S>],
    lens: &[usize],
    rest: &[GetItem<'_, S>],
) -> Result<(), Full> {
    sink.put(b"{\"id\":")?;
    put_number(sink, id)?;
    sink.put(b",\"ok\":{\"keys\":[")?;
    let mut offset = 0_usize;
    for (index, (key, len)) in keys.iter().zip(lens).enumerate() {
        if index > 0 {
            sink.put(b",")?;
        }
        put_key(sink, key, offset, *len)?;
        offset = offset.saturating_add(*len);
    }
    sink.put(b"],\"rest\":[")?;
    for (index, item) in rest.iter().enumerate() {
        sink.put(if index > 0 { b",\"" } else { b"\"" })?;
        escape_str(sink, item.asked)?;
        sink.put(b"\"")?;
    }
    sink.put(b"]}}")
}

fn put_key<S>(sink: &mut impl Sink, key: &GetItem<'_, S>, offset: usize, len: usize) -> Result<(), Full> {
    for (before, text) in [
        ("{\"slug\":\"", key.slug),
        ("\",\"grade\":{\"protection\":\"", key.protection),
        ("\",\"duration\":\"", key.duration),
        ("\"},\"source\":{\"vault\":\"", key.vault),
        ("\",\"mech\":\"", key.mech),
        ("\"},\"env\":\"", key.env),
        ("\",\"org\":\"", key.org),
        ("\",\"expires_at\":\"", key.expires_at),
    ] {
        sink.put(before.as_bytes())?;
        escape_str(sink, text)?;
    }
    sink.put(b"\",\"ttl_ms\":")?;
    put_number(sink, key.ttl_ms)?;
    sink.put(b",\"secret\":{\"offset\":")?;
    put_number(sink, u64::try_from(offset).unwrap_or(u64::MAX))?;
    sink.put(b",\"len\":")?;
    put_number(sink, u64::try_from(len).unwrap_or(u64::MAX))?;
    sink.put(b"}}")
}

/// Length of `text` as a JSON string, its quotes included.
pub(super) fn string_len(text: &str) -> usize {
    let mut counter = Counter(2);
    // A counter is never full.
    let _: Result<(), Full> = escape_str(&mut counter, text);
    counter.0
}

/// Puts a number in decimal.
pub(crate) fn put_number(sink: &mut impl Sink, number: u64) -> Result<(), Full> {
    const DIGITS: &[u8; 10] = b"0123456789";
    // 2^64 has 20 digits.
    let mut text = [b'0'; 20];
    let mut start = text.len() - 1;
    let mut left = number;
    loop {
        text[start] = DIGITS[usize::try_from(left % 10).unwrap_or(0)];
        left /= 10;
        if left == 0 {
            return sink.put(&text[start..]);
        }
        start -= 1;
    }
}

#[derive(Serialize)]
struct OkReply<'a, T> {
    id: u64,
    ok: &'a T,
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    id: u64,
    error: &'a ErrorBody<'a>,
}

/// Puts a reply that carries no secret: to hello, ping, shutdown. Those whose length depends on what is asked have
/// functions of their own.
///
/// # Errors
/// [`ComposeError::TooLarge`] before anything is put.
pub fn compose_reply<T: Serialize>(sink: &mut impl Sink, id: u64, ok: &T) -> Result<(), ComposeError> {
    compose_frame(sink, &header_bytes(&OkReply { id, ok })?, &NO_SECRETS)
}

/// Puts an error reply. The id is 0 when none could be read.
///
/// # Errors
/// [`ComposeError::TooLarge`] before anything is put.
pub fn compose_error(sink: &mut impl Sink, id: u64, error: &ErrorBody<'_>) -> Result<(), ComposeError> {
    compose_frame(sink, &header_bytes(&ErrorReply { id, error })?, &NO_SECRETS)
}

/// Puts a page of status: as many of `page.keys`, from the first, as fit, `more` set when some do not. Returns how many
/// were put.
///
/// # Errors
/// [`ComposeError::TooLarge`] when not even one fits.
pub fn compose_status_reply(
    sink: &mut impl Sink,
    id: u64,
    mut page: StatusOk<'_>,
) -> Result<usize, ComposeError> {
    let keys = std::mem::take(&mut page.keys);
    // "false" is the longer of the two.
    let more = std::mem::replace(&mut page.more, false);
    let mut length = header_bytes(&OkReply { id, ok: &page })?.len();
    page.more = more;
    let total = keys.len();
    for key in keys {
        length = length.saturating_add(header_bytes(&key)?.len() + 1);
        if length > MAX_HEADER {
            page.more = true;
            break;
        }
        page.keys.push(key);
    }
    let count = page.keys.len();
    if count == 0 && total > 0 {
        return Err(ComposeError::TooLarge { limit: MAX_HEADER });
    }
    compose_reply(sink, id, &page)?;
    Ok(count)
}

/// Puts the reply to an unlock. When the texts of the errors do not fit a header they are left out, first the fixes,
/// then the messages; every key keeps its result and every error its code.
///
/// # Errors
/// [`ComposeError::TooLarge`] when even the codes do not fit.
pub fn compose_unlock_reply(
    sink: &mut impl Sink,
    id: u64,
    mut results: UnlockOk<'_>,
) -> Result<(), ComposeError> {
    let without_fix = |error: &mut ErrorBody<'_>| error.fix = None;
    let code_only = |error: &mut ErrorBody<'_>| {
        error.message = Cow::Borrowed("");
        error.slug = None;
    };
    for shorten in [without_fix, code_only] {
        match compose_reply(sink, id, &results) {
            Err(ComposeError::TooLarge { .. }) => {}
            outcome => return outcome,
        }
        results.results.iter_mut().filter_map(|result| result.outcome.as_mut().err()).for_each(shorten);
    }
    compose_reply(sink, id, &results)
}

/// Puts the reply to a relock: as many slugs, from the first, as fit, the others counted in `unnamed`.
///
/// # Errors
/// The sink is full.
pub fn compose_relock_reply(sink: &mut impl Sink, id: u64, slugs: &[&str]) -> Result<(), ComposeError> {
    let mut length =
        header_bytes(&OkReply { id, ok: &RelockOk { relocked: vec![], unnamed: u64::MAX } })?.len();
    let mut relocked = Vec::with_capacity(slugs.len());
    for slug in slugs {
        length = length.saturating_add(string_len(slug) + 1);
        if length > MAX_HEADER {
            break;
        }
        relocked.push(Cow::Borrowed(*slug));
    }
    let unnamed = u64::try_from(slugs.len() - relocked.len()).unwrap_or(u64::MAX);
    compose_reply(sink, id, &RelockOk { relocked, unnamed })
}
