//! Encoder of replies, for the daemon: `{"success":true,"data":…}` or
//! `{"success":false,"error":"…"}`, at most [`MAX_REPLY`] bytes.

use super::MAX_REPLY;
use super::extras::{ExtraText, Level};
use crate::writer::{EncodeError, LimitedWriter, SecretBytes, put_number};
use keyrack_json::escape_str;
use keyrack_json::{CapacityError, Writer};

/// Calls `encode` with a writer that takes at most `limit` bytes.
pub(super) fn within<S: Writer>(
    writer: &mut S,
    limit: usize,
    encode: impl FnOnce(&mut LimitedWriter<&mut S>) -> Result<(), CapacityError>,
) -> Result<(), EncodeError> {
    let mut writer = LimitedWriter { writer, remaining: limit, is_over_limit: false };
    encode(&mut writer).map_err(|CapacityError| {
        if writer.is_over_limit { EncodeError::TooLarge { limit } } else { EncodeError::Full }
    })
}

pub(super) fn put_string(writer: &mut impl Writer, text: &str) -> Result<(), CapacityError> {
    writer.put(b"\"")?;
    escape_str(writer, text)?;
    writer.put(b"\"")
}

pub(super) fn put_strings<'a>(
    writer: &mut impl Writer,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<(), CapacityError> {
    writer.put(b"[")?;
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            writer.put(b",")?;
        }
        put_string(writer, text)?;
    }
    writer.put(b"]")
}

/// Writes each pair: `before` unchanged, then `text` escaped.
fn put_pairs(writer: &mut impl Writer, pairs: &[(&str, &str)]) -> Result<(), CapacityError> {
    for (before, text) in pairs {
        writer.put(before.as_bytes())?;
        escape_str(writer, text)?;
    }
    Ok(())
}

/// One key of a get reply.
pub struct GetItem<'a, S, X> {
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
    /// Expiry, an ISO 8601 time in UTC.
    pub expires_at: &'a str,
    /// Secret.
    pub secret: S,
    /// Unknown fields, packed by [`Extras::pack`](super::Extras::pack); [`NoExtras`] if there are
    /// none.
    pub extras: X,
}

/// A key without unknown fields.
#[derive(Debug, Clone, Copy)]
pub struct NoExtras;

impl SecretBytes for NoExtras {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Some(read(&[]))
    }
}

/// Writes the reply to a GET: the keys that JSON can carry, in order. Returns the indices of the
/// others: keys whose secret is not UTF-8 or is erased.
///
/// # Errors
/// [`EncodeError::TooLarge`] or [`EncodeError::Full`]. The fragment in the writer must not be
/// sent.
pub fn encode_get_reply<'a, S: SecretBytes, X: SecretBytes>(
    writer: &mut impl Writer,
    items: impl IntoIterator<Item = GetItem<'a, S, X>>,
) -> Result<Vec<usize>, EncodeError> {
    let mut omitted = Vec::new();
    within(writer, MAX_REPLY, |writer| {
        writer.put(b"{\"success\":true,\"data\":{\"keys\":[")?;
        let mut first = true;
        for (index, item) in items.into_iter().enumerate() {
            let put = item.secret.with(|secret| {
                let Ok(secret) = std::str::from_utf8(secret) else { return Ok(false) };
                let put = item.extras.with(|packed| match ExtraText::unpack(packed) {
                    Some(extras) => put_grant(writer, &item, secret, extras, first).map(|()| true),
                    None => Ok(false),
                });
                put.unwrap_or(Ok(false))
            });
            if put.unwrap_or(Ok(false))? {
                first = false;
            } else {
                omitted.push(index);
            }
        }
        writer.put(b"]}}")
    })?;
    Ok(omitted)
}

fn put_grant<S, X>(
    writer: &mut impl Writer,
    item: &GetItem<'_, S, X>,
    secret: &str,
    extras: ExtraText<'_>,
    first: bool,
) -> Result<(), CapacityError> {
    if !first {
        writer.put(b",")?;
    }
    put_pairs(
        writer,
        &[
            ("{\"slug\":\"", item.slug),
            ("\",\"key\":{\"secret\":\"", secret),
            ("\",\"grade\":{\"protection\":\"", item.protection),
            ("\",\"duration\":\"", item.duration),
        ],
    )?;
    writer.put(b"\"")?;
    extras.put(Level::Grade, writer)?;
    writer.put(b"}")?;
    extras.put(Level::Key, writer)?;
    put_pairs(writer, &[("},\"source\":{\"vault\":\"", item.vault), ("\",\"mech\":\"", item.mech)])?;
    writer.put(b"\"")?;
    extras.put(Level::Source, writer)?;
    put_pairs(
        writer,
        &[("},\"env\":\"", item.env), ("\",\"org\":\"", item.org), ("\",\"expiresAt\":\"", item.expires_at)],
    )?;
    writer.put(b"\"")?;
    extras.put(Level::Grant, writer)?;
    writer.put(b"}")
}

/// Writes the reply to an UNLOCK: the slugs in the order of the request.
///
/// # Errors
/// [`EncodeError::TooLarge`] or [`EncodeError::Full`].
pub fn encode_unlock_reply<'a>(
    writer: &mut impl Writer,
    slugs: impl IntoIterator<Item = &'a str>,
) -> Result<(), EncodeError> {
    within(writer, MAX_REPLY, |writer| {
        writer.put(b"{\"success\":true,\"data\":{\"unlocked\":")?;
        put_strings(writer, slugs)?;
        writer.put(b"}}")
    })
}

/// Writes the reply to a RELOCK: the slugs of the erased keys.
///
/// # Errors
/// [`EncodeError::TooLarge`] or [`EncodeError::Full`].
pub fn encode_relock_reply<'a>(
    writer: &mut impl Writer,
    slugs: impl IntoIterator<Item = &'a str>,
) -> Result<(), EncodeError> {
    within(writer, MAX_REPLY, |writer| {
        writer.put(b"{\"success\":true,\"data\":{\"relocked\":")?;
        put_strings(writer, slugs)?;
        writer.put(b"}}")
    })
}

/// One key of a status reply. Every key of this daemon expires, so both times are always there.
#[derive(Debug, Clone, Copy)]
pub struct StatusItem<'a> {
    /// Slug.
    pub slug: &'a str,
    /// Env.
    pub env: &'a str,
    /// Org.
    pub org: &'a str,
    /// Expiry, an ISO 8601 time in UTC.
    pub expires_at: &'a str,
    /// Remaining TTL, in milliseconds.
    pub ttl_left_ms: u64,
}

/// Writes the reply to a STATUS: the keys in the order they were unlocked.
///
/// # Errors
/// [`EncodeError::TooLarge`] or [`EncodeError::Full`].
pub fn encode_status_reply<'a>(
    writer: &mut impl Writer,
    home_hash: &str,
    keys: impl IntoIterator<Item = StatusItem<'a>>,
) -> Result<(), EncodeError> {
    within(writer, MAX_REPLY, |writer| {
        put_pairs(writer, &[("{\"success\":true,\"data\":{\"homeHash\":\"", home_hash)])?;
        writer.put(b"\",\"keys\":[")?;
        for (index, key) in keys.into_iter().enumerate() {
            if index > 0 {
                writer.put(b",")?;
            }
            put_pairs(
                writer,
                &[
                    ("{\"slug\":\"", key.slug),
                    ("\",\"env\":\"", key.env),
                    ("\",\"org\":\"", key.org),
                    ("\",\"expiresAt\":\"", key.expires_at),
                ],
            )?;
            writer.put(b"\",\"ttlLeftMs\":")?;
            put_number(writer, key.ttl_left_ms)?;
            writer.put(b"}")?;
        }
        writer.put(b"]}}")
    })
}

/// Writes `{"success":false,"error":…}`.
///
/// # Errors
/// [`EncodeError::TooLarge`] or [`EncodeError::Full`].
pub fn encode_error(writer: &mut impl Writer, error: &str) -> Result<(), EncodeError> {
    within(writer, MAX_REPLY, |writer| {
        writer.put(b"{\"success\":false,\"error\":")?;
        put_string(writer, error)?;
        writer.put(b"}")
    })
}
