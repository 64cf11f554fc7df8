//! Composing replies: the daemon's half. `{"success":true,"data":…}` or `{"success":false,"error":"…"}`, at most
//! [`MAX_REPLY`] bytes.

use super::MAX_REPLY;
use super::extras::{ExtraText, Level};
use crate::json::escape_str;
use crate::native::put_number;
use crate::sink::{ComposeError, Full, Limited, SecretBytes, Sink};

/// Runs `compose` on a sink that takes at most `limit` bytes.
pub(super) fn within<S: Sink>(
    sink: &mut S,
    limit: usize,
    compose: impl FnOnce(&mut Limited<&mut S>) -> Result<(), Full>,
) -> Result<(), ComposeError> {
    let mut sink = Limited { sink, left: limit, passed_limit: false };
    compose(&mut sink)
        .map_err(|Full| if sink.passed_limit { ComposeError::TooLarge { limit } } else { ComposeError::Full })
}

pub(super) fn put_string(sink: &mut impl Sink, text: &str) -> Result<(), Full> {
    sink.put(b"\"")?;
    escape_str(sink, text)?;
    sink.put(b"\"")
}

pub(super) fn put_strings<'a>(
    sink: &mut impl Sink,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<(), Full> {
    sink.put(b"[")?;
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            sink.put(b",")?;
        }
        put_string(sink, text)?;
    }
    sink.put(b"]")
}

/// Puts `before` as it is and `text` escaped, pair by pair.
fn put_pairs(sink: &mut impl Sink, pairs: &[(&str, &str)]) -> Result<(), Full> {
    for (before, text) in pairs {
        sink.put(before.as_bytes())?;
        escape_str(sink, text)?;
    }
    Ok(())
}

/// One key of a get reply.
pub struct GetItem<'a, S, X> {
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
    /// When it ends, an ISO 8601 time in UTC.
    pub expires_at: &'a str,
    /// Its secret.
    pub secret: S,
    /// Its unknown fields as [`Extras::pack`](super::Extras::pack) put them; [`NoExtras`] where there are none.
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

/// Puts the reply to a GET: the keys that this form can carry, in order. Returns the indices of the others: keys whose
/// secret is not UTF-8, or has been erased.
///
/// # Errors
/// [`ComposeError::TooLarge`] or [`ComposeError::Full`]; what the sink holds then must not be sent.
pub fn compose_get_reply<'a, S: SecretBytes, X: SecretBytes>(
    sink: &mut impl Sink,
    items: impl IntoIterator<Item = GetItem<'a, S, X>>,
) -> Result<Vec<usize>, ComposeError> {
    let mut omitted = Vec::new();
    within(sink, MAX_REPLY, |sink| {
        sink.put(b"{\"success\":true,\"data\":{\"keys\":[")?;
        let mut first = true;
        for (index, item) in items.into_iter().enumerate() {
            let put = item.secret.with(|secret| {
                let Ok(secret) = std::str::from_utf8(secret) else { return Ok(false) };
                let put = item.extras.with(|packed| match ExtraText::unpack(packed) {
                    Some(extras) => put_grant(sink, &item, secret, extras, first).map(|()| true),
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
        sink.put(b"]}}")
    })?;
    Ok(omitted)
}

fn put_grant<S, X>(
    sink: &mut impl Sink,
    item: &GetItem<'_, S, X>,
    secret: &str,
    extras: ExtraText<'_>,
    first: bool,
) -> Result<(), Full> {
    if !first {
        sink.put(b",")?;
    }
    put_pairs(
        sink,
        &[
            ("{\"slug\":\"", item.slug),
            ("\",\"key\":{\"secret\":\"", secret),
            ("\",\"grade\":{\"protection\":\"", item.protection),
            ("\",\"duration\":\"", item.duration),
        ],
    )?;
    sink.put(b"\"")?;
    extras.put(Level::Grade, sink)?;
    sink.put(b"}")?;
    extras.put(Level::Key, sink)?;
    put_pairs(sink, &[("},\"source\":{\"vault\":\"", item.vault), ("\",\"mech\":\"", item.mech)])?;
    sink.put(b"\"")?;
    extras.put(Level::Source, sink)?;
    put_pairs(
        sink,
        &[("},\"env\":\"", item.env), ("\",\"org\":\"", item.org), ("\",\"expiresAt\":\"", item.expires_at)],
    )?;
    sink.put(b"\"")?;
    extras.put(Level::Grant, sink)?;
    sink.put(b"}")
}

/// Puts the reply to an UNLOCK: the slugs in the order they came.
///
/// # Errors
/// [`ComposeError::TooLarge`] or [`ComposeError::Full`].
pub fn compose_unlock_reply<'a>(
    sink: &mut impl Sink,
    slugs: impl IntoIterator<Item = &'a str>,
) -> Result<(), ComposeError> {
    within(sink, MAX_REPLY, |sink| {
        sink.put(b"{\"success\":true,\"data\":{\"unlocked\":")?;
        put_strings(sink, slugs)?;
        sink.put(b"}}")
    })
}

/// Puts the reply to a RELOCK: the slugs of the keys that were erased.
///
/// # Errors
/// [`ComposeError::TooLarge`] or [`ComposeError::Full`].
pub fn compose_relock_reply<'a>(
    sink: &mut impl Sink,
    slugs: impl IntoIterator<Item = &'a str>,
) -> Result<(), ComposeError> {
    within(sink, MAX_REPLY, |sink| {
        sink.put(b"{\"success\":true,\"data\":{\"relocked\":")?;
        put_strings(sink, slugs)?;
        sink.put(b"}}")
    })
}

/// One key of a status reply. Every key of this daemon ends, so time and rest are always there.
#[derive(Debug, Clone, Copy)]
pub struct StatusItem<'a> {
    /// Its slug.
    pub slug: &'a str,
    /// Its env.
    pub env: &'a str,
    /// Its org.
    pub org: &'a str,
    /// When it ends, an ISO 8601 time in UTC.
    pub expires_at: &'a str,
    /// How long it still lives, in milliseconds.
    pub ttl_left_ms: u64,
}

/// Puts the reply to a STATUS: the keys in the order they were kept.
///
/// # Errors
/// [`ComposeError::TooLarge`] or [`ComposeError::Full`].
pub fn compose_status_reply<'a>(
    sink: &mut impl Sink,
    home_hash: &str,
    keys: impl IntoIterator<Item = StatusItem<'a>>,
) -> Result<(), ComposeError> {
    within(sink, MAX_REPLY, |sink| {
        put_pairs(sink, &[("{\"success\":true,\"data\":{\"homeHash\":\"", home_hash)])?;
        sink.put(b"\",\"keys\":[")?;
        for (index, key) in keys.into_iter().enumerate() {
            if index > 0 {
                sink.put(b",")?;
            }
            put_pairs(
                sink,
                &[
                    ("{\"slug\":\"", key.slug),
                    ("\",\"env\":\"", key.env),
                    ("\",\"org\":\"", key.org),
                    ("\",\"expiresAt\":\"", key.expires_at),
                ],
            )?;
            sink.put(b"\",\"ttlLeftMs\":")?;
            put_number(sink, key.ttl_left_ms)?;
            sink.put(b"}")?;
        }
        sink.put(b"]}}")
    })
}

/// Puts `{"success":false,"error":…}`.
///
/// # Errors
/// [`ComposeError::TooLarge`] or [`ComposeError::Full`].
pub fn compose_error(sink: &mut impl Sink, error: &str) -> Result<(), ComposeError> {
    within(sink, MAX_REPLY, |sink| {
        sink.put(b"{\"success\":false,\"error\":")?;
        put_string(sink, error)?;
        sink.put(b"}")
    })
}
