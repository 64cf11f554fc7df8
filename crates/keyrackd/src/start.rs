//! From the first instruction to the ready word, in the order that leaves no gap: hidden from debuggers before anything else
//! is done, hardened before a file is touched, the lock before the socket, the signals before anybody knows of it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use keyrack_core::layout::variables;
use keyrack_core::peer::AllowedNamespaces;
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::fs::private_dir::{PrivateDir, PrivateDirError};
use keyrack_sys::hardening::{self, HardeningMeasure, RaisedLimits};
use keyrack_sys::memory::{Budget, Hibernation, MemoryError, Mode, Pool};
use keyrack_sys::{features, sandbox, socket};
use keyrack_wire::native::Hardening;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::async_fd::Interval;
use crate::lock::{Claim, claim};
use crate::logout::{self, Logout};
use crate::peer_auth::LocalIdentity;
use crate::runtime_files::{OwnFiles, rack};
use crate::settings::Settings;
use crate::shutdown::{ShutdownReason, Signals, watch_idleness, watch_surroundings};
use crate::startup_notify::StartupStatus;
use crate::state::{Daemon, DaemonInfo, ReadClock};
use crate::{accept, limits, panic_hook, timers};

/// A daemon that is bound and has not said so yet.
pub struct Bound {
    daemon: Rc<Daemon>,
    runtime: LocalRuntime,
    listener: UnixListener,
    signals: Signals,
    files: Arc<OwnFiles>,
    dir: PrivateDir,
    settings: Settings,
    /// Held for life.
    _lock: File,
}

/// What came of a start.
pub enum Start {
    /// The socket is bound.
    Bound(Box<Bound>),
    /// Another daemon serves it and answers.
    AlreadyRunning,
}

/// Hides this process from debuggers: the first thing a daemon does.
///
/// # Errors
/// [`ErrorCode::Traced`] when a debugger is attached already; [`ErrorCode::Io`] when the kernel will not hide the process.
pub fn deny_ptrace() -> Result<(), Error> {
    hardening::not_dumpable()
        .map_err(|error| fault(format!("this process cannot be hidden from debuggers: {error}")))?;
    match hardening::tracer_pid() {
        Ok(None) => Ok(()),
        Ok(Some(tracer)) => Err(Error::new(
            ErrorCode::Traced,
            format!("process {tracer} traces keyrackd, and could read every key"),
        )
        .hint("start it without a debugger")),
        Err(error) => Err(fault(format!("whether a debugger is attached cannot be read: {error}"))),
    }
}

/// Refuses a kernel that is too old.
///
/// # Errors
/// [`ErrorCode::KernelTooOld`], naming both versions.
pub fn supported() -> Result<(), Error> {
    supports(features::KernelVersion::running())
}

/// A kernel that hides its version is not refused.
fn supports(running: Option<features::KernelVersion>) -> Result<(), Error> {
    match running {
        Some(version) if version < features::OLDEST_SUPPORTED => Err(Error::new(
            ErrorCode::KernelTooOld,
            format!(
                "Linux {version} is too old: keyrackd needs Linux {} or later",
                features::OLDEST_SUPPORTED
            ),
        )
        .hint("without a daemon, keyrack reads keys from environment variables")),
        _ => Ok(()),
    }
}

/// Takes the steps of a start that come before its socket. The process must be hidden and hardened as a daemon is.
///
/// # Errors
/// The error that a start would end with.
pub fn check(settings: Settings, limits: RaisedLimits) -> Result<StartupStatus<'static>, Error> {
    able(limits)?;
    identity(settings)?;
    Ok(StartupStatus::Fit(memory(settings)?.mode().name()))
}

/// Checks that a daemon can tell callers apart and has enough files.
fn able(limits: RaisedLimits) -> Result<(), Error> {
    see_all_processes()?;
    enough_files(limits.nofile)
}

/// Returns the identity of this process and the callers it serves, or an error if it cannot
/// authenticate callers.
fn identity(settings: Settings) -> Result<LocalIdentity, Error> {
    let own = LocalIdentity::read().allowing(settings.namespaces);
    own.check()?;
    if settings.namespaces != AllowedNamespaces::None {
        tracing::warn!(namespaces = own.enforced().as_str(), "callers in nested namespaces are served");
    }
    Ok(own)
}

fn memory(settings: Settings) -> Result<Pool, Error> {
    Pool::new(settings.memory, Budget::default()).map_err(|error| no_memory(&error))
}

/// Goes on in memory that nobody can have opened before it was hidden, as another process. For a daemon in the background, whose
/// starter is not its parent.
///
/// # Errors
/// [`ErrorCode::Io`] when it cannot be had.
pub fn refork() -> Result<(), Error> {
    hardening::refork()
        .map_err(|error| fault(format!("a process with memory of its own cannot be had: {error}")))
}

/// Hardens this process further. `keep` are descriptors it was started with and still needs; all others from 3 up are
/// closed.
///
/// # Errors
/// [`ErrorCode::Io`] for what a daemon cannot do without. What it can is read back later, and told.
pub fn harden(keep: &[BorrowedFd<'_>]) -> Result<RaisedLimits, Error> {
    hardening::close_inherited(keep)
        .map_err(|error| fault(format!("inherited files cannot be closed: {error}")))?;
    let limits = hardening::raise_limits()
        .map_err(|error| fault(format!("resource limits cannot be read: {error}")))?;
    for (measure, done) in [
        ("scrubbed_environment", hardening::scrub_environment(&variables::OF_DAEMON)),
        ("no_file_size_signal", hardening::no_file_size_signal()),
        ("no_core", hardening::no_core()),
        ("no_new_privs", hardening::no_new_privs()),
        ("deny_write_exec", hardening::deny_write_exec()),
    ] {
        if let Err(error) = done {
            tracing::warn!(measure, %error, "a measure of hardening is not to be had");
        }
    }
    Ok(limits)
}

/// Binds `socket`, or finds that another daemon serves it.
///
/// # Errors
/// What is in the way.
pub fn bind(
    socket: &Path,
    settings: Settings,
    limits: RaisedLimits,
    clock: ReadClock,
) -> Result<Start, Error> {
    able(limits)?;
    let own = identity(settings)?;
    let dir = private_dir(socket)?;
    let lock = match claim(socket, &own, limits::CLAIM)? {
        Claim::Ours(lock) => lock,
        Claim::AlreadyServed => return Ok(Start::AlreadyRunning),
    };
    let pool = memory(settings)?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())
        .map_err(|error| fault(format!("the event loop cannot be made: {error}")))?;
    let signals = {
        let _inside = runtime.enter();
        Signals::catch().map_err(|error| fault(format!("signals cannot be caught: {error}")))?
    };
    let info = info(socket, &own, &pool);
    let most = limits::connections(limits.nofile);
    let mut daemon = Daemon::new(own, info, pool.clone(), most, clock)
        .map_err(|error| fault(format!("the daemon cannot be made: {error}")))?;

    let listener = socket::bind_private(socket).map_err(|error| cannot_bind(socket, &error))?;
    let files = OwnFiles::of_bound(socket).map_err(|error| cannot_bind(socket, &error))?;
    let files = Arc::new(files);
    panic_hook::leave(pool, Arc::clone(&files));
    // From here on no file is opened but below /proc and logind's list of sessions, and none written.
    daemon.info.hardening.extend(sandbox::confine(&dir).into_iter().map(to_wire));
    let daemon = Rc::new(daemon);
    Ok(Start::Bound(Box::new(Bound {
        daemon,
        runtime,
        listener,
        signals,
        files,
        dir,
        settings,
        _lock: lock,
    })))
}

impl Bound {
    /// Serves to the end, and takes everything away: keys, queued replies, own files. `ready` is called once callers are
    /// about to be accepted.
    ///
    /// # Errors
    /// When serving cannot begin.
    pub fn serve(self, ready: impl FnOnce()) -> Result<(), Error> {
        let Bound { daemon, runtime, listener, signals, files, dir, settings, _lock } = self;
        let ended: Result<_, Error> = runtime.block_on(async {
            let begin = || {
                accept::run(&daemon, listener)?;
                timers::run(&daemon)?;
                Ok((Interval::every(settings.termination_check)?, Interval::every(limits::WATCH)?))
            };
            let (idleness, reach) = begin()
                .map_err(|error: io::Error| fault(format!("the event loop cannot be used: {error}")))?;
            signals.spawn_signal_tasks(&daemon);
            tokio::task::spawn_local(watch_idleness(Rc::clone(&daemon), settings.idle_timeout, idleness));
            let logout = Logout::begin(&daemon);
            tokio::task::spawn_local(watch_surroundings(
                Rc::clone(&daemon),
                Arc::clone(&files),
                dir,
                logout,
                reach,
            ));
            ready();
            Ok(daemon.ending.decided().await)
        });
        daemon.wipe();
        files.remove();
        // The process is about to end, and to take apart a store of many keys would keep a waiting signal's sender waiting.
        std::mem::forget(daemon);
        let why: ShutdownReason = ended?;
        tracing::info!(?why, "the daemon ends");
        Ok(())
    }
}

fn fault(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Io, message)
}

/// Callers are told apart by their entries in `/proc`; a mount that hides them would make a stranger of everybody.
fn see_all_processes() -> Result<(), Error> {
    match hardening::hidepid() {
        Ok(None) => Ok(()),
        Ok(Some(value)) => Err(Error::new(
            ErrorCode::ProcHidden,
            format!("/proc is mounted with hidepid={value}, so keyrackd cannot tell login sessions apart"),
        )
        .fix(Fix::Text("sudo mount -o remount,hidepid=0 /proc".to_owned()))),
        Err(error) => Err(Error::new(ErrorCode::ProcHidden, format!("/proc cannot be used: {error}"))),
    }
}

/// A daemon that cannot open what it looks at callers with would hold the socket and answer nobody.
fn enough_files(nofile: u64) -> Result<(), Error> {
    if nofile >= limits::MIN_FILES {
        return Ok(());
    }
    let least = limits::MIN_FILES;
    Err(fault(format!("only {nofile} files may be open at a time, and keyrackd needs {least}"))
        .hint("raise the hard limit on open files (ulimit -Hn)"))
}

fn private_dir(socket: &Path) -> Result<PrivateDir, Error> {
    let bytes = socket.as_os_str().as_bytes().len();
    if bytes > socket::PATH_BYTES {
        return Err(Error::new(
            ErrorCode::SocketPathTooLong,
            format!("the socket's path has {bytes} bytes, at most {} are possible", socket::PATH_BYTES),
        )
        .hint("set XDG_RUNTIME_DIR to a shorter path"));
    }
    let (Some(dir), Some(_)) = (socket.parent(), socket.file_name()) else {
        return Err(Error::new(ErrorCode::Usage, "--socket must be the path of a file"));
    };
    PrivateDir::open(dir).map_err(|error| match error {
        PrivateDirError::Empty | PrivateDirError::Relative => Error::new(
            ErrorCode::Usage,
            format!("--socket must be an absolute path, not {}", socket.display()),
        ),
        PrivateDirError::Missing => Error::new(
            ErrorCode::RuntimeDirMissing,
            format!("the socket's directory {} does not exist", dir.display()),
        ),
        error => Error::new(
            ErrorCode::RuntimeDirUnsafe,
            format!("the socket's directory {} cannot be trusted: {error}", dir.display()),
        ),
    })
}

fn no_memory(error: &MemoryError) -> Error {
    Error::new(ErrorCode::MemoryUnavailable, error.to_string())
        .hint("unset KEYRACK_MEMORY to take the strongest this machine has")
}

fn cannot_bind(socket: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::new(
            ErrorCode::SocketPathTaken,
            format!("{} was taken by another program while keyrackd started", socket.display()),
        ),
        _ => fault(format!("cannot bind {}: {error}", socket.display())),
    }
}

fn info(socket: &Path, own: &LocalIdentity, pool: &Pool) -> DaemonInfo {
    let (home_hash, owner) = rack(socket);
    let mut hardening: Vec<Hardening<'static>> = hardening::readback().into_iter().map(to_wire).collect();
    hardening.extend(memory_report(pool));
    hardening.push(logout::to_wire(own));
    DaemonInfo {
        home_hash,
        owner,
        boot_id: keyrack_sys::clock::boot_id().unwrap_or_default(),
        pid: std::process::id(),
        boundary: own.boundary.as_str(),
        namespaces: own.enforced().as_str(),
        memory: pool.mode().name(),
        hardening,
    }
}

fn to_wire(measure: HardeningMeasure) -> Hardening<'static> {
    if !measure.on {
        tracing::warn!(
            measure = measure.name,
            detail = measure.detail,
            "a measure of hardening is not to be had"
        );
    }
    Hardening { name: measure.name.into(), on: measure.on, detail: measure.detail.map(Into::into) }
}

/// What the pages of secrets are kept from, why from no more, and what that costs.
fn memory_report(pool: &Pool) -> [Hardening<'static>; 2] {
    let lacks = |mode| pool.lacks(mode).map(str::to_owned);
    let secret = match pool.hibernation() {
        Some(Hibernation::Never) => None,
        Some(Hibernation::NoSwap) => Some(
            "there is no swap to hibernate to; if some were added, hibernation would be blocked while keyrackd runs"
                .to_owned(),
        ),
        Some(Hibernation::Possible(_)) => Some("hibernation is blocked while keyrackd runs".to_owned()),
        None => lacks(Mode::Secret).or_else(|| Some(format!("KEYRACK_MEMORY={} was asked for", pool.mode().name()))),
    };
    [
        ("secret_memory", pool.mode() == Mode::Secret, secret),
        ("locked_memory", pool.mode() != Mode::Unlocked, lacks(Mode::Locked)),
    ]
    .map(|(name, on, detail)| Hardening { name: name.into(), on, detail: detail.map(Into::into) })
}

/// Descriptors to keep, of a pipe that may not be there.
pub(crate) fn kept(pipe: Option<&io::PipeWriter>) -> Vec<BorrowedFd<'_>> {
    pipe.map(AsFd::as_fd).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use keyrack_sys::features::KernelVersion;

    use super::*;

    #[test]
    fn kernels_older_than_the_oldest_are_refused_by_name() {
        for (running, refused) in [
            (Some((4, 18)), true),
            (Some((5, 4)), true),
            (Some((5, 9)), true),
            (Some((5, 10)), false),
            (Some((5, 15)), false),
            (Some((6, 1)), false),
            (None, false),
        ] {
            let version = running.map(|(major, minor)| KernelVersion { major, minor });
            let error = supports(version).err();
            assert_eq!(error.is_some(), refused, "{running:?}");
            if let (Some(error), Some((major, minor))) = (error, running) {
                assert_eq!(error.code, ErrorCode::KernelTooOld);
                let expected =
                    format!("Linux {major}.{minor} is too old: keyrackd needs Linux 5.10 or later");
                assert_eq!(error.message, expected);
            }
        }
    }
}
