//! The TypeScript daemon of older releases: one JSON request and one JSON reply for each
//! connection. Only for reading and relocking. That daemon cannot tell its callers apart and keeps
//! keys in ordinary memory, so keyrack never gives it a key.

use std::borrow::Cow;
use std::time::Duration;

use keyrack_core::display::clean;
use keyrack_core::{Error, ErrorCode, Fix, Grant, GrantedTtl, Owner, Slug, Ttl, timestamp};
use keyrack_wire::legacy::{self, Reply};
use keyrack_wire::{EncodeError, Relock, WipedBuffer};
use zeroize::Zeroizing;

use super::connect::{Connection, ServerPeer, connect};
use super::convert;
use super::error::{TransportError, no_daemon, protocol_error};
use super::read_buffer::ReadBuffer;
use super::stream::{Deadline, write_all};
use super::types::{DaemonStatus, GrantedKey, KeyStatus, RelockTarget, Relocked};
use crate::address::RackAddress;
use crate::context::{Context, Requirements};
use crate::sandbox;
use crate::secret::Secret;

/// Session with a TypeScript daemon.
#[derive(Debug)]
pub struct LegacyDaemon {
    address: RackAddress,
    deadline: Duration,
    owner: Owner,
    /// Open connection that was not used yet.
    fresh: Option<Connection>,
    opened_by: u32,
}

impl LegacyDaemon {
    /// Creates a session over a connection. Sends nothing yet.
    ///
    /// # Errors
    /// [`ErrorCode::BoundaryWeak`] if the context requires more than such a daemon offers.
    pub(crate) fn over(connection: Connection, address: RackAddress, ctx: &Context) -> Result<Self, Error> {
        let Requirements { session, memory } = ctx.requirements();
        if session || memory.is_some() {
            let what = if session { "KEYRACK_REQUIRE_SESSION" } else { "KEYRACK_MEMORY" };
            let message = format!(
                "an older TypeScript keyrack daemon runs: it cannot tell its callers apart and keeps keys in ordinary \
                 memory, but {what} requires more"
            );
            return Err(Error::new(ErrorCode::BoundaryWeak, message).fix(restart(&ctx.owner)));
        }
        Ok(LegacyDaemon {
            address,
            deadline: ctx.deadline,
            owner: ctx.owner.clone(),
            fresh: Some(connection),
            opened_by: std::process::id(),
        })
    }

    /// Address of the daemon.
    pub fn address(&self) -> &RackAddress {
        &self.address
    }

    /// Process at the other end. `None` while no connection is open.
    pub fn server(&self) -> Option<&ServerPeer> {
        self.fresh.as_ref().map(|connection| &connection.server)
    }

    /// Error for an operation that needs the native daemon.
    pub fn unsupported(&self, what: &str) -> Error {
        let message = format!(
            "an older TypeScript keyrack daemon runs in this login session, but {what} needs the new one"
        );
        Error::new(ErrorCode::DaemonLegacy, message)
            .fix(restart(&self.owner))
            .hint("the restart keeps the unlocked keys")
    }

    /// Returns the keys that the daemon holds, in the order of the request.
    ///
    /// # Errors
    /// [`ErrorCode::SessionMismatch`], [`ErrorCode::DaemonUnresponsive`], [`ErrorCode::BadFrame`].
    pub fn get(&mut self, slugs: &[Slug]) -> Result<Vec<GrantedKey>, Error> {
        let mut granted = Vec::new();
        for some in slugs.chunks(CHUNK) {
            let asked = some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect();
            let request = legacy::Get { slugs: asked, org: None, env: None };
            let reply = self.round_trip(|sink| legacy::encode_get_request(sink, &request))?;
            let data = accept(legacy::parse_get_reply(reply.unread()))?;
            for key in &data.keys {
                granted.push(granted_key(key)?);
            }
        }
        Ok(granted)
    }

    /// Lists all unlocked keys.
    ///
    /// # Errors
    /// As [`LegacyDaemon::get`].
    pub fn status(&mut self) -> Result<DaemonStatus, Error> {
        let reply = self.round_trip(legacy::encode_status_request)?;
        let data = accept(legacy::parse_status_reply(reply.unread()))?;
        let keys = data.keys.iter().map(|key| {
            Ok(KeyStatus {
                slug: convert::slug(&key.slug)?,
                grade: None,
                source: None,
                expires_at_ms: key.expires_at.as_deref().and_then(timestamp::parse_ms),
                remaining: key.ttl_left_ms.map(Ttl),
                granted: GrantedTtl::default(),
                expires_by_boot_clock: false,
            })
        });
        Ok(DaemonStatus {
            keys: keys.collect::<Result<_, Error>>()?,
            home_hash: clean(&data.home_hash),
            health: None,
        })
    }

    /// Erases keys. Returns the slugs of the keys that were there.
    ///
    /// # Errors
    /// As [`LegacyDaemon::get`].
    pub fn relock(&mut self, what: &RelockTarget) -> Result<Relocked, Error> {
        let requests: Vec<Relock<'_>> = match what {
            RelockTarget::All => vec![Relock::All],
            RelockTarget::Env(env) => vec![Relock::Env(env.as_str().into())],
            // The daemon takes an empty list for all keys, so nothing is sent then.
            RelockTarget::Slugs(slugs) => slugs
                .chunks(CHUNK)
                .map(|some| Relock::Slugs(some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect()))
                .collect(),
        };
        let mut relocked = Relocked::default();
        for request in requests {
            let reply = self.round_trip(|sink| legacy::encode_relock_request(sink, &request))?;
            for slug in accept(legacy::parse_relock_reply(reply.unread()))? {
                relocked.slugs.push(convert::slug(&slug)?);
            }
        }
        Ok(relocked)
    }

    fn round_trip(
        &mut self,
        encode: impl Fn(&mut WipedBuffer) -> Result<(), EncodeError>,
    ) -> Result<ReadBuffer, Error> {
        let mut request = WipedBuffer::new(legacy::MAX_REQUEST);
        encode(&mut request).map_err(|error| {
            Error::new(ErrorCode::TooLarge, format!("the request cannot be sent: {error}"))
        })?;
        let us = std::process::id();
        if self.opened_by != us {
            self.fresh = None;
            self.opened_by = us;
        }
        let mut tries = 2;
        loop {
            tries -= 1;
            let connection = match self.fresh.take() {
                Some(connection) => connection,
                None => connect(&self.address, self.deadline)?.ok_or_else(no_daemon)?,
            };
            match exchange(&connection, request.as_slice(), self.deadline) {
                Err(TransportError::Lost) if tries > 0 => {}
                Err(error) => return Err(error.into_error(&self.owner)),
                Ok(reply) => return Ok(reply),
            }
        }
    }
}

/// Slugs in one request. Even the longest slugs stay far below the limit of a request.
const CHUNK: usize = 512;

fn restart(owner: &Owner) -> Fix {
    Fix::with_owner("daemon restart", owner, [])
}

/// Sends the request, and reads until the daemon closes the connection.
fn exchange(
    connection: &Connection,
    request: &[u8],
    timeout: Duration,
) -> Result<ReadBuffer, TransportError> {
    let deadline = Deadline::after(timeout);
    write_all(&connection.stream, request, deadline)?;
    let mut reply = ReadBuffer::new(legacy::MAX_REPLY);
    while reply.read(&connection.stream, reply.unread().len() + 1, deadline, false)? {}
    if reply.is_untouched() { Err(TransportError::Lost) } else { Ok(reply) }
}

fn accept<T>(reply: Result<Reply<T>, legacy::LegacyError>) -> Result<T, Error> {
    match reply {
        Ok(Reply::Ok(data)) => Ok(data),
        Ok(Reply::Refused(error)) if legacy::is_session_mismatch(&error) => Err(sandbox::detected_error()
            .unwrap_or_else(|| {
                Error::new(
                    ErrorCode::SessionMismatch,
                    "the TypeScript daemon assigns this process to another login session",
                )
            })),
        Ok(Reply::Refused(error)) => {
            let shown: String = clean(&error).chars().take(200).collect();
            Err(Error::new(ErrorCode::BadRequest, format!("the TypeScript daemon refused: {shown}")))
        }
        Err(error) => Err(protocol_error(&error.to_string())),
    }
}

fn granted_key(key: &legacy::Grant<'_>) -> Result<GrantedKey, Error> {
    let expires_at_ms = key.expires_at.as_deref().and_then(timestamp::parse_ms);
    let mut bytes = Zeroizing::new(vec![0; key.secret.len()]);
    key.secret.unescape_into(&mut bytes).map_err(|error| protocol_error(&error.to_string()))?;
    let remaining =
        expires_at_ms.map(|at| Ttl(u64::try_from(at - keyrack_sys::clock::wall_ms()).unwrap_or(0)));
    let grant = Grant {
        slug: convert::slug(&key.slug)?,
        grade: convert::grade(&key.grade),
        source: convert::source(&key.source),
        expires_at_ms,
    };
    Ok(GrantedKey { grant, secret: Secret::from(bytes), remaining })
}
