//! What is unlocked, and in which condition the daemon is.

use keyrack_core::{Env, Error, ErrorCode, Owner};

use crate::context::Context;
use crate::daemon::{Daemon, connect_at};
use crate::paths::{Place, is_without_place};
use crate::session::{Greeting, HeldKey, Holdings};

/// What is known of the context's rack.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whose rack.
    pub owner: Owner,
    /// Path of its socket, which may not exist. `None` if the runtime directory is missing or
    /// unusable.
    pub place: Option<Place>,
    /// Reason why there is no path for a socket.
    pub error: Option<Error>,
    /// Its daemon; `None` when none runs.
    pub running: Option<Running>,
    /// Other login sessions in which a socket of the same rack stands.
    pub other_sessions: Vec<String>,
}

/// A daemon that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its pid, for people.
    pub pid: Option<i64>,
    /// What it said of itself; `None` for a TypeScript daemon.
    pub greeting: Option<Greeting>,
    /// What it holds.
    pub holdings: Holdings,
}

impl Running {
    /// The keys of an env, or all of them.
    pub fn keys(&self, env: Option<Env>) -> impl Iterator<Item = &HeldKey> {
        self.holdings.keys.iter().filter(move |key| env.is_none_or(|env| key.slug.env() == env.as_str()))
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
pub fn status(ctx: &Context) -> Result<Status, Error> {
    let place = match Place::of(ctx) {
        Ok(place) => place,
        Err(error) if is_without_place(&error) => {
            let owner = ctx.owner.clone();
            let error = Some(error);
            return Ok(Status { owner, place: None, error, running: None, other_sessions: Vec::new() });
        }
        Err(error) => return Err(error),
    };
    let other_sessions = place.other_sessions();
    let running = match connect_at(ctx, place.clone())?.map(look).transpose() {
        Ok(running) => running,
        // It ended in between.
        Err(error) if error.code == ErrorCode::DaemonAbsent => None,
        Err(error) => return Err(error),
    };
    Ok(Status { owner: ctx.owner.clone(), place: Some(place), error: None, running, other_sessions })
}

fn look(mut daemon: Daemon) -> Result<Running, Error> {
    let pid = daemon.server().and_then(|server| server.pid);
    let holdings = daemon.status()?;
    let greeting = match &mut daemon {
        Daemon::Native(session) => Some(session.greet()?.clone()),
        Daemon::Legacy(_) => None,
    };
    Ok(Running { pid, greeting, holdings })
}
