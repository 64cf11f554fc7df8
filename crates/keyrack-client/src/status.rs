//! Status of a rack: its daemon and its unlocked keys.

use keyrack_core::{Env, Error, ErrorCode, Owner};

use crate::address::{RackAddress, is_address_unavailable};
use crate::context::Context;
use crate::daemon::{Daemon, connect_at};
use crate::session::{DaemonStatus, HelloInfo, KeyStatus};

/// Status of a rack.
#[derive(Clone, Debug)]
pub struct RackStatus {
    /// Owner of the rack.
    pub owner: Owner,
    /// Address of its daemon, which may not run. `None` if the runtime directory is missing or
    /// unusable.
    pub address: Option<RackAddress>,
    /// The reason that there is no address.
    pub error: Option<Error>,
    /// Its daemon. `None` if none runs.
    pub running: Option<RunningDaemon>,
    /// Other login sessions that have a socket of the same rack.
    pub other_sessions: Vec<String>,
}

/// Running daemon.
#[derive(Clone, Debug)]
pub struct RunningDaemon {
    /// Its pid, for messages.
    pub pid: Option<i64>,
    /// Its description of itself. `None` for a TypeScript daemon.
    pub hello: Option<HelloInfo>,
    /// Its status and keys.
    pub status: DaemonStatus,
}

impl RunningDaemon {
    /// Returns the keys of an env, or all.
    pub fn keys(&self, env: Option<Env>) -> impl Iterator<Item = &KeyStatus> {
        self.status.keys.iter().filter(move |key| env.is_none_or(|env| key.slug.env() == env.as_str()))
    }

    /// Returns the envs that have unlocked keys, except `sudo`, each once, in the order of
    /// messages.
    pub fn envs(&self) -> Vec<Env> {
        let holds = |env: &Env| *env != Env::Sudo && self.keys(Some(*env)).next().is_some();
        Env::ALL.into_iter().filter(holds).collect()
    }
}

/// Reads the status of the context's rack. A missing daemon or runtime directory is not an error.
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
    let running = match connect_at(ctx, address.clone())?.map(read).transpose() {
        Ok(running) => running,
        // The daemon exited in between.
        Err(error) if error.code == ErrorCode::DaemonAbsent => None,
        Err(error) => return Err(error),
    };
    Ok(RackStatus { owner: ctx.owner.clone(), address: Some(address), error: None, running, other_sessions })
}

fn read(mut daemon: Daemon) -> Result<RunningDaemon, Error> {
    let pid = daemon.server().and_then(|server| server.pid).map(|pid| pid.as_raw().into());
    let status = daemon.status()?;
    let hello = match &mut daemon {
        Daemon::Native(session) => Some(session.hello()?.clone()),
        Daemon::Legacy(_) => None,
    };
    Ok(RunningDaemon { pid, hello, status })
}
