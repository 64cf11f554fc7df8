//! Ending daemons. Only a process that holds the socket and was verified is ever signalled, through a descriptor of it; a pid file is
//! believed by nobody.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use keyrack_core::layout::{lock_path, pid_path};
use keyrack_core::{Error, ErrorCode, GrantedTtl, Owner, Slug, Ttl};
use keyrack_sys::fs::file::{FileId, unlink_if_same};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;

use super::{Daemon, connect_at, ensure};
use crate::address::{RackAddress, sockets_in};
use crate::context::Context;
use crate::session::{GrantedKey, KeyToUnlock, Session};
use crate::transport::connect::{Connection, connect as connect_to};
use crate::transport::legacy::LegacyDaemon;

/// How long a daemon may take to end once it was told to.
const END: Duration = Duration::from_secs(5);

/// A daemon that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The pid it had, for people.
    pub pid: Option<i64>,
}

/// Ends the daemon of the context's rack: it erases what it holds. `None` when none ran; a dead socket is removed.
///
/// # Errors
/// Those of [`super::connect`]; [`ErrorCode::DaemonUnresponsive`] when it does not end within 5 s.
pub fn stop(ctx: &Context) -> Result<Option<Stopped>, Error> {
    let address = RackAddress::of(ctx)?;
    match connect_to(&address, ctx.deadline)? {
        Some(connection) => end(&connection).map(|stopped| {
            sweep(&address);
            Some(stopped)
        }),
        None => {
            sweep(&address);
            Ok(None)
        }
    }
}

fn end(connection: &Connection) -> Result<Stopped, Error> {
    let server = &connection.server;
    let pid = server.pid;
    let opened;
    let pidfd = match (&server.pidfd, pid) {
        (Some(pidfd), _) => pidfd,
        // A kernel that gives no pidfd of a peer: its number was read a moment ago, and its connection to us still stands.
        (None, Some(number)) => {
            opened = Pidfd::open(number).map_err(|error| unstoppable(pid, &error.to_string()))?;
            &opened
        }
        (None, None) => return Err(unstoppable(pid, "the kernel does not name its process")),
    };
    pidfd.signal(Signal::Term).map_err(|error| unstoppable(pid, &error.to_string()))?;
    // One that was suspended takes the signal only when it goes on.
    let _ = pidfd.signal(Signal::Cont);
    if pidfd.wait_exit(END) {
        return Ok(Stopped { pid });
    }
    Err(unstoppable(pid, &format!("it did not end within {} s", END.as_secs())))
}

fn unstoppable(pid: Option<i64>, why: &str) -> Error {
    let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    Error::new(ErrorCode::DaemonUnresponsive, format!("the daemon{pid} cannot be stopped: {why}"))
}

/// Removes a socket nobody listens on, and the pid file beside it. Under the lock every starting daemon takes, so that none is caught
/// between its bind and its listen; if that is held, somebody is at it.
fn sweep(address: &RackAddress) {
    let socket = address.socket();
    let Ok(seen) = FileId::of(&socket) else { return };
    let Ok(lock) = private_file(&lock_path(&socket)) else { return };
    if lock.try_lock().is_err() || !is_dead(&socket) {
        return;
    }
    // Failing, the file stays, and the next start removes it.
    if let Ok(true) = unlink_if_same(&socket, seen) {
        let _ = std::fs::remove_file(pid_path(&socket));
    }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_dead(socket: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    is_socket
        && keyrack_sys::socket::connect(socket, Duration::from_secs(1))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// What a restart did.
#[derive(Debug)]
pub struct Restarted {
    /// The pid of the daemon that was ended, if one ran.
    pub stopped: Option<Stopped>,
    /// The keys that live on in the new one, with what was left of their lives.
    pub carried: Vec<Slug>,
    /// The keys the new one did not take, and why.
    pub lost: Vec<(Slug, Error)>,
    /// The session with the new one.
    pub session: Session,
}

/// Ends the daemon and starts the one at `keyrackd`; live keys are carried over with what is left of their lives. Also takes over from a
/// TypeScript daemon, and from one of a version this build does not speak to.
///
/// # Errors
/// Those of [`super::connect`], [`stop`], [`ensure`]. Nothing was stopped when reading the old one's keys failed. When the new one does not
/// start as it is set (`KEYRACK_MEMORY`, …), one with the default settings is started for the keys, and the problem says so.
pub fn restart(ctx: &Context, keyrackd: &Path) -> Result<Restarted, Error> {
    // Before anything is ended: a new one that cannot be run would cost the keys of the old.
    if !keyrackd.is_file() {
        let message = format!("{} is not there", keyrackd.display());
        return Err(Error::new(ErrorCode::DaemonStartFailed, message));
    }
    let read_at = Instant::now();
    // What is demanded is demanded of the new one.
    let lenient = Context { env: ctx.env.without_settings(), ..ctx.clone() };
    let held = held(&lenient)?;
    let stopped = stop(&lenient)?;
    let (mut session, refused) = match ensure(ctx, keyrackd) {
        Ok((session, _)) => (session, None),
        Err(error) if held.is_empty() => return Err(error),
        Err(error) => {
            let hint = || format!("{} keys were unlocked: unlock them again", held.len());
            let (session, _) = ensure(&lenient, keyrackd).map_err(|_| error.clone().hint(hint()))?;
            (session, Some(error))
        }
    };
    let (carried, lost) = hand_over(&mut session, &held, read_at)?;
    match refused {
        None => Ok(Restarted { stopped, carried, lost, session }),
        Some(error) => {
            let hint = match lost.len() {
                0 => "a daemon with default settings runs now, and holds the keys".to_owned(),
                lost => format!("a daemon with default settings runs now, and holds the keys but {lost}"),
            };
            Err(error.hint(hint))
        }
    }
}

/// Every key the running daemon holds.
fn held(ctx: &Context) -> Result<Vec<(GrantedKey, GrantedTtl)>, Error> {
    let Some(mut daemon) = connect_at(ctx, RackAddress::for_start(ctx)?)? else { return Ok(Vec::new()) };
    match held_by(&mut daemon) {
        // Whatever native protocol it speaks, every version speaks the legacy one.
        Err(error) if error.code == ErrorCode::DaemonIncompatible => {
            match connect_to(daemon.address(), ctx.deadline)? {
                Some(connection) => {
                    let legacy = LegacyDaemon::over(connection, daemon.address().clone(), ctx)?;
                    held_by(&mut Daemon::Legacy(legacy))
                }
                None => Ok(Vec::new()),
            }
        }
        other => other,
    }
}

fn held_by(daemon: &mut Daemon) -> Result<Vec<(GrantedKey, GrantedTtl)>, Error> {
    let (slugs, lives): (Vec<Slug>, Vec<GrantedTtl>) =
        daemon.status()?.keys.into_iter().map(|key| (key.slug, key.given)).unzip();
    let granted = daemon.get(&slugs)?;
    let given = |granted: &GrantedKey| {
        let at = slugs.iter().position(|slug| *slug == granted.grant.slug);
        at.map_or_else(GrantedTtl::default, |at| lives[at])
    };
    Ok(granted
        .into_iter()
        .map(|granted| (given(&granted), granted))
        .map(|(given, key)| (key, given))
        .collect())
}

type HandedOver = (Vec<Slug>, Vec<(Slug, Error)>);

/// Gives keys that were read at `read_at` to a new daemon, for what is left of their lives.
fn hand_over(
    session: &mut Session,
    held: &[(GrantedKey, GrantedTtl)],
    read_at: Instant,
) -> Result<HandedOver, Error> {
    let gone = u64::try_from(read_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    let keys: Vec<KeyToUnlock<'_>> = held
        .iter()
        .map(|(key, given)| {
            let ceiling = Ttl::ceiling_of(key.grant.slug.is_sudo());
            let left = key.left.map_or(ceiling, |left| Ttl(left.as_ms().saturating_sub(gone)));
            KeyToUnlock {
                slug: &key.grant.slug,
                grade: key.grant.grade,
                source: &key.grant.source,
                ttl: left.min(ceiling),
                given: *given,
                // So that no setting of the clock in between lengthens the life.
                credential_expires_at_ms: key.grant.expires_at_ms,
                secret: key.secret.expose(),
            }
        })
        .filter(|key| key.ttl.as_ms() > 0)
        .collect();
    let (mut carried, mut lost) = (Vec::new(), Vec::new());
    for unlocked in session.unlock(&keys)? {
        match unlocked.outcome {
            Ok(_) => carried.push(unlocked.slug),
            Err(error) => lost.push((unlocked.slug, error)),
        }
    }
    Ok((carried, lost))
}

/// What became of one rack's daemon in a prune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ran and was ended.
    Ended {
        /// The pid it had, for people.
        pid: Option<i64>,
    },
    /// Nobody listened; the dead socket was removed.
    Swept,
    /// It was left alone.
    Spared(Error),
}

/// One rack of a prune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Whose rack.
    pub owner: Owner,
    /// Of which home.
    pub home_hash: String,
    /// What became of its daemon.
    pub fate: Fate,
}

/// Ends the daemon of the context's rack. Empty when there was none.
///
/// # Errors
/// Those of [`RackAddress::of`].
pub fn prune_owner(ctx: &Context) -> Result<Vec<Pruned>, Error> {
    let address = RackAddress::of(ctx)?;
    if std::fs::symlink_metadata(address.socket()).is_err() {
        return Ok(Vec::new());
    }
    Ok(vec![prune(ctx, address)])
}

/// Ends the daemons of every owner and every home in this login session, in the order of their sockets' paths.
///
/// # Errors
/// Those of [`RackAddress::of`].
pub fn prune_all(ctx: &Context) -> Result<Vec<Pruned>, Error> {
    let own = RackAddress::of(ctx)?;
    let ours = sockets_in(&own.dir).into_iter().filter(|address| address.name.session == own.name.session);
    Ok(ours.map(|address| prune(ctx, address)).collect())
}

fn prune(ctx: &Context, address: RackAddress) -> Pruned {
    let fate = match connect_to(&address, ctx.deadline) {
        Ok(Some(connection)) => match end(&connection) {
            Ok(Stopped { pid }) => Fate::Ended { pid },
            Err(error) => Fate::Spared(error),
        },
        Ok(None) => Fate::Swept,
        Err(error) => Fate::Spared(error),
    };
    if !matches!(fate, Fate::Spared(_)) {
        sweep(&address);
    }
    Pruned { owner: address.name.owner, home_hash: address.name.home_hash, fate }
}
