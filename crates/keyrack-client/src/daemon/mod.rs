//! The daemon of a rack: connecting in whichever protocol it speaks, starting, stopping,
//! restarting, pruning.

mod lifecycle;
mod start;
mod unit;

pub use lifecycle::{
    PruneOutcome, PrunedRack, RestartOutcome, StoppedDaemon, prune_all, prune_owner, restart, stop,
};
pub use start::{check, ensure};
pub use unit::{own_service, service_of};

use std::time::Duration;

use keyrack_core::{Error, ErrorCode, Slug};

use crate::address::RackAddress;
use crate::context::Context;
use crate::session::{DaemonStatus, GrantedKey, RelockTarget, Relocked, Session};
use crate::transport::connect::{Connection, ServerPeer, ServerProgram, connect as connect_to};
use crate::transport::legacy::LegacyDaemon;

/// Time after which a server that does not answer `hello` counts as a TypeScript daemon. Used only
/// if the kernel does not tell the name of its process.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

/// Session with an authenticated daemon.
#[derive(Debug)]
pub enum Daemon {
    /// keyrackd.
    Native(Session),
    /// TypeScript daemon of an older release.
    Legacy(LegacyDaemon),
}

impl Daemon {
    /// Returns `true` for a TypeScript daemon. Commands warn about it.
    pub fn is_legacy(&self) -> bool {
        matches!(self, Daemon::Legacy(_))
    }

    /// Process at the other end. `None` while no connection is open.
    pub fn server(&self) -> Option<&ServerPeer> {
        match self {
            Daemon::Native(session) => session.server(),
            Daemon::Legacy(legacy) => legacy.server(),
        }
    }

    /// Address of the daemon.
    pub fn address(&self) -> &RackAddress {
        match self {
            Daemon::Native(session) => session.address(),
            Daemon::Legacy(legacy) => legacy.address(),
        }
    }

    /// Returns the native session, for operations that need it.
    ///
    /// # Errors
    /// [`ErrorCode::DaemonLegacy`] for a TypeScript daemon. `what` names the operation, such as
    /// `unlock`.
    pub fn native(self, what: &str) -> Result<Session, Error> {
        match self {
            Daemon::Native(session) => Ok(session),
            Daemon::Legacy(legacy) => Err(legacy.unsupported(what)),
        }
    }

    /// Returns the keys that the daemon holds, in the order of the request.
    ///
    /// # Errors
    /// Those of the protocol that the daemon speaks.
    pub fn get(&mut self, slugs: &[Slug]) -> Result<Vec<GrantedKey>, Error> {
        match self {
            Daemon::Native(session) => session.get(slugs),
            Daemon::Legacy(legacy) => legacy.get(slugs),
        }
    }

    /// Lists all unlocked keys.
    ///
    /// # Errors
    /// Those of the protocol that the daemon speaks.
    pub fn status(&mut self) -> Result<DaemonStatus, Error> {
        match self {
            Daemon::Native(session) => session.status(),
            Daemon::Legacy(legacy) => legacy.status(),
        }
    }

    /// Erases keys. Returns the slugs of the keys that were there.
    ///
    /// # Errors
    /// Those of the protocol that the daemon speaks.
    pub fn relock(&mut self, what: &RelockTarget) -> Result<Relocked, Error> {
        match self {
            Daemon::Native(session) => session.relock(what),
            Daemon::Legacy(legacy) => legacy.relock(what),
        }
    }
}

/// Connects to the daemon of the context's rack. Returns `None` if none runs.
///
/// # Errors
/// Those of [`RackAddress::of`] and [`crate::transport::connect::connect`];
/// [`ErrorCode::BoundaryWeak`] for a TypeScript daemon if the context has requirements.
pub fn connect(ctx: &Context) -> Result<Option<Daemon>, Error> {
    connect_at(ctx, RackAddress::of(ctx)?)
}

/// Connects to the daemon at an address.
///
/// # Errors
/// As [`connect`].
pub fn connect_at(ctx: &Context, address: RackAddress) -> Result<Option<Daemon>, Error> {
    match connect_to(&address, ctx.deadline)? {
        Some(connection) => open_session(ctx, address, connection),
        None => Ok(None),
    }
}

/// Opens a session in the protocol that the server speaks.
fn open_session(
    ctx: &Context,
    address: RackAddress,
    connection: Connection,
) -> Result<Option<Daemon>, Error> {
    let mut session = match connection.server.program {
        ServerProgram::Other => return legacy(ctx, address, connection).map(Some),
        ServerProgram::Keyrackd => return Ok(Some(Daemon::Native(Session::over(connection, address, ctx)))),
        ServerProgram::Unknown => Session::over(connection, address.clone(), ctx),
    };
    session.set_deadline(ctx.deadline.min(HELLO_TIMEOUT));
    match session.hello() {
        Ok(_) => {
            session.set_deadline(ctx.deadline);
            Ok(Some(Daemon::Native(session)))
        }
        Err(error) if error.code == ErrorCode::DaemonAbsent => Ok(None),
        Err(error) if error.code == ErrorCode::DaemonUnresponsive => {
            connect_to(&address, ctx.deadline)?.map(|connection| legacy(ctx, address, connection)).transpose()
        }
        Err(error) => Err(error),
    }
}

fn legacy(ctx: &Context, address: RackAddress, connection: Connection) -> Result<Daemon, Error> {
    LegacyDaemon::over(connection, address, ctx).map(Daemon::Legacy)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use keyrack_testkit::Home;

    use super::*;

    /// Serves `replies`, one for each connection. An empty one is never sent.
    fn serve(address: &RackAddress, answers: Vec<Vec<u8>>) {
        let listener = UnixListener::bind(address.socket()).unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                if answer.is_empty() {
                    open.push(stream);
                } else {
                    stream.write_all(&answer).unwrap();
                }
            }
        });
    }

    fn reached(answers: Vec<Vec<u8>>) -> Option<Daemon> {
        let home = Home::new();
        let env = [("HOME", home.home()), ("XDG_RUNTIME_DIR", home.runtime())].into_iter().collect();
        let ctx = Context::new("/", env);
        let address = RackAddress::of(&ctx).unwrap();
        serve(&address, answers);
        let mut connection = connect_to(&address, ctx.deadline).unwrap().unwrap();
        connection.server.program = ServerProgram::Unknown;
        open_session(&ctx, address, connection).unwrap()
    }

    #[test]
    fn hello_tells_a_server_of_unknown_name() {
        let mut hello = keyrack_wire::WipedBuffer::new(4096);
        for header in [
            r#"{"id":1,"ok":{"proto":1,"min_proto":1,"version":"1","build":"1","boot_id":"b","pid":1,"boundary":"user","memory":"locked","hardening":[]}}"#,
            r#"{"id":2,"ok":{}}"#,
        ] {
            const NONE: [&[u8]; 0] = [];
            keyrack_wire::native::encode_frame(&mut hello, header.as_bytes(), &NONE).unwrap();
        }
        let hello = hello.as_slice().to_vec();
        let Some(Daemon::Native(_)) = reached(vec![hello]) else { panic!("it said hello") };
        let started = std::time::Instant::now();
        let status = br#"{"success":true,"data":{"homeHash":"x","keys":[]}}"#.to_vec();
        let Some(Daemon::Legacy(mut daemon)) = reached(vec![Vec::new(), status]) else {
            panic!("it kept silent")
        };
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(daemon.status().unwrap().keys, []);
    }
}
