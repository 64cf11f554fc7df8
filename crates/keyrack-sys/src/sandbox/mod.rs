//! The walls a daemon builds around itself once it has opened all it will ever need: landlock for what it may open
//! (`landlock(7)`), seccomp for what it may ask of the kernel at all (`seccomp(2)`). Neither can be taken down again, and both
//! are there against a bug of our own being turned against what the process holds.
//!
//! A kernel that lacks one of them is told about, never a reason not to serve. Nothing here is claimed that was not tried: each wall
//! counts as up only when something it forbids, and nothing else would, has just failed.

mod bpf;
mod filesystem;
mod filter;
mod outcome;
mod syscalls;

use crate::fs::private_dir::PrivateDir;
use crate::hardening::HardeningMeasure;
use outcome::{Outcome, status_number};

/// Confines the calling process for good, and says what came of it: `landlock`, then `seccomp`.
///
/// From here on it can open files below `/proc` and `/run/systemd/sessions` for reading and no others, remove files below `dir`,
/// and use the sockets, timers and pages it has; it can start no process or thread, make no socket and signal nobody but itself. The
/// process must have no second thread, which would stay outside: with one, nothing is done, and that is said.
///
/// A measure that is on says in its detail what of it this kernel does not have.
#[must_use]
pub fn confine(dir: &PrivateDir) -> Vec<HardeningMeasure> {
    let alone = alone();
    let measure = |name, step: &dyn Fn() -> Outcome| match alone.clone().and_then(|()| step()) {
        Ok(detail) => HardeningMeasure { name, on: true, detail },
        Err(why) => HardeningMeasure { name, on: false, detail: Some(why) },
    };
    vec![measure("landlock", &|| filesystem::restrict(dir)), measure("seccomp", &filter::install)]
}

fn alone() -> Result<(), String> {
    match status_number("Threads:")? {
        Some(1) => Ok(()),
        Some(threads) => Err(format!("the process has {threads} threads already")),
        None => Err("/proc/self/status does not say how many threads there are".to_owned()),
    }
}
