//! Sessions over a socket that is already open, without authentication, for a fuzzer that acts as
//! the daemon. Not part of any build that ships (feature `fuzzing`).

use std::io;
use std::os::unix::net::UnixStream;

use keyrack_core::Error;
use keyrack_core::peer::Boundary;

use crate::address::RackAddress;
use crate::context::Context;
use crate::session::Session;
use crate::transport::connect::{Connection, ServerPeer, ServerProgram};
use crate::transport::legacy::LegacyDaemon;

/// Creates a native session over `stream`. If it connects again, it does so at `address`.
///
/// # Errors
/// If the stream cannot be made non-blocking.
pub fn session(stream: UnixStream, address: RackAddress, ctx: &Context) -> io::Result<Session> {
    Ok(Session::over(connection(stream)?, address, ctx))
}

/// Creates a session with a TypeScript daemon.
///
/// # Errors
/// As [`session`]; also if `ctx` requires more than such a daemon offers.
pub fn legacy(
    stream: UnixStream,
    address: RackAddress,
    ctx: &Context,
) -> io::Result<Result<LegacyDaemon, Error>> {
    Ok(LegacyDaemon::over(connection(stream)?, address, ctx))
}

fn connection(stream: UnixStream) -> io::Result<Connection> {
    stream.set_nonblocking(true)?;
    let server =
        ServerPeer { pidfd: None, pid: None, boundary: Boundary::User, program: ServerProgram::Unknown };
    Ok(Connection::unverified(stream, server))
}
