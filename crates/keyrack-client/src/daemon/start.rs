//! Starting a daemon. It is spawned detached, with only the variables that it reads, reports its
//! startup over an inherited pipe, and is then authenticated like any other.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use keyrack_core::layout::variables::{MEMORY, OF_DAEMON};
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::process::spawn::{READY_FD, SpawnedDaemon, spawn_detached};
use keyrack_sys::socket::wait_readable;

use super::connect_at;
use crate::address::RackAddress;
use crate::context::Context;
use crate::sandbox::Sandbox;
use crate::session::Session;
use crate::transport::convert;
use keyrack_core::display::clean;

/// Time that a daemon may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit of a startup report, in bytes.
const MAX_REPORT: u64 = 4096;

/// Returns a session with the daemon of the context's rack, and `true` if it was started because
/// none ran. `keyrackd` is the absolute path of its program.
///
/// # Errors
/// [`ErrorCode::DaemonLegacy`] if a TypeScript daemon runs; [`ErrorCode::DaemonStartFailed`] or the
/// daemon's own error if it does not start; [`ErrorCode::Sandboxed`] where no daemon can be
/// authenticated; those of [`super::connect`] and [`Session::hello`].
pub fn ensure(ctx: &Context, keyrackd: &Path) -> Result<(Session, bool), Error> {
    if let Some(sandbox) = Sandbox::blocking(&keyrack_sys::peer::own_namespaces()) {
        return Err(sandbox.error());
    }
    let address = RackAddress::for_start(ctx)?;
    if let Some(session) = running(ctx, &address)? {
        return Ok((session, false));
    }
    start(ctx, &address, keyrackd)?;
    match running(ctx, &address)? {
        Some(session) => Ok((session, true)),
        None => Err(failed("it reported that it is ready, but does not listen")),
    }
}

fn running(ctx: &Context, address: &RackAddress) -> Result<Option<Session>, Error> {
    let Some(daemon) = connect_at(ctx, address.clone())? else { return Ok(None) };
    let mut session = daemon.native("this")?;
    match session.hello() {
        Ok(_) => Ok(Some(session)),
        // The daemon exited between connect and hello.
        Err(error) if error.code == ErrorCode::DaemonAbsent => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks that a daemon can start here: `keyrackd --check` does everything that a start does, up to
/// its socket. Returns the memory it would use; `memory` demands one, in place of `KEYRACK_MEMORY`.
///
/// # Errors
/// The daemon's own error if it could not start, [`ErrorCode::DaemonStartFailed`] if it reports
/// none.
pub fn check(ctx: &Context, keyrackd: &Path, memory: Option<&str>) -> Result<String, Error> {
    let mut env = variables(ctx);
    if let Some(memory) = memory {
        env.retain(|(name, _)| *name != MEMORY);
        env.push((MEMORY.as_ref(), memory.as_ref()));
    }
    let report = spawn(keyrackd, &["--check".as_ref()], &env)?;
    let text = String::from_utf8_lossy(&report);
    match text.strip_prefix("fit\nmemory ") {
        Some(memory) => Ok(clean(memory.trim())),
        None => Err(reported_error(&report)),
    }
}

/// Spawns the daemon and waits until it is ready.
fn start(ctx: &Context, address: &RackAddress, keyrackd: &Path) -> Result<(), Error> {
    let socket = address.socket();
    let report = spawn(keyrackd, &["--socket".as_ref(), socket.as_os_str()], &variables(ctx))?;
    if report.starts_with(b"ready\n") || report.starts_with(b"served\n") {
        return Ok(());
    }
    Err(reported_error(&report))
}

/// Variables of the caller's environment that the daemon gets.
fn variables(ctx: &Context) -> Vec<(&OsStr, &OsStr)> {
    OF_DAEMON.iter().filter_map(|name| Some((OsStr::new(*name), ctx.env.filled(name)?))).collect()
}

/// Runs `keyrackd` as a daemon, and returns its startup report.
fn spawn(keyrackd: &Path, args: &[&OsStr], env: &[(&OsStr, &OsStr)]) -> Result<Vec<u8>, Error> {
    let ready_fd = READY_FD.to_string();
    let args = [args, &["--ready-fd".as_ref(), OsStr::new(&ready_fd)]].concat();
    let started = spawn_detached(keyrackd, &args, env)
        .map_err(|error| failed(&format!("{} cannot be run: {error}", keyrackd.display())))?;
    read_report(started)
}

/// Reads the startup report until the daemon closes the pipe.
fn read_report(SpawnedDaemon { pid, mut ready }: SpawnedDaemon) -> Result<Vec<u8>, Error> {
    let deadline = Instant::now() + START_TIMEOUT;
    let mut report = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let is_readable =
            wait_readable(ready.as_fd(), remaining).map_err(|error| failed(&error.to_string()))?;
        if !is_readable {
            return Err(failed(&format!(
                "its process {pid} did not report within {} s",
                START_TIMEOUT.as_secs()
            )));
        }
        match ready.read(&mut chunk).map_err(|error| failed(&error.to_string()))? {
            0 => return Ok(report),
            count => report.extend_from_slice(&chunk[..count]),
        }
        if report.len() as u64 > MAX_REPORT {
            return Ok(report);
        }
    }
}

/// Parses the error of a startup report: `error <code>\n<message>`. Lines of `fix: ` and `hint: `
/// may follow.
fn reported_error(report: &[u8]) -> Error {
    let text = String::from_utf8_lossy(report);
    let Some((code, message)) = text.strip_prefix("error ").and_then(|rest| rest.split_once('\n')) else {
        return failed("it exited without a report");
    };
    let (message, hint) = split_at_last(message, "\nhint: ");
    let (message, fix) = split_at_last(message, "\nfix: ");
    let message = format!("the keyrack daemon did not start: {}", clean(message.trim()));
    let mut error = Error::new(convert::error_code(code), message);
    error.hint = hint.map(clean);
    error.fix = fix.map(|fix| Fix::Text(clean(fix)));
    error
}

/// Splits a text at the last occurrence of a label.
fn split_at_last<'t>(text: &'t str, label: &str) -> (&'t str, Option<&'t str>) {
    text.rsplit_once(label).map_or((text, None), |(text, after)| (text, Some(after.trim())))
}

fn failed(reason: &str) -> Error {
    Error::new(ErrorCode::DaemonStartFailed, format!("the keyrack daemon did not start: {reason}"))
        .hint("run `keyrackd --socket PATH` to see why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_errors_keep_code_fix_and_hint() {
        let error = reported_error(b"error memory_unavailable\nno locked\x1b memory: raise MEMLOCK");
        assert_eq!(error.code, ErrorCode::MemoryUnavailable);
        assert_eq!(error.message, "the keyrack daemon did not start: no locked memory: raise MEMLOCK");
        assert_eq!((error.fix, error.hint), (None, None));
        let error = reported_error(b"error proc_hidden\nhidden\nfix: sudo mount\nhint: or\x1b not");
        assert_eq!(error.message, "the keyrack daemon did not start: hidden");
        assert_eq!(error.fix, Some(Fix::Text("sudo mount".to_owned())));
        assert_eq!(error.hint.as_deref(), Some("or not"));
        assert_eq!(reported_error(b"").code, ErrorCode::DaemonStartFailed);
        assert_eq!(reported_error(b"error").code, ErrorCode::DaemonStartFailed);
        assert_eq!(reported_error(b"error \x1b[31m\nx").code, ErrorCode::Internal);
        assert_eq!(reported_error(b"error from_the_future\nx").code.as_str(), "from_the_future");
    }
}
