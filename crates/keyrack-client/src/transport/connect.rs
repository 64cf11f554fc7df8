//! Connecting to the server at a socket, and authenticating it before the first byte is sent to it.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use keyrack_core::peer::{
    AllowedNamespaces, AuditSession, Boundary, LocalFacts, LocalNamespaces, PeerRejection, Pid, ReadError,
    authorize,
};
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::hardening;
use keyrack_sys::peer::{self, PeerReader, PeerReading};
use keyrack_sys::process::pidfd::Pidfd;

use super::error::unresponsive;
use crate::address::{RackAddress, SESSION_UNSET};
use crate::sandbox::Sandbox;

/// Time that a connect may take. Only a full backlog makes it wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Name of the daemon's process (`/proc/<pid>/comm`).
const KEYRACKD: &str = "keyrackd";

/// Program of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerProgram {
    /// keyrackd. It speaks the native protocol.
    Keyrackd,
    /// Another program, so the TypeScript daemon (its process is called `node` or `MainThread`). It
    /// speaks the legacy protocol.
    Other,
    /// The kernel does not tell its name. `hello` shows which protocol it speaks.
    Unknown,
}

/// Authenticated process at the other end of a connection.
#[derive(Debug)]
pub struct ServerPeer {
    /// Refers to the process even after its pid is reused. `None` on a kernel without
    /// `SO_PEERPIDFD`.
    pub pidfd: Option<Pidfd>,
    /// Pid, for messages.
    pub pid: Option<Pid>,
    /// Boundary by which the kernel could tell it apart.
    pub boundary: Boundary,
    /// Program that serves.
    pub program: ServerProgram,
}

/// Connection to an authenticated server.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: UnixStream,
    /// Process at the other end.
    pub server: ServerPeer,
    /// Timeout of the stream if it is blocking.
    blocking: Cell<Option<Duration>>,
}

impl Connection {
    #[cfg(feature = "fuzzing")]
    pub(crate) fn unverified(stream: UnixStream, server: ServerPeer) -> Self {
        Connection { stream, server, blocking: Cell::new(None) }
    }

    /// Makes the stream blocking, with a timeout for each read and write. Returns `false` on
    /// failure; the caller then polls. Benchmark row: "GET, native, persistent, Rust client".
    pub(crate) fn make_blocking(&self, timeout: Duration) -> bool {
        if self.blocking.get() == Some(timeout) {
            return true;
        }
        self.blocking.set(None);
        let set = self
            .stream
            .set_read_timeout(Some(timeout))
            .and_then(|()| self.stream.set_write_timeout(Some(timeout)))
            .and_then(|()| self.stream.set_nonblocking(false));
        self.blocking.set(set.is_ok().then_some(timeout));
        set.is_ok()
    }
}

/// Connects within a second, or `timeout` if that is less, and authenticates the server. Returns
/// `None` if no server listens.
///
/// # Errors
/// [`ErrorCode::ServerUntrusted`] if the server is rejected, [`ErrorCode::DaemonUnresponsive`] if
/// the backlog stays full, [`ErrorCode::SocketPathTaken`] if the file is not a socket,
/// [`ErrorCode::Io`].
pub fn connect(address: &RackAddress, timeout: Duration) -> Result<Option<Connection>, Error> {
    let path = address.socket();
    let stream = match keyrack_sys::socket::connect(&path, timeout.min(CONNECT_TIMEOUT)) {
        Ok(stream) => stream,
        Err(error) => return check_no_server(address, &path, &error).map(|()| None),
    };
    let server = authenticate(&stream, address)?;
    Ok(Some(Connection { stream, server, blocking: Cell::new(None) }))
}

/// Returns `Ok` if an error of a connect means that no server listens.
fn check_no_server(address: &RackAddress, path: &Path, error: &io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::ConnectionRefused => match std::fs::metadata(path) {
            Ok(found) if !found.file_type().is_socket() => Err(Error::new(
                ErrorCode::SocketPathTaken,
                format!("{} is not a socket, but the daemon's socket belongs there", path.display()),
            )
            .hint(format!("move {} away", path.display()))),
            _ => Ok(()),
        },
        io::ErrorKind::TimedOut => Err(unresponsive(
            "the daemon does not accept connections: its backlog stays full",
            &address.name.owner,
        )),
        _ => Err(Error::new(
            ErrorCode::Io,
            format!("cannot connect to the daemon's socket {}: {error}", path.display()),
        )),
    }
}

/// Authenticates the server by the same rule that the daemon applies to its callers.
fn authenticate(stream: &UnixStream, address: &RackAddress) -> Result<ServerPeer, Error> {
    // The name of the socket has our session, read a moment ago, except where the kernel has none.
    let session = match address.name.session.as_str() {
        SESSION_UNSET => peer::own_session(),
        session => AuditSession::parse(session.as_bytes()).ok_or(ReadError::Malformed),
    };
    let local = LocalFacts { namespaces: peer::own_namespaces(), session };
    let PeerReading { facts, pidfd } = PeerReader::new().read(stream.as_fd());
    // A server in the initial user namespace was not started in a sandbox.
    let boundary = authorize(&local, &facts, AllowedNamespaces::InitialUser)
        .map_err(|rejection| untrusted(rejection, &local.namespaces, address))?;
    let program = match facts.pid.map(peer::comm) {
        Some(Ok(name)) if name == KEYRACKD => ServerProgram::Keyrackd,
        Some(Ok(_)) => ServerProgram::Other,
        Some(Err(_)) | None => ServerProgram::Unknown,
    };
    Ok(ServerPeer { pidfd, pid: facts.pid, boundary, program })
}

/// Error for a server that is refused, or that cannot be verified from this sandbox. A server that
/// `/proc` hides may be our own daemon, because the daemon is not dumpable.
fn untrusted(rejection: PeerRejection, own: &LocalNamespaces, address: &RackAddress) -> Error {
    if let Some(sandbox) = sandbox_of(rejection, own) {
        return sandbox.error();
    }
    let socket = address.socket();
    let socket = socket.display();
    let unseen = matches!(
        rejection,
        PeerRejection::NoSession | PeerRejection::Unreadable | PeerRejection::NamespaceUnreadable
    );
    if unseen && let Ok(Some(value)) = hardening::hidepid() {
        let message = format!(
            "/proc is mounted with hidepid={value}, so keyrack cannot tell whose daemon listens at {socket}"
        );
        return Error::new(ErrorCode::ProcHidden, message)
            .fix(Fix::Text("sudo mount -o remount,hidepid=0 /proc".to_owned()));
    }
    if matches!(rejection, PeerRejection::NestedPid | PeerRejection::OtherUserNamespace) {
        return rejection
            .into_server_error()
            .hint(format!("a process in a sandbox listens at {socket}: find it with `ss -xlp`, and end it"));
    }
    rejection.into_server_error().hint(format!(
        "something else listens at {socket}; find it with `ss -xlp`, and remove the file if it is not yours"
    ))
}

/// Returns the sandbox of this process, if the sandbox is why the server refuses it.
fn sandbox_of(rejection: PeerRejection, own: &LocalNamespaces) -> Option<Sandbox> {
    match rejection {
        PeerRejection::OwnProc => Some(Sandbox::ForeignProc),
        PeerRejection::OwnUser => Some(Sandbox::UnknownUser),
        PeerRejection::Hidden => Some(Sandbox::PidNamespace),
        PeerRejection::OtherUserNamespace if !own.is_initial_user() => Some(Sandbox::UserNamespace),
        _ => None,
    }
}
