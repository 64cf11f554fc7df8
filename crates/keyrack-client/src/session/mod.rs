//! A native session with the daemon: blocking, one request at a time, each within a deadline.
//!
//! `hello` goes out with the first request in one write. If a connection ends before the first byte
//! of a reply, the session connects again once and repeats the request, unless repeating could
//! change something. A forked child never uses its parent's connection; it opens its own.

mod requirements;

pub use crate::transport::types::{
    DaemonHealth, DaemonStatus, GrantedKey, HardeningReport, HelloInfo, KeyStatus, KeyToUnlock, RelockTarget,
    Relocked, UnlockOutcome, UnlockedKey,
};

use std::borrow::Cow;
use std::time::Duration;

use keyrack_core::display::clean;
use keyrack_core::peer::Boundary;
use keyrack_core::{Error, ErrorCode, Fix, Owner, Slug, Ttl, TtlLimit, timestamp};
use keyrack_sys::process::pid::{self, Pid};
use keyrack_wire::native::{
    self, GetOk, HelloOk, NothingOk, Op, RelockOk, Request, StatusOk, UnlockItem, UnlockOk,
};
use keyrack_wire::{EncodeError, Relock, WipedBuffer};

use crate::address::RackAddress;
use crate::context::{Context, MemoryRank, Requirements};
use crate::transport::connect::{Connection, ServerPeer, connect};
use crate::transport::convert;
use crate::transport::error::{TransportError, no_daemon, protocol_error};
use crate::transport::round_trip::{Buffers, RawReply, round_trip};
use requirements::{Machine, check};

/// Session with a native daemon.
#[derive(Debug)]
pub struct Session {
    address: RackAddress,
    deadline: Duration,
    requirements: Requirements,
    owner: Owner,
    connection: Option<OpenConnection>,
    buffers: Box<Buffers>,
    opened_by: Pid,
    next_id: u64,
    /// Number of connections opened so far.
    connections: u32,
    hello: Option<HelloInfo>,
}

/// Open connection of a session.
#[derive(Debug)]
struct OpenConnection {
    connection: Connection,
    has_sent_hello: bool,
}

impl Session {
    /// Creates a session over a connection to a native daemon. Sends nothing yet.
    pub(crate) fn over(connection: Connection, address: RackAddress, ctx: &Context) -> Self {
        Session {
            address,
            deadline: ctx.deadline,
            requirements: ctx.requirements(),
            owner: ctx.owner.clone(),
            connection: Some(OpenConnection { connection, has_sent_hello: false }),
            buffers: Box::new(Buffers::new()),
            opened_by: pid::current(),
            next_id: 1,
            connections: 1,
            hello: None,
        }
    }

    /// Address of the daemon.
    pub fn address(&self) -> &RackAddress {
        &self.address
    }

    /// Number of connections opened so far: if it is the same, so is the connection.
    pub(crate) fn connections(&self) -> u32 {
        self.connections
    }

    /// The open connection, if there is one.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref().map(|open| &open.connection)
    }

    /// Process at the other end. `None` while no connection is open.
    pub fn server(&self) -> Option<&ServerPeer> {
        self.connection.as_ref().map(|open| &open.connection.server)
    }

    /// Changes the time that a request may take.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Returns the daemon's description of itself, and requests it if needed. Checks it against the
    /// requirements of the context.
    ///
    /// # Errors
    /// [`ErrorCode::DaemonIncompatible`], [`ErrorCode::BoundaryWeak`], and those of any request.
    pub fn hello(&mut self) -> Result<&HelloInfo, Error> {
        if self.hello.is_none() || self.opened_by != pid::current() {
            self.ping()?;
        }
        self.hello.as_ref().ok_or_else(|| protocol_error("reply before hello"))
    }

    /// Checks that the daemon responds.
    ///
    /// # Errors
    /// Those of any request.
    pub fn ping(&mut self) -> Result<(), Error> {
        let reply = self.request(Op::Ping, Retry::Once)?;
        reply.decode::<NothingOk>().map(|_| ())
    }

    /// Returns the keys that the daemon holds, in the order of the request. A key that answers two
    /// slugs comes twice.
    ///
    /// # Errors
    /// Those of any request.
    pub fn get(&mut self, slugs: &[Slug]) -> Result<Vec<GrantedKey>, Error> {
        let mut granted = Vec::with_capacity(slugs.len().min(64));
        let mut asked: Vec<Cow<'_, str>> = slugs.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect();
        let mut at_once = usize::MAX;
        while !asked.is_empty() {
            let fit = native::get_slugs_that_fit(&asked).min(at_once).clamp(1, asked.len());
            let later = asked.split_off(fit);
            let mut request = Request { id: 0, op: Op::Get(native::Get { slugs: asked }) };
            let reply = self.send(&mut request, Retry::Once)?;
            let (ok, frame) = match reply.decode::<GetOk<'_>>() {
                // A daemon with little memory for replies takes fewer keys at a time.
                Err(error) if error.code == ErrorCode::MemoryFull && fit > 1 => {
                    let Op::Get(get) = request.op else { return Err(error) };
                    at_once = fit / 2;
                    asked = get.slugs;
                    asked.extend(later);
                    continue;
                }
                read => read?,
            };
            for key in &ok.keys {
                let secret = frame
                    .secret(key.secret)
                    .ok_or_else(|| protocol_error("secret range outside the frame"))?;
                granted.push(convert::granted_key(key, secret)?);
            }
            if !ok.rest.is_empty() && ok.keys.is_empty() {
                return Err(protocol_error("no key in a partial reply"));
            }
            asked = ok.rest.into_iter().map(|slug| Cow::Owned(slug.into_owned())).collect();
            asked.extend(later);
            self.buffers.recycle(reply);
        }
        Ok(granted)
    }

    /// Gives keys to the daemon. Returns one outcome for each, in order. A refused key does not
    /// affect the others.
    ///
    /// # Errors
    /// Those of any request. The daemon may have kept keys of earlier frames of the same call.
    pub fn unlock(&mut self, keys: &[KeyToUnlock<'_>]) -> Result<Vec<UnlockOutcome>, Error> {
        // No secret leaves before `hello` was checked. And the daemon may have evicted this
        // connection when its table was full: a request that can be repeated detects that.
        self.ping()?;
        let times: Vec<Option<String>> =
            keys.iter().map(|key| key.credential_expires_at_ms.map(timestamp::format_ms)).collect();
        let items: Vec<UnlockItem<'_, &[u8]>> = keys
            .iter()
            .zip(&times)
            .map(|(key, time)| UnlockItem {
                slug: key.slug.as_str(),
                grade: convert::grade_to_wire(key.grade),
                source: convert::source_to_wire(key.source),
                ttl_ms: key.ttl.as_ms(),
                credential_expires_at: time.as_deref(),
                life_ms: key.granted.ttl.map(Ttl::as_ms),
                life_by: key.granted.limit.map(TtlLimit::as_str),
                secret: key.secret,
            })
            .collect();
        let mut outcomes = Vec::with_capacity(keys.len());
        while let Some(first) = keys.get(outcomes.len()) {
            let left = &items[outcomes.len()..];
            let fit = native::unlock_keys_that_fit(left);
            if fit == 0 {
                let message = format!("the secret of {} is larger than keyrack can send", first.slug);
                let error = Error::new(ErrorCode::SecretTooLarge, message).of(first.slug);
                outcomes.push(UnlockOutcome { slug: first.slug.clone(), outcome: Err(error) });
                continue;
            }
            let reply =
                self.round_trip(Retry::Never, |sink, id| native::encode_unlock(sink, id, &left[..fit]))?;
            let (ok, _) = reply.decode::<UnlockOk<'_>>()?;
            if ok.results.len() != fit {
                return Err(protocol_error("wrong number of results"));
            }
            let given = &keys[outcomes.len()..][..fit];
            for (key, result) in given.iter().zip(&ok.results) {
                let outcome = match &result.outcome {
                    Ok(kept) => Ok(UnlockedKey {
                        ttl: Ttl(kept.ttl_ms),
                        expires_at_ms: convert::time(&kept.expires_at)?,
                    }),
                    Err(error) => Err(convert::error(error).of(key.slug)),
                };
                outcomes.push(UnlockOutcome { slug: key.slug.clone(), outcome });
            }
        }
        Ok(outcomes)
    }

    /// Lists all unlocked keys.
    ///
    /// # Errors
    /// Those of any request.
    pub fn status(&mut self) -> Result<DaemonStatus, Error> {
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let reply = self.request(Op::Status(native::Status { after, limit: None }), Retry::Once)?;
            let (ok, _) = reply.decode::<StatusOk<'_>>()?;
            for key in &ok.keys {
                keys.push(convert::key_status(key)?);
            }
            let last = ok.keys.last().map(|key| key.n);
            if !ok.more {
                let health = DaemonHealth {
                    boundary: Boundary::parse(&ok.boundary).unwrap_or(Boundary::User),
                    memory: clean(&ok.memory),
                    hardening: ok.hardening.iter().map(convert::hardening).collect(),
                    bytes: ok.counts.bytes,
                };
                return Ok(DaemonStatus { keys, home_hash: clean(&ok.home_hash), health: Some(health) });
            }
            if last.is_none() || last <= after {
                return Err(protocol_error("endless list of keys"));
            }
            after = last;
        }
    }

    /// Erases keys. Returns the slugs of the keys that were there.
    ///
    /// # Errors
    /// Those of any request.
    pub fn relock(&mut self, what: &RelockTarget) -> Result<Relocked, Error> {
        let mut relocked = Relocked::default();
        match what {
            RelockTarget::All => self.relock_some(Relock::All, &mut relocked)?,
            RelockTarget::Env(env) => {
                self.relock_some(Relock::Env(env.as_str().into()), &mut relocked)?;
            }
            RelockTarget::Slugs(slugs) => {
                // Half of what a get can request, so that the reply can name all of them.
                for some in slugs.chunks(64) {
                    let names = some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect();
                    self.relock_some(Relock::Slugs(names), &mut relocked)?;
                }
            }
        }
        Ok(relocked)
    }

    fn relock_some(&mut self, some: Relock<'_>, relocked: &mut Relocked) -> Result<(), Error> {
        let reply = self.request(Op::Relock(some), Retry::Once)?;
        let (ok, _) = reply.decode::<RelockOk<'_>>()?;
        for slug in &ok.relocked {
            relocked.slugs.push(convert::slug(slug)?);
        }
        relocked.unnamed += ok.unnamed;
        Ok(())
    }

    /// Makes the daemon erase all keys and exit.
    ///
    /// # Errors
    /// Those of any request.
    pub fn shutdown(&mut self) -> Result<(), Error> {
        let reply = self.request(Op::Shutdown, Retry::Never)?;
        self.connection = None;
        reply.decode::<NothingOk>().map(|_| ())
    }

    fn request(&mut self, op: Op<'_>, retry: Retry) -> Result<RawReply, Error> {
        self.send(&mut Request { id: 0, op }, retry)
    }

    fn send(&mut self, request: &mut Request<'_>, retry: Retry) -> Result<RawReply, Error> {
        self.round_trip(retry, |sink, id| {
            request.id = id;
            request.encode(sink)
        })
    }

    /// Sends one request and reads its reply, with `hello` before it on a fresh connection.
    fn round_trip(
        &mut self,
        retry: Retry,
        mut encode: impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
    ) -> Result<RawReply, Error> {
        let mut tries = if retry == Retry::Once { 2 } else { 1 };
        loop {
            tries -= 1;
            let deadline = self.deadline;
            let id = self.next_id;
            self.connect()?;
            let open = self.connection.as_mut().expect("`connect` opened it");
            let hello = (!open.has_sent_hello).then_some(id);
            match round_trip(&open.connection, deadline, hello, id + 1, &mut self.buffers, &mut encode) {
                Ok((hello, reply)) => {
                    open.has_sent_hello = true;
                    self.next_id += 2;
                    if let Some(hello) = hello {
                        let ok = hello.decode::<HelloOk<'_>>();
                        let checked = ok.and_then(|(ok, _)| self.check_hello(&ok));
                        self.hello = Some(checked.inspect_err(|_| self.connection = None)?);
                    }
                    return Ok(reply);
                }
                Err(error) => {
                    // After an error, the next bytes of this connection could be misread.
                    self.connection = None;
                    if tries == 0 || !matches!(error, TransportError::Lost) {
                        return Err(error.into_error(&self.owner));
                    }
                }
            }
        }
    }

    /// Ensures an open connection: a new one after a fork, and after an error.
    fn connect(&mut self) -> Result<(), Error> {
        let us = pid::current();
        if self.opened_by != us {
            self.connection = None;
            self.opened_by = us;
        }
        if self.connection.is_none() {
            let connection = connect(&self.address, self.deadline)?.ok_or_else(no_daemon)?;
            self.connection = Some(OpenConnection { connection, has_sent_hello: false });
            self.connections += 1;
        }
        Ok(())
    }

    fn check_hello(&self, ok: &HelloOk<'_>) -> Result<HelloInfo, Error> {
        let seen = self.server().map_or(Boundary::User, |server| server.boundary);
        let said = Boundary::parse(&ok.boundary).unwrap_or(Boundary::User);
        let restart = || Fix::with_owner("daemon restart", &self.owner, []);
        let Some(proto) = native::agreed_proto(ok.proto, ok.min_proto) else {
            let message = format!(
                "the daemon has version {} and speaks protocols {} to {}; this keyrack speaks {} to {}",
                clean(&ok.version),
                ok.min_proto,
                ok.proto,
                native::MIN_PROTO,
                native::PROTO
            );
            return Err(Error::new(ErrorCode::DaemonIncompatible, message).fix(restart()));
        };
        let hello = HelloInfo {
            proto,
            version: clean(&ok.version),
            build: clean(&ok.build),
            boot_id: clean(&ok.boot_id),
            pid: ok.pid,
            // `Boundary` orders stronger before weaker.
            boundary: seen.max(said),
            namespaces: ok.namespaces.as_deref().map(clean),
            memory: clean(&ok.memory),
            hardening: ok.hardening.iter().map(convert::hardening).collect(),
        };
        let machine = Machine {
            boundary: seen,
            identifies_peers: self.server().is_some_and(|server| server.pidfd.is_some()),
            missing_for: &MemoryRank::unavailable,
        };
        check(self.requirements, &hello, &machine).map_err(|error| match error.hint {
            Some(_) => error,
            None => error.fix(restart()),
        })?;
        Ok(hello)
    }
}

/// Rule for sending a request again after the connection ended before the first byte of the reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Once,
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forked_child_opens_its_own_connection() {
        let home = keyrack_testkit::Home::new();
        let env = [("HOME", home.home()), ("XDG_RUNTIME_DIR", home.runtime())].into_iter().collect();
        let ctx = Context::new("/", env);
        let address = RackAddress::of(&ctx).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(address.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let connection = connect(&address, ctx.deadline).unwrap().unwrap();
        let mut session = Session::over(connection, address, &ctx);
        let accepted = || std::iter::from_fn(|| listener.accept().ok()).count();
        session.connect().unwrap();
        session.connect().unwrap();
        assert_eq!(accepted(), 1);
        // State of a forked child: another process opened the session.
        session.opened_by = Pid::from_raw(0);
        session.connect().unwrap();
        session.connect().unwrap();
        assert_eq!(accepted(), 1);
    }
}
