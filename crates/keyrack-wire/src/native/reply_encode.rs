//! Encoder of replies, for the daemon. The reply to a get is written by hand, without an
//! allocation: first the header, then each secret straight from its own memory. The other replies
//! carry no secret and go through serde.

use std::borrow::Cow;

use serde::Serialize;

use super::frame::{encode_frame, header_bytes, put_lengths, put_secret};
use super::reply::{ErrorBody, RelockOk, StatusOk, UnlockOk};
use super::stack_buf::StackBuf;
use super::{MAX_HEADER, MAX_LENGTH};
use crate::writer::{EncodeError, SecretBytes, put_number};
use keyrack_json::escape_str;
use keyrack_json::{ByteCounter, CapacityError, Writer};

const NO_SECRETS: [&[u8]; 0] = [];

/// One key of a get reply.
pub struct GetItem<'a, S> {
    /// Requested slug: `rest` holds it if the key does not fit.
    pub asked: &'a str,
    /// Slug of the stored key.
    pub slug: &'a str,
    /// Protection of its grade.
    pub protection: &'a str,
    /// Duration of its grade.
    pub duration: &'a str,
    /// Vault.
    pub vault: &'a str,
    /// Mechanism.
    pub mech: &'a str,
    /// Env.
    pub env: &'a str,
    /// Org.
    pub org: &'a str,
    /// Expiry by the wall clock, an ISO 8601 time in UTC.
    pub expires_at: &'a str,
    /// Remaining TTL, in milliseconds.
    pub ttl_ms: u64,
    /// Secret.
    pub secret: S,
}

/// Writes the reply to a get: as many of `items`, from the first, as fit one frame, and the slugs
/// of the others in `rest`. Returns the number of keys written.
///
/// # Errors
/// [`EncodeError::TooLarge`] if not even one key and the slugs of the others fit a header (the
/// client requested too many at a time); [`EncodeError::Gone`] if a secret is erased.
pub fn encode_get_reply<S: SecretBytes>(
    writer: &mut impl Writer,
    id: u64,
    items: &[GetItem<'_, S>],
) -> Result<usize, EncodeError> {
    // Most replies carry one key and have a short header.
    if let [item] = items
        && let Some(done) = encode_short(writer, id, item)
    {
        return done.map(|()| 1);
    }
    let mut lens = vec![0; items.len()];
    for (len, item) in lens.iter_mut().zip(items) {
        *len = item.secret.length().ok_or(EncodeError::Gone)?;
    }
    let (count, header) = fit(id, items, &lens)?;
    let (put, rest) = items.split_at(count);
    // `fit` has added these up without overflow.
    let secrets = lens[..count].iter().sum();
    put_lengths(writer, header, secrets)?;
    put_header(writer, id, put, &lens, rest)?;
    for (item, len) in put.iter().zip(&lens) {
        put_secret(writer, &item.secret, *len)?;
    }
    Ok(count)
}

/// Writes the reply of one key whose header fits a [`StackBuf`]: it is encoded there once, so that
/// its length need not be counted first. `None` if it does not fit; nothing is written then.
///
/// Benchmark row "GET, native, persistent, Rust client".
fn encode_short<S: SecretBytes>(
    writer: &mut impl Writer,
    id: u64,
    item: &GetItem<'_, S>,
) -> Option<Result<(), EncodeError>> {
    let Some(len) = item.secret.length() else { return Some(Err(EncodeError::Gone)) };
    let mut header = StackBuf::default();
    put_header(&mut header, id, std::slice::from_ref(item), &[len], &[]).ok()?;
    if len > MAX_LENGTH - 4 - header.bytes().len() {
        return None;
    }
    Some((|| {
        put_lengths(writer, header.bytes().len(), len)?;
        writer.put(header.bytes())?;
        put_secret(writer, &item.secret, len)
    })())
}

/// Returns the number of items that fit one frame, and the length of its header.
fn fit<S>(id: u64, items: &[GetItem<'_, S>], lens: &[usize]) -> Result<(usize, usize), EncodeError> {
    let mut base = ByteCounter(0);
    put_header::<S>(&mut base, id, &[], &[], &[])?;
    let mut rest = items.iter().map(|item| string_len(item.asked) + 1).fold(0, usize::saturating_add);
    let (mut count, mut header, mut secrets) = (0, 0, 0_usize);
    let mut keys = 0_usize;
    let mut limit = MAX_HEADER;
    // A requested slug may be longer in the header than its key, so a key that does not fit does
    // not end the search.
    for (index, item) in items.iter().enumerate() {
        let mut key = ByteCounter(0);
        put_key(&mut key, item, secrets, lens[index])?;
        keys = keys.saturating_add(key.0 + usize::from(index > 0));
        rest = rest.saturating_sub(string_len(item.asked) + 1);
        secrets = secrets.saturating_add(lens[index]);
        // There is one comma less than strings.
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
        (0, false) => Err(EncodeError::TooLarge { limit }),
        _ => Ok((count, header)),
    }
}

fn put_header<S>(
    writer: &mut impl Writer,
    id: u64,
    keys: &[GetItem<'_, S>],
    lens: &[usize],
    rest: &[GetItem<'_, S>],
) -> Result<(), CapacityError> {
    writer.put(b"{\"id\":")?;
    put_number(writer, id)?;
    writer.put(b",\"ok\":{\"keys\":[")?;
    let mut offset = 0_usize;
    for (index, (key, len)) in keys.iter().zip(lens).enumerate() {
        if index > 0 {
            writer.put(b",")?;
        }
        put_key(writer, key, offset, *len)?;
        offset = offset.saturating_add(*len);
    }
    writer.put(b"],\"rest\":[")?;
    for (index, item) in rest.iter().enumerate() {
        writer.put(if index > 0 { b",\"" } else { b"\"" })?;
        escape_str(writer, item.asked)?;
        writer.put(b"\"")?;
    }
    writer.put(b"]}}")
}

fn put_key<S>(
    writer: &mut impl Writer,
    key: &GetItem<'_, S>,
    offset: usize,
    len: usize,
) -> Result<(), CapacityError> {
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
        writer.put(before.as_bytes())?;
        escape_str(writer, text)?;
    }
    writer.put(b"\",\"ttl_ms\":")?;
    put_number(writer, key.ttl_ms)?;
    writer.put(b",\"secret\":{\"offset\":")?;
    put_number(writer, u64::try_from(offset).unwrap_or(u64::MAX))?;
    writer.put(b",\"len\":")?;
    put_number(writer, u64::try_from(len).unwrap_or(u64::MAX))?;
    writer.put(b"}}")
}

/// Returns the length of `text` as a JSON string with its quotes.
pub(super) fn string_len(text: &str) -> usize {
    let mut counter = ByteCounter(2);
    // A counter is never full.
    let _: Result<(), CapacityError> = escape_str(&mut counter, text);
    counter.0
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

/// Writes a reply without secrets: to hello, ping or shutdown. Replies whose length depends on the
/// request have functions of their own.
///
/// # Errors
/// [`EncodeError::TooLarge`] before anything is written.
pub fn encode_reply<T: Serialize>(writer: &mut impl Writer, id: u64, ok: &T) -> Result<(), EncodeError> {
    encode_frame(writer, &header_bytes(&OkReply { id, ok })?, &NO_SECRETS)
}

/// Writes an error reply. The id is 0 if the request's could not be read.
///
/// # Errors
/// [`EncodeError::TooLarge`] before anything is written.
pub fn encode_error(writer: &mut impl Writer, id: u64, error: &ErrorBody<'_>) -> Result<(), EncodeError> {
    encode_frame(writer, &header_bytes(&ErrorReply { id, error })?, &NO_SECRETS)
}

/// Writes a page of status: as many of `page.keys`, from the first, as fit. Sets `more` if some do
/// not, and returns the number of keys written.
///
/// # Errors
/// [`EncodeError::TooLarge`] if not even one fits.
pub fn encode_status_reply(
    writer: &mut impl Writer,
    id: u64,
    mut page: StatusOk<'_>,
) -> Result<usize, EncodeError> {
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
        return Err(EncodeError::TooLarge { limit: MAX_HEADER });
    }
    encode_reply(writer, id, &page)?;
    Ok(count)
}

/// Writes the reply to an unlock. If the texts of the errors do not fit a header, the fixes are
/// left out, then the messages. Every key keeps its result, and every error its code.
///
/// # Errors
/// [`EncodeError::TooLarge`] if even the codes do not fit.
pub fn encode_unlock_reply(
    writer: &mut impl Writer,
    id: u64,
    mut results: UnlockOk<'_>,
) -> Result<(), EncodeError> {
    let without_fix = |error: &mut ErrorBody<'_>| error.fix = None;
    let code_only = |error: &mut ErrorBody<'_>| {
        error.message = Cow::Borrowed("");
        error.slug = None;
    };
    for shorten in [without_fix, code_only] {
        match encode_reply(writer, id, &results) {
            Err(EncodeError::TooLarge { .. }) => {}
            outcome => return outcome,
        }
        results.results.iter_mut().filter_map(|result| result.outcome.as_mut().err()).for_each(shorten);
    }
    encode_reply(writer, id, &results)
}

/// Writes the reply to a relock: as many slugs, from the first, as fit, and the number of the
/// others in `unnamed`.
///
/// # Errors
/// [`EncodeError::Full`].
pub fn encode_relock_reply(writer: &mut impl Writer, id: u64, slugs: &[&str]) -> Result<(), EncodeError> {
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
    encode_reply(writer, id, &RelockOk { relocked, unnamed })
}
