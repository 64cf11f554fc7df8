//! The keyrack daemon: it holds unlocked keys for one login session, one home and one owner, and
//! hands them to processes of that session. A library with a thin binary; only the binary reads the
//! process's arguments, environment and clocks.
//!
//! The daemon never opens a vault or a network connection. Once it serves, it opens no file but
//! those of `/proc` that show who a caller is and who is logged in, and logind's file of its
//! session. A secret lies in pages of `keyrack_sys::memory` from the read that receives it to the
//! write that sends it, and nowhere else.

mod accept;
mod args;
mod async_fd;
mod conn;
mod daemon_info;
mod dispatch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod harden;
mod key_service;
mod limits;
mod lock;
mod log;
mod logout;
mod panic_hook;
mod peer_auth;
mod reclaim;
mod reply;
mod runtime_files;
mod server;
mod settings;
mod shutdown;
mod start;
mod startup_notify;
mod stored_secret;
mod timers;
mod watchdog;

use std::ffi::OsString;
use std::io::{PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use keyrack_core::{Error, Invocation};
use keyrack_sys::hardening::RaisedLimits;

pub use server::ReadClock;

use crate::args::Args;
use crate::daemon_info::VERSION;
use crate::log::LogConfig;
use crate::settings::Settings;
use crate::start::Start;
use crate::startup_notify::StartupStatus;

/// Environment of the daemon, provided by the binary's main.
pub struct DaemonEnv<'a> {
    /// Arguments after the program's name.
    pub args: Vec<OsString>,
    /// Reads an environment variable.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// Takes the pipe that a starter left at descriptor 3.
    pub pipe: &'a dyn Fn() -> Option<PipeWriter>,
    /// Reads both clocks.
    pub clock: ReadClock,
    /// Reads the wall clock for the log, in milliseconds since the Unix epoch.
    pub wall_ms: fn() -> i64,
}

/// Runs the daemon and returns the exit code of the process: 0 for success, 1 for a failure, 2 if
/// the caller must act. A panic exits the process with 70.
pub fn run(env: DaemonEnv<'_>) -> u8 {
    let denied = harden::deny_ptrace();
    panic_hook::install();
    let (socket, report) = match args::parse(env.args) {
        Ok(Args::Help) => return print(args::HELP.as_bytes()),
        Ok(Args::Version) => return print(format!("keyrackd {VERSION}\n").as_bytes()),
        Ok(Args::Check { report }) => (None, report),
        Ok(Args::Serve { socket, report }) => (Some(socket), report),
        Err(error) => return fail(&error),
    };
    let mut pipe = None;
    if report {
        pipe = (env.pipe)();
        if pipe.is_none() {
            return fail(&args::no_pipe());
        }
    }
    let hardened = denied.and_then(|()| if pipe.is_some() { harden::refork() } else { Ok(()) });
    let result = hardened.and_then(|()| match &socket {
        Some(socket) => serve(socket, &mut pipe, env.var, env.clock, env.wall_ms),
        None => check(&mut pipe, env.var),
    });
    match result {
        Ok(()) => 0,
        Err(error) => {
            if let Some(pipe) = pipe {
                StartupStatus::Failed(&error).send(pipe);
            }
            fail(&error)
        }
    }
}

/// Takes the steps of a start up to the socket, and reports the result.
fn check(pipe: &mut Option<PipeWriter>, var: &dyn Fn(&str) -> Option<OsString>) -> Result<(), Error> {
    let (settings, limits, log) = prepare(pipe, var)?;
    log.check()?;
    let status = start::check(settings, limits)?;
    match pipe.take() {
        Some(pipe) => status.send(pipe),
        None => drop(print(&status.bytes())),
    }
    Ok(())
}

fn serve(
    socket: &Path,
    pipe: &mut Option<PipeWriter>,
    var: &dyn Fn(&str) -> Option<OsString>,
    clock: ReadClock,
    wall_ms: fn() -> i64,
) -> Result<(), Error> {
    let (settings, limits, log) = prepare(pipe, var)?;
    log.install(wall_ms)?;
    let start = start::bind(socket, settings, limits, clock)?;
    let mut notify = |status: StartupStatus<'_>| {
        if let Some(pipe) = pipe.take() {
            status.send(pipe);
        }
    };
    match start {
        Start::AlreadyRunning => {
            notify(StartupStatus::AlreadyRunning);
            let _ =
                writeln!(std::io::stderr(), "keyrackd: another daemon already serves {}", socket.display());
        }
        Start::Bound(daemon) => daemon.serve(|| {
            tracing::info!(version = VERSION, socket = %socket.display(), "daemon ready");
            notify(StartupStatus::Ready);
        })?,
    }
    Ok(())
}

/// Hardens the process and reads its settings.
fn prepare(
    pipe: &Option<PipeWriter>,
    var: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(Settings, RaisedLimits, LogConfig), Error> {
    start::check_kernel()?;
    let keep: Vec<BorrowedFd<'_>> = pipe.iter().map(AsFd::as_fd).collect();
    let limits = harden::harden(&keep)?;
    Ok((Settings::read(var)?, limits, LogConfig::read(var, pipe.is_none())?))
}

fn print(text: &[u8]) -> u8 {
    // Fails if the reader is gone.
    let _ = std::io::stdout().write_all(text);
    0
}

fn fail(error: &Error) -> u8 {
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let fix = error.fix.as_ref().map(|fix| format!("\nfix: {}", fix.render(Invocation::default())));
    let _ = writeln!(std::io::stderr(), "keyrackd: {error}{hint}{}", fix.unwrap_or_default());
    error.exit()
}
