//! Checks of what this kernel offers a daemon. No daemon needs to run.

use std::fs;
use std::path::Path;

use keyrack_client::{Context, daemon};
use keyrack_core::peer::PidfdError;
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::features::{self, KernelVersion};
use keyrack_sys::{hardening, peer};

use super::check::{Check, CheckStatus};

pub(super) fn checks(ctx: &Context, keyrackd: &Path) -> Vec<Check> {
    let demanded = ctx.env.text("KEYRACK_MEMORY").unwrap_or("auto");
    let memory = |mode| daemon::check(ctx, keyrackd, Some(mode));
    let mut checks = vec![version(KernelVersion::running()), processes(), peer_pidfd()];
    let told = checks.iter().any(|check| check.state == CheckStatus::Fail);
    checks.extend([
        start(told, daemon::check(ctx, keyrackd, None)),
        locked_memory(demanded == "locked", memory("locked")),
        secret_memory(demanded == "secret", memory("secret")),
        landlock(),
        yama(),
    ]);
    checks
}

fn version(running: Option<KernelVersion>) -> Check {
    let name = "kernel.version";
    let oldest = features::OLDEST_SUPPORTED;
    match running {
        Some(version) if version < oldest => {
            Check::fail(name, format!("Linux {version} is too old: keyrackd needs Linux {oldest} or later"))
                .hint("without a daemon, keyrack reads keys from environment variables")
        }
        Some(version) => {
            Check::ok(name, format!("this is Linux {version}; keyrackd needs {oldest} or later"))
        }
        None => Check::skip(name, "the version of this kernel is unknown"),
    }
}

/// Checks that a daemon can start: keyrackd itself does everything that a start does, up to its
/// socket, hidden and hardened. `told`: earlier checks already report why it cannot.
fn start(told: bool, checked: Result<String, Error>) -> Check {
    let name = "kernel.start";
    match checked {
        Ok(memory) => Check::ok(name, format!("a daemon can start here, with {memory} memory for keys")),
        Err(error) if error.code == ErrorCode::DaemonStartFailed => unknown(name),
        // This does not tell if it starts without a debugger.
        Err(error) if error.code == ErrorCode::Traced => {
            Check::skip(name, "keyrackd does not start under a debugger, and `keyrack doctor` runs under one")
        }
        Err(_) if told => Check::skip(name, "a daemon cannot start here (see above)"),
        Err(error) => {
            let message = format!("a daemon cannot start here: {}", error.message);
            Check::error(name, Error { message, ..error })
        }
    }
}

/// Skipped check: `programs.keyrackd` reports the cause.
fn unknown(name: &str) -> Check {
    Check::skip(name, "keyrackd did not answer")
}

fn processes() -> Check {
    let name = "kernel.processes";
    match hardening::hidepid() {
        Ok(None) => {
            Check::ok(name, "/proc shows all processes, which keyrackd needs to tell login sessions apart")
        }
        Ok(Some(value)) => {
            Check::fail(name, format!("/proc is mounted with hidepid={value}: keyrackd cannot start"))
                .fix(Fix::Text("sudo mount -o remount,hidepid=0 /proc".to_owned()))
        }
        Err(error) => Check::fail(name, format!("cannot use /proc: {error}")),
    }
}

fn peer_pidfd() -> Check {
    let name = "kernel.peer_pidfd";
    match peer::pidfd_support() {
        Ok(()) => Check::ok(name, "the kernel identifies the process at the other end of a connection (SO_PEERPIDFD)"),
        Err(PidfdError::Unsupported) => Check::warn(
            name,
            "this kernel cannot identify the process at the other end of a connection (SO_PEERPIDFD), so keyrackd cannot tell login sessions apart",
        )
        .hint("use Linux 6.5 or later"),
        Err(error) => {
            Check::fail(name, format!("cannot identify the process at the other end of a connection: {error}"))
        }
    }
}

fn locked_memory(demanded: bool, checked: Result<String, Error>) -> Check {
    let name = "kernel.locked_memory";
    let bytes =
        hard_limit().map_or_else(|| "any amount of".to_owned(), |bytes| format!("{} KiB of", bytes / 1024));
    match checked {
        Ok(_) => Check::ok(name, format!("keys can be kept out of swap ({bytes} memory may be locked)")),
        Err(error) if error.code == ErrorCode::MemoryUnavailable => lacking(name, demanded, error.message)
            .hint("raise the limit on locked memory (ulimit -Hl; LimitMEMLOCK= of systemd; memlock in /etc/security/limits.conf)"),
        Err(_) => unknown(name),
    }
}

fn lacking(name: &str, demanded: bool, message: String) -> Check {
    match demanded {
        true => Check::fail(name, format!("{message}; KEYRACK_MEMORY requires it")),
        false => Check::warn(name, message),
    }
}

/// The hard limit on locked memory in bytes; `None` for no limit.
fn hard_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn secret_memory(demanded: bool, checked: Result<String, Error>) -> Check {
    let name = "kernel.secret_memory";
    match checked {
        Ok(_) => Check::ok(name, "the kernel supports secret memory (memfd_secret)"),
        Err(error) if error.code == ErrorCode::MemoryUnavailable => {
            let check = lacking(name, demanded, error.message);
            Check { hint: error.hint.filter(|_| demanded), ..check }
        }
        Err(_) => unknown(name),
    }
}

fn landlock() -> Check {
    let name = "kernel.landlock";
    match features::landlock_abi() {
        Ok(abi) => {
            Check::ok(name, format!("the kernel can restrict file access (landlock, ABI version {abi})"))
        }
        Err(error) => {
            Check::warn(name, format!("the kernel cannot restrict file access (landlock): {error}"))
                .hint("use Linux 5.13 or later, with landlock in the kernel parameter `lsm=`")
        }
    }
}

/// Checks the restriction of debuggers (Yama's `ptrace_scope`, kernel documentation, "LSM/Yama"),
/// which adds to the protection of the daemon and the command themselves.
fn yama() -> Check {
    let name = "kernel.yama";
    let Ok(scope) = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") else {
        return Check::skip(name, format!("this kernel has no yama: {OPEN_TO_DEBUGGERS}"));
    };
    ptrace_scope(scope.trim())
}

/// Consequence of debuggers that are not restricted.
const OPEN_TO_DEBUGGERS: &str =
    "your processes in other login sessions can read your shells and tools, though not the daemon";

fn ptrace_scope(scope: &str) -> Check {
    let name = "kernel.yama";
    let restricted = |who: &str| Check::ok(name, format!("{who} (ptrace_scope {scope})"));
    match scope {
        "0" => {
            Check::warn(name, format!("debuggers are not restricted (ptrace_scope 0): {OPEN_TO_DEBUGGERS}"))
                .fix(Fix::Text("sudo sysctl -w kernel.yama.ptrace_scope=1".to_owned()))
                .hint("to keep the setting after a reboot, add it to a file in /etc/sysctl.d")
        }
        "1" => restricted("only the process that started it can debug a process"),
        "2" => restricted("only root can debug a process"),
        "3" => restricted("no process can be debugged"),
        _ => Check::warn(name, "unknown value of kernel.yama.ptrace_scope"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of keyrackd on each kernel, and the checks made of them.
    #[test]
    fn kernel_start_repeats_the_error_of_keyrackd() {
        let error = |code: ErrorCode, message: &str| Err(Error::new(code, message));
        let fit = || Ok("locked".to_owned());
        let too_old = || error(ErrorCode::KernelTooOld, "Linux 5.4 is too old");
        let hidden = || error(ErrorCode::ProcHidden, "/proc cannot be used: Permission denied");
        let cannot = || error(ErrorCode::DaemonStartFailed, "no such file");
        for (told, checked, state, words) in [
            (false, fit(), CheckStatus::Ok, "locked memory"),
            (false, hidden(), CheckStatus::Fail, "cannot start here: /proc cannot be used"),
            (true, hidden(), CheckStatus::Skip, "see above"),
            (true, too_old(), CheckStatus::Skip, "see above"),
            (false, cannot(), CheckStatus::Skip, "did not answer"),
            (
                false,
                error(ErrorCode::Traced, "process 7 traces keyrackd"),
                CheckStatus::Skip,
                "under a debugger",
            ),
        ] {
            let check = start(told, checked);
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.message.contains(words), "{check:?}");
        }
        let none = || error(ErrorCode::MemoryUnavailable, "no locked memory: 0 KiB could be locked");
        type OfMemory = fn(bool, Result<String, Error>) -> Check;
        for of_memory in [locked_memory as OfMemory, secret_memory] {
            for (demanded, checked, state) in [
                (false, fit(), CheckStatus::Ok),
                (false, none(), CheckStatus::Warn),
                (true, none(), CheckStatus::Fail),
                (true, cannot(), CheckStatus::Skip),
                (true, hidden(), CheckStatus::Skip),
            ] {
                let check = of_memory(demanded, checked);
                assert_eq!(check.state, state, "{check:?}");
                assert!(state == CheckStatus::Ok || !check.message.contains("can be kept"), "{check:?}");
            }
        }
    }

    #[test]
    fn doctor_names_the_oldest_kernel() {
        for (running, state) in
            [(Some((4, 18)), CheckStatus::Fail), (Some((5, 10)), CheckStatus::Ok), (None, CheckStatus::Skip)]
        {
            let check = version(running.map(|(major, minor)| KernelVersion { major, minor }));
            assert_eq!(check.state, state, "{check:?}");
            assert!(running.is_none() || check.message.contains("5.10 or later"), "{check:?}");
        }
    }

    #[test]
    fn ptrace_scope_warns_where_debuggers_are_unrestricted() {
        for (scope, state, words) in [
            ("0", CheckStatus::Warn, "other login sessions can read your shells"),
            ("1", CheckStatus::Ok, "ptrace_scope 1"),
            ("2", CheckStatus::Ok, "only root"),
            ("3", CheckStatus::Ok, "no process"),
            ("4", CheckStatus::Warn, "unknown value"),
            ("", CheckStatus::Warn, "unknown value"),
        ] {
            let check = ptrace_scope(scope);
            assert_eq!(check.state, state, "{scope:?}: {check:?}");
            assert!(check.message.contains(words), "{scope:?}: {check:?}");
            assert_eq!(check.fix.is_some(), scope == "0", "{scope:?}: {check:?}");
        }
    }
}
