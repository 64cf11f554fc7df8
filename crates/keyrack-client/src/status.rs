//! What is unlocked, and in which condition the daemon is.

use keyrack_core::{Env, Error, ErrorCode, Owner};

use crate::address::{RackAddress, is_address_unavailable};
use crate::context::Context;
use crate::daemon::{Daemon, connect_at};
use crate::session::{DaemonStatus, HelloInfo, KeyStatus};

/// What is known of the context's rack.
#[derive(Clone, Debug)]
pub struct RackStatus {
    /// Whose rack.
    pub owner: Owner,
    /// Path of its socket, which may not exist. `None` if the runtime directory is missing or
    /// unusable.
    pub address: Option<RackAddress>,
    /// Reason why there is no path for a socket.
    pub error: Option<Error>,
    /// Its daemon; `None` when none runs.
    pub running: Option<RunningDaemon>,
    /// Other login sessions in which a socket of the same rack stands.
    pub other_sessions: Vec<String>,
}

/// A daemon that runs.
#[derive(Clone, Debug)]
pub struct RunningDaemon {
    /// Its pid, for people.
    pub pid: Option<i64>,
    /// What it said of itself; `None` for a TypeScript daemon.
    pub hello: Option<HelloInfo>,
    /// What it holds.
    pub status: DaemonStatus,
}

impl RunningDaemon {
    /// The keys of an env, or all of them.
    pub fn keys(&self, env: Option<Env>) -> impl Iterator<Item = &KeyStatus> {
        self.status.keys.iter().filter(move |key| env.is_none_or(|env| key.slug.env() == env.as_str()))
    }

    /// The envs it holds keys of, `sudo` left out, each once, in the order messages name them.
    pub fn envs(&self) -> Vec<Env> {
        let holds = |env: &Env| *env != Env::Sudo && self.keys(Some(*env)).next().is_some();
        Env::ALL.into_iter().filter(holds).collect()
    }
}

/// Looks. A rack without a daemon is no error, nor is one without a usable runtime directory.
///
/// # Errors
/// Those of [`crate::daemon::connect`] and of the daemon.
pub fn status(ctx: &Context) -> Result<RackStatus, Error> {
    let address = match RackAddress::of(ctx) {
        Ok(address) => address,
        Err(error) if is_address_unavailable(&error) => {
            let owner = ctx.owner.clone();
            let error = Some(error);
            return Ok(RackStatus { owner, address: None, error, running: None, other_sessions: Vec::new() });
        }
        Err(error) => return Err(error),
    };
    let other_sessions = address.other_sessions();
    let running = match connect_at(ctx, address.clone())?.map(look).transpose() {
        Ok(running) => running,
        // It ended in between.
        Err(error) if error.code == ErrorCode::DaemonAbsent => None,
        Err(error) => return Err(error),
    };
    Ok(RackStatus { owner: ctx.owner.clone(), address: Some(address), error: None, running, other_sessions })
}

fn look(mut daemon: Daemon) -> Result<RunningDaemon, Error> {
    let pid = daemon.server().and_then(|server| server.pid).map(|pid| pid.as_raw().into());
    let status = daemon.status()?;
    let hello = match &mut daemon {
        Daemon::Native(session) => Some(session.hello()?.clone()),
        Daemon::Legacy(_) => None,
    };
    Ok(RunningDaemon { pid, hello, status })
}
