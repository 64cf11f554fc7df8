//! Parser of replies, for a client of a TypeScript daemon. That daemon validates nothing of what it
//! keeps, so one malformed key does not hide the others. No error holds any part of the reply,
//! which may be a secret.

use std::borrow::Cow;

use super::MAX_ITEMS;
use super::error::{FieldError, JsonPath, LegacyError, field};
use super::grant::Grant;
use super::request::{fields, only_object, optional_text, required, text, texts};
use keyrack_json::{RawValue, ValueKind};

/// Reply of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<T> {
    /// The requested data.
    Ok(T),
    /// Error text of the daemon. It may hold line breaks and control characters.
    Refused(String),
}

/// Data of the reply to a GET.
#[derive(Debug)]
pub struct GetData<'a> {
    /// Keys that the daemon holds, in the order of the request.
    pub keys: Vec<Grant<'a>>,
    /// Error of each key that could not be read.
    pub malformed: Vec<LegacyError>,
}

/// Data of the reply to a STATUS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusData<'a> {
    /// First eight hexadecimal digits of the hash of the daemon's home directory.
    pub home_hash: Cow<'a, str>,
    /// Keys, in the order they were unlocked.
    pub keys: Vec<StatusEntry<'a>>,
    /// Error of each key that could not be read.
    pub malformed: Vec<LegacyError>,
}

/// One key of a STATUS reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry<'a> {
    /// Slug.
    pub slug: Cow<'a, str>,
    /// Env.
    pub env: Cow<'a, str>,
    /// Org.
    pub org: Cow<'a, str>,
    /// Expiry; `None` for a key that does not expire.
    pub expires_at: Option<Cow<'a, str>>,
    /// Remaining TTL in milliseconds; `None` for a key that does not expire.
    pub ttl_left_ms: Option<u64>,
}

/// Returns `true` if the error text says that the daemon belongs to another login session.
pub fn is_session_mismatch(error: &str) -> bool {
    error.contains("session mismatch")
}

/// Parses the reply to a GET.
///
/// # Errors
/// [`LegacyError`] if the message is not such a reply.
pub fn parse_get_reply(message: &[u8]) -> Result<Reply<GetData<'_>>, LegacyError> {
    read(message, |data| {
        let [keys] = fields(data, "data.", ["keys"])?;
        let (keys, malformed) = each(keys, |value, index| Grant::read(value, KEYS, index))?;
        Ok(GetData { keys, malformed })
    })
}

/// Parses the reply to a STATUS.
///
/// # Errors
/// [`LegacyError`] if the message is not such a reply.
pub fn parse_status_reply(message: &[u8]) -> Result<Reply<StatusData<'_>>, LegacyError> {
    read(message, |data| {
        let [home_hash, keys] = fields(data, "data.", ["homeHash", "keys"])?;
        let home_hash = text(home_hash, "data.homeHash")?;
        let (keys, malformed) = each(keys, entry)?;
        Ok(StatusData { home_hash, keys, malformed })
    })
}

/// Parses the reply to a RELOCK: the slugs of the erased keys.
///
/// # Errors
/// [`LegacyError`] if the message is not such a reply.
pub fn parse_relock_reply(message: &[u8]) -> Result<Reply<Vec<Cow<'_, str>>>, LegacyError> {
    read(message, |data| {
        let [relocked] = fields(data, "data.", ["relocked"])?;
        texts(required(relocked, "data.relocked")?, "data.relocked")
    })
}

fn read<'a, T>(
    message: &'a [u8],
    read: impl FnOnce(RawValue<'a>) -> Result<T, LegacyError>,
) -> Result<Reply<T>, LegacyError> {
    let [success, data, error] = fields(only_object(message)?, "", ["success", "data", "error"])?;
    match required(success, "success")?.boolean() {
        Some(true) => read(required(data, "data")?).map(Reply::Ok),
        Some(false) => {
            let error = required(error, "error")?;
            let text = error.string().ok_or_else(|| field("error", FieldError::Type("a string")))?;
            let text = text.map_err(|error| field("error", FieldError::String(error)))?;
            Ok(Reply::Refused(text.to_text().into_owned()))
        }
        None => Err(field("success", FieldError::Type("true or false"))),
    }
}

const KEYS: &str = "data.keys";

/// Returns the elements that could be read, and the errors of the others.
fn each<'a, T>(
    keys: Option<RawValue<'a>>,
    mut read: impl FnMut(RawValue<'a>, usize) -> Result<T, LegacyError>,
) -> Result<(Vec<T>, Vec<LegacyError>), LegacyError> {
    let (mut good, mut malformed) = (Vec::new(), Vec::new());
    let mut index = 0;
    let outcome = required(keys, KEYS)?.elements(|value| {
        if index == MAX_ITEMS {
            return Err(field(KEYS, FieldError::TooMany));
        }
        match read(value, index) {
            Ok(key) => good.push(key),
            Err(error) => malformed.push(error),
        }
        index += 1;
        Ok(())
    });
    outcome.unwrap_or_else(|| Err(field(KEYS, FieldError::Type("an array"))))?;
    Ok((good, malformed))
}

fn entry(value: RawValue<'_>, index: usize) -> Result<StatusEntry<'_>, LegacyError> {
    let at_path = JsonPath { list: KEYS, index, slug: None };
    let named = |error| match error {
        LegacyError::Field { at, error } => at_path.error(&at, error),
        error => error,
    };
    let [slug, env, org, expires_at, ttl] =
        fields(value, "", ["slug", "env", "org", "expiresAt", "ttlLeftMs"]).map_err(named)?;
    let not_null = |value: Option<RawValue<'_>>| value.is_some_and(|value| value.kind() != ValueKind::Null);
    let ttl_left_ms = match ttl.filter(|_| not_null(ttl)) {
        Some(ttl) => {
            let number = ttl.text().parse().ok().filter(|_| ttl.kind() == ValueKind::Number);
            Some(number.ok_or_else(|| at_path.error("ttlLeftMs", FieldError::Type("whole milliseconds")))?)
        }
        None => None,
    };
    Ok(StatusEntry {
        slug: text(slug, "slug").map_err(named)?,
        env: text(env, "env").map_err(named)?,
        org: text(org, "org").map_err(named)?,
        expires_at: optional_text(expires_at.filter(|_| not_null(expires_at)), "expiresAt").map_err(named)?,
        ttl_left_ms,
    })
}
