//! Startup, in the order that leaves no gap: the process is hardened before it touches a file,
//! takes the lock before the socket, and installs its signal handlers before any client knows of
//! it.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use keyrack_core::peer::AllowedNamespaces;
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::features::{KernelVersion, OLDEST_SUPPORTED};
use keyrack_sys::fs::private_dir::{PrivateDir, PrivateDirError};
use keyrack_sys::hardening::{RaisedLimits, hidepid};
use keyrack_sys::memory::{Budget, Pool};
use keyrack_sys::{sandbox, socket};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::async_fd::Interval;
use crate::daemon_info::DaemonInfo;
use crate::lock::{Claim, claim};
use crate::logout::{self, LogoutWatch};
use crate::peer_auth::LocalIdentity;
use crate::runtime_files::{RuntimeFiles, rack};
use crate::server::{ReadClock, Server};
use crate::settings::Settings;
use crate::shutdown::{Shutdown, ShutdownReason, Signals};
use crate::startup_notify::StartupStatus;
use crate::watchdog::{exit_when_idle, exit_when_unreachable};
use crate::{accept, harden, limits, panic_hook};

/// A bound daemon that has not reported readiness yet.
pub(crate) struct BoundDaemon {
    server: Rc<Server>,
    shutdown: Rc<Shutdown>,
    identity: LocalIdentity,
    runtime: LocalRuntime,
    listener: UnixListener,
    signals: Signals,
    files: Arc<RuntimeFiles>,
    dir: PrivateDir,
    settings: Settings,
    /// Held until the process exits.
    _lock: File,
}

/// Result of binding the socket.
pub(crate) enum Start {
    Bound(Box<BoundDaemon>),
    /// Another daemon serves the socket and answers.
    AlreadyRunning,
}

/// Rejects a kernel that is too old.
///
/// # Errors
/// [`ErrorCode::KernelTooOld`], naming both versions.
pub(crate) fn check_kernel() -> Result<(), Error> {
    check_version(KernelVersion::running())
}

/// Rejects a version that is known to be too old. An unknown version passes.
fn check_version(running: Option<KernelVersion>) -> Result<(), Error> {
    match running {
        Some(version) if version < OLDEST_SUPPORTED => Err(Error::new(
            ErrorCode::KernelTooOld,
            format!("Linux {version} is too old: keyrackd needs Linux {OLDEST_SUPPORTED} or later"),
        )
        .hint("without a daemon, keyrack reads keys from environment variables")),
        _ => Ok(()),
    }
}

/// Takes the steps of a start that come before its socket. The process must be hardened.
///
/// # Errors
/// The error that a start would fail with.
pub(crate) fn check(settings: Settings, limits: RaisedLimits) -> Result<StartupStatus<'static>, Error> {
    check_system(limits)?;
    local_identity(settings)?;
    Ok(StartupStatus::Fit(secret_memory(settings)?.mode().name()))
}

/// Binds `socket`, or finds that another daemon serves it.
///
/// # Errors
/// A requirement of the daemon is not met, or the socket's path is taken.
pub(crate) fn bind(
    socket: &Path,
    settings: Settings,
    limits: RaisedLimits,
    clock: ReadClock,
) -> Result<Start, Error> {
    check_system(limits)?;
    let identity = local_identity(settings)?;
    let dir = private_dir(socket)?;
    let lock = match claim(socket, &identity, limits::CLAIM)? {
        Claim::Ours(lock) => lock,
        Claim::AlreadyServed => return Ok(Start::AlreadyRunning),
    };
    let pool = secret_memory(settings)?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())
        .map_err(|error| io_error(format!("cannot create the event loop: {error}")))?;
    let signals = {
        let _guard = runtime.enter();
        Signals::install().map_err(|error| io_error(format!("cannot install signal handlers: {error}")))?
    };
    let shutdown = Rc::new(Shutdown::default());
    let info = daemon_info(socket, &identity, &pool);
    let capacity = limits::connections(limits.nofile);
    let mut server = Server::new(info, pool.clone(), capacity, Rc::clone(&shutdown), clock)
        .map_err(|error| io_error(format!("cannot create the server: {error}")))?;

    let listener = socket::bind_private(socket).map_err(|error| cannot_bind(socket, &error))?;
    let files = RuntimeFiles::of_bound(socket).map_err(|error| cannot_bind(socket, &error))?;
    let files = Arc::new(files);
    panic_hook::set_cleanup(pool, Arc::clone(&files));
    // From here on the daemon writes no file, and opens none but those below /proc and logind's
    // session files.
    server.info_mut().hardening.extend(sandbox::confine(&dir).into_iter().map(harden::to_wire));
    Ok(Start::Bound(Box::new(BoundDaemon {
        server: Rc::new(server),
        shutdown,
        identity,
        runtime,
        listener,
        signals,
        files,
        dir,
        settings,
        _lock: lock,
    })))
}

impl BoundDaemon {
    /// Serves until a shutdown is requested, then removes everything: keys, queued replies and the
    /// daemon's files. Calls `on_ready` just before the first client is accepted.
    ///
    /// # Errors
    /// The runtime cannot watch the socket or the timers.
    pub(crate) fn serve(self, on_ready: impl FnOnce()) -> Result<(), Error> {
        let BoundDaemon {
            server,
            shutdown,
            identity,
            runtime,
            listener,
            signals,
            files,
            dir,
            settings,
            _lock,
        } = self;
        let session = identity.session();
        let reason = runtime.block_on(async {
            accept::spawn(Rc::clone(&server), listener, identity)?;
            let expiring = Rc::clone(&server);
            server.timers().spawn(move || expiring.expire())?;
            let idle_check = Interval::every(settings.termination_check)?;
            let reach_check = Interval::every(limits::WATCH)?;
            let erasing = Rc::clone(&server);
            signals.spawn_tasks(&shutdown, move || erasing.erase_all());
            let (idle_server, idle_shutdown) = (Rc::clone(&server), Rc::clone(&shutdown));
            let idle = exit_when_idle(idle_server, idle_shutdown, settings.idle_timeout, idle_check);
            tokio::task::spawn_local(idle);
            let connections = Rc::clone(server.connections());
            let logout = LogoutWatch::spawn(session, Rc::clone(&shutdown), connections);
            let files = Arc::clone(&files);
            let unreachable = exit_when_unreachable(Rc::clone(&shutdown), files, dir, logout, reach_check);
            tokio::task::spawn_local(unreachable);
            on_ready();
            Ok(shutdown.requested().await)
        });
        server.wipe();
        files.remove();
        // The process exits next. Taking a store of many keys apart would delay that.
        std::mem::forget(server);
        let reason: ShutdownReason =
            reason.map_err(|error: io::Error| io_error(format!("cannot use the event loop: {error}")))?;
        tracing::info!(?reason, "daemon stopped");
        Ok(())
    }
}

/// Checks that a daemon can tell callers apart and may open enough files.
fn check_system(limits: RaisedLimits) -> Result<(), Error> {
    check_proc()?;
    check_open_files(limits.nofile)
}

/// Checks that `/proc` shows all processes: the daemon authenticates callers by their entries.
fn check_proc() -> Result<(), Error> {
    match hidepid() {
        Ok(None) => Ok(()),
        Ok(Some(value)) => Err(Error::new(
            ErrorCode::ProcHidden,
            format!("/proc is mounted with hidepid={value}, so keyrackd cannot tell login sessions apart"),
        )
        .fix(Fix::Text("sudo mount -o remount,hidepid=0 /proc".to_owned()))),
        Err(error) => Err(Error::new(ErrorCode::ProcHidden, format!("cannot use /proc: {error}"))),
    }
}

/// Checks the limit on open files. A daemon without descriptors to authenticate callers would hold
/// the socket and answer no client.
fn check_open_files(nofile: u64) -> Result<(), Error> {
    if nofile >= limits::MIN_FILES {
        return Ok(());
    }
    let least = limits::MIN_FILES;
    Err(io_error(format!("only {nofile} files may be open at a time, and keyrackd needs {least}"))
        .hint("raise the hard limit on open files (ulimit -Hn)"))
}

/// Reads the identity of this process, and checks that it can authenticate callers.
fn local_identity(settings: Settings) -> Result<LocalIdentity, Error> {
    let identity = LocalIdentity::read().allowing(settings.namespaces);
    identity.check()?;
    if settings.namespaces != AllowedNamespaces::None {
        let namespaces = identity.enforced().as_str();
        tracing::warn!(namespaces, "callers in nested namespaces are allowed");
    }
    Ok(identity)
}

fn secret_memory(settings: Settings) -> Result<Pool, Error> {
    Pool::new(settings.memory, Budget::default()).map_err(|error| {
        Error::new(ErrorCode::MemoryUnavailable, error.to_string())
            .hint("unset KEYRACK_MEMORY to use the strongest memory that this machine has")
    })
}

fn private_dir(socket: &Path) -> Result<PrivateDir, Error> {
    let bytes = socket.as_os_str().as_bytes().len();
    if bytes > socket::PATH_BYTES {
        return Err(Error::new(
            ErrorCode::SocketPathTooLong,
            format!("the socket path has {bytes} bytes; the limit is {}", socket::PATH_BYTES),
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
            format!("the socket directory {} does not exist", dir.display()),
        ),
        error => Error::new(
            ErrorCode::RuntimeDirUnsafe,
            format!("the socket directory {} is not safe: {error}", dir.display()),
        ),
    })
}

fn cannot_bind(socket: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::new(
            ErrorCode::SocketPathTaken,
            format!("another program took {} while keyrackd started", socket.display()),
        ),
        _ => io_error(format!("cannot bind {}: {error}", socket.display())),
    }
}

fn daemon_info(socket: &Path, identity: &LocalIdentity, pool: &Pool) -> DaemonInfo {
    let (home_hash, owner) = rack(socket);
    let mut hardening = harden::report(pool);
    hardening.push(logout::report(identity.session()));
    DaemonInfo {
        home_hash,
        owner,
        boot_id: keyrack_sys::clock::boot_id().unwrap_or_default(),
        pid: std::process::id(),
        boundary: identity.boundary.as_str(),
        namespaces: identity.enforced().as_str(),
        memory: pool.mode().name(),
        hardening,
    }
}

fn io_error(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Io, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_kernel_rejects_versions_before_5_10() {
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
            let error = check_version(version).err();
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
