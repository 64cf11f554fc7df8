//! Verified connections that are kept between reads, for one thread and one process. Benchmark row:
//! "getSync in Node by slug, against the native Rust client".
//!
//! A connection is used again only if everything that it was verified by still holds: the process,
//! its effective user, its login session, the caller's requirements, the home directory, the socket
//! behind the path, the descriptor (by `SO_COOKIE`, since others may have closed it and taken its
//! number), and the daemon (by its pidfd). Anything else closes it, and the next one is verified as
//! the first was. Without a pidfd (before Linux 6.5) nothing is kept.
//!
//! The daemon verifies its caller when it accepts, and the sender of each request; it refuses a key
//! that was relocked, and a session that ended, on a kept connection as on a new one.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyrack_core::layout::variables::{HOME, RUNTIME_DIR};
use keyrack_core::peer::{AuditSession, ReadError};
use keyrack_core::{Error, ErrorCode, Owner};
use keyrack_sys::fs::file::FileId;
use keyrack_sys::peer::own_session;
use keyrack_sys::process::pid::{self, Pid};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::session_file::SessionFile;
use keyrack_sys::socket;
use keyrack_sys::user::Uid;

use crate::address::{RackAddress, session_name};
use crate::context::{Context, Requirements};
use crate::daemon::{Daemon, connect_at};
use crate::session::Session;

/// Racks whose connection is kept.
const CAPACITY: usize = 4;

/// Time after a timeout in which calls fail at once, so that a daemon that hangs does not block the
/// caller's thread again and again.
const STALL: Duration = Duration::from_secs(5);

/// Shortest wait that counts as a timeout: connecting waits no longer (`transport::connect`).
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections that were used last, for one thread.
#[derive(Debug, Default)]
pub struct SessionCache {
    /// The one used last is the last.
    kept: Vec<Kept>,
    stalls: Vec<Stall>,
}

/// Key of a connection in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    user: Uid,
    owner: Owner,
    home: Option<OsString>,
    runtime: Option<OsString>,
    requirements: Requirements,
}

/// A connection and the facts that prove it again.
#[derive(Debug)]
struct Kept {
    key: Key,
    session: Session,
    facts: Facts,
    used: Instant,
}

/// Facts by which a connection was verified.
#[derive(Debug)]
struct Facts {
    /// The process that opened it: never one that was forked since.
    process: Pid,
    /// The directory that `HOME` leads to, which is part of the socket's name.
    home: FileId,
    /// The socket's path, and the socket that it leads to: device, inode and ctime, since a number
    /// can be used again.
    path: PathBuf,
    socket: (FileId, (i64, i64)),
    /// The session file, and the session that it showed. `None` on a kernel without sessions.
    session: Option<(SessionFile, AuditSession)>,
    /// `SO_COOKIE` of the connection.
    cookie: u64,
    /// The pidfd itself, so that a descriptor that became another file is not closed.
    pidfd: FileId,
    /// Number of the session's connection that the proof is about.
    connection: u32,
}

/// A timeout of a call.
#[derive(Debug)]
struct Stall {
    key: Key,
    socket: Option<FileId>,
    deadline: Duration,
    until: Instant,
    error: Error,
}

/// Session that a read takes out of the cache. [`SessionCache::put_back`] returns it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` if no daemon runs.
    pub(crate) daemon: Option<Daemon>,
    key: Key,
    /// The facts of a connection that was kept.
    facts: Option<Facts>,
    started: Instant,
}

impl SessionCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        SessionCache::default()
    }

    /// Closes connections that have not been used for `idle`. Returns the time until the next one
    /// is due, `None` if none is left.
    pub fn close_idle(&mut self, idle: Duration) -> Option<Duration> {
        let (due, kept) = self.kept.drain(..).partition(|kept| kept.used.elapsed() >= idle);
        self.kept = kept;
        let due: Vec<Kept> = due;
        due.into_iter().for_each(Kept::close);
        self.kept.iter().map(|kept| idle.saturating_sub(kept.used.elapsed())).min()
    }

    /// Closes the connections that another effective user of this process has opened.
    pub(crate) fn close_others(&mut self, user: Uid) {
        while let Some(at) = self.kept.iter().position(|kept| kept.key.user != user) {
            self.kept.remove(at).close();
        }
    }

    /// Closes all connections.
    pub fn clear(&mut self) {
        self.kept.drain(..).for_each(Kept::close);
    }

    /// Takes a connection that is proven again, or makes one. `user` is the effective uid.
    ///
    /// # Errors
    /// As [`crate::daemon::connect`]; [`ErrorCode::DaemonUnresponsive`] at once if a call with no
    /// longer deadline timed out in the last 5 s.
    pub(crate) fn take(&mut self, ctx: &Context, user: Uid) -> Result<Lease, Error> {
        let started = Instant::now();
        if let Some(at) = self.kept.iter().position(|kept| kept.key.is_of(ctx, user)) {
            let kept = self.kept.remove(at);
            if kept.is_proven() {
                let Kept { key, mut session, facts, .. } = kept;
                session.set_deadline(ctx.deadline);
                let daemon = Some(Daemon::Native(session));
                return Ok(Lease { daemon, key, facts: Some(facts), started });
            }
            kept.close();
        }
        let key = Key::of(ctx, user);
        let address = RackAddress::of(ctx)?;
        self.check_stall(&key, &address, ctx.deadline)?;
        let socket = FileId::of(&address.socket()).ok();
        let daemon = match connect_at(ctx, address) {
            Ok(daemon) => daemon,
            Err(error) => {
                self.note_stall(key, socket, ctx.deadline, started, &error);
                return Err(error);
            }
        };
        Ok(Lease { daemon, key, facts: None, started })
    }

    /// Takes a connection back after a request, with its error if it failed.
    pub(crate) fn put_back(&mut self, ctx: &Context, lease: Lease, error: Option<&Error>) {
        let Lease { daemon, key, facts, started } = lease;
        if let Some(error) = error {
            let socket = daemon.and_then(|daemon| FileId::of(&daemon.address().socket()).ok());
            self.note_stall(key, socket, ctx.deadline, started, error);
            return;
        }
        let Some(Daemon::Native(session)) = daemon else { return };
        let facts = match facts.filter(|facts| facts.connection == session.connections()) {
            Some(facts) => Some(facts),
            // Without XDG_RUNTIME_DIR, a directory that is preferred may appear.
            None if key.runtime.is_none() => None,
            None => ctx.home().and_then(|home| Facts::of(&session, &home)),
        };
        let Some(facts) = facts else { return };
        if self.kept.len() == CAPACITY {
            self.kept.remove(0).close();
        }
        self.kept.push(Kept { key, session, facts, used: Instant::now() });
    }

    /// Fails at once where a call has timed out a moment ago, unless this one may take longer or
    /// another daemon serves the socket by now.
    fn check_stall(&mut self, key: &Key, address: &RackAddress, deadline: Duration) -> Result<(), Error> {
        if self.stalls.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let socket = FileId::of(&address.socket()).ok();
        self.stalls.retain(|stall| now < stall.until && (stall.key != *key || stall.socket == socket));
        match self.stalls.iter().find(|stall| stall.key == *key && deadline <= stall.deadline) {
            Some(stall) => Err(stall.error.clone()),
            None => Ok(()),
        }
    }

    fn note_stall(
        &mut self,
        key: Key,
        socket: Option<FileId>,
        deadline: Duration,
        started: Instant,
        error: &Error,
    ) {
        let waited = started.elapsed() >= deadline.min(SHORTEST_TIMEOUT);
        if error.code != ErrorCode::DaemonUnresponsive || !waited {
            return;
        }
        self.stalls.retain(|stall| stall.key != key);
        self.stalls.truncate(CAPACITY - 1);
        let until = Instant::now() + STALL;
        self.stalls.push(Stall { key, socket, deadline, until, error: error.clone() });
    }
}

impl Key {
    /// Returns `true` if [`Key::of`] would return this key; allocates nothing.
    fn is_of(&self, ctx: &Context, user: Uid) -> bool {
        self.user == user
            && self.owner == ctx.owner
            && self.home.as_deref() == ctx.env.get(HOME)
            && self.runtime.as_deref() == ctx.env.get(RUNTIME_DIR)
            && self.requirements == ctx.requirements()
    }

    fn of(ctx: &Context, user: Uid) -> Self {
        let variable = |name| ctx.env.get(name).map(ToOwned::to_owned);
        Key {
            user,
            owner: ctx.owner.clone(),
            home: variable(HOME),
            runtime: variable(RUNTIME_DIR),
            requirements: ctx.requirements(),
        }
    }
}

impl Facts {
    /// Returns `None` for a connection that could not be proven again.
    fn of(session: &Session, home: &Path) -> Option<Self> {
        let connection = session.connection()?;
        let path = session.address().socket();
        Some(Facts {
            process: pid::current(),
            session: match SessionFile::open() {
                // The session may have changed since the connection was made.
                Ok(file) => match file.read() {
                    Ok(current) if session_name(current) == session.address().name.session => {
                        Some((file, current))
                    }
                    _ => return None,
                },
                Err(ReadError::NotFound) => None,
                Err(_) => return None,
            },
            home: directory_id(home)?,
            socket: socket_id(&path)?,
            path,
            cookie: socket::cookie(connection.stream.as_fd()).ok()?,
            pidfd: FileId::of_fd(connection.server.pidfd.as_ref()?.as_fd()).ok()?,
            connection: session.connections(),
        })
    }

    /// Returns `true` if the process is still in the session that it was in.
    fn has_our_session(&self) -> bool {
        match &self.session {
            Some((file, session)) => file.read() == Ok(*session),
            None => own_session() == Err(ReadError::NotFound),
        }
    }

    /// Returns `true` if the descriptor still refers to the socket that was verified.
    fn is_ours(&self, session: &Session) -> bool {
        session.connection().is_some_and(|connection| {
            socket::cookie(connection.stream.as_fd()).is_ok_and(|cookie| cookie == self.cookie)
        })
    }
}

impl Kept {
    /// Returns `true` if everything that the connection was verified by still holds.
    fn is_proven(&self) -> bool {
        let home = self.key.home.as_deref().map(Path::new);
        self.facts.process == pid::current()
            && self.facts.is_ours(&self.session)
            && self.facts.has_our_session()
            && home.is_some_and(|home| directory_id(home) == Some(self.facts.home))
            && socket_id(&self.facts.path) == Some(self.facts.socket)
            && self.pidfd().is_some_and(Pidfd::is_alive)
    }

    fn pidfd(&self) -> Option<&Pidfd> {
        self.session.server()?.pidfd.as_ref()
    }

    /// Closes the connection, but no descriptor that has become another file.
    fn close(self) {
        let pidfd = self.pidfd().and_then(|pidfd| FileId::of_fd(pidfd.as_fd()).ok());
        if !self.facts.is_ours(&self.session) || pidfd != Some(self.facts.pidfd) {
            std::mem::forget(self.session);
        }
    }
}

/// Returns which directory a path leads to.
fn directory_id(path: &Path) -> Option<FileId> {
    let found = path.metadata().ok()?;
    Some(FileId { dev: found.dev(), ino: found.ino() })
}

fn socket_id(path: &Path) -> Option<(FileId, (i64, i64))> {
    let found = path.symlink_metadata().ok()?;
    Some((FileId { dev: found.dev(), ino: found.ino() }, (found.ctime(), found.ctime_nsec())))
}

impl Drop for SessionCache {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
