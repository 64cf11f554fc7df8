//! Hardening of this process: what it does before it touches a file, and what it reports of it.

use std::os::fd::BorrowedFd;

use keyrack_core::layout::variables;
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::hardening::{self, HardeningMeasure, RaisedLimits};
use keyrack_sys::memory::{Hibernation, MemoryMode, Pool};
use keyrack_wire::native::Hardening;

/// Denies debuggers access to this process. The first thing that a daemon does.
///
/// # Errors
/// [`ErrorCode::Traced`] when a debugger is attached already; [`ErrorCode::Io`] when the kernel
/// refuses.
pub(crate) fn deny_ptrace() -> Result<(), Error> {
    hardening::not_dumpable().map_err(|error| io_error(format!("cannot deny debuggers access: {error}")))?;
    match hardening::tracer_pid() {
        Ok(None) => Ok(()),
        Ok(Some(tracer)) => Err(Error::new(
            ErrorCode::Traced,
            format!("process {tracer} traces keyrackd, and could read every key"),
        )
        .hint("start it without a debugger")),
        Err(error) => Err(io_error(format!("cannot read TracerPid: {error}"))),
    }
}

/// Forks again and continues in the child, so that no other process holds a descriptor to this
/// process's memory from before it denied access. For a daemon in the background, whose starter is
/// not its parent.
///
/// # Errors
/// [`ErrorCode::Io`] when the kernel refuses.
pub(crate) fn refork() -> Result<(), Error> {
    hardening::refork().map_err(|error| io_error(format!("cannot fork: {error}")))
}

/// Applies the other hardening measures. Closes every descriptor from 3 up but those in `keep`,
/// which the process was started with and still needs.
///
/// # Errors
/// [`ErrorCode::Io`] for a required measure. Optional measures are verified later and reported by
/// `hello`.
pub(crate) fn harden(keep: &[BorrowedFd<'_>]) -> Result<RaisedLimits, Error> {
    hardening::close_inherited(keep)
        .map_err(|error| io_error(format!("cannot close inherited files: {error}")))?;
    let limits = hardening::raise_limits()
        .map_err(|error| io_error(format!("cannot read resource limits: {error}")))?;
    for (measure, done) in [
        ("scrubbed_environment", hardening::scrub_environment(&variables::OF_DAEMON)),
        ("no_file_size_signal", hardening::no_file_size_signal()),
        ("no_core", hardening::no_core()),
        ("no_new_privs", hardening::no_new_privs()),
        ("deny_write_exec", hardening::deny_write_exec()),
    ] {
        if let Err(error) = done {
            tracing::warn!(measure, %error, "hardening measure unavailable");
        }
    }
    Ok(limits)
}

/// Returns the state of every measure but the sandbox, read back from the kernel.
pub(crate) fn report(pool: &Pool) -> Vec<Hardening<'static>> {
    let mut all: Vec<_> = hardening::readback().into_iter().map(to_wire).collect();
    all.extend(memory_report(pool));
    all
}

/// Converts a measure to its form on the wire, and logs one that is off.
pub(crate) fn to_wire(measure: HardeningMeasure) -> Hardening<'static> {
    if !measure.on {
        tracing::warn!(measure = measure.name, detail = measure.detail, "hardening measure unavailable");
    }
    Hardening { name: measure.name.into(), on: measure.on, detail: measure.detail.map(Into::into) }
}

/// Returns what secret pages are protected from, why not from more, and what the protection costs.
fn memory_report(pool: &Pool) -> [Hardening<'static>; 2] {
    let missing = |mode| pool.lacks(mode).map(str::to_owned);
    let secret = match pool.hibernation() {
        Some(Hibernation::Never) => None,
        Some(Hibernation::NoSwap) => Some(
            "there is no swap to hibernate to; if you add some, hibernation is blocked while keyrackd runs"
                .to_owned(),
        ),
        Some(Hibernation::Possible(_)) => Some("hibernation is blocked while keyrackd runs".to_owned()),
        None => missing(MemoryMode::Secret)
            .or_else(|| Some(format!("KEYRACK_MEMORY={} was requested", pool.mode().name()))),
    };
    [
        ("secret_memory", pool.mode() == MemoryMode::Secret, secret),
        ("locked_memory", pool.mode() != MemoryMode::Unlocked, missing(MemoryMode::Locked)),
    ]
    .map(|(name, on, detail)| Hardening { name: name.into(), on, detail: detail.map(Into::into) })
}

fn io_error(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Io, message)
}
