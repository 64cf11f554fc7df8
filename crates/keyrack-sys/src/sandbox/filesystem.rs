//! Landlock ruleset of a confined process. The process may open files below `/proc` and logind's
//! list of sessions for reading, and remove files of its own directory. The ruleset forbids
//! everything else that this kernel's landlock has a rule for.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::fs::private_dir::PrivateDir;
use crate::process::procfs;

use super::outcome::Outcome;

/// Directory of logind's session files (`sd_session_get_state(3)`).
const SESSIONS: &str = "/run/systemd/sessions";

/// Newest ABI that we have rules for. On an older kernel, the rules that it has are used.
const NEWEST: ABI = ABI::V10;

/// First ABI with a rule for each access. Moving files between directories (ABI 2) is not listed,
/// because ABI 1 always forbade it.
const SINCE: [(ABI, &str); 6] = [
    (ABI::V3, "truncation of files"),
    (ABI::V4, "TCP"),
    (ABI::V5, "devices' ioctls"),
    (ABI::V6, "signals and abstract sockets"),
    (ABI::V9, "sockets by path"),
    (ABI::V10, "UDP"),
];

/// Enforces the ruleset and verifies it. The detail names the ABI and what it lacks.
pub(super) fn restrict(dir: &PrivateDir) -> Outcome {
    // Without landlock the directory can be listed, because it is ours. With landlock it cannot.
    let before = list(dir);
    let proc = procfs::root().map_err(|errno| format!("/proc cannot be opened: {errno}"))?;
    let status = enforce(dir, proc).map_err(|error| format!("it cannot be set up: {error}"))?;
    let described = describe(status.landlock)?;
    match (before, list(dir)) {
        (Ok(()), Err(Errno::EACCES)) => Ok(Some(described)),
        (Ok(()), Ok(())) => Err(format!("{described}: what it forbids still works")),
        (_, after) => {
            Err(format!("{described}: it is not confirmed (listing {}: {after:?})", dir.path().display()))
        }
    }
}

fn enforce(dir: &PrivateDir, proc: BorrowedFd<'_>) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(dir, AccessFs::RemoveFile))?
        .add_rule(PathBeneath::new(proc, read))?;
    // Missing without logind.
    if let Ok(sessions) = PathFd::new(SESSIONS) {
        rules = rules.add_rule(PathBeneath::new(sessions, read))?;
    }
    rules.restrict_self()
}

fn list(dir: &PrivateDir) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(dir, ".", flags, Mode::empty()).map(drop)
}

fn describe(status: LandlockStatus) -> Result<String, String> {
    let (abi, newer) = match status {
        LandlockStatus::NotImplemented => return Err("this kernel is built without it".to_owned()),
        LandlockStatus::NotEnabled => return Err("this kernel was started without it (lsm=)".to_owned()),
        LandlockStatus::Available { effective_abi, kernel_abi } => (effective_abi, kernel_abi),
    };
    let lacks: Vec<&str> = SINCE.iter().filter(|(since, _)| abi < *since).map(|(_, what)| *what).collect();
    let number = newer.unwrap_or(abi as i32);
    Ok(match lacks.as_slice() {
        [] => format!("ABI {number}"),
        _ => format!("ABI {number}, which has no rule for {}", lacks.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describe_names_what_an_abi_lacks() {
        let available = |effective_abi, kernel_abi| LandlockStatus::Available { effective_abi, kernel_abi };
        for (status, expected) in [
            (available(ABI::V10, None), Ok("ABI 10")),
            (available(ABI::V10, Some(12)), Ok("ABI 12")),
            (available(ABI::V7, None), Ok("ABI 7, which has no rule for sockets by path, UDP")),
            (
                available(ABI::V1, None),
                Ok(
                    "ABI 1, which has no rule for truncation of files, TCP, devices' ioctls, signals and abstract sockets, \
                    sockets by path, UDP",
                ),
            ),
            (LandlockStatus::NotEnabled, Err("this kernel was started without it (lsm=)")),
            (LandlockStatus::NotImplemented, Err("this kernel is built without it")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(describe(status), expected, "{status:?}");
        }
    }
}
