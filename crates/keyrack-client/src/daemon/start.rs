//! Starting a daemon: spawned detached with only the variables it knows, waited for on an inherited pipe, then verified like any other.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use keyrack_core::{ErrorCode, Problem};
use keyrack_sys::socket::wait_readable;
use keyrack_sys::spawn::{READY_FD, Started, detached};

use super::connect_at;
use crate::context::Context;
use crate::paths::Place;
use crate::render::text::clean;
use crate::session::Session;
use crate::wire_names;

/// The longest a daemon may take to serve.
const READY: Duration = Duration::from_secs(10);

/// The variables the daemon knows. Nothing else of the environment goes to it.
const VARIABLES: [&str; 5] = [
    "KEYRACK_MEMORY",
    "KEYRACK_DAEMON_IDLE_TIMEOUT_MS",
    "KEYRACK_DAEMON_TERMINATION_CHECK_MS",
    "KEYRACK_LOG",
    "KEYRACK_LOG_FILE",
];

/// The longest text a daemon's last words are read to.
const WORDS: u64 = 4096;

/// A session with the daemon of the context's rack, which is started if none runs. `keyrackd` is the absolute path of its program.
/// Returns whether it was started.
///
/// # Errors
/// [`ErrorCode::DaemonLegacy`] when a TypeScript daemon runs; [`ErrorCode::DaemonStartFailed`] or the daemon's own error when it does not
/// come up; those of [`super::connect`] and [`Session::greet`].
pub fn ensure(ctx: &Context, keyrackd: &Path) -> Result<(Session, bool), Problem> {
    let place = Place::for_start(ctx)?;
    if let Some(session) = running(ctx, &place)? {
        return Ok((session, false));
    }
    start(ctx, &place, keyrackd)?;
    match running(ctx, &place)? {
        Some(session) => Ok((session, true)),
        None => Err(failed("it said it was ready, and nobody listens")),
    }
}

fn running(ctx: &Context, place: &Place) -> Result<Option<Session>, Problem> {
    let Some(daemon) = connect_at(ctx, place.clone())? else { return Ok(None) };
    let mut session = daemon.native("this")?;
    match session.greet() {
        Ok(_) => Ok(Some(session)),
        // It ended between our connect and our hello.
        Err(problem) if problem.code == ErrorCode::DaemonAbsent => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Spawns the daemon and waits until it serves.
fn start(ctx: &Context, place: &Place, keyrackd: &Path) -> Result<(), Problem> {
    let socket = place.socket();
    let ready_fd = READY_FD.to_string();
    let args = ["--socket".as_ref(), socket.as_os_str(), "--ready-fd".as_ref(), OsStr::new(&ready_fd)];
    let env: Vec<(&OsStr, &OsStr)> =
        VARIABLES.iter().filter_map(|name| Some((OsStr::new(*name), ctx.env.filled(name)?))).collect();
    let started = detached(keyrackd, &args, &env)
        .map_err(|error| failed(&format!("{} cannot be run: {error}", keyrackd.display())))?;
    let words = last_words(started)?;
    if words.starts_with(b"ready\n") || words.starts_with(b"served\n") {
        return Ok(());
    }
    Err(reported(&words))
}

/// Reads what the daemon says until it closes the pipe.
fn last_words(Started { pid, mut ready }: Started) -> Result<Vec<u8>, Problem> {
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

/// The problem a daemon reported as `error <code>\n<message>`, under its own code.
fn reported(words: &[u8]) -> Problem {
    let text = String::from_utf8_lossy(words);
    let Some((code, message)) = text.strip_prefix("error ").and_then(|rest| rest.split_once('\n')) else {
        return failed("it ended without a word");
    };
    Problem::new(
        wire_names::code(code),
        format!("the keyrack daemon did not start: {}", clean(message.trim())),
    )
}

fn failed(why: &str) -> Problem {
    Problem::new(ErrorCode::DaemonStartFailed, format!("the keyrack daemon did not start: {why}"))
        .hint("run `keyrackd --socket PATH` by hand to see why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_words_are_kept() {
        let problem = reported(b"error memory_unavailable\nno locked\x1b memory: raise MEMLOCK");
        assert_eq!(problem.code, ErrorCode::MemoryUnavailable);
        assert_eq!(problem.message, "the keyrack daemon did not start: no locked memory: raise MEMLOCK");
        assert_eq!(reported(b"").code, ErrorCode::DaemonStartFailed);
        assert_eq!(reported(b"error").code, ErrorCode::DaemonStartFailed);
        assert_eq!(reported(b"error \x1b[31m\nx").code, ErrorCode::Internal);
        assert_eq!(reported(b"error from_the_future\nx").code.as_str(), "from_the_future");
    }
}
