//! The keyrack daemon: it holds unlocked keys for one login session, one home and one owner, and hands them to processes of
//! that session. A library with a thin binary; only the binary reads the process's arguments, environment and clocks.
//!
//! It never opens a vault or a network connection, and once it serves it opens no file but those of `/proc` that tell who a
//! caller is and who is logged in, and logind's file of its session. A secret lies in pages of `keyrack_sys::memory` from the read that brings it to the write that takes it, and
//! nowhere else.

mod accept;
mod async_fd;
mod conn;
mod dispatch;
mod limits;
mod lock;
mod log;
mod logout;
mod peer_auth;
mod runtime_files;
mod shutdown;
mod state;
mod stored_secret;
mod timers;

pub mod args;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod panic_hook;
pub mod settings;
pub mod start;
pub mod startup_notify;

use std::ffi::OsString;
use std::io::{PipeWriter, Write};
use std::path::Path;

use keyrack_core::{Error, Invocation};

pub use state::ReadClock;

use crate::args::Args;
use crate::settings::Settings;
use crate::start::Start;
use crate::startup_notify::StartupStatus;

/// What this build calls itself, beside its version.
pub const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// What the binary's main gives.
pub struct DaemonEnv<'a> {
    /// The arguments behind the program's name.
    pub args: Vec<OsString>,
    /// Reads an environment variable.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// Takes the pipe a starter left at descriptor 3.
    pub pipe: &'a dyn Fn() -> Option<PipeWriter>,
    /// Reads both clocks.
    pub clock: ReadClock,
    /// Reads the wall clock for the log, in milliseconds since the Unix epoch.
    pub wall_ms: fn() -> i64,
}

/// Runs the daemon to its end and returns the process's exit code: 0 done, 2 the caller must act, 1 a fault. (70, a panic,
/// ends the process by itself.)
pub fn run(surroundings: DaemonEnv<'_>) -> u8 {
    let DaemonEnv { args, var, pipe: take_pipe, clock, wall_ms } = surroundings;
    let hidden = start::deny_ptrace();
    panic_hook::install();
    let (socket, report) = match args::parse(args) {
        Ok(Args::Help) => return print(args::HELP.as_bytes()),
        Ok(Args::Version) => return print(concat!("keyrackd ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()),
        Ok(Args::Check { report }) => (None, report),
        Ok(Args::Serve { socket, report }) => (Some(socket), report),
        Err(error) => return complain(&error),
    };
    let mut pipe = None;
    if report {
        pipe = take_pipe();
        if pipe.is_none() {
            return complain(&args::no_pipe());
        }
    }
    let hidden = hidden.and_then(|()| if pipe.is_some() { start::refork() } else { Ok(()) });
    let done = hidden.and_then(|()| match &socket {
        Some(socket) => serve(socket, &mut pipe, var, clock, wall_ms),
        None => check(&mut pipe, var),
    });
    match done {
        Ok(()) => 0,
        Err(error) => {
            if let Some(pipe) = pipe {
                StartupStatus::Failed(&error).say(pipe);
            }
            complain(&error)
        }
    }
}

/// Does everything that a start does up to the socket, and reports the result.
fn check(pipe: &mut Option<PipeWriter>, var: &dyn Fn(&str) -> Option<OsString>) -> Result<(), Error> {
    start::supported()?;
    let limits = start::harden(&start::kept(pipe.as_ref()))?;
    let settings = Settings::read(var)?;
    log::Wish::read(var, pipe.is_none())?.check()?;
    let word = start::check(settings, limits)?;
    match pipe.take() {
        Some(pipe) => word.say(pipe),
        None => drop(print(&word.bytes())),
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
    start::supported()?;
    let limits = start::harden(&start::kept(pipe.as_ref()))?;
    let settings = Settings::read(var)?;
    log::Wish::read(var, pipe.is_none())?.install(wall_ms)?;
    let start = start::bind(socket, settings, limits, clock)?;
    let mut say = |word: StartupStatus<'_>| {
        if let Some(pipe) = pipe.take() {
            word.say(pipe);
        }
    };
    match start {
        Start::AlreadyRunning => {
            say(StartupStatus::AlreadyRunning);
            let _ =
                writeln!(std::io::stderr(), "keyrackd: another daemon serves {} already", socket.display());
        }
        Start::Bound(bound) => bound.serve(|| {
            let version = env!("CARGO_PKG_VERSION");
            tracing::info!(version, socket = %socket.display(), "the daemon serves");
            say(StartupStatus::Ready);
        })?,
    }
    Ok(())
}

fn print(text: &[u8]) -> u8 {
    // Nobody reads it, then.
    let _ = std::io::stdout().write_all(text);
    0
}

fn complain(error: &Error) -> u8 {
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let fix = error.fix.as_ref().map(|fix| format!("\nfix: {}", fix.render(Invocation::default())));
    let _ = writeln!(std::io::stderr(), "keyrackd: {error}{hint}{}", fix.unwrap_or_default());
    error.exit()
}
