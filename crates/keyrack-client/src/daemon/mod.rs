//! The daemon as a whole: reached whichever protocol it speaks, started, stopped, restarted, pruned.

mod lifecycle;
mod start;

pub use lifecycle::{Fate, Pruned, Restarted, Stopped, prune_all, prune_owner, restart, stop};
pub use start::ensure;

use std::time::Duration;

use keyrack_core::{Problem, Slug};

use crate::connect::{Program, Server, connect as connect_to};
use crate::context::Context;
use crate::legacy::LegacyDaemon;
use crate::paths::Place;
use crate::session::{Granted, Holdings, RelockWhat, Relocked, Session};

/// How long hello may stay unanswered by a server whose name the kernel does not tell, before it is taken for a TypeScript daemon.
const HELLO: Duration = Duration::from_millis(500);

/// A daemon that was reached and verified.
#[derive(Debug)]
pub enum Daemon {
    /// Ours.
    Native(Session),
    /// Today's TypeScript one.
    Legacy(LegacyDaemon),
}

impl Daemon {
    /// Whether it is a TypeScript daemon: worth a warning to a person.
    pub fn is_legacy(&self) -> bool {
        matches!(self, Daemon::Legacy(_))
    }

    /// The process at the other end; `None` while no connection is open.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Daemon::Native(session) => session.server(),
            Daemon::Legacy(legacy) => legacy.server(),
        }
    }

    /// Where its socket is.
    pub fn place(&self) -> &Place {
        match self {
            Daemon::Native(session) => session.place(),
            Daemon::Legacy(legacy) => legacy.place(),
        }
    }

    /// The native session, for what only that can do.
    ///
    /// # Errors
    /// [`keyrack_core::ErrorCode::DaemonLegacy`] with the way out; `what` names what was wanted, such as `unlock`.
    pub fn native(self, what: &str) -> Result<Session, Problem> {
        match self {
            Daemon::Native(session) => Ok(session),
            Daemon::Legacy(legacy) => Err(legacy.cannot(what)),
        }
    }

    /// Fetches keys. Hits only, in the order asked.
    ///
    /// # Errors
    /// Those of the protocol it speaks.
    pub fn get(&mut self, slugs: &[Slug]) -> Result<Vec<Granted>, Problem> {
        match self {
            Daemon::Native(session) => session.get(slugs),
            Daemon::Legacy(legacy) => legacy.get(slugs),
        }
    }

    /// Lists what it holds.
    ///
    /// # Errors
    /// Those of the protocol it speaks.
    pub fn status(&mut self) -> Result<Holdings, Problem> {
        match self {
            Daemon::Native(session) => session.status(),
            Daemon::Legacy(legacy) => legacy.status(),
        }
    }

    /// Erases keys.
    ///
    /// # Errors
    /// Those of the protocol it speaks.
    pub fn relock(&mut self, what: &RelockWhat) -> Result<Relocked, Problem> {
        match self {
            Daemon::Native(session) => session.relock(what),
            Daemon::Legacy(legacy) => legacy.relock(what),
        }
    }
}

/// Reaches the daemon of the context's rack. `None` when none runs.
///
/// # Errors
/// Those of [`Place::of`] and [`crate::connect::connect`]; [`keyrack_core::ErrorCode::BoundaryWeak`] for a TypeScript daemon when more is demanded.
pub fn connect(ctx: &Context) -> Result<Option<Daemon>, Problem> {
    connect_at(ctx, Place::of(ctx)?)
}

/// The same at a place already known.
///
/// # Errors
/// As [`connect`].
pub fn connect_at(ctx: &Context, place: Place) -> Result<Option<Daemon>, Problem> {
    let Some(connection) = connect_to(&place, ctx.deadline)? else { return Ok(None) };
    match connection.server.program {
        Program::Keyrackd => Ok(Some(Daemon::Native(Session::over(connection, place, ctx)))),
        Program::Other => {
            LegacyDaemon::over(connection, place, ctx).map(|legacy| Some(Daemon::Legacy(legacy)))
        }
        Program::Unsaid => {
            let mut session = Session::over(connection, place.clone(), ctx);
            session.set_deadline(ctx.deadline.min(HELLO));
            match session.greet() {
                Ok(_) => {
                    session.set_deadline(ctx.deadline);
                    Ok(Some(Daemon::Native(session)))
                }
                Err(problem) if problem.code == keyrack_core::ErrorCode::DaemonUnresponsive => {
                    let Some(connection) = connect_to(&place, ctx.deadline)? else { return Ok(None) };
                    LegacyDaemon::over(connection, place, ctx).map(|legacy| Some(Daemon::Legacy(legacy)))
                }
                Err(problem) => Err(problem),
            }
        }
    }
}
