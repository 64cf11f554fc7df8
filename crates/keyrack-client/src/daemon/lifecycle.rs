//! Stopping and restarting daemons. Only an authenticated process that holds the socket is
//! signaled, through its pidfd. Pid files are never trusted.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use keyrack_core::layout::{lock_path, pid_path};
use keyrack_core::{Error, ErrorCode, GrantedTtl, Owner, Slug, Ttl};
use keyrack_sys::fs::file::{FileId, unlink_if_same};
use keyrack_sys::process::pid::Pid;
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;

use super::{Daemon, connect_at, ensure};
use crate::address::{RackAddress, sockets_in};
use crate::context::Context;
use crate::session::{GrantedKey, KeyToUnlock, Session};
use crate::transport::connect::{Connection, connect as connect_to};
use crate::transport::legacy::LegacyDaemon;

/// Time that a daemon may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A daemon that was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedDaemon {
    /// Its pid, for messages.
    pub pid: Option<i64>,
}

/// Stops the daemon of the context's rack, which erases its keys. Removes a dead socket. Returns
/// `None` if no daemon ran.
///
/// # Errors
/// Those of [`super::connect`]; [`ErrorCode::DaemonUnresponsive`] if it does not exit within 5 s.
pub fn stop(ctx: &Context) -> Result<Option<StoppedDaemon>, Error> {
    let address = RackAddress::of(ctx)?;
    match connect_to(&address, ctx.deadline)? {
        Some(connection) => terminate(&connection).map(|stopped| {
            remove_dead_socket(&address);
            Some(stopped)
        }),
        None => {
            remove_dead_socket(&address);
            Ok(None)
        }
    }
}

fn terminate(connection: &Connection) -> Result<StoppedDaemon, Error> {
    let server = &connection.server;
    let pid = server.pid;
    let opened;
    let pidfd = match (&server.pidfd, pid) {
        (Some(pidfd), _) => pidfd,
        // This kernel gives no pidfd of a peer. The pid was read a moment ago, and the connection
        // is open.
        (None, Some(number)) => {
            opened = Pidfd::open(number).map_err(|error| unstoppable(pid, &error.to_string()))?;
            &opened
        }
        (None, None) => return Err(unstoppable(pid, "the kernel does not report its pid")),
    };
    pidfd.signal(Signal::Term).map_err(|error| unstoppable(pid, &error.to_string()))?;
    // A stopped process handles the signal only after SIGCONT.
    let _ = pidfd.signal(Signal::Cont);
    if pidfd.wait_exit(EXIT_TIMEOUT) {
        return Ok(StoppedDaemon { pid: pid.map(|pid| pid.as_raw().into()) });
    }
    Err(unstoppable(pid, &format!("it did not exit within {} s", EXIT_TIMEOUT.as_secs())))
}

fn unstoppable(pid: Option<Pid>, reason: &str) -> Error {
    let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    Error::new(ErrorCode::DaemonUnresponsive, format!("the daemon{pid} cannot be stopped: {reason}"))
}

/// Removes a socket without a listener, and its pid file. Holds the lock that every starting daemon
/// takes, so that no daemon is between bind and listen. If another process holds it, leaves the
/// files alone.
fn remove_dead_socket(address: &RackAddress) {
    let socket = address.socket();
    let Ok(seen) = FileId::of(&socket) else { return };
    let Ok(lock) = private_file(&lock_path(&socket)) else { return };
    if lock.try_lock().is_err() || !is_dead(&socket) {
        return;
    }
    // If this fails, the next start removes the file.
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

/// Result of a restart.
#[derive(Debug)]
pub struct RestartOutcome {
    /// The daemon that was stopped, if one ran.
    pub stopped: Option<StoppedDaemon>,
    /// Keys that the new daemon holds, for their remaining TTL.
    pub carried: Vec<Slug>,
    /// Keys that the new daemon refused, and the reasons.
    pub lost: Vec<(Slug, Error)>,
    /// Session with the new daemon.
    pub session: Session,
}

/// Stops the daemon and starts the one at `keyrackd`. Unlocked keys are carried over with their
/// remaining TTL. Also replaces a TypeScript daemon, and one of a version that this build cannot
/// speak to.
///
/// # Errors
/// Those of [`super::connect`], [`stop`], [`ensure`]. If reading the old daemon's keys fails,
/// nothing was stopped. If the new daemon does not start with the settings of the environment
/// (`KEYRACK_MEMORY`, …), one with default settings is started for the keys, and the error says so.
pub fn restart(ctx: &Context, keyrackd: &Path) -> Result<RestartOutcome, Error> {
    // Checked first: if the new daemon cannot run, the keys of the old one would be lost.
    if !keyrackd.is_file() {
        let message = format!("{} does not exist", keyrackd.display());
        return Err(Error::new(ErrorCode::DaemonStartFailed, message));
    }
    let read_at = Instant::now();
    // Requirements apply to the new daemon only.
    let lenient = Context { env: ctx.env.without_settings(), ..ctx.clone() };
    let keys = read_keys(&lenient)?;
    let stopped = stop(&lenient)?;
    let (mut session, refused) = match ensure(ctx, keyrackd) {
        Ok((session, _)) => (session, None),
        Err(error) if keys.is_empty() => return Err(error),
        Err(error) => {
            let hint = || format!("unlock the {} keys again", keys.len());
            let (session, _) = ensure(&lenient, keyrackd).map_err(|_| error.clone().hint(hint()))?;
            (session, Some(error))
        }
    };
    let (carried, lost) = carry_over(&mut session, &keys, read_at)?;
    match refused {
        None => Ok(RestartOutcome { stopped, carried, lost, session }),
        Some(error) => {
            let hint = match lost.len() {
                0 => "a daemon with default settings runs now, and holds the keys".to_owned(),
                lost => format!("a daemon with default settings runs now, and holds all keys but {lost}"),
            };
            Err(error.hint(hint))
        }
    }
}

/// Reads all keys of the running daemon.
fn read_keys(ctx: &Context) -> Result<Vec<(GrantedKey, GrantedTtl)>, Error> {
    let Some(mut daemon) = connect_at(ctx, RackAddress::for_start(ctx)?)? else { return Ok(Vec::new()) };
    match keys_of(&mut daemon) {
        // Every version speaks the legacy protocol, whichever native protocol it speaks.
        Err(error) if error.code == ErrorCode::DaemonIncompatible => {
            match connect_to(daemon.address(), ctx.deadline)? {
                Some(connection) => {
                    let legacy = LegacyDaemon::over(connection, daemon.address().clone(), ctx)?;
                    keys_of(&mut Daemon::Legacy(legacy))
                }
                None => Ok(Vec::new()),
            }
        }
        other => other,
    }
}

fn keys_of(daemon: &mut Daemon) -> Result<Vec<(GrantedKey, GrantedTtl)>, Error> {
    let (slugs, ttls): (Vec<Slug>, Vec<GrantedTtl>) =
        daemon.status()?.keys.into_iter().map(|key| (key.slug, key.granted)).unzip();
    let granted = daemon.get(&slugs)?;
    let given = |granted: &GrantedKey| {
        let at = slugs.iter().position(|slug| *slug == granted.grant.slug);
        at.map_or_else(GrantedTtl::default, |at| ttls[at])
    };
    Ok(granted
        .into_iter()
        .map(|granted| (given(&granted), granted))
        .map(|(given, key)| (key, given))
        .collect())
}

type CarriedAndLost = (Vec<Slug>, Vec<(Slug, Error)>);

/// Gives keys that were read at `read_at` to a new daemon, for their remaining TTL.
fn carry_over(
    session: &mut Session,
    keys: &[(GrantedKey, GrantedTtl)],
    read_at: Instant,
) -> Result<CarriedAndLost, Error> {
    let elapsed_ms = u64::try_from(read_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    let keys: Vec<KeyToUnlock<'_>> = keys
        .iter()
        .map(|(key, granted)| {
            let ceiling = Ttl::ceiling_of(key.grant.slug.is_sudo());
            let remaining = key.remaining.map_or(ceiling, |ttl| Ttl(ttl.as_ms().saturating_sub(elapsed_ms)));
            KeyToUnlock {
                slug: &key.grant.slug,
                grade: key.grant.grade,
                source: &key.grant.source,
                ttl: remaining.min(ceiling),
                granted: *granted,
                // So that a change of the clock in between cannot extend the TTL.
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

/// Result of pruning one rack's daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PruneOutcome {
    /// The daemon was stopped.
    Stopped {
        /// Its pid, for messages.
        pid: Option<i64>,
    },
    /// No daemon listened. The dead socket was removed.
    SocketRemoved,
    /// The daemon was left alone.
    Kept(Error),
}

/// A rack whose daemon was pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedRack {
    /// Owner of the rack.
    pub owner: Owner,
    /// Hash of its home directory.
    pub home_hash: String,
    /// Result.
    pub outcome: PruneOutcome,
}

/// Stops the daemon of the context's rack. Returns an empty list if there was none.
///
/// # Errors
/// Those of [`RackAddress::of`].
pub fn prune_owner(ctx: &Context) -> Result<Vec<PrunedRack>, Error> {
    let address = RackAddress::of(ctx)?;
    if std::fs::symlink_metadata(address.socket()).is_err() {
        return Ok(Vec::new());
    }
    Ok(vec![prune(ctx, address)])
}

/// Stops the daemons of every owner and every home in this login session, in the order of their
/// socket paths.
///
/// # Errors
/// Those of [`RackAddress::of`].
pub fn prune_all(ctx: &Context) -> Result<Vec<PrunedRack>, Error> {
    let own = RackAddress::of(ctx)?;
    let ours = sockets_in(&own.dir).into_iter().filter(|address| address.name.session == own.name.session);
    Ok(ours.map(|address| prune(ctx, address)).collect())
}

fn prune(ctx: &Context, address: RackAddress) -> PrunedRack {
    let outcome = match connect_to(&address, ctx.deadline) {
        Ok(Some(connection)) => match terminate(&connection) {
            Ok(StoppedDaemon { pid }) => PruneOutcome::Stopped { pid },
            Err(error) => PruneOutcome::Kept(error),
        },
        Ok(None) => PruneOutcome::SocketRemoved,
        Err(error) => PruneOutcome::Kept(error),
    };
    if !matches!(outcome, PruneOutcome::Kept(_)) {
        remove_dead_socket(&address);
    }
    PrunedRack { owner: address.name.owner, home_hash: address.name.home_hash, outcome }
}
