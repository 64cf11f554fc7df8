//! Reaching the server behind a socket, and knowing who it is before a byte is sent to it.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use keyrack_core::peer::{AllowedNamespaces, Boundary, PeerFacts, PeerRejection, authorize};
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::hardening;
use keyrack_sys::peer::{self, PeerReader};
use keyrack_sys::process::pidfd::Pidfd;

use crate::address::{RackAddress, SESSION_UNSET};
use crate::sandbox::{Namespaces, Sandbox};
use crate::transport::read_buffer::unresponsive;

/// The longest a connect may take: only a full backlog makes it wait.
const CONNECT: Duration = Duration::from_secs(1);

/// The name of the daemon's process, as the kernel tells it.
const KEYRACKD: &str = "keyrackd";

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerProgram {
    /// Ours: it speaks the native protocol.
    Keyrackd,
    /// Another one, so today's TypeScript daemon (its process is called `node` or `MainThread`): it speaks the legacy protocol.
    Other,
    /// The kernel does not tell its name: the hello will show.
    Unsaid,
}

/// The process behind a socket, verified.
#[derive(Debug)]
pub struct Server {
    /// What holds the process fast; `None` on a kernel without `SO_PEERPIDFD`.
    pub pidfd: Option<Pidfd>,
    /// Its number, for people.
    pub pid: Option<i64>,
    /// How far the kernel could tell it from a stranger.
    pub boundary: Boundary,
    /// Which program it is.
    pub program: ServerProgram,
}

/// A connection to a verified server, nothing sent yet.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: UnixStream,
    /// Who is at the other end.
    pub server: Server,
    /// For how long the stream itself waits to read or write, if it does.
    patience: Cell<Option<Duration>>,
}

impl Connection {
    #[cfg(feature = "fuzzing")]
    pub(crate) fn unverified(stream: UnixStream, server: Server) -> Self {
        Connection { stream, server, patience: Cell::new(None) }
    }

    /// Makes the stream itself wait for as long as `deadline`. False if it cannot: then it has to be waited for.
    pub(crate) fn make_patient(&self, deadline: Duration) -> bool {
        if self.patience.get() == Some(deadline) {
            return true;
        }
        self.patience.set(None);
        let waits = Some(deadline);
        let set = self.stream.set_read_timeout(waits).and_then(|()| self.stream.set_write_timeout(waits));
        let patient = set.and_then(|()| self.stream.set_nonblocking(false)).is_ok();
        self.patience.set(patient.then_some(deadline));
        patient
    }
}

/// Connects within a second (or the deadline, if that is less) and verifies the server. `None` when nobody listens.
///
/// # Errors
/// [`ErrorCode::ServerUntrusted`] when a stranger listens, [`ErrorCode::DaemonUnresponsive`] when the backlog stays full,
/// [`ErrorCode::SocketPathTaken`] when the file is no socket, [`ErrorCode::Io`].
pub fn connect(address: &RackAddress, deadline: Duration) -> Result<Option<Connection>, Error> {
    let path = address.socket();
    let stream = match keyrack_sys::socket::connect(&path, deadline.min(CONNECT)) {
        Ok(stream) => stream,
        Err(error) => return nobody(address, &path, &error).map(|()| None),
    };
    let server = verify(&stream, address)?;
    Ok(Some(Connection { stream, server, patience: Cell::new(None) }))
}

/// `Ok` when the error means that nobody listens.
fn nobody(address: &RackAddress, path: &Path, error: &io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::ConnectionRefused => match std::fs::metadata(path) {
            Ok(found) if !found.file_type().is_socket() => Err(Error::new(
                ErrorCode::SocketPathTaken,
                format!("{} is not a socket, and stands where the daemon's has to be", path.display()),
            )
            .hint(format!("move {} away", path.display()))),
            _ => Ok(()),
        },
        io::ErrorKind::TimedOut => Err(unresponsive(
            "the daemon does not take connections: its backlog stayed full",
            &address.name.owner,
        )),
        _ => Err(Error::new(
            ErrorCode::Io,
            format!("cannot connect to the daemon's socket {}: {error}", path.display()),
        )),
    }
}

/// Applies the peer rule to the server, as the daemon applies it to its callers.
fn verify(stream: &UnixStream, address: &RackAddress) -> Result<Server, Error> {
    // The socket's name holds our session as the kernel told it a moment ago, but where the kernel has none.
    let own_session = match address.name.session.as_str() {
        SESSION_UNSET => peer::own_session(),
        session => Ok(session.as_bytes().to_vec()),
    };
    let own = Namespaces::read();
    let reading = PeerReader::new().read(stream.as_fd());
    let facts = PeerFacts {
        own_proc: own.own_proc,
        own_uid: own.uid,
        own_uid_map: own.uid_map(),
        overflow_uid: own.overflow_uid,
        own_session: own_session.as_deref().map_err(|errno| *errno),
        uid: reading.uid,
        pidfd: reading.pidfd.as_ref().map(|_| ()).map_err(|errno| *errno),
        pid: reading.pid,
        session: reading.session.as_deref().map_err(|errno| *errno),
        pid_levels: reading.pid_levels,
        uid_map: reading.uid_map.as_deref().map_err(|errno| *errno),
        alive: reading.alive,
        // A server in the initial namespace was not started in a sandbox.
        allowed: AllowedNamespaces::InitialUser,
    };
    let boundary = match authorize(&facts) {
        Ok(boundary) => boundary,
        Err(rejection) => {
            return Err(untrusted(rejection, &own, address));
        }
    };
    let program = match reading.pid.map(peer::comm) {
        Some(Ok(name)) if name == KEYRACKD => ServerProgram::Keyrackd,
        Some(Ok(_)) => ServerProgram::Other,
        Some(Err(_)) | None => ServerProgram::Unsaid,
    };
    Ok(Server { pidfd: reading.pidfd.ok(), pid: reading.pid, boundary, program })
}

/// Error for a server that is refused, or that cannot be verified from this sandbox. A server that
/// `/proc` hides may be our own daemon, because the daemon is not dumpable.
fn untrusted(rejection: PeerRejection, own: &Namespaces, address: &RackAddress) -> Error {
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
fn sandbox_of(rejection: PeerRejection, own: &Namespaces) -> Option<Sandbox> {
    match rejection {
        PeerRejection::OwnProc => Some(Sandbox::ForeignProc),
        PeerRejection::OwnUser => Some(Sandbox::UnknownUser),
        PeerRejection::Hidden => Some(Sandbox::PidNamespace),
        PeerRejection::OtherUserNamespace if !own.is_initial_user() => Some(Sandbox::UserNamespace),
        _ => None,
    }
}
