//! Replies, typed: what the daemon answers, and how a client reads it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::fast_path;
use super::frame::{Frame, FrameError, Span, header, tile};
use super::serde_util::{list, object, objects, some, some_object};
use crate::names::{Grade, Source};

/// One reply: what was asked for, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a, T> {
    /// The id of the request it answers; 0 when the daemon could not read one.
    pub id: u64,
    /// The answer.
    pub outcome: Result<T, ErrorBody<'a>>,
}

/// An error as the daemon words it. Codes are open: newer daemons may know more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody<'a> {
    /// What machines read, snake_case.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// What people read.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// The key it is about.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub slug: Option<Cow<'a, str>>,
    /// The command that fixes it.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub fix: Option<Cow<'a, str>>,
}

/// Who the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloOk<'a> {
    /// Newest protocol version it speaks.
    pub proto: u32,
    /// Oldest protocol version it speaks.
    pub min_proto: u32,
    /// Its release, for people.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Its build, for people.
    #[serde(borrow)]
    pub build: Cow<'a, str>,
    /// The kernel's boot id: monotonic times of another boot mean nothing.
    #[serde(borrow)]
    pub boot_id: Cow<'a, str>,
    /// Its process id, for people; never a thing to signal by.
    pub pid: u32,
    /// How far it can tell callers apart: `session` or `user`.
    #[serde(borrow)]
    pub boundary: Cow<'a, str>,
    /// Namespaces that its callers may be in: `pid and user`, `pid only`, `user allowed`, `all
    /// allowed`. Absent from older daemons.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Cow<'a, str>>,
    /// What its secrets lie in: `secret`, `locked`, `unlocked`.
    #[serde(borrow)]
    pub memory: Cow<'a, str>,
    /// Its hardening, read back.
    #[serde(borrow, deserialize_with = "objects")]
    pub hardening: Vec<Hardening<'a>>,
}

/// One measure of hardening and whether the kernel says it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardening<'a> {
    /// Which.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Whether it is on.
    pub on: bool,
    /// Why not, or what more there is to say.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
}

/// The keys that were found. Their secrets are read with [`Frame::secret`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetOk<'a> {
    /// Hits only, in the order they were asked for.
    #[serde(borrow, deserialize_with = "objects")]
    pub keys: Vec<GetKey<'a>>,
    /// Asked slugs that are hits too, but did not fit this frame: ask again for them.
    #[serde(borrow, default, deserialize_with = "list")]
    pub rest: Vec<Cow<'a, str>>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetKey<'a> {
    /// Its true slug: of env `all` where that answered for another env.
    #[serde(borrow)]
    pub slug: Cow<'a, str>,
    /// Its grade.
    #[serde(borrow, deserialize_with = "object")]
    pub grade: Grade<'a>,
    /// Where it came from.
    #[serde(borrow, deserialize_with = "object")]
    pub source: Source<'a>,
    /// Its env.
    #[serde(borrow)]
    pub env: Cow<'a, str>,
    /// Its org.
    #[serde(borrow)]
    pub org: Cow<'a, str>,
    /// When it ends by the wall clock, an ISO 8601 time in UTC.
    #[serde(borrow)]
    pub expires_at: Cow<'a, str>,
    /// How long it still lives, in milliseconds.
    pub ttl_ms: u64,
    /// Where its secret is.
    #[serde(deserialize_with = "object")]
    pub secret: Span,
}

/// What became of each key of an unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockOk<'a> {
    /// In the order of the request.
    #[serde(borrow, deserialize_with = "objects")]
    pub results: Vec<UnlockResult<'a>>,
}

/// What became of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UnlockFields<'a>", into = "UnlockFields<'a>", bound(deserialize = "'de: 'a"))]
pub struct UnlockResult<'a> {
    /// The slug of the request.
    pub slug: Cow<'a, str>,
    /// Kept, or why not.
    pub outcome: Result<UnlockGranted<'a>, ErrorBody<'a>>,
}

/// How long a key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockGranted<'a> {
    /// Its life in milliseconds.
    pub ttl_ms: u64,
    /// When it ends by the wall clock, an ISO 8601 time in UTC.
    pub expires_at: Cow<'a, str>,
}

/// The form [`UnlockResult`] has on the wire.
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

/// A page of what is kept, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusOk<'a> {
    /// The keys of this page, in the order they were kept.
    #[serde(borrow, deserialize_with = "objects")]
    pub keys: Vec<StatusKey<'a>>,
    /// Whether there are more keys behind the last of this page.
    pub more: bool,
    /// First eight hexadecimal digits of the hash of the home directory this daemon serves.
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
    /// Of the whole store, not of this page.
    #[serde(deserialize_with = "object")]
    pub counts: Counts,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Live keys.
    pub keys: u64,
    /// Bytes of their secrets.
    pub bytes: u64,
}

/// One kept key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusKey<'a> {
    /// Its slug.
    #[serde(borrow)]
    pub slug: Cow<'a, str>,
    /// Its env.
    #[serde(borrow)]
    pub env: Cow<'a, str>,
    /// Its org.
    #[serde(borrow)]
    pub org: Cow<'a, str>,
    /// Its grade.
    #[serde(borrow, deserialize_with = "object")]
    pub grade: Grade<'a>,
    /// Where it came from.
    #[serde(borrow, deserialize_with = "object")]
    pub source: Source<'a>,
    /// When it ends by the wall clock, an ISO 8601 time in UTC.
    #[serde(borrow)]
    pub expires_at: Cow<'a, str>,
    /// How long it still lives, in milliseconds.
    pub ttl_ms: u64,
    /// Which deadline ends it first: `boot` or `wall`.
    #[serde(borrow)]
    pub ends_by: Cow<'a, str>,
    /// The life it was given when it was unlocked, in milliseconds. Absent from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// What limited that: `asked`, `default`, `max_duration`, `credential` or `ceiling`, and maybe more in later versions. Absent where
    /// nobody has said.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub life_by: Option<Cow<'a, str>>,
    /// Its insertion number.
    pub n: u64,
}

/// The keys that were erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelockOk<'a> {
    /// Their slugs.
    #[serde(borrow, deserialize_with = "list")]
    pub relocked: Vec<Cow<'a, str>>,
    /// How many more were erased than the frame could name. Absent when it named all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnamed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Nothing to say but that it was done: the answer to ping and shutdown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NothingOk {}

/// What a reply may carry, and which ranges of secret bytes it names.
pub trait ReplyBody<'a>: Deserialize<'a> {
    /// The ranges, in the order of the header.
    fn spans(&self) -> impl Iterator<Item = Span> {
        std::iter::empty()
    }

    /// Reads a whole header, the id first, if it is in the form our own composer gives such a reply. By default none is.
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

/// Why a frame was not read as a reply: the server speaks something else. The text holds nothing of the frame.
pub type ReplyError = FrameError;

/// The id of the reply in a frame, to find the request it answers.
///
/// # Errors
/// [`FrameError::Header`].
pub fn reply_id(frame: &Frame<'_>) -> Result<u64, ReplyError> {
    header(frame).map(|Id { id }| id)
}

/// Reads the reply in a frame as the answer to an op whose answer is `T`.
///
/// # Errors
/// [`FrameError::Header`] when it is none, [`FrameError::Ranges`] when its ranges do not fit its bytes.
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
