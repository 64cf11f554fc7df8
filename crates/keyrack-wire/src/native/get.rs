//! Get: its request and its reply.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::frame::Span;
use super::serde_util::{list, object, objects};
use crate::names::{Grade, Source};

/// Request of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get<'a> {
    /// Full slugs, in the order of the reply.
    #[serde(borrow, deserialize_with = "list")]
    pub slugs: Vec<Cow<'a, str>>,
}

/// Reply with the keys. [`Frame::secret`](super::Frame::secret) returns their secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetOk<'a> {
    /// Keys that the daemon holds, in the order of the request.
    #[serde(borrow, deserialize_with = "objects")]
    pub keys: Vec<GetKey<'a>>,
    /// Requested slugs that the daemon holds too, but that did not fit the frame: the client
    /// requests them again.
    #[serde(borrow, default, deserialize_with = "list")]
    pub rest: Vec<Cow<'a, str>>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetKey<'a> {
    /// Slug of the stored key: of env `all` if that key serves the requested env.
    #[serde(borrow)]
    pub slug: Cow<'a, str>,
    /// Grade.
    #[serde(borrow, deserialize_with = "object")]
    pub grade: Grade<'a>,
    /// Vault and mechanism.
    #[serde(borrow, deserialize_with = "object")]
    pub source: Source<'a>,
    /// Env.
    #[serde(borrow)]
    pub env: Cow<'a, str>,
    /// Org.
    #[serde(borrow)]
    pub org: Cow<'a, str>,
    /// Expiry by the wall clock, an ISO 8601 time in UTC.
    #[serde(borrow)]
    pub expires_at: Cow<'a, str>,
    /// Remaining TTL, in milliseconds.
    pub ttl_ms: u64,
    /// Range of its secret.
    #[serde(deserialize_with = "object")]
    pub secret: Span,
}
