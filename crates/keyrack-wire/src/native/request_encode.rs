//! Encoder of requests, for the client.

use serde::Serialize;

use super::frame::{Span, encode_frame, header_bytes, lay_out, put_lengths, tile};
use super::get::Get;
use super::reply_encode::string_len;
use super::request::{Op, RelockFields, Request, Unlock, UnlockKey};
use super::stack_buf::StackBuf;
use super::{MAX_HEADER, MAX_LENGTH};
use crate::MAX_SECRET;
use crate::names::{Grade, Relock, Source};
use crate::writer::{EncodeError, SecretBytes, put_number};
use keyrack_json::Writer;
use keyrack_json::escape_str;

#[derive(Serialize)]
struct Header<'a, T> {
    id: u64,
    op: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct NoFields {}

impl Request<'_> {
    /// Writes the request and the secrets of its ranges. Only an unlock has secrets.
    ///
    /// # Errors
    /// [`EncodeError::Ranges`] if ranges and secrets do not match, [`EncodeError::TooLarge`] if
    /// they do not fit a frame; both before anything is written.
    pub fn encode_with(
        &self,
        writer: &mut impl Writer,
        secrets: &[impl SecretBytes],
    ) -> Result<(), EncodeError> {
        if let Op::Get(get) = &self.op
            && secrets.is_empty()
            && let Some(header) = encode_short_get(self.id, get)
        {
            put_lengths(writer, header.bytes().len(), 0)?;
            return Ok(writer.put(header.bytes())?);
        }
        let (id, op) = (self.id, self.op.name());
        let none = &[][..];
        let (header, keys) = match &self.op {
            Op::Hello(fields) => (header_bytes(&Header { id, op, fields })?, none),
            Op::Get(fields) => (header_bytes(&Header { id, op, fields })?, none),
            Op::Unlock(fields) => (header_bytes(&Header { id, op, fields })?, &fields.keys[..]),
            Op::Status(fields) => (header_bytes(&Header { id, op, fields })?, none),
            Op::Relock(relock) => {
                let fields = match relock {
                    Relock::Slugs(slugs) => RelockFields { slugs: Some(slugs.clone()), env: None, all: None },
                    Relock::Env(env) => RelockFields { slugs: None, env: Some(env.clone()), all: None },
                    Relock::All => RelockFields { slugs: None, env: None, all: Some(true) },
                };
                (header_bytes(&Header { id, op, fields })?, none)
            }
            Op::Ping | Op::Shutdown | Op::Unknown(_) => {
                (header_bytes(&Header { id, op, fields: NoFields {} })?, none)
            }
        };
        if keys.len() != secrets.len() {
            return Err(EncodeError::Ranges);
        }
        let mut total = 0_usize;
        for (key, secret) in keys.iter().zip(secrets) {
            let len = secret.length().ok_or(EncodeError::Gone)?;
            if usize::try_from(key.secret.len) != Ok(len) {
                return Err(EncodeError::Ranges);
            }
            total = total.checked_add(len).ok_or(EncodeError::TooLarge { limit: MAX_LENGTH })?;
        }
        if !tile(keys.iter().map(|key| key.secret), total) {
            return Err(EncodeError::Ranges);
        }
        encode_frame(writer, &header, secrets)
    }

    /// Writes a request without secrets.
    ///
    /// # Errors
    /// As [`Self::encode_with`].
    pub fn encode(&self, writer: &mut impl Writer) -> Result<(), EncodeError> {
        const NONE: [&[u8]; 0] = [];
        self.encode_with(writer, &NONE)
    }
}

/// Returns the header of a get if it is short, as most are. Benchmark row "GET, native, persistent,
/// Rust client".
fn encode_short_get(id: u64, get: &Get<'_>) -> Option<StackBuf> {
    let mut header = StackBuf::default();
    header.put(b"{\"id\":").ok()?;
    put_number(&mut header, id).ok()?;
    header.put(b",\"op\":\"get\",\"slugs\":[").ok()?;
    for (index, slug) in get.slugs.iter().enumerate() {
        header.put(if index > 0 { b",\"" } else { b"\"" }).ok()?;
        escape_str(&mut header, slug).ok()?;
        header.put(b"\"").ok()?;
    }
    header.put(b"]}").ok()?;
    Some(header)
}

/// One key to unlock, and its secret.
pub struct UnlockItem<'a, S> {
    /// Full slug.
    pub slug: &'a str,
    /// Grade.
    pub grade: Grade<'a>,
    /// Vault and mechanism.
    pub source: Source<'a>,
    /// Requested TTL in milliseconds.
    pub ttl_ms: u64,
    /// Expiry of the credential itself, an ISO 8601 time in UTC.
    pub credential_expires_at: Option<&'a str>,
    /// TTL that the key had when it was first unlocked, in milliseconds; `None` if it is unlocked
    /// for the first time.
    pub life_ms: Option<u64>,
    /// Limit of its TTL, if it is known.
    pub life_by: Option<&'a str>,
    /// Secret, copied from its own memory straight into the writer.
    pub secret: S,
}

impl<'a, S> UnlockItem<'a, S> {
    fn key(&self, secret: Span) -> UnlockKey<'a> {
        UnlockKey {
            slug: self.slug.into(),
            grade: self.grade.clone(),
            source: self.source.clone(),
            ttl_ms: self.ttl_ms,
            credential_expires_at: self.credential_expires_at.map(Into::into),
            life_ms: self.life_ms,
            life_by: self.life_by.map(Into::into),
            secret,
        }
    }
}

/// Writes an unlock request for `items`.
///
/// # Errors
/// [`EncodeError::TooLarge`] before anything is written, also for a key whose secret is longer than
/// [`MAX_SECRET`] or that has a name longer than [`crate::MAX_NAME`]. [`unlock_keys_that_fit`]
/// returns the number of keys that fit one request.
pub fn encode_unlock<S: SecretBytes>(
    writer: &mut impl Writer,
    id: u64,
    items: &[UnlockItem<'_, S>],
) -> Result<(), EncodeError> {
    let mut lens = Vec::with_capacity(items.len());
    for item in items {
        lens.push(item.secret.length().ok_or(EncodeError::Gone)?);
    }
    let spans = lay_out(lens).ok_or(EncodeError::TooLarge { limit: MAX_LENGTH })?;
    let keys: Vec<UnlockKey<'_>> = items.iter().zip(spans).map(|(item, span)| item.key(span)).collect();
    if keys.iter().any(|key| key.check(0).is_err()) {
        return Err(EncodeError::TooLarge { limit: MAX_SECRET });
    }
    let secrets: Vec<&S> = items.iter().map(|item| &item.secret).collect();
    Request { id, op: Op::Unlock(Unlock { keys }) }.encode_with(writer, &secrets)
}

/// Returns the number of `items`, from the first, that fit one unlock request. 0 if the first key
/// can never be sent, because its secret or a name is too long.
pub fn unlock_keys_that_fit<S: SecretBytes>(items: &[UnlockItem<'_, S>]) -> usize {
    // The id and the offsets are counted at their longest, so that the result holds for any.
    let mut header = json_len(&Header { id: u64::MAX, op: "unlock", fields: Unlock { keys: Vec::new() } });
    let mut secrets = 0_usize;
    for (count, item) in items.iter().enumerate() {
        let len = item.secret.length().unwrap_or(0);
        let key = item.key(Span { offset: u64::MAX, len: u64::try_from(len).unwrap_or(u64::MAX) });
        header = header.saturating_add(json_len(&key).saturating_add(1));
        secrets = secrets.saturating_add(len);
        if header > MAX_HEADER || header.saturating_add(secrets) > MAX_LENGTH - 4 || key.check(0).is_err() {
            return count;
        }
    }
    items.len()
}

/// Returns the number of `slugs`, from the first, that fit one get request. 0 if the first alone
/// does not.
pub fn get_slugs_that_fit<S: AsRef<str>>(slugs: &[S]) -> usize {
    let mut header = br#"{"id":18446744073709551615,"op":"get","slugs":[]}"#.len();
    for (count, slug) in slugs.iter().enumerate() {
        header = header.saturating_add(string_len(slug.as_ref()).saturating_add(1));
        if header > MAX_HEADER {
            return count;
        }
    }
    slugs.len()
}

fn json_len(value: &impl Serialize) -> usize {
    header_bytes(value).map_or(usize::MAX, |bytes| bytes.len())
}
