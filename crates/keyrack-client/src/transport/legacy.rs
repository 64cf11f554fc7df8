//! Talking to today's TypeScript daemon: one JSON request, one JSON reply, for each a connection. Reading and relocking only: it cannot
//! tell its callers apart and keeps keys in ordinary memory, so no key is ever given to it.

use std::borrow::Cow;
use std::time::Duration;

use keyrack_core::{Error, ErrorCode, Fix, Grant, GrantedTtl, Owner, Slug, Ttl, timestamp};
use keyrack_wire::legacy::{self, Reply};
use keyrack_wire::{EncodeError, WipedBuffer};
use zeroize::Zeroizing;

use crate::address::RackAddress;
use crate::context::{Context, Demands};
use crate::sandbox;
use crate::secret::Secret;
use crate::session::{
    DaemonStatus, GrantedKey, KeyStatus, RelockScope, Relocked, absent, broken_protocol, stored_slug,
};
use crate::transport::connect::{Connection, Server, connect};
use crate::transport::convert;
use crate::transport::read_buffer::{Deadline, ReadBuffer, TransportError, write_all};
use keyrack_core::display::clean;

/// A TypeScript daemon.
#[derive(Debug)]
pub struct LegacyDaemon {
    address: RackAddress,
    deadline: Duration,
    owner: Owner,
    /// Open and not yet used.
    fresh: Option<Connection>,
    opened_by: u32,
}

impl LegacyDaemon {
    /// # Errors
    /// [`ErrorCode::BoundaryWeak`] when more is demanded than such a daemon can give.
    pub(crate) fn over(connection: Connection, address: RackAddress, ctx: &Context) -> Result<Self, Error> {
        let Demands { session, memory } = ctx.demands();
        if session || memory.is_some() {
            let what = if session { "KEYRACK_REQUIRE_SESSION" } else { "KEYRACK_MEMORY" };
            let message = format!(
                "an older TypeScript keyrack daemon runs: it cannot tell its callers apart and keeps keys in ordinary memory, and {what} demands more"
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

    /// Where its socket is.
    pub fn address(&self) -> &RackAddress {
        &self.address
    }

    /// The process at the other end; `None` while no connection is open.
    pub fn server(&self) -> Option<&Server> {
        self.fresh.as_ref().map(|connection| &connection.server)
    }

    /// What to say to one who asks for more than it can do.
    pub fn cannot(&self, what: &str) -> Error {
        let message = format!(
            "an older TypeScript keyrack daemon runs in this login session, and {what} needs the new one"
        );
        Error::new(ErrorCode::DaemonLegacy, message)
            .fix(restart(&self.owner))
            .hint("a restart carries over the keys it holds")
    }

    /// Fetches keys. Hits only, in the order asked.
    ///
    /// # Errors
    /// [`ErrorCode::SessionMismatch`], [`ErrorCode::DaemonUnresponsive`], [`ErrorCode::BadFrame`].
    pub fn get(&mut self, slugs: &[Slug]) -> Result<Vec<GrantedKey>, Error> {
        let mut granted = Vec::new();
        for some in slugs.chunks(CHUNK) {
            let asked = some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect();
            let request = legacy::Get { slugs: asked, org: None, env: None };
            let incoming = self.round(|sink| legacy::encode_get_request(sink, &request))?;
            let data = accept(legacy::parse_get_reply(incoming.unused()))?;
            for key in &data.keys {
                granted.push(granted_key(key)?);
            }
        }
        Ok(granted)
    }

    /// Lists what it holds.
    ///
    /// # Errors
    /// As [`LegacyDaemon::get`].
    pub fn status(&mut self) -> Result<DaemonStatus, Error> {
        let incoming = self.round(legacy::encode_status_request)?;
        let data = accept(legacy::parse_status_reply(incoming.unused()))?;
        let keys = data.keys.iter().map(|key| {
            Ok(KeyStatus {
                slug: stored_slug(&key.slug)?,
                grade: None,
                source: None,
                expires_at_ms: key.expires_at.as_deref().and_then(timestamp::parse_ms),
                left: key.ttl_left_ms.map(Ttl),
                given: GrantedTtl::default(),
                ends_by_boot: false,
            })
        });
        Ok(DaemonStatus {
            keys: keys.collect::<Result<_, Error>>()?,
            home_hash: clean(&data.home_hash),
            health: None,
        })
    }

    /// Erases keys; returns the slugs of those it held.
    ///
    /// # Errors
    /// As [`LegacyDaemon::get`].
    pub fn relock(&mut self, what: &RelockScope) -> Result<Relocked, Error> {
        let requests: Vec<legacy::Relock<'_>> = match what {
            RelockScope::All => vec![legacy::Relock::All],
            RelockScope::Env(env) => vec![legacy::Relock::Env(env.as_str().into())],
            // An empty list would make it erase everything: nothing is sent then.
            RelockScope::Slugs(slugs) => slugs
                .chunks(CHUNK)
                .map(|some| {
                    legacy::Relock::Slugs(some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect())
                })
                .collect(),
        };
        let mut relocked = Relocked::default();
        for request in requests {
            let incoming = self.round(|sink| legacy::encode_relock_request(sink, &request))?;
            for slug in accept(legacy::parse_relock_reply(incoming.unused()))? {
                relocked.slugs.push(stored_slug(&slug)?);
            }
        }
        Ok(relocked)
    }

    fn round(
        &mut self,
        compose: impl Fn(&mut WipedBuffer) -> Result<(), EncodeError>,
    ) -> Result<ReadBuffer, Error> {
        let mut outgoing = WipedBuffer::new(legacy::MAX_REQUEST);
        compose(&mut outgoing).map_err(|error| {
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
                None => connect(&self.address, self.deadline)?.ok_or_else(absent)?,
            };
            match talk(&connection, outgoing.as_slice(), self.deadline) {
                Err(TransportError::Lost) if tries > 0 => {}
                Err(broken) => return Err(broken.error(&self.owner)),
                Ok(incoming) => return Ok(incoming),
            }
        }
    }
}

/// Slugs to one request: with the longest slugs that is far below what a request may hold.
const CHUNK: usize = 512;

fn restart(owner: &Owner) -> Fix {
    Fix::with_owner("daemon restart", owner, [])
}

/// Sends the request and reads until the daemon hangs up.
fn talk(connection: &Connection, request: &[u8], deadline: Duration) -> Result<ReadBuffer, TransportError> {
    let until = Deadline::after(deadline);
    write_all(&connection.stream, request, until)?;
    let mut incoming = ReadBuffer::new(legacy::MAX_REPLY);
    while incoming.read(&connection.stream, incoming.unused().len() + 1, until, false)? {}
    if incoming.is_untouched() { Err(TransportError::Lost) } else { Ok(incoming) }
}

fn accept<T>(reply: Result<Reply<T>, legacy::LegacyError>) -> Result<T, Error> {
    match reply {
        Ok(Reply::Ok(data)) => Ok(data),
        Ok(Reply::Refused(error)) if legacy::is_session_mismatch(&error) => Err(sandbox::refused()
            .unwrap_or_else(|| {
                Error::new(
                    ErrorCode::SessionMismatch,
                    "the TypeScript daemon takes this process for one of another login session",
                )
            })),
        Ok(Reply::Refused(error)) => {
            let shown: String = clean(&error).chars().take(200).collect();
            Err(Error::new(ErrorCode::BadRequest, format!("the TypeScript daemon refused: {shown}")))
        }
        Err(error) => Err(broken_protocol(&error.to_string())),
    }
}

fn granted_key(key: &legacy::Grant<'_>) -> Result<GrantedKey, Error> {
    let expires_at_ms = key.expires_at.as_deref().and_then(timestamp::parse_ms);
    let mut bytes = Zeroizing::new(vec![0; key.secret.len()]);
    key.secret.unescape_into(&mut bytes).map_err(|error| broken_protocol(&error.to_string()))?;
    let left = expires_at_ms.map(|at| Ttl(u64::try_from(at - keyrack_sys::clock::wall_ms()).unwrap_or(0)));
    let grant = Grant {
        slug: stored_slug(&key.slug)?,
        grade: convert::read_grade(&key.grade),
        source: convert::read_source(&key.source),
        expires_at_ms,
    };
    Ok(GrantedKey { grant, secret: Secret::from(bytes), left })
}
