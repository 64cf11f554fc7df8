//! The daemon: whether one serves this rack, who it is, and what it says of itself.

use std::time::Duration;

use keyrack_client::context::MemoryRank;
use keyrack_client::daemon::connect_at;
use keyrack_client::session::Greeting;
use keyrack_client::{Context, Daemon, Place, Session};
use keyrack_core::peer::Boundary;
use keyrack_core::{ErrorCode, Fix, Problem};

use super::kernel::could_hibernate;
use super::programs::VERSION;
use super::{Check, counted};

/// How long an answer is waited for: a daemon takes microseconds.
const PATIENCE: Duration = Duration::from_secs(2);

const SOCKET: &str = "daemon.socket";

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    // What is wrong with the place itself is told there.
    let Ok(place) = Place::of(ctx) else {
        return vec![Check::skip(SOCKET, "without a place for its socket there is no daemon")];
    };
    // Without the caller's demands: a daemon that does not meet them is described all the same.
    let mut asking = ctx.clone();
    asking.env = ctx.env.without_settings();
    asking.deadline = ctx.deadline.min(PATIENCE);
    match connect_at(&asking, place.clone()) {
        Ok(None) => vec![nobody(ctx, &place)],
        Ok(Some(Daemon::Legacy(legacy))) => {
            let pid = legacy
                .server()
                .and_then(|server| server.pid)
                .map_or_else(String::new, |pid| format!(" (pid {pid})"));
            let message = format!(
                "the daemon of an older TypeScript keyrack serves{pid}: it can neither unlock nor set for this one"
            );
            vec![Check::fail(SOCKET, message).fix(Fix::with_owner("daemon restart", &ctx.owner, []))]
        }
        Ok(Some(Daemon::Native(session))) => {
            ours(ctx, session).unwrap_or_else(|problem| vec![failed(problem)])
        }
        Err(problem) => vec![failed(problem)],
    }
}

fn nobody(ctx: &Context, place: &Place) -> Check {
    let socket = place.socket();
    if socket.symlink_metadata().is_err() {
        return Check::skip(SOCKET, "no daemon runs; `unlock` starts one");
    }
    let message =
        format!("{} is the socket of a daemon that did not end in order; nobody listens", socket.display());
    Check::warn(SOCKET, message)
        .fix(Fix::with_owner("daemon prune", &ctx.owner, []))
        .hint("the next unlock replaces it too")
}

fn failed(problem: Problem) -> Check {
    match problem.code {
        // It ended between our connect and our question.
        ErrorCode::DaemonAbsent => Check::skip(SOCKET, "no daemon runs; `unlock` starts one"),
        ErrorCode::DaemonIncompatible => Check::problem("daemon.version", problem),
        _ => Check::problem(SOCKET, problem),
    }
}

fn ours(ctx: &Context, mut session: Session) -> Result<Vec<Check>, Problem> {
    let held = session.status()?.keys.len();
    let greeting = session.greet()?;
    let mut checks = vec![
        Check::ok(
            SOCKET,
            format!("keyrackd serves (pid {}) and holds {}", greeting.pid, counted(held, "key")),
        ),
        version(ctx, greeting),
        boundary(ctx, greeting),
        memory(ctx, greeting),
    ];
    checks.extend(hibernation(greeting));
    checks.extend(greeting.hardening.iter().map(|measure| {
        let name = format!("daemon.hardening.{}", measure.name);
        let detail = measure.detail.as_deref();
        match (measure.on, detail) {
            (true, None) => Check::ok(name, format!("{} is on", measure.name)),
            (true, Some(detail)) => Check::ok(name, format!("{} is on: {detail}", measure.name)),
            (false, None) => Check::warn(name, format!("{} is off", measure.name)),
            (false, Some(detail)) => Check::warn(name, format!("{} is off: {detail}", measure.name)),
        }
    }));
    Ok(checks)
}

fn version(ctx: &Context, greeting: &Greeting) -> Check {
    let name = "daemon.version";
    let Greeting { version, build, proto, .. } = greeting;
    if version == VERSION {
        return Check::ok(name, format!("it is of our version, {version} ({build}, protocol {proto})"));
    }
    let message = format!(
        "it is of version {version} ({build}), this keyrack of {VERSION}; both speak protocol {proto}"
    );
    Check::warn(name, message)
        .fix(Fix::with_owner("daemon restart", &ctx.owner, []))
        .hint("unlocked keys stay unlocked")
}

fn boundary(ctx: &Context, greeting: &Greeting) -> Check {
    let name = "daemon.boundary";
    match greeting.boundary {
        Boundary::Session => Check::ok(name, "it serves processes of this login session and no others"),
        Boundary::User => {
            let message = "it cannot tell login sessions apart: every process of yours may read";
            if ctx.demands().session {
                Check::fail(name, format!("{message}; KEYRACK_REQUIRE_SESSION demands that it can"))
                    .hint("log in by a way that makes a login session, or unset KEYRACK_REQUIRE_SESSION")
            } else {
                Check::warn(name, message).hint("session.login and kernel.peer_pidfd say why")
            }
        }
    }
}

fn memory(ctx: &Context, greeting: &Greeting) -> Check {
    let name = "daemon.memory";
    let rank = MemoryRank::said(&greeting.memory);
    if let Some(demanded) = ctx.demands().memory.filter(|demanded| rank < *demanded) {
        let message = format!(
            "it keeps keys in {} memory, and KEYRACK_MEMORY demands {}",
            greeting.memory,
            demanded.as_str()
        );
        return Check::fail(name, message).fix(Fix::with_owner("daemon restart", &ctx.owner, []));
    }
    match rank {
        MemoryRank::Secret => {
            Check::ok(name, "it keeps keys in memory that is hidden from the kernel itself")
        }
        MemoryRank::Locked => {
            Check::ok(name, "it keeps keys in locked memory: never in swap, nor in a core dump")
        }
        MemoryRank::Unlocked => Check::warn(name, "its memory is not locked, so keys may reach swap")
            .hint("kernel.locked_memory says why"),
    }
}

/// One open descriptor of secret memory keeps the kernel from hibernating.
fn hibernation(greeting: &Greeting) -> Option<Check> {
    let name = "daemon.hibernation";
    if MemoryRank::said(&greeting.memory) != MemoryRank::Secret {
        return None;
    }
    Some(if could_hibernate()? {
        Check::warn(name, "this machine cannot hibernate while keyrackd runs: its secret memory blocks that")
            .hint("with KEYRACK_MEMORY=locked it could, and the image on disk would hold the keys")
    } else {
        Check::ok(name, "this machine does not hibernate anyway, so secret memory takes nothing from it")
    })
}
