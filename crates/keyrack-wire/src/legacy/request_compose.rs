//! Composing requests: the client's half, for a TypeScript daemon. There is no unlock: that daemon keeps keys in
//! ordinary memory, and cannot tell its callers apart.

use super::MAX_REQUEST;
use super::reply_compose::{put_string, put_strings, within};
use super::request::{Get, Relock};
use crate::sink::{ComposeError, Sink};

/// Puts `{"command":"GET","payload":{"slugs":[…],"org"?,"env"?}}`.
///
/// # Errors
/// [`ComposeError::TooLarge`] or [`ComposeError::Full`].
pub fn compose_get_request(sink: &mut impl Sink, get: &Get<'_>) -> Result<(), ComposeError> {
    within(sink, MAX_REQUEST, |sink| {
        sink.put(b"{\"command\":\"GET\",\"payload\":{\"slugs\":")?;
        put_strings(sink, get.slugs.iter().map(AsRef::as_ref))?;
        for (name, value) in [(",\"org\":", &get.org), (",\"env\":", &get.env)] {
            if let Some(value) = value {
                sink.put(name.as_bytes())?;
                put_string(sink, value)?;
            }
        }
        sink.put(b"}}")
    })
}

/// Puts `{"command":"STATUS","payload":{}}`.
///
/// # Errors
/// [`ComposeError::Full`].
pub fn compose_status_request(sink: &mut impl Sink) -> Result<(), ComposeError> {
    within(sink, MAX_REQUEST, |sink| sink.put(b"{\"command\":\"STATUS\",\"payload\":{}}"))
}

/// Puts `{"command":"RELOCK","payload":{…}}`. An empty list of slugs is refused: a TypeScript daemon would erase
/// everything.
///
/// # Errors
/// [`ComposeError::Empty`], [`ComposeError::TooLarge`] or [`ComposeError::Full`].
pub fn compose_relock_request(sink: &mut impl Sink, relock: &Relock<'_>) -> Result<(), ComposeError> {
    if matches!(relock, Relock::Slugs(slugs) if slugs.is_empty())
        || matches!(relock, Relock::Env(env) if env.is_empty())
    {
        return Err(ComposeError::Empty);
    }
    within(sink, MAX_REQUEST, |sink| {
        sink.put(b"{\"command\":\"RELOCK\",\"payload\":{")?;
        match relock {
            Relock::Slugs(slugs) => {
                sink.put(b"\"slugs\":")?;
                put_strings(sink, slugs.iter().map(AsRef::as_ref))?;
            }
            Relock::Env(env) => {
                sink.put(b"\"env\":")?;
                put_string(sink, env)?;
            }
            Relock::All => {}
        }
        sink.put(b"}}")
    })
}
