//! Replies of the daemon, and their decoder for the client.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::fast_path;
use super::frame::{Frame, FrameError, Span, header, tile};
use super::get::GetOk;
use super::serde_util::{list, object, objects, some, some_object};
use crate::names::{Grade, Source};

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a, T> {
    /// Id of its request; 0 if the daemon could not read it.
    pub id: u64,
    /// Result of the request.
    pub outcome: Result<T, ErrorBody<'a>>,
}

/// Error of the daemon. Codes are open: newer daemons may know more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody<'a> {
    /// Code for programs, in snake_case.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// Text for people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// Slug of the key that the error is about.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub slug: Option<Cow<'a, str>>,
    /// Command that fixes the error.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub fix: Option<Cow<'a, str>>,
}

/// Reply to hello: version and protection of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloOk<'a> {
    /// Newest protocol version that the daemon speaks.
    pub proto: u32,
    /// Oldest protocol version that the daemon speaks.
    pub min_proto: u32,
    /// Release, for people.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Build, for people.
    #[serde(borrow)]
    pub build: Cow<'a, str>,
    /// Boot id of the kernel. Monotonic times of another boot mean nothing.
    #[serde(borrow)]
    pub boot_id: Cow<'a, str>,
    /// Process id, for people. Never used to signal.
    pub pid: u32,
    /// Boundary between callers: `session` or `user`.
    #[serde(borrow)]
    pub boundary: Cow<'a, str>,
    /// Namespaces that its callers may be in: `pid and user`, `pid only`, `user allowed`, `all
    /// allowed`. Absent from older daemons.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Cow<'a, str>>,
    /// Memory of the secrets: `secret`, `locked` or `unlocked`.
    #[serde(borrow)]
    pub memory: Cow<'a, str>,
    /// Hardening measures, as the kernel reports them.
    #[serde(borrow, deserialize_with = "objects")]
    pub hardening: Vec<Hardening<'a>>,
}

/// One hardening measure, as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardening<'a> {
    /// Name of the measure.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// State of the measure.
    pub on: bool,
    /// Reason that it is off, or a remark.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
}

/// Reply to unlock: the result of each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockOk<'a> {
    /// Results in the order of the request.
    #[serde(borrow, deserialize_with = "objects")]
    pub results: Vec<UnlockResult<'a>>,
}

/// Result of one key of an unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UnlockFields<'a>", into = "UnlockFields<'a>", bound(deserialize = "'de: 'a"))]
pub struct UnlockResult<'a> {
    /// Slug of the request.
    pub slug: Cow<'a, str>,
    /// TTL of the unlocked key, or the error.
    pub outcome: Result<UnlockGranted<'a>, ErrorBody<'a>>,
}

/// TTL of an unlocked key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockGranted<'a> {
    /// TTL in milliseconds.
    pub ttl_ms: u64,
    /// Expiry by the wall clock, an ISO 8601 time in UTC.
    pub expires_at: Cow<'a, str>,
}

/// Form of [`UnlockResult`] on the wire.
#[derive(Serialize, Deserialize)]
struct UnlockFields<'a> {
    #[serde(borrow)]
    slug: Cow<'a, str>,
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    expires_at: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "some_object", skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

impl<'a> TryFrom<UnlockFields<'a>> for UnlockResult<'a> {
    type Error = &'static str;

    fn try_from(fields: UnlockFields<'a>) -> Result<Self, Self::Error> {
        let slug = fields.slug;
        match (fields.ok, fields.ttl_ms, fields.expires_at, fields.error) {
            (true, Some(ttl_ms), Some(expires_at), None) => {
                Ok(Self { slug, outcome: Ok(UnlockGranted { ttl_ms, expires_at }) })
            }
            (false, None, None, Some(error)) => Ok(Self { slug, outcome: Err(error) }),
            _ => Err("a result is neither granted nor refused"),
        }
    }
}

impl<'a> From<UnlockResult<'a>> for UnlockFields<'a> {
    fn from(result: UnlockResult<'a>) -> Self {
        let slug = result.slug;
        match result.outcome {
            Ok(UnlockGranted { ttl_ms, expires_at }) => {
                Self { slug, ok: true, ttl_ms: Some(ttl_ms), expires_at: Some(expires_at), error: None }
            }
            Err(error) => Self { slug, ok: false, ttl_ms: None, expires_at: None, error: Some(error) },
        }
    }
}

/// Reply to status: a page of the keys, and the state of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusOk<'a> {
    /// Keys of this page, in the order they were unlocked.
    #[serde(borrow, deserialize_with = "objects")]
    pub keys: Vec<StatusKey<'a>>,
    /// More keys follow the last one of this page.
    pub more: bool,
    /// First eight hexadecimal digits of the hash of the daemon's home directory.
    #[serde(borrow)]
    pub home_hash: Cow<'a, str>,
    /// As in [`HelloOk`].
    #[serde(borrow)]
    pub memory: Cow<'a, str>,
    /// As in [`HelloOk`].
    #[serde(borrow)]
    pub boundary: Cow<'a, str>,
    /// As in [`HelloOk`].
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Cow<'a, str>>,
    /// As in [`HelloOk`].
    #[serde(borrow, deserialize_with = "objects")]
    pub hardening: Vec<Hardening<'a>>,
    /// Counts of the whole store, not of this page.
    #[serde(deserialize_with = "object")]
    pub counts: Counts,
}

/// Size of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Number of keys that are not expired.
    pub keys: u64,
    /// Length of their secrets in bytes.
    pub bytes: u64,
}

/// One key of a status page, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusKey<'a> {
    /// Slug.
    #[serde(borrow)]
    pub slug: Cow<'a, str>,
    /// Env.
    #[serde(borrow)]
    pub env: Cow<'a, str>,
    /// Org.
    #[serde(borrow)]
    pub org: Cow<'a, str>,
    /// Grade.
    #[serde(borrow, deserialize_with = "object")]
    pub grade: Grade<'a>,
    /// Vault and mechanism.
    #[serde(borrow, deserialize_with = "object")]
    pub source: Source<'a>,
    /// Expiry by the wall clock, an ISO 8601 time in UTC.
    #[serde(borrow)]
    pub expires_at: Cow<'a, str>,
    /// Remaining TTL, in milliseconds.
    pub ttl_ms: u64,
    /// Clock of the deadline that comes first: `boot` or `wall`.
    #[serde(borrow)]
    pub ends_by: Cow<'a, str>,
    /// TTL that the key had when it was unlocked, in milliseconds. Absent from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// Limit of that TTL: `asked`, `default`, `max_duration`, `credential` or `ceiling`; later
    /// versions may know more. Absent if it is unknown.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub life_by: Option<Cow<'a, str>>,
    /// Insertion number.
    pub n: u64,
}

/// Reply to relock: the erased keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelockOk<'a> {
    /// Slugs of the erased keys.
    #[serde(borrow, deserialize_with = "list")]
    pub relocked: Vec<Cow<'a, str>>,
    /// Number of erased keys whose slugs did not fit the frame. Absent if all did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnamed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Reply to ping and shutdown, without content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NothingOk {}

/// Content of a reply, with the ranges of the secret bytes that it names.
pub trait ReplyBody<'a>: Deserialize<'a> {
    /// Returns the ranges, in the order of the header.
    fn spans(&self) -> impl Iterator<Item = Span> {
        std::iter::empty()
    }

    /// Reads the id and the content of a header that is in the exact form of this crate's encoder.
    /// By default there is no fast path.
    #[doc(hidden)]
    fn fast_path(header: &'a [u8]) -> Option<(u64, Self)> {
        let _ = header;
        None
    }
}

impl<'a> ReplyBody<'a> for HelloOk<'a> {}
impl<'a> ReplyBody<'a> for UnlockOk<'a> {}
impl<'a> ReplyBody<'a> for StatusOk<'a> {}
impl<'a> ReplyBody<'a> for RelockOk<'a> {}
impl ReplyBody<'_> for NothingOk {}
impl<'a> ReplyBody<'a> for GetOk<'a> {
    fn spans(&self) -> impl Iterator<Item = Span> {
        self.keys.iter().map(|key| key.secret)
    }

    fn fast_path(header: &'a [u8]) -> Option<(u64, Self)> {
        fast_path::get_ok(header)
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Envelope<'a, T> {
    id: u64,
    #[serde(default, deserialize_with = "some_object")]
    ok: Option<T>,
    #[serde(borrow, default, deserialize_with = "some_object")]
    error: Option<ErrorBody<'a>>,
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

/// Reason that a frame is not a reply: the server speaks another protocol. The text holds nothing
/// of the frame.
pub type ReplyError = FrameError;

/// Returns the id of the reply in a frame, which is that of its request.
///
/// # Errors
/// [`FrameError::Header`].
pub fn reply_id(frame: &Frame<'_>) -> Result<u64, ReplyError> {
    header(frame).map(|Id { id }| id)
}

/// Decodes the reply in a frame, for an op whose reply is `T`.
///
/// # Errors
/// [`FrameError::Header`] if it is not such a reply, [`FrameError::Ranges`] if its ranges do not
/// cover its secret bytes.
pub fn decode_reply<'a, T: ReplyBody<'a>>(frame: &Frame<'a>) -> Result<Reply<'a, T>, ReplyError> {
    let (id, outcome) = match T::fast_path(frame.header) {
        Some((id, ok)) => (id, Ok(ok)),
        None => envelope(frame)?,
    };
    let covered = match &outcome {
        Ok(ok) => tile(T::spans(ok), frame.secrets.len()),
        Err(_) => frame.secrets.is_empty(),
    };
    if covered { Ok(Reply { id, outcome }) } else { Err(FrameError::Ranges) }
}

type Outcome<'a, T> = Result<T, ErrorBody<'a>>;

fn envelope<'a, T: ReplyBody<'a>>(frame: &Frame<'a>) -> Result<(u64, Outcome<'a, T>), ReplyError> {
    Ok(match header(frame)? {
        Envelope { id, ok: Some(ok), error: None } => (id, Ok(ok)),
        Envelope { id, ok: None, error: Some(error) } => (id, Err(error)),
        _ => return Err(FrameError::Header { column: frame.header.len() }),
    })
}
