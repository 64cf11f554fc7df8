//! Encoder of requests, for a client of a TypeScript daemon. There is no UNLOCK: that daemon keeps
//! keys in ordinary memory and does not authenticate its callers.

use super::MAX_REQUEST;
use super::reply_encode::{put_string, put_strings, within};
use super::request::Get;
use crate::Relock;
use crate::writer::EncodeError;
use keyrack_json::Writer;

/// Writes `{"command":"GET","payload":{"slugs":[…],"org"?,"env"?}}`.
///
/// # Errors
/// [`EncodeError::TooLarge`] or [`EncodeError::Full`].
pub fn encode_get_request(writer: &mut impl Writer, get: &Get<'_>) -> Result<(), EncodeError> {
    within(writer, MAX_REQUEST, |writer| {
        writer.put(b"{\"command\":\"GET\",\"payload\":{\"slugs\":")?;
        put_strings(writer, get.slugs.iter().map(AsRef::as_ref))?;
        for (name, value) in [(",\"org\":", &get.org), (",\"env\":", &get.env)] {
            if let Some(value) = value {
                writer.put(name.as_bytes())?;
                put_string(writer, value)?;
            }
        }
        writer.put(b"}}")
    })
}

/// Writes `{"command":"STATUS","payload":{}}`.
///
/// # Errors
/// [`EncodeError::Full`].
pub fn encode_status_request(writer: &mut impl Writer) -> Result<(), EncodeError> {
    within(writer, MAX_REQUEST, |writer| writer.put(b"{\"command\":\"STATUS\",\"payload\":{}}"))
}

/// Writes `{"command":"RELOCK","payload":{…}}`. An empty list of slugs is an error: a TypeScript
/// daemon would erase everything.
///
/// # Errors
/// [`EncodeError::Empty`], [`EncodeError::TooLarge`] or [`EncodeError::Full`].
pub fn encode_relock_request(writer: &mut impl Writer, relock: &Relock<'_>) -> Result<(), EncodeError> {
    if matches!(relock, Relock::Slugs(slugs) if slugs.is_empty())
        || matches!(relock, Relock::Env(env) if env.is_empty())
    {
        return Err(EncodeError::Empty);
    }
    within(writer, MAX_REQUEST, |writer| {
        writer.put(b"{\"command\":\"RELOCK\",\"payload\":{")?;
        match relock {
            Relock::Slugs(slugs) => {
                writer.put(b"\"slugs\":")?;
                put_strings(writer, slugs.iter().map(AsRef::as_ref))?;
            }
            Relock::Env(env) => {
                writer.put(b"\"env\":")?;
                put_string(writer, env)?;
            }
            Relock::All => {}
        }
        writer.put(b"}}")
    })
}
