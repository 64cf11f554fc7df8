//! Sessions over a socket that is already open, for a fuzzer that speaks as the daemon: without
//! looking at who is at the other end. Not part of any build that ships (feature `fuzzing`).

use std::io;
use std::os::unix::net::UnixStream;

use keyrack_core::Error;
use keyrack_core::peer::Boundary;

use crate::address::RackAddress;
use crate::context::Context;
use crate::session::Session;
use crate::transport::connect::{Connection, Server, ServerProgram};
use crate::transport::legacy::LegacyDaemon;

/// A native session over `stream`. One that has to connect again does so at `address`.
///
/// # Errors
/// When the stream cannot be made non-blocking.
pub fn session(stream: UnixStream, address: RackAddress, ctx: &Context) -> io::Result<Session> {
    Ok(Session::over(connection(stream)?, address, ctx))
}

/// The same with a TypeScript daemon.
///
/// # Errors
/// As [`session`]; and when `ctx` demands more than such a daemon can give.
pub fn legacy(
    stream: UnixStream,
    address: RackAddress,
    ctx: &Context,
) -> io::Result<Result<LegacyDaemon, Error>> {
    Ok(LegacyDaemon::over(connection(stream)?, address, ctx))
}

fn connection(stream: UnixStream) -> io::Result<Connection> {
    stream.set_nonblocking(true)?;
    let server = Server { pidfd: None, pid: None, boundary: Boundary::User, program: ServerProgram::Unknown };
    Ok(Connection::unverified(stream, server))
}
