//! Sandbox of a daemon that has opened all it needs: a landlock ruleset for what it may open
//! (`landlock(7)`), and a seccomp filter for its system calls (`seccomp(2)`). Neither can be
//! undone. Both limit what an attacker can do with a bug of ours.
//!
//! If the kernel lacks one of them, the daemon reports it and serves. A measure counts as in force
//! only after a call has failed that it forbids and that nothing else would make fail.

mod bpf;
mod filesystem;
mod filter;
mod outcome;
mod syscalls;

use crate::fs::private_dir::PrivateDir;
use crate::hardening::HardeningMeasure;
use outcome::{Outcome, status_number};

/// Confines the calling process for good, and returns the measures `landlock` and `seccomp`.
///
/// Afterwards the process can open files below `/proc` and `/run/systemd/sessions` for reading and
/// no others, remove files below `dir`, and use the sockets, timers and pages it has. It cannot
/// start a process or thread, create a socket, or signal another process. The process must have one
/// thread, because a second one would stay unconfined: with two, nothing is done and the measures
/// are reported as off.
///
/// The detail of a measure that is on names what this kernel lacks of it.
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
