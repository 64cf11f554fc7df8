//! A native session with the daemon: blocking, one request at a time, each with a deadline.
//!
//! Hello goes out with the first request in one write. A connection that ends before the first byte of a reply is opened again once for
//! requests that change nothing when repeated. A session is never used after a fork: the child opens its own.

pub use crate::transport::types::{
    DaemonHealth, DaemonStatus, GrantedKey, HardeningMeasure, HelloInfo, KeyStatus, KeyToUnlock, RelockScope,
    Relocked, UnlockOutcome, UnlockedKey,
};

use std::borrow::Cow;
use std::time::Duration;

use keyrack_core::peer::Boundary;
use keyrack_core::{Error, ErrorCode, Fix, Grant, GrantedTtl, Owner, Slug, Ttl, TtlLimit, timestamp};
use keyrack_wire::EncodeError;
use keyrack_wire::native::{
    self, GetOk, HelloOk, NothingOk, Op, RelockOk, Request, StatusOk, UnlockItem, UnlockOk,
};

use crate::address::RackAddress;
use crate::context::{Context, Demands, MemoryRank};
use crate::secret::Secret;
use crate::transport::connect::{Connection, Server, connect};
use crate::transport::convert;
use crate::transport::read_buffer::TransportError;
use crate::transport::round_trip::{Buffers, RawReply, round_trip};
use keyrack_core::display::clean;

/// A session with a native daemon.
#[derive(Debug)]
pub struct Session {
    address: RackAddress,
    deadline: Duration,
    demands: Demands,
    owner: Owner,
    line: Option<Line>,
    buffers: Box<Buffers>,
    opened_by: u32,
    next_id: u64,
    hello: Option<HelloInfo>,
}

/// An open connection and whether hello has gone over it.
#[derive(Debug)]
struct Line {
    connection: Connection,
    greeted: bool,
}

impl Session {
    /// A session over a connection to a native daemon; nothing is sent yet.
    pub(crate) fn over(connection: Connection, address: RackAddress, ctx: &Context) -> Self {
        Session {
            address,
            deadline: ctx.deadline,
            demands: ctx.demands(),
            owner: ctx.owner.clone(),
            line: Some(Line { connection, greeted: false }),
            buffers: Box::new(Buffers::new()),
            opened_by: keyrack_sys::process::pid::own(),
            next_id: 1,
            hello: None,
        }
    }

    /// Where its socket is.
    pub fn address(&self) -> &RackAddress {
        &self.address
    }

    /// The process at the other end; `None` while no connection is open.
    pub fn server(&self) -> Option<&Server> {
        self.line.as_ref().map(|line| &line.connection.server)
    }

    /// Changes how long a reply may take.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// What the daemon says of itself; asks it if it has not said so yet. Checks what the context demands of it.
    ///
    /// # Errors
    /// [`ErrorCode::DaemonIncompatible`], [`ErrorCode::BoundaryWeak`], and those of any request.
    pub fn hello(&mut self) -> Result<&HelloInfo, Error> {
        if self.hello.is_none() || self.opened_by != keyrack_sys::process::pid::own() {
            self.ping()?;
        }
        self.hello.as_ref().ok_or_else(|| broken_protocol("it answered before it said hello"))
    }

    /// Asks whether it is there.
    ///
    /// # Errors
    /// Those of any request.
    pub fn ping(&mut self) -> Result<(), Error> {
        let received = self.ask(Op::Ping, Again::Once)?;
        received.read::<NothingOk>().map(|_| ())
    }

    /// Fetches keys. Hits only, in the order asked; a key that answers two asks comes twice.
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
            let received = self.ask_with(&mut request, Again::Once)?;
            let (ok, frame) = match received.read::<GetOk<'_>>() {
                // A daemon with little memory for replies has room for fewer keys at a time.
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
                let bytes =
                    frame.secret(key.secret).ok_or_else(|| broken_protocol("a range leads nowhere"))?;
                granted.push(granted_key(key, bytes)?);
            }
            if !ok.rest.is_empty() && ok.keys.is_empty() {
                return Err(broken_protocol("it put off every key that was asked for"));
            }
            asked = ok.rest.into_iter().map(|slug| Cow::Owned(slug.into_owned())).collect();
            asked.extend(later);
            self.buffers.put_back(received);
        }
        Ok(granted)
    }

    /// Gives keys to the daemon. One outcome for each, in the order given; a key that is refused does not stop the others.
    ///
    /// # Errors
    /// Those of any request. Keys of an earlier frame of the same call may have been kept by then.
    pub fn unlock(&mut self, keys: &[KeyToUnlock<'_>]) -> Result<Vec<UnlockOutcome>, Error> {
        // No secret leaves before the daemon has said what it is; and a connection it has meanwhile given up, as it may when many want
        // one, is found out by a request that can be sent twice.
        self.ping()?;
        let times: Vec<Option<String>> =
            keys.iter().map(|key| key.credential_expires_at_ms.map(timestamp::format_ms)).collect();
        let items: Vec<UnlockItem<'_, &[u8]>> = keys
            .iter()
            .zip(&times)
            .map(|(key, time)| UnlockItem {
                slug: key.slug.as_str(),
                grade: convert::grade(key.grade),
                source: convert::source(key.source),
                ttl_ms: key.ttl.as_ms(),
                credential_expires_at: time.as_deref(),
                life_ms: key.given.ttl.map(Ttl::as_ms),
                life_by: key.given.by.map(TtlLimit::as_str),
                secret: key.secret,
            })
            .collect();
        let mut outcomes = Vec::with_capacity(keys.len());
        while let Some(first) = keys.get(outcomes.len()) {
            let left = &items[outcomes.len()..];
            let fit = native::unlock_keys_that_fit(left);
            if fit == 0 {
                let message = format!("the secret of {} is larger than keyrack carries", first.slug);
                let error = Error::new(ErrorCode::SecretTooLarge, message).of(first.slug);
                outcomes.push(UnlockOutcome { slug: first.slug.clone(), outcome: Err(error) });
                continue;
            }
            let received =
                self.round(Again::Never, |sink, id| native::encode_unlock(sink, id, &left[..fit]))?;
            let (ok, _) = received.read::<UnlockOk<'_>>()?;
            if ok.results.len() != fit {
                return Err(broken_protocol("it did not say what became of each key"));
            }
            let given = &keys[outcomes.len()..][..fit];
            for (key, result) in given.iter().zip(&ok.results) {
                let outcome = match &result.outcome {
                    Ok(kept) => {
                        Ok(UnlockedKey { ttl: Ttl(kept.ttl_ms), expires_at_ms: time(&kept.expires_at)? })
                    }
                    Err(error) => Err(convert::error(error).of(key.slug)),
                };
                outcomes.push(UnlockOutcome { slug: key.slug.clone(), outcome });
            }
        }
        Ok(outcomes)
    }

    /// Lists what is held, all pages of it.
    ///
    /// # Errors
    /// Those of any request.
    pub fn status(&mut self) -> Result<DaemonStatus, Error> {
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let received = self.ask(Op::Status(native::Status { after, limit: None }), Again::Once)?;
            let (ok, _) = received.read::<StatusOk<'_>>()?;
            for key in &ok.keys {
                keys.push(held_key(key)?);
            }
            let last = ok.keys.last().map(|key| key.n);
            if !ok.more {
                let health = DaemonHealth {
                    boundary: Boundary::parse(&ok.boundary).unwrap_or(Boundary::User),
                    memory: clean(&ok.memory),
                    hardening: ok.hardening.iter().map(measure).collect(),
                    bytes: ok.counts.bytes,
                };
                return Ok(DaemonStatus { keys, home_hash: clean(&ok.home_hash), health: Some(health) });
            }
            if last.is_none() || last <= after {
                return Err(broken_protocol("its list does not end"));
            }
            after = last;
        }
    }

    /// Erases keys; returns the slugs of those it held.
    ///
    /// # Errors
    /// Those of any request.
    pub fn relock(&mut self, what: &RelockScope) -> Result<Relocked, Error> {
        let mut relocked = Relocked::default();
        match what {
            RelockScope::All => self.relock_some(native::Relock::All, &mut relocked)?,
            RelockScope::Env(env) => {
                self.relock_some(native::Relock::Env(env.as_str().into()), &mut relocked)?;
            }
            RelockScope::Slugs(slugs) => {
                // Half of what a get could ask for, so that the answer can name all of it too.
                for some in slugs.chunks(64) {
                    let names = some.iter().map(|slug| Cow::Borrowed(slug.as_str())).collect();
                    self.relock_some(native::Relock::Slugs(names), &mut relocked)?;
                }
            }
        }
        Ok(relocked)
    }

    fn relock_some(&mut self, some: native::Relock<'_>, relocked: &mut Relocked) -> Result<(), Error> {
        let received = self.ask(Op::Relock(some), Again::Once)?;
        let (ok, _) = received.read::<RelockOk<'_>>()?;
        for slug in &ok.relocked {
            relocked.slugs.push(stored_slug(slug)?);
        }
        relocked.unnamed += ok.unnamed;
        Ok(())
    }

    /// Makes the daemon erase everything and end.
    ///
    /// # Errors
    /// Those of any request.
    pub fn shutdown(&mut self) -> Result<(), Error> {
        let received = self.ask(Op::Shutdown, Again::Never)?;
        self.line = None;
        received.read::<NothingOk>().map(|_| ())
    }

    fn ask(&mut self, op: Op<'_>, again: Again) -> Result<RawReply, Error> {
        self.ask_with(&mut Request { id: 0, op }, again)
    }

    fn ask_with(&mut self, request: &mut Request<'_>, again: Again) -> Result<RawReply, Error> {
        self.round(again, |sink, id| {
            request.id = id;
            request.encode(sink)
        })
    }

    /// One request and its reply, with hello before it on a fresh connection.
    fn round(
        &mut self,
        again: Again,
        mut compose: impl FnMut(&mut keyrack_wire::WipedBuffer, u64) -> Result<(), EncodeError>,
    ) -> Result<RawReply, Error> {
        let mut tries = if again == Again::Once { 2 } else { 1 };
        loop {
            tries -= 1;
            let deadline = self.deadline;
            let id = self.next_id;
            self.connect()?;
            let line = self.line.as_mut().expect("it is there once connected");
            let hello = (!line.greeted).then_some(id);
            match round_trip(&line.connection, deadline, hello, id + 1, &mut self.buffers, &mut compose) {
                Ok((hello, received)) => {
                    line.greeted = true;
                    self.next_id += 2;
                    if let Some(hello) = hello {
                        let ok = hello.read::<HelloOk<'_>>();
                        let checked = ok.and_then(|(ok, _)| self.check(&ok));
                        self.hello = Some(checked.inspect_err(|_| self.line = None)?);
                    }
                    return Ok(received);
                }
                Err(broken) => {
                    // Whatever it was, what comes next on this connection would be misread.
                    self.line = None;
                    if tries == 0 || !matches!(broken, TransportError::Lost) {
                        return Err(broken.error(&self.owner));
                    }
                }
            }
        }
    }

    /// Sees to an open connection: a new one after a fork, and after one that broke.
    fn connect(&mut self) -> Result<(), Error> {
        let us = keyrack_sys::process::pid::own();
        if self.opened_by != us {
            self.line = None;
            self.opened_by = us;
        }
        if self.line.is_none() {
            let connection = connect(&self.address, self.deadline)?.ok_or_else(absent)?;
            self.line = Some(Line { connection, greeted: false });
        }
        Ok(())
    }

    fn check(&self, ok: &HelloOk<'_>) -> Result<HelloInfo, Error> {
        let seen = self.server().map_or(Boundary::User, |server| server.boundary);
        let said = Boundary::parse(&ok.boundary).unwrap_or(Boundary::User);
        let restart = || Fix::with_owner("daemon restart", &self.owner, []);
        let Some(proto) = native::agreed_proto(ok.proto, ok.min_proto) else {
            let message = format!(
                "the daemon is of version {} and speaks protocol {} to {}, this keyrack {} to {}",
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
            // The one that is declared later is the weaker.
            boundary: seen.max(said),
            namespaces: ok.namespaces.as_deref().map(clean),
            memory: clean(&ok.memory),
            hardening: ok.hardening.iter().map(measure).collect(),
        };
        let here = Here {
            boundary: seen,
            names_peers: self.server().is_some_and(|server| server.pidfd.is_some()),
            lacks: &MemoryRank::unavailable,
        };
        meets(self.demands, &hello, &here).map_err(|error| match error.hint {
            Some(_) => error,
            None => error.fix(restart()),
        })?;
        Ok(hello)
    }
}

/// Whether a request may be sent again when the connection ended before a byte of the reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Once,
    Never,
}

/// Properties that a daemon can have on this machine.
struct Here<'a> {
    /// Boundary between this process and the daemon, as the kernel tells them apart.
    boundary: Boundary,
    /// `true` if the kernel identifies the process at the other end of a connection.
    names_peers: bool,
    /// Reason why no daemon on this machine can have such memory.
    lacks: &'a dyn Fn(MemoryRank) -> Option<String>,
}

/// Checks that a daemon meets the demands. The error has a hint if no other daemon here can meet
/// them. Without a hint, a new daemon may.
fn meets(demands: Demands, hello: &HelloInfo, here: &Here<'_>) -> Result<(), Error> {
    if demands.session && hello.boundary != Boundary::Session {
        let weak = Error::new(
            ErrorCode::BoundaryWeak,
            "the daemon cannot tell login sessions apart, and KEYRACK_REQUIRE_SESSION=1 demands it",
        );
        return Err(match here.boundary {
            Boundary::Session => weak,
            Boundary::User => weak.hint(Demands::session_hint(here.names_peers)),
        });
    }
    match demands.memory {
        Some(demanded) if MemoryRank::said(&hello.memory) < demanded => {
            let weak = Error::new(
                ErrorCode::BoundaryWeak,
                format!(
                    "the daemon keeps secrets in {} memory, and KEYRACK_MEMORY demands {}",
                    hello.memory,
                    demanded.as_str()
                ),
            );
            Err(match (here.lacks)(demanded) {
                Some(lacks) => weak.hint(format!("no daemon can here: {lacks}; unset KEYRACK_MEMORY")),
                None => weak,
            })
        }
        _ => Ok(()),
    }
}

/// There is no daemon to talk to.
pub(crate) fn absent() -> Error {
    Error::new(ErrorCode::DaemonAbsent, "no keyrack daemon runs in this login session")
}

pub(crate) fn broken_protocol(how: &str) -> Error {
    Error::new(ErrorCode::BadFrame, format!("the daemon broke the protocol: {how}"))
}

pub(crate) fn stored_slug(text: &str) -> Result<Slug, Error> {
    Slug::parse_stored(text).map_err(|_| broken_protocol("it named a key by no slug"))
}

fn time(text: &str) -> Result<i64, Error> {
    timestamp::parse_ms(text).ok_or_else(|| broken_protocol("it gave a time that is none"))
}

fn granted_key(key: &native::GetKey<'_>, bytes: &[u8]) -> Result<GrantedKey, Error> {
    let grant = Grant {
        slug: stored_slug(&key.slug)?,
        grade: convert::read_grade(&key.grade),
        source: convert::read_source(&key.source),
        expires_at_ms: Some(time(&key.expires_at)?),
    };
    Ok(GrantedKey { grant, secret: Secret::copy_of(bytes), left: Some(Ttl(key.ttl_ms)) })
}

fn held_key(key: &native::StatusKey<'_>) -> Result<KeyStatus, Error> {
    Ok(KeyStatus {
        slug: stored_slug(&key.slug)?,
        grade: Some(convert::read_grade(&key.grade)),
        source: Some(convert::read_source(&key.source)),
        expires_at_ms: Some(time(&key.expires_at)?),
        left: Some(Ttl(key.ttl_ms)),
        given: GrantedTtl { ttl: key.life_ms.map(Ttl), by: key.life_by.as_deref().and_then(TtlLimit::parse) },
        ends_by_boot: key.ends_by == "boot",
    })
}

fn measure(measure: &native::Hardening<'_>) -> HardeningMeasure {
    HardeningMeasure {
        name: clean(&measure.name),
        on: measure.on,
        detail: measure.detail.as_deref().map(clean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(boundary: Boundary, memory: &str) -> HelloInfo {
        HelloInfo {
            proto: 1,
            version: String::new(),
            build: String::new(),
            boot_id: String::new(),
            pid: 1,
            boundary,
            namespaces: None,
            memory: memory.to_owned(),
            hardening: Vec::new(),
        }
    }

    #[test]
    fn a_forked_child_opens_a_connection_of_its_own() {
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
        // What a child of a fork finds: a session of another process.
        session.opened_by = 0;
        session.connect().unwrap();
        session.connect().unwrap();
        assert_eq!(accepted(), 1);
    }

    #[test]
    fn a_weaker_server_is_refused_when_more_is_demanded() {
        let demand = |session, memory| Demands { session, memory };
        use Boundary::{Session, User};
        // `Some(true)`: a new daemon may be better; `Some(false)`: none could be.
        let secret = demand(false, Some(MemoryRank::Secret));
        for (demands, seen, boundary, memory, refused) in [
            (Demands::default(), User, User, "unlocked", None),
            (demand(true, None), User, User, "secret", Some(false)),
            (demand(true, None), Session, User, "secret", Some(true)),
            (demand(true, None), Session, Session, "unlocked", None),
            (demand(false, Some(MemoryRank::Locked)), User, User, "locked", None),
            (demand(false, Some(MemoryRank::Locked)), User, User, "secret", None),
            (demand(false, Some(MemoryRank::Locked)), Session, Session, "unlocked", Some(true)),
            (demand(false, Some(MemoryRank::Secret)), Session, Session, "locked", Some(true)),
            (demand(false, Some(MemoryRank::Secret)), Session, Session, "secret", None),
            (demand(false, Some(MemoryRank::Locked)), Session, Session, "from-the-future", Some(true)),
        ] {
            let here = Here { boundary: seen, names_peers: true, lacks: &|_| None };
            let error = meets(demands, &hello(boundary, memory), &here).err();
            let may_help = error.as_ref().map(|error| error.hint.is_none());
            assert_eq!(may_help, refused, "{demands:?} {seen} {boundary} {memory}");
            assert!(error.is_none_or(|error| error.code == ErrorCode::BoundaryWeak));
        }
        // The hint names what the machine lacks.
        for (demands, names_peers, lacks, words) in [
            (demand(true, None), true, None, "log in with ssh"),
            (demand(true, None), false, None, "Linux 6.5 or later"),
            (secret, true, Some("no memfd_secret"), "here: no memfd_secret; unset KEYRACK_MEMORY"),
        ] {
            let lacks = |_| lacks.map(str::to_owned);
            let here = Here { boundary: User, names_peers, lacks: &lacks };
            let error = meets(demands, &hello(User, "locked"), &here).unwrap_err();
            let hint = error.hint.unwrap_or_default();
            assert!(hint.contains(words), "{demands:?}: {hint}");
        }
    }
}
