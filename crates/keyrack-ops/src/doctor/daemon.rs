//! Checks of the daemon: if one serves this rack, which one, and what it reports.

use std::path::Path;
use std::time::Duration;

use keyrack_client::context::{MemoryRank, Requirements};
use keyrack_client::daemon::{check, connect_at, service_of};
use keyrack_client::render::status::open_namespaces;
use keyrack_client::session::HelloInfo;
use keyrack_client::{Context, Daemon, RackAddress, Session};
use keyrack_core::peer::Boundary;
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::memory::Hibernation;

use super::check::{Check, counted};
use super::programs::VERSION;

/// Longest wait for a reply. A daemon takes microseconds.
const MAX_WAIT: Duration = Duration::from_secs(2);

const SOCKET: &str = "daemon.socket";

pub(super) fn checks(ctx: &Context, keyrackd: &Path) -> Vec<Check> {
    // Errors of the address are reported by the checks of the paths.
    let Ok(address) = RackAddress::of(ctx) else {
        return vec![Check::skip(SOCKET, "no daemon can run without a socket path")];
    };
    // Without the caller's demands: a daemon that does not meet them is described all the same.
    let mut asking = ctx.clone();
    asking.env = ctx.env.without_settings();
    asking.deadline = ctx.deadline.min(MAX_WAIT);
    match connect_at(&asking, address.clone()) {
        Ok(None) => vec![no_daemon(ctx, &address)],
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
            keyrackd_checks(ctx, keyrackd, session).unwrap_or_else(|error| vec![failed(error)])
        }
        Err(error) => vec![failed(error)],
    }
}

fn no_daemon(ctx: &Context, address: &RackAddress) -> Check {
    let socket = address.socket();
    if socket.symlink_metadata().is_err() {
        return Check::skip(SOCKET, "no daemon is running; `unlock` starts one");
    }
    let message = format!("{} was left by a daemon that crashed: nothing listens on it", socket.display());
    Check::warn(SOCKET, message)
        .fix(Fix::with_owner("daemon prune", &ctx.owner, []))
        .hint("the next `unlock` also replaces it")
}

fn failed(error: Error) -> Check {
    match error.code {
        // The daemon exited between our connect and our request.
        ErrorCode::DaemonAbsent => Check::skip(SOCKET, "no daemon is running; `unlock` starts one"),
        ErrorCode::DaemonIncompatible => Check::error("daemon.version", error),
        _ => Check::error(SOCKET, error),
    }
}

fn keyrackd_checks(ctx: &Context, keyrackd: &Path, mut session: Session) -> Result<Vec<Check>, Error> {
    let held = session.status()?.keys.len();
    let names_peers = session.server().is_some_and(|server| server.pidfd.is_some());
    let hello = session.hello()?;
    let mut checks = vec![
        Check::ok(
            SOCKET,
            format!("keyrackd is running (pid {}) and holds {}", hello.pid, counted(held, "key")),
        ),
        version(ctx, hello),
        boundary(ctx, hello, names_peers),
        namespaces(ctx, hello),
        memory(ctx, keyrackd, hello),
    ];
    checks.extend(hibernation(MemoryRank::reported(&hello.memory), &Hibernation::here()));
    checks.extend(service_of(hello.pid).as_deref().map(unit));
    checks.extend(hello.hardening.iter().map(|measure| {
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

fn version(ctx: &Context, hello: &HelloInfo) -> Check {
    let name = "daemon.version";
    let HelloInfo { version, build, proto, .. } = hello;
    if version == VERSION {
        return Check::ok(
            name,
            format!("keyrackd has the same version as keyrack, {version} ({build}, protocol {proto})"),
        );
    }
    let message = format!(
        "keyrackd has version {version} ({build}), this keyrack {VERSION}; both use protocol {proto}"
    );
    Check::warn(name, message)
        .fix(Fix::with_owner("daemon restart", &ctx.owner, []))
        .hint("unlocked keys stay unlocked")
}

fn boundary(ctx: &Context, hello: &HelloInfo, names_peers: bool) -> Check {
    let name = "daemon.boundary";
    match hello.boundary {
        Boundary::Session => Check::ok(name, "keyrackd serves only processes of this login session"),
        Boundary::User => {
            let message = "keyrackd cannot tell login sessions apart: all your processes can read keys";
            if ctx.requirements().session {
                Check::fail(name, format!("{message}; KEYRACK_REQUIRE_SESSION requires that it can"))
                    .hint(Requirements::session_hint(names_peers))
            } else {
                Check::warn(name, message).hint("see session.login and kernel.peer_pidfd")
            }
        }
    }
}

/// Checks the namespaces that the daemon accepts callers from.
fn namespaces(ctx: &Context, hello: &HelloInfo) -> Check {
    let name = "daemon.namespaces";
    match hello.namespaces.as_deref() {
        Some("pid and user") => {
            Check::ok(name, "keyrackd serves processes in its own pid and user namespaces, but no sandboxes")
        }
        Some(enforced) => match open_namespaces(enforced) {
            Some(open) => Check::warn(name, format!("namespaces: {enforced}; {open}")),
            None => Check::skip(name, format!("unknown namespaces: {enforced}")),
        },
        None => Check::warn(name, "keyrackd is older, and also serves sandboxes with their own namespaces")
            .fix(Fix::with_owner("daemon restart", &ctx.owner, [])),
    }
}

fn memory(ctx: &Context, keyrackd: &Path, hello: &HelloInfo) -> Check {
    let name = "daemon.memory";
    let rank = MemoryRank::reported(&hello.memory);
    if let Some(demanded) = ctx.requirements().memory.filter(|demanded| rank < *demanded) {
        let message = format!(
            "keyrackd keeps keys in {} memory, but KEYRACK_MEMORY requires {}",
            hello.memory,
            demanded.as_str()
        );
        // A new daemon helps only if it can get such memory.
        return match check(ctx, keyrackd, Some(demanded.as_str())) {
            Err(error) if error.code == ErrorCode::MemoryUnavailable => Check::fail(name, message)
                .hint(format!("this machine cannot provide it: {}; unset KEYRACK_MEMORY", error.message)),
            _ => Check::fail(name, message).fix(Fix::with_owner("daemon restart", &ctx.owner, [])),
        };
    }
    match rank {
        MemoryRank::Secret => {
            Check::ok(name, "keyrackd keeps keys in secret memory, which is hidden from the kernel")
        }
        MemoryRank::Locked => {
            Check::ok(name, "keyrackd keeps keys in locked memory: never in swap or in a core dump")
        }
        MemoryRank::Unlocked => {
            Check::warn(name, "the memory of keyrackd is not locked, so keys may be written to swap")
                .hint("see kernel.locked_memory")
        }
    }
}

/// Checks hibernation. Secret memory keeps the machine from hibernating; locked memory is written
/// into the hibernation image.
fn hibernation(rank: MemoryRank, machine: &Hibernation) -> Option<Check> {
    let name = "daemon.hibernation";
    match (rank, machine) {
        (MemoryRank::Secret, Hibernation::Possible(_)) => Some(
            Check::warn(
                name,
                "this machine cannot hibernate while keyrackd runs: its secret memory blocks that",
            )
            .hint("with KEYRACK_MEMORY=locked it can hibernate, and the image on disk then holds your keys"),
        ),
        (MemoryRank::Secret, _) => {
            Some(Check::ok(name, "this machine does not hibernate, so its secret memory blocks nothing"))
        }
        (_, Hibernation::Possible(why)) => Some(
            Check::warn(
                name,
                format!(
                    "this machine can hibernate ({why}), and the image on disk would hold your unlocked keys"
                ),
            )
            .hint(
                "relock before you hibernate; KEYRACK_MEMORY=secret blocks hibernation while keyrackd runs",
            ),
        ),
        (_, _) => None,
    }
}

/// Warns of a daemon that was started inside a systemd service, because it stops with the service.
fn unit(service: &str) -> Check {
    Check::warn(
        "daemon.unit",
        format!("keyrackd runs inside the systemd unit {service}: when the unit stops, systemd stops the daemon and its keys are locked"),
    )
    .hint("unlock in a login session, or start the unit's program with `keyrack run`")
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn hibernation_check_depends_on_memory() {
        let possible = Hibernation::Possible("it has swap on /dev/sda2".to_owned());
        for (rank, machine, state, words) in [
            (MemoryRank::Secret, &possible, Some(CheckStatus::Warn), "cannot hibernate while"),
            (MemoryRank::Secret, &Hibernation::Never, Some(CheckStatus::Ok), "does not hibernate"),
            (MemoryRank::Secret, &Hibernation::NoSwap, Some(CheckStatus::Ok), "does not hibernate"),
            (MemoryRank::Locked, &possible, Some(CheckStatus::Warn), "swap on /dev/sda2), and the image"),
            (MemoryRank::Unlocked, &possible, Some(CheckStatus::Warn), "would hold your unlocked keys"),
            (MemoryRank::Locked, &Hibernation::Never, None, ""),
            (MemoryRank::Locked, &Hibernation::NoSwap, None, ""),
        ] {
            let check = hibernation(rank, machine);
            assert_eq!(check.as_ref().map(|check| check.state), state, "{rank:?} {machine:?}");
            assert!(check.is_none_or(|check| check.message.contains(words)), "{rank:?} {machine:?}");
        }
    }
}
