//! Requests, typed: what a client asks of the daemon. Names of vaults, mechanisms, grades and envs stay open here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::fast_path;
use super::frame::{Frame, FrameError, Span, header, tile};
use super::serde_util::{Object, list, object, objects, some, some_list};
use crate::names::{Grade, Source};
use crate::{MAX_NAME, MAX_SECRET};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Chosen by the client; the reply bears the same.
    pub id: u64,
    /// What is asked.
    pub op: Op<'a>,
}

/// What a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// Who are you, and which versions do we share? May be pipelined with the first real request.
    Hello(Hello<'a>),
    /// Hand out keys.
    Get(Get<'a>),
    /// Keep keys.
    Unlock(Unlock<'a>),
    /// List what is kept, a page at a time.
    Status(Status),
    /// Erase keys.
    Relock(Relock<'a>),
    /// Are you there?
    Ping,
    /// Erase everything and end.
    Shutdown,
    /// An op this version does not know, by name. To be answered with an error; the connection stays good.
    Unknown(Cow<'a, str>),
}

impl Op<'_> {
    /// The op's name on the wire.
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

/// The client's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
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
}

/// The keys asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get<'a> {
    /// Full slugs, in the order the reply shall have.
    #[serde(borrow, deserialize_with = "list")]
    pub slugs: Vec<Cow<'a, str>>,
}

/// The keys to keep. Their secrets are read with [`Frame::secret`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlock<'a> {
    /// The keys, each ends with a result of its own.
    #[serde(borrow, deserialize_with = "objects")]
    pub keys: Vec<UnlockKey<'a>>,
}

/// One key to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockKey<'a> {
    /// The full slug.
    #[serde(borrow)]
    pub slug: Cow<'a, str>,
    /// The grade it has.
    #[serde(borrow, deserialize_with = "object")]
    pub grade: Grade<'a>,
    /// Where it came from.
    #[serde(borrow, deserialize_with = "object")]
    pub source: Source<'a>,
    /// Asked life in milliseconds.
    pub ttl_ms: u64,
    /// When the credential itself ends, an ISO 8601 time in UTC; absent if it does not.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Cow<'a, str>>,
    /// The life the key was given when it was first unlocked, in milliseconds, for its status to tell; absent if that is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// What limited its life, for its status to tell: a word as of [`super::StatusKey::life_by`]; absent if nobody knows.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub life_by: Option<Cow<'a, str>>,
    /// Where its secret is.
    #[serde(deserialize_with = "object")]
    pub secret: Span,
}

impl UnlockKey<'_> {
    /// Whether the key keeps the limits that let every key fit one reply.
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

/// The page of the list asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Insertion number of the last key already seen; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most this many keys; absent for as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The keys to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relock<'a> {
    /// These slugs. None of them if the list is empty.
    Slugs(Vec<Cow<'a, str>>),
    /// Every key of this env.
    Env(Cow<'a, str>),
    /// Every key.
    All,
}

/// The form [`Relock`] has on the wire: exactly one of the three.
#[derive(Serialize, Deserialize)]
pub(super) struct RelockFields<'a> {
    #[serde(borrow, default, deserialize_with = "some_list", skip_serializing_if = "Option::is_none")]
    pub(super) slugs: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) all: Option<bool>,
}

/// Why a frame was not read as a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is no request at all, or its ranges do not fit its bytes: answer, then close the connection.
    #[error(transparent)]
    BadFrame(#[from] FrameError),
    /// It is a request, but not a right one: answer, and the connection stays good.
    #[error("{op} request: {fault}")]
    BadRequest {
        /// Its id, for the answer.
        id: u64,
        /// Its op, one that this version knows.
        op: &'static str,
        /// What is wrong with it.
        fault: RequestErrorKind,
    },
}

impl RequestError {
    /// The error's code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadFrame(error) => error.code(),
            Self::BadRequest { fault: RequestErrorKind::SecretTooLong { .. }, .. } => "secret_too_large",
            Self::BadRequest { .. } => "bad_request",
        }
    }

    /// The id to answer with: 0 when none could be read.
    pub fn id(&self) -> u64 {
        match self {
            Self::BadFrame(_) => 0,
            Self::BadRequest { id, .. } => *id,
        }
    }
}

/// What is wrong with a request whose op is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestErrorKind {
    /// A field is missing, doubled, or of another type.
    #[error("a field is missing, doubled or of the wrong type (header byte {column})")]
    Fields {
        /// Where reading stopped, from 1.
        column: usize,
    },
    /// `relock` takes exactly one of its three forms.
    #[error("give exactly one of slugs, env and all (true)")]
    RelockForm,
    /// A name passes [`MAX_NAME`].
    #[error("a name of keys[{index}] is longer than {MAX_NAME} bytes")]
    NameTooLong {
        /// Which key.
        index: usize,
    },
    /// A secret passes [`MAX_SECRET`].
    #[error("the secret of keys[{index}] is longer than {MAX_SECRET} bytes")]
    SecretTooLong {
        /// Which key.
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
    /// Reads the request in a frame. Fields this version does not know are passed over; a known field that comes twice
    /// is a fault.
    ///
    /// # Errors
    /// [`RequestError`]; its text holds nothing of the request but numbers.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, RequestError> {
        if let Some((id, get)) = fast_path::get(frame.header)
            && frame.secrets.is_empty()
        {
            return Ok(Self { id, op: Op::Get(get) });
        }
        // In two steps, so that a later version's op may use our field names in its own way.
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
        fault: RequestErrorKind::Fields { column: error.column() },
    })
}

fn unlock<'a>(frame: &Frame<'a>, id: u64) -> Result<Unlock<'a>, RequestError> {
    let unlock: Unlock<'a> = fields(frame, id, "unlock")?;
    if !tile(unlock.keys.iter().map(|key| key.secret), frame.secrets.len()) {
        return Err(FrameError::Ranges.into());
    }
    for (index, key) in unlock.keys.iter().enumerate() {
        key.check(index).map_err(|fault| RequestError::BadRequest { id, op: "unlock", fault })?;
    }
    Ok(unlock)
}

fn relock<'a>(frame: &Frame<'a>, id: u64) -> Result<Relock<'a>, RequestError> {
    match fields(frame, id, "relock")? {
        RelockFields { slugs: Some(slugs), env: None, all: None } => Ok(Relock::Slugs(slugs)),
        RelockFields { slugs: None, env: Some(env), all: None } => Ok(Relock::Env(env)),
        RelockFields { slugs: None, env: None, all: Some(true) } => Ok(Relock::All),
        _ => Err(RequestError::BadRequest { id, op: "relock", fault: RequestErrorKind::RelockForm }),
    }
}
