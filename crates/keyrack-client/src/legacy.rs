//! Talking to today's TypeScript daemon: one JSON request, one JSON reply, for each a connection. Reading and relocking only: it cannot
//! tell its callers apart and keeps keys in ordinary memory, so no key is ever given to it.

use std::borrow::Cow;
use std::time::Duration;

use keyrack_core::{Error, ErrorCode, Fix, Grant, GrantedTtl, Owner, Slug, Ttl, timestamp};
use keyrack_wire::legacy::{self, Reply};
use keyrack_wire::{EncodeError, WipedBuffer};
use zeroize::Zeroizing;

use crate::connect::{Connection, Server, connect};
use crate::context::{Context, Demands};
use crate::paths::Place;
use crate::render::text::clean;
use crate::sandbox;
use crate::secret::Secret;
use crate::session::{
    Granted, HeldKey, Holdings, RelockWhat, Relocked, absent, broken_protocol, stored_slug,
};
use crate::stream::{Broken, Inbox, Until, write_all};
use crate::wire_names;

/// A TypeScript daemon.
#[derive(Debug)]
pub struct LegacyDaemon {
    place: Place,
    deadline: Duration,
    owner: Owner,
    /// Open and not yet used.
    fresh: Option<Connection>,
    opened_by: u32,
}

impl LegacyDaemon {
    /// # Errors
    /// [`ErrorCode::BoundaryWeak`] when more is demanded than such a daemon can give.
    pub(crate) fn over(connection: Connection, place: Place, ctx: &Context) -> Result<Self, Error> {
        let Demands { session, memory } = ctx.demands();
        if session || memory.is_some() {
            let what = if session { "KEYRACK_REQUIRE_SESSION" } else { "KEYRACK_MEMORY" };
            let message = format!(
                "an older TypeScript keyrack daemon runs: it cannot tell its callers apart and keeps keys in ordinary memory, and {what} demands more"
            );
            return Err(Error::new(ErrorCode::BoundaryWeak, message).fix(restart(&ctx.owner)));
        }
        Ok(LegacyDaemon {
            place,
            deadline: ctx.deadline,
            owner: ctx.owner.clone(),
            fresh: Some(connection),
            opened_by: std::process::id(),
        })
    }

    /// Where its socket is.
    pub fn place(&self) -> &Place {
        &self.place
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
    pub fn get(&mut self, slugs: &[Slug]) -> Result<Vec<Granted>, Error> {
        let mut granted = Vec::new();
        for some in slugs.chunks(CHUNK) {
            let asked = some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect();
            let request = legacy::Get { slugs: asked, org: None, env: None };
            let inbox = self.round(|sink| legacy::encode_get_request(sink, &request))?;
            let data = accept(legacy::parse_get_reply(inbox.unused()))?;
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
    pub fn status(&mut self) -> Result<Holdings, Error> {
        let inbox = self.round(legacy::encode_status_request)?;
        let data = accept(legacy::parse_status_reply(inbox.unused()))?;
        let keys = data.keys.iter().map(|key| {
            Ok(HeldKey {
                slug: stored_slug(&key.slug)?,
                grade: None,
                source: None,
                expires_at_ms: key.expires_at.as_deref().and_then(timestamp::parse_ms),
                left: key.ttl_left_ms.map(Ttl),
                given: GrantedTtl::default(),
                ends_by_boot: false,
            })
        });
        Ok(Holdings {
            keys: keys.collect::<Result<_, Error>>()?,
            home_hash: clean(&data.home_hash),
            condition: None,
        })
    }

    /// Erases keys; returns the slugs of those it held.
    ///
    /// # Errors
    /// As [`LegacyDaemon::get`].
    pub fn relock(&mut self, what: &RelockWhat) -> Result<Relocked, Error> {
        let requests: Vec<legacy::Relock<'_>> = match what {
            RelockWhat::All => vec![legacy::Relock::All],
            RelockWhat::Env(env) => vec![legacy::Relock::Env(env.as_str().into())],
            // An empty list would make it erase everything: nothing is sent then.
            RelockWhat::Slugs(slugs) => slugs
                .chunks(CHUNK)
                .map(|some| {
                    legacy::Relock::Slugs(some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect())
                })
                .collect(),
        };
        let mut relocked = Relocked::default();
        for request in requests {
            let inbox = self.round(|sink| legacy::encode_relock_request(sink, &request))?;
            for slug in accept(legacy::parse_relock_reply(inbox.unused()))? {
                relocked.slugs.push(stored_slug(&slug)?);
            }
        }
        Ok(relocked)
    }

    fn round(
        &mut self,
        compose: impl Fn(&mut WipedBuffer) -> Result<(), EncodeError>,
    ) -> Result<Inbox, Error> {
        let mut outbox = WipedBuffer::new(legacy::MAX_REQUEST);
        compose(&mut outbox).map_err(|error| {
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
                None => connect(&self.place, self.deadline)?.ok_or_else(absent)?,
            };
            match talk(&connection, outbox.as_slice(), self.deadline) {
                Err(Broken::Lost) if tries > 0 => {}
                Err(broken) => return Err(broken.error(&self.owner)),
                Ok(inbox) => return Ok(inbox),
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
fn talk(connection: &Connection, request: &[u8], deadline: Duration) -> Result<Inbox, Broken> {
    let until = Until::after(deadline);
    write_all(&connection.stream, request, until)?;
    let mut inbox = Inbox::new(legacy::MAX_REPLY);
    while inbox.read(&connection.stream, inbox.unused().len() + 1, until, false)? {}
    if inbox.is_untouched() { Err(Broken::Lost) } else { Ok(inbox) }
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

fn granted_key(key: &legacy::Grant<'_>) -> Result<Granted, Error> {
    let expires_at_ms = key.expires_at.as_deref().and_then(timestamp::parse_ms);
    let mut bytes = Zeroizing::new(vec![0; key.secret.len()]);
    key.secret.unescape_into(&mut bytes).map_err(|error| broken_protocol(&error.to_string()))?;
    let left = expires_at_ms.map(|at| Ttl(u64::try_from(at - keyrack_sys::clock::wall_ms()).unwrap_or(0)));
    let grant = Grant {
        slug: stored_slug(&key.slug)?,
        grade: wire_names::read_grade(&key.grade),
        source: wire_names::read_source(&key.source),
        expires_at_ms,
    };
    Ok(Granted { grant, secret: Secret::from(bytes), left })
}
