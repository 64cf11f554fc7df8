//! What the kernel here offers a daemon, whether one runs or not.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use keyrack_client::Context;
use keyrack_core::Fix;
use keyrack_sys::memory::{Budget, Hibernation, Mode, ModeRequest, Pool};
use keyrack_sys::{harden, kernel, peer};

use super::Check;

/// ENOPROTOOPT: the kernel has no SO_PEERPIDFD. Nothing else means that.
const ENOPROTOOPT: i32 = 92;

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    let demanded = ctx.env.text("KEYRACK_MEMORY").unwrap_or("auto");
    vec![
        processes(),
        peer_pidfd(),
        locked_memory(demanded == "locked"),
        secret_memory(demanded == "secret"),
        landlock(),
        yama(),
    ]
}

fn processes() -> Check {
    let name = "kernel.processes";
    match harden::hidepid() {
        Ok(None) => Check::ok(name, "/proc shows every process, as it takes to tell login sessions apart"),
        Ok(Some(value)) => {
            Check::fail(name, format!("/proc is mounted with hidepid={value}: keyrackd does not start so"))
                .fix(Fix::Text("sudo mount -o remount,hidepid=0 /proc".to_owned()))
        }
        Err(error) => Check::fail(name, format!("/proc cannot be used: {error}")),
    }
}

fn peer_pidfd() -> Check {
    let name = "kernel.peer_pidfd";
    let asked = UnixStream::pair().map(|(one, _other)| peer::read(one.as_fd()).pidfd.map(drop));
    match asked {
        Ok(Ok(())) => Check::ok(name, "the kernel hands out the process behind a connection (SO_PEERPIDFD)"),
        Ok(Err(ENOPROTOOPT)) => Check::warn(
            name,
            "this kernel cannot hand out the process behind a connection (SO_PEERPIDFD, Linux 6.5), so login sessions are no boundary here",
        )
        .hint("a newer kernel makes them one"),
        Ok(Err(errno)) => {
            let why = std::io::Error::from_raw_os_error(errno);
            Check::fail(name, format!("the kernel does not hand out the process behind a connection: {why}"))
        }
        Err(error) => Check::fail(name, format!("no socket can be made: {error}")),
    }
}

fn locked_memory(demanded: bool) -> Check {
    let name = "kernel.locked_memory";
    let hard = hard_limit();
    let bytes = hard.map_or_else(|| "any amount of".to_owned(), |bytes| format!("{} KiB of", bytes / 1024));
    // What a daemon would do, with the limit as it is for us; a daemon raises it to the hard one first.
    let budget = Budget::default();
    match Pool::new(ModeRequest::Require(Mode::Locked), budget) {
        Ok(_) => Check::ok(name, format!("keys can be kept out of swap ({bytes} memory may be locked)")),
        Err(_) if hard.is_none_or(|bytes| bytes >= 1 << 20) => {
            Check::ok(name, format!("keys can be kept out of swap ({bytes} memory may be locked)"))
        }
        Err(error) => {
            let message = format!("{error} (the hard limit is {bytes} memory)");
            let check = if demanded { Check::fail(name, message) } else { Check::warn(name, message) };
            check.hint("raise the limit on locked memory (ulimit -Hl; LimitMEMLOCK= of systemd; memlock in /etc/security/limits.conf)")
        }
    }
}

/// The hard limit on locked memory in bytes; `None` for no limit.
fn hard_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn secret_memory(demanded: bool) -> Check {
    let name = "kernel.secret_memory";
    match kernel::secret_memory() {
        Ok(()) => Check::ok(name, "the kernel has memory that is hidden from itself (memfd_secret)"),
        Err(error) => {
            let message =
                format!("the kernel has no memory that is hidden from itself (memfd_secret): {error}");
            if demanded {
                Check::fail(name, format!("{message}; KEYRACK_MEMORY demands it"))
                    .hint("unset KEYRACK_MEMORY to take the strongest this machine has")
            } else {
                Check::warn(name, message)
                    .hint("Linux 6.5 has it; before, the kernel's argument secretmem.enable=y turns it on")
            }
        }
    }
}

fn landlock() -> Check {
    let name = "kernel.landlock";
    match kernel::landlock_abi() {
        Ok(abi) => {
            Check::ok(name, format!("the kernel lets a process give up files (landlock, version {abi})"))
        }
        Err(error) => {
            Check::warn(name, format!("the kernel does not let a process give up files (landlock): {error}"))
                .hint("Linux 5.13 has it, where `lsm=` of the kernel's arguments names landlock")
        }
    }
}

/// The restriction of debuggers (Yama's `ptrace_scope`, kernel documentation, "LSM/Yama"). It adds to what the daemon and the command do
/// themselves.
fn yama() -> Check {
    let name = "kernel.yama";
    let Ok(scope) = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") else {
        return Check::skip(name, format!("this kernel has no yama: {OPEN_TO_DEBUGGERS}"));
    };
    ptrace_scope(scope.trim())
}

/// Who may look into processes where nothing restricts debuggers.
const OPEN_TO_DEBUGGERS: &str =
    "processes of yours in other login sessions can read your shells and tools, though not the daemon";

fn ptrace_scope(scope: &str) -> Check {
    let name = "kernel.yama";
    let restricted = |who: &str| Check::ok(name, format!("{who} (ptrace_scope {scope})"));
    match scope {
        "0" => {
            Check::warn(name, format!("debuggers are not restricted (ptrace_scope 0): {OPEN_TO_DEBUGGERS}"))
                .fix(Fix::Text("sudo sysctl -w kernel.yama.ptrace_scope=1".to_owned()))
                .hint("a file in /etc/sysctl.d keeps the setting over a restart")
        }
        "1" => restricted("a process can only be debugged by one that started it"),
        "2" => restricted("only root can debug a process"),
        "3" => restricted("no process can be debugged"),
        _ => Check::warn(name, "this keyrack does not know the value of kernel.yama.ptrace_scope"),
    }
}

/// Whether this machine could hibernate, were no secret memory open; `None` where that cannot be told from here.
pub(super) fn could_hibernate() -> Option<bool> {
    let pool = Pool::new(ModeRequest::Require(Mode::Secret), Budget::bytes(Budget::LEAST)).ok()?;
    pool.hibernation().map(|hibernation| matches!(hibernation, Hibernation::Possible(_)))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn ptrace_scope_warns_where_debuggers_are_unrestricted() {
        for (scope, state, words) in [
            ("0", State::Warn, "other login sessions can read your shells"),
            ("1", State::Ok, "ptrace_scope 1"),
            ("2", State::Ok, "only root"),
            ("3", State::Ok, "no process"),
            ("4", State::Warn, "does not know"),
            ("", State::Warn, "does not know"),
        ] {
            let check = ptrace_scope(scope);
            assert_eq!(check.state, state, "{scope:?}: {check:?}");
            assert!(check.message.contains(words), "{scope:?}: {check:?}");
            assert_eq!(check.fix.is_some(), scope == "0", "{scope:?}: {check:?}");
        }
    }
}
