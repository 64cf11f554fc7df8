//! Requests of a client. Names of vaults, mechanisms, grades and envs are open: the daemon
//! validates them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::fast_path;
use super::frame::{Frame, FrameError, Span, header, tile};
use super::get::Get;
use super::serde_util::{Object, object, objects, some, some_list};
use crate::names::{Grade, Relock, Source};
use crate::{MAX_NAME, MAX_SECRET};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Id chosen by the client. The reply has the same.
    pub id: u64,
    /// Operation.
    pub op: Op<'a>,
}

/// Operation of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// Agrees on a version. It may be pipelined with the first other request.
    Hello(Hello<'a>),
    /// Returns keys.
    Get(Get<'a>),
    /// Unlocks keys.
    Unlock(Unlock<'a>),
    /// Lists the unlocked keys, a page at a time.
    Status(Status),
    /// Erases keys.
    Relock(Relock<'a>),
    /// Checks that the daemon serves.
    Ping,
    /// Erases all keys and shuts the daemon down.
    Shutdown,
    /// An op that this version does not know, by name. The daemon replies with an error and keeps
    /// the connection.
    Unknown(Cow<'a, str>),
}

impl Op<'_> {
    /// Returns the op's name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Hello(_) => "hello",
            Self::Get(_) => "get",
            Self::Unlock(_) => "unlock",
            Self::Status(_) => "status",
            Self::Relock(_) => "relock",
            Self::Ping => "ping",
            Self::Shutdown => "shutdown",
            Self::Unknown(name) => name,
        }
    }
}

/// Version of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// Newest protocol version that the client speaks.
    pub proto: u32,
    /// Oldest protocol version that the client speaks.
    pub min_proto: u32,
    /// Release, for people.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Build, for people.
    #[serde(borrow)]
    pub build: Cow<'a, str>,
}

/// Keys to unlock. [`Frame::secret`] returns their secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock<'a> {
    /// Keys. Each has a result of its own.
    #[serde(borrow, deserialize_with = "objects")]
    pub keys: Vec<UnlockKey<'a>>,
}

/// One key to unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockKey<'a> {
    /// Full slug.
    #[serde(borrow)]
    pub slug: Cow<'a, str>,
    /// Grade.
    #[serde(borrow, deserialize_with = "object")]
    pub grade: Grade<'a>,
    /// Vault and mechanism.
    #[serde(borrow, deserialize_with = "object")]
    pub source: Source<'a>,
    /// Requested TTL in milliseconds.
    pub ttl_ms: u64,
    /// Expiry of the credential itself, an ISO 8601 time in UTC; absent if it does not expire.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Cow<'a, str>>,
    /// TTL that the key had when it was first unlocked, in milliseconds, for its status; absent if
    /// it is unlocked for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// Limit of its TTL, for its status: a word of [`super::StatusKey::life_by`]; absent if it is
    /// unknown.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub life_by: Option<Cow<'a, str>>,
    /// Range of its secret.
    #[serde(deserialize_with = "object")]
    pub secret: Span,
}

impl UnlockKey<'_> {
    /// Checks the limits that make every key fit one reply.
    pub(super) fn check(&self, index: usize) -> Result<(), RequestErrorKind> {
        let Grade { protection, duration } = &self.grade;
        let Source { vault, mech } = &self.source;
        let names = [&self.slug, protection, duration, vault, mech];
        if names
            .into_iter()
            .chain(&self.credential_expires_at)
            .chain(&self.life_by)
            .any(|name| name.len() > MAX_NAME)
        {
            return Err(RequestErrorKind::NameTooLong { index });
        }
        match usize::try_from(self.secret.len) {
            Ok(len) if len <= MAX_SECRET => Ok(()),
            _ => Err(RequestErrorKind::SecretTooLong { index }),
        }
    }
}

/// Page of the list of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Insertion number of the last key of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Most keys of the page; absent for as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Form of [`Relock`] on the wire: exactly one of the three fields.
#[derive(Serialize, Deserialize)]
pub(super) struct RelockFields<'a> {
    #[serde(borrow, default, deserialize_with = "some_list", skip_serializing_if = "Option::is_none")]
    pub(super) slugs: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<bool>,
}

/// Reason that a frame is not a valid request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The frame is not a request, or its ranges do not cover its secret bytes. The daemon replies,
    /// then closes the connection.
    #[error(transparent)]
    BadFrame(#[from] FrameError),
    /// The request is invalid. The daemon replies and keeps the connection.
    #[error("{op} request: {kind}")]
    BadRequest {
        /// Id of the request, for the reply.
        id: u64,
        /// Op of the request.
        op: &'static str,
        /// Kind of the error.
        kind: RequestErrorKind,
    },
}

impl RequestError {
    /// Returns the error's code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadFrame(error) => error.code(),
            Self::BadRequest { kind: RequestErrorKind::SecretTooLong { .. }, .. } => "secret_too_large",
            Self::BadRequest { .. } => "bad_request",
        }
    }

    /// Returns the id for the reply: 0 if it could not be read.
    pub fn id(&self) -> u64 {
        match self {
            Self::BadFrame(_) => 0,
            Self::BadRequest { id, .. } => *id,
        }
    }
}

/// Kind of the error of a request whose op is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestErrorKind {
    /// A field is missing, given twice, or of another type.
    #[error("a field is missing, given twice or of the wrong type (header byte {column})")]
    Fields {
        /// Byte of the header where parsing stopped, from 1.
        column: usize,
    },
    /// The relock request does not have exactly one of its three forms.
    #[error("give exactly one of slugs, env and all (true)")]
    RelockForm,
    /// A name is longer than [`MAX_NAME`].
    #[error("a name of keys[{index}] is longer than {MAX_NAME} bytes")]
    NameTooLong {
        /// Index of the key.
        index: usize,
    },
    /// A secret is longer than [`MAX_SECRET`].
    #[error("the secret of keys[{index}] is longer than {MAX_SECRET} bytes")]
    SecretTooLong {
        /// Index of the key.
        index: usize,
    },
}

#[derive(Deserialize)]
struct Head<'a> {
    id: u64,
    #[serde(borrow)]
    op: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Decodes the request in a frame. It ignores fields that this version does not know; a known
    /// field that is given twice is an error.
    ///
    /// # Errors
    /// [`RequestError`]. Its text holds nothing of the request but numbers.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, RequestError> {
        if let Some((id, get)) = fast_path::get(frame.header)
            && frame.secrets.is_empty()
        {
            return Ok(Self { id, op: Op::Get(get) });
        }
        // In two steps, because an op of a later version may use the same field names differently.
        let Head { id, op } = header(frame)?;
        let op = match &*op {
            "hello" => Op::Hello(fields(frame, id, "hello")?),
            "get" => Op::Get(fields(frame, id, "get")?),
            "unlock" => Op::Unlock(unlock(frame, id)?),
            "status" => Op::Status(fields(frame, id, "status")?),
            "relock" => Op::Relock(relock(frame, id)?),
            "ping" => Op::Ping,
            "shutdown" => Op::Shutdown,
            _ => return Ok(Self { id, op: Op::Unknown(op) }),
        };
        if !matches!(op, Op::Unlock(_)) && !frame.secrets.is_empty() {
            return Err(FrameError::Ranges.into());
        }
        Ok(Self { id, op })
    }
}

fn fields<'a, T: Deserialize<'a>>(frame: &Frame<'a>, id: u64, op: &'static str) -> Result<T, RequestError> {
    let read = serde_json::from_slice(frame.header);
    read.map(|Object(fields)| fields).map_err(|error| RequestError::BadRequest {
        id,
        op,
        kind: RequestErrorKind::Fields { column: error.column() },
    })
}

fn unlock<'a>(frame: &Frame<'a>, id: u64) -> Result<Unlock<'a>, RequestError> {
    let unlock: Unlock<'a> = fields(frame, id, "unlock")?;
    if !tile(unlock.keys.iter().map(|key| key.secret), frame.secrets.len()) {
        return Err(FrameError::Ranges.into());
    }
    for (index, key) in unlock.keys.iter().enumerate() {
        key.check(index).map_err(|kind| RequestError::BadRequest { id, op: "unlock", kind })?;
    }
    Ok(unlock)
}

fn relock<'a>(frame: &Frame<'a>, id: u64) -> Result<Relock<'a>, RequestError> {
    match fields(frame, id, "relock")? {
        RelockFields { slugs: Some(slugs), env: None, all: None } => Ok(Relock::Slugs(slugs)),
        RelockFields { slugs: None, env: Some(env), all: None } => Ok(Relock::Env(env)),
        RelockFields { slugs: None, env: None, all: Some(true) } => Ok(Relock::All),
        _ => Err(RequestError::BadRequest { id, op: "relock", kind: RequestErrorKind::RelockForm }),
    }
}
