//! Starting a daemon: spawned detached with only the variables it knows, waited for on an inherited pipe, then verified like any other.

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
use crate::sandbox::Namespaces;
use crate::session::Session;
use crate::transport::convert;
use keyrack_core::display::clean;

/// The longest a daemon may take to serve.
const READY: Duration = Duration::from_secs(10);

/// The longest text a daemon's last words are read to.
const WORDS: u64 = 4096;

/// A session with the daemon of the context's rack, which is started if none runs. `keyrackd` is the absolute path of its program.
/// Returns whether it was started.
///
/// # Errors
/// [`ErrorCode::DaemonLegacy`] when a TypeScript daemon runs; [`ErrorCode::DaemonStartFailed`] or the daemon's own error when it does not
/// come up; [`ErrorCode::Sandboxed`] where no daemon could be verified; those of [`super::connect`] and [`Session::hello`].
pub fn ensure(ctx: &Context, keyrackd: &Path) -> Result<(Session, bool), Error> {
    if let Some(sandbox) = Namespaces::read().unusable() {
        return Err(sandbox.error());
    }
    let address = RackAddress::for_start(ctx)?;
    if let Some(session) = running(ctx, &address)? {
        return Ok((session, false));
    }
    start(ctx, &address, keyrackd)?;
    match running(ctx, &address)? {
        Some(session) => Ok((session, true)),
        None => Err(failed("it said it was ready, and nobody listens")),
    }
}

fn running(ctx: &Context, address: &RackAddress) -> Result<Option<Session>, Error> {
    let Some(daemon) = connect_at(ctx, address.clone())? else { return Ok(None) };
    let mut session = daemon.native("this")?;
    match session.hello() {
        Ok(_) => Ok(Some(session)),
        // It ended between our connect and our hello.
        Err(error) if error.code == ErrorCode::DaemonAbsent => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks that a daemon can start here: `keyrackd --check` does everything that a start does, up to
/// its socket. Returns the memory it would use; `memory` demands one, in place of `KEYRACK_MEMORY`.
///
/// # Errors
/// The daemon's own error when it could not start, [`ErrorCode::DaemonStartFailed`] when that cannot be found out.
pub fn check(ctx: &Context, keyrackd: &Path, memory: Option<&str>) -> Result<String, Error> {
    let mut env = variables(ctx);
    if let Some(memory) = memory {
        env.retain(|(name, _)| *name != MEMORY);
        env.push((MEMORY.as_ref(), memory.as_ref()));
    }
    let words = spawn(keyrackd, &["--check".as_ref()], &env)?;
    let text = String::from_utf8_lossy(&words);
    match text.strip_prefix("fit\nmemory ") {
        Some(memory) => Ok(clean(memory.trim())),
        None => Err(reported(&words)),
    }
}

/// Spawns the daemon and waits until it serves.
fn start(ctx: &Context, address: &RackAddress, keyrackd: &Path) -> Result<(), Error> {
    let socket = address.socket();
    let words = spawn(keyrackd, &["--socket".as_ref(), socket.as_os_str()], &variables(ctx))?;
    if words.starts_with(b"ready\n") || words.starts_with(b"served\n") {
        return Ok(());
    }
    Err(reported(&words))
}

/// Variables of the caller's environment that go to the daemon.
fn variables(ctx: &Context) -> Vec<(&OsStr, &OsStr)> {
    OF_DAEMON.iter().filter_map(|name| Some((OsStr::new(*name), ctx.env.filled(name)?))).collect()
}

/// Runs `keyrackd` as a daemon, and returns what it writes before it closes the pipe.
fn spawn(keyrackd: &Path, args: &[&OsStr], env: &[(&OsStr, &OsStr)]) -> Result<Vec<u8>, Error> {
    let ready_fd = READY_FD.to_string();
    let args = [args, &["--ready-fd".as_ref(), OsStr::new(&ready_fd)]].concat();
    let started = spawn_detached(keyrackd, &args, env)
        .map_err(|error| failed(&format!("{} cannot be run: {error}", keyrackd.display())))?;
    last_words(started)
}

/// Reads what the daemon says until it closes the pipe.
fn last_words(SpawnedDaemon { pid, mut ready }: SpawnedDaemon) -> Result<Vec<u8>, Error> {
    let until = Instant::now() + READY;
    let mut words = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let told = wait_readable(ready.as_fd(), left).map_err(|error| failed(&error.to_string()))?;
        if !told {
            return Err(failed(&format!("its process {pid} said nothing for {} s", READY.as_secs())));
        }
        match ready.read(&mut chunk).map_err(|error| failed(&error.to_string()))? {
            0 => return Ok(words),
            count => words.extend_from_slice(&chunk[..count]),
        }
        if words.len() as u64 > WORDS {
            return Ok(words);
        }
    }
}

/// The problem a daemon reported as `error <code>\n<message>`, under its own code; lines of `fix: ` and `hint: ` may follow.
fn reported(words: &[u8]) -> Error {
    let text = String::from_utf8_lossy(words);
    let Some((code, message)) = text.strip_prefix("error ").and_then(|rest| rest.split_once('\n')) else {
        return failed("it ended without a word");
    };
    let (message, hint) = parted(message, "\nhint: ");
    let (message, fix) = parted(message, "\nfix: ");
    let message = format!("the keyrack daemon did not start: {}", clean(message.trim()));
    let mut error = Error::new(convert::code(code), message);
    error.hint = hint.map(clean);
    error.fix = fix.map(|fix| Fix::Text(clean(fix)));
    error
}

/// Splits a text at the last label in it.
fn parted<'t>(text: &'t str, label: &str) -> (&'t str, Option<&'t str>) {
    text.rsplit_once(label).map_or((text, None), |(text, after)| (text, Some(after.trim())))
}

fn failed(why: &str) -> Error {
    Error::new(ErrorCode::DaemonStartFailed, format!("the keyrack daemon did not start: {why}"))
        .hint("run `keyrackd --socket PATH` by hand to see why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_words_are_kept() {
        let error = reported(b"error memory_unavailable\nno locked\x1b memory: raise MEMLOCK");
        assert_eq!(error.code, ErrorCode::MemoryUnavailable);
        assert_eq!(error.message, "the keyrack daemon did not start: no locked memory: raise MEMLOCK");
        assert_eq!((error.fix, error.hint), (None, None));
        let error = reported(b"error proc_hidden\nhidden\nfix: sudo mount\nhint: or\x1b not");
        assert_eq!(error.message, "the keyrack daemon did not start: hidden");
        assert_eq!(error.fix, Some(Fix::Text("sudo mount".to_owned())));
        assert_eq!(error.hint.as_deref(), Some("or not"));
        assert_eq!(reported(b"").code, ErrorCode::DaemonStartFailed);
        assert_eq!(reported(b"error").code, ErrorCode::DaemonStartFailed);
        assert_eq!(reported(b"error \x1b[31m\nx").code, ErrorCode::Internal);
        assert_eq!(reported(b"error from_the_future\nx").code.as_str(), "from_the_future");
    }
}
