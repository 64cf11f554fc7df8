//! Connections of authenticated clients, from the first byte to the last reply.

pub(crate) mod io;
mod nonblocking;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use keyrack_core::ErrorCode;
use keyrack_sys::memory::{Buffer, OutOfMemory, Partition};
use keyrack_wire::Protocol;
use keyrack_wire::legacy::{LegacyError, MAX_REQUEST, Progress, Scanner};
use keyrack_wire::native::{Decoded, MAX_LENGTH, decode};
use tokio::io::Interest;
use tokio::time::Instant;

use crate::conn::io::{ConnectionIo, Wakeup};
use crate::dispatch::response::{AfterReply, Response};
use crate::dispatch::{legacy, native, out_of_memory_reply, refuse, rejection};
use crate::limits;
use crate::peer_auth::Peer;
use crate::server::Server;
use crate::shutdown::ShutdownReason;

/// Minimum number of bytes requested in one read.
const READ_SIZE: usize = 4096;

/// Longest request of either protocol, plus what shows that a request is longer.
const MAX_BUFFER: usize = if MAX_REQUEST > MAX_LENGTH + 4 { MAX_REQUEST + 1 } else { MAX_LENGTH + 5 };

/// Requests that a connection may have answered before other connections run.
const REQUESTS_PER_TURN: u32 = 16;

/// Reason why the rest of a request was not read.
#[derive(Debug)]
enum ReadError {
    /// Bytes of another process than the one that opened the connection.
    ForeignSender,
    /// The client closed its end.
    EndOfStream,
    TimedOut,
    OutOfMemory(OutOfMemory),
    /// The connection was closed by another task.
    Closed,
}

/// A deadline that starts to run at the first wait: a request that has arrived needs no clock.
struct Deadline {
    limit: Duration,
    at: Option<Instant>,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Deadline { limit, at: None }
    }

    fn at(&mut self) -> Instant {
        *self.at.get_or_insert_with(|| Instant::now() + self.limit)
    }
}

/// Serves an authenticated peer until its connection ends.
pub(crate) async fn serve(server: Rc<Server>, stream: UnixStream, peer: Peer) {
    let io = ConnectionIo::new(Rc::clone(server.connections()), stream);
    let request = server.buffer(MAX_BUFFER);
    let mut connection = Connection { server, io, peer, request };
    let last = connection.serve_requests().await;
    if let Some(response) = last {
        connection.finish(response).await;
    }
}

/// Sends a rejected peer an error in the protocol of its first byte. Nothing else that it sends is
/// parsed, and no state of the daemon changes.
pub(crate) async fn reject(server: Rc<Server>, stream: UnixStream) {
    let deadline = Instant::now() + limits::REJECTED_PEER;
    let mut io = ConnectionIo::exempt(Rc::clone(server.connections()), stream);
    let Some(first) = io.first_byte(deadline).await else { return };
    // The reply is far shorter than what the kernel takes at once.
    if io.send(rejection(Protocol::of(first)).reply).await {
        io.linger(server.scratch(), deadline).await;
    }
}

/// A connection of an authenticated peer.
struct Connection {
    server: Rc<Server>,
    io: ConnectionIo,
    peer: Peer,
    /// Bytes that have arrived and are not answered yet. Holds no page while the client is silent.
    request: Buffer,
}

impl Connection {
    /// Serves requests until the connection ends. Returns the last response, which is still to be
    /// sent; `None` to close without one.
    async fn serve_requests(&mut self) -> Option<Response> {
        let mut deadline = Deadline::new(limits::FIRST_BYTE);
        if let Err(error) = self.read_more(READ_SIZE, Some(&mut deadline)).await {
            return match error {
                ReadError::ForeignSender => self.read_failed(&error, self.protocol()),
                // The client may have been accepted before it sent anything.
                ReadError::OutOfMemory(_) => {
                    let first = self.io.first_byte(Instant::now() + limits::FIRST_BYTE).await?;
                    self.read_failed(&error, Protocol::of(first))
                }
                // Old clients probe for a daemon by connecting and closing.
                ReadError::EndOfStream | ReadError::TimedOut | ReadError::Closed => None,
            };
        }
        self.io.handle.mark_busy();
        match self.protocol() {
            Protocol::Native => self.serve_native().await,
            Protocol::Legacy => self.serve_legacy().await,
            Protocol::Neither => Some(legacy::refuse("this is neither a frame nor a JSON object")),
        }
    }

    /// Serves the one request of a legacy connection.
    async fn serve_legacy(&mut self) -> Option<Response> {
        let mut scanner = Scanner::for_request();
        let mut deadline = Deadline::new(limits::REQUEST);
        loop {
            match scanner.advance(self.request.filled()) {
                Progress::Complete { .. } if opener_has_exited(&self.peer, &mut self.io, false) => {
                    return None;
                }
                Progress::Complete { end } => {
                    return Some(self.server.answer_legacy(&self.request.filled()[..end]));
                }
                Progress::Bad(error) => return Some(legacy::refuse(&error.to_string())),
                Progress::More => {}
            }
            let size = self.request.filled().len().max(READ_SIZE);
            if let Err(error) = self.read_more(size, Some(&mut deadline)).await {
                return self.read_failed(&error, Protocol::Legacy);
            }
        }
    }

    /// Serves the requests of a native connection.
    async fn serve_native(&mut self) -> Option<Response> {
        let mut answered: u32 = 0;
        let mut deadline = Deadline::new(limits::REQUEST);
        loop {
            let length = match decode(self.request.filled()) {
                Ok(Decoded::Frame(frame)) => {
                    if opener_has_exited(&self.peer, &mut self.io, answered > 0) {
                        return None;
                    }
                    self.io.handle.request_complete();
                    let consumed = frame.consumed;
                    let response = self.server.answer_native(&frame);
                    self.request.consume(consumed);
                    // A long request gives its pages back before the next reply needs some.
                    self.request.shrink();
                    if !matches!(response.then, AfterReply::Continue | AfterReply::Yield) {
                        return Some(response);
                    }
                    if !self.io.send(response.reply).await {
                        return None;
                    }
                    answered = answered.wrapping_add(1);
                    if answered.is_multiple_of(REQUESTS_PER_TURN) || response.then == AfterReply::Yield {
                        tokio::task::yield_now().await;
                    }
                    deadline = Deadline::new(limits::REQUEST);
                    continue;
                }
                Ok(Decoded::Need(length)) => length,
                Err(error) => return Some(native::refuse(error.code(), &error.to_string())),
            };
            let read = match self.request.filled().len() {
                // Between requests a client may be silent for as long as it likes.
                0 => {
                    self.server.connections().borrow_mut().mark_idle(&self.io.handle);
                    let read = self.read_more(READ_SIZE, None).await;
                    self.io.handle.mark_busy();
                    if matches!(read, Err(ReadError::EndOfStream)) {
                        return None;
                    }
                    read
                }
                have => self.read_more((length - have).max(READ_SIZE), Some(&mut deadline)).await,
            };
            if let Err(error) = read {
                return self.read_failed(&error, Protocol::Native);
            }
        }
    }

    /// Protocol of the bytes that have arrived.
    fn protocol(&self) -> Protocol {
        self.request.filled().first().map_or(Protocol::Neither, |first| Protocol::of(*first))
    }

    /// Returns the response to a request that could not be read to its end; `None` to close without
    /// one.
    fn read_failed(&self, error: &ReadError, protocol: Protocol) -> Option<Response> {
        let response = match error {
            ReadError::Closed => return None,
            ReadError::ForeignSender => {
                // The client passed its connection on.
                tracing::warn!(
                    pid = self.peer.pid.as_raw(),
                    "connection used by a process other than its opener"
                );
                rejection(protocol)
            }
            ReadError::EndOfStream => {
                refuse(protocol, ErrorCode::BadFrame.as_str(), "the request ended before it was complete")
            }
            ReadError::TimedOut => {
                let limit = limits::REQUEST.as_secs();
                let message = format!("the request did not arrive within {limit} s");
                refuse(protocol, ErrorCode::TimedOut.as_str(), &message)
            }
            ReadError::OutOfMemory(OutOfMemory { partition: Partition::Buffer, .. }) => {
                let error = LegacyError::TooLarge { limit: MAX_REQUEST };
                refuse(protocol, ErrorCode::TooLarge.as_str(), &error.to_string())
            }
            ReadError::OutOfMemory(error) => out_of_memory_reply(protocol, error),
        };
        Some(response)
    }

    /// Reads what has arrived, at most `max` bytes; waits for the first of them until the deadline.
    async fn read_more(&mut self, max: usize, mut deadline: Option<&mut Deadline>) -> Result<(), ReadError> {
        loop {
            if self.io.handle.is_closed() {
                return Err(ReadError::Closed);
            }
            // A read ends at bytes of another sender, so after a part of a request there may be
            // more.
            if !self.io.drained || !self.request.filled().is_empty() {
                self.server.ensure_spare(&mut self.request, 1).map_err(ReadError::OutOfMemory)?;
                match self.io.receive(&mut self.request, max) {
                    Some((0, _)) => return Err(ReadError::EndOfStream),
                    Some((_, sender)) if self.peer.is_sender(sender) => return Ok(()),
                    Some(_) => return Err(ReadError::ForeignSender),
                    None => {}
                }
            }
            if self.request.filled().is_empty() {
                self.request.release();
            } else {
                // While it waits, other connections may reclaim its pages.
                let partial = std::mem::replace(&mut self.request, self.server.buffer(MAX_BUFFER));
                self.server.connections().borrow_mut().park(&self.io.handle, partial);
            }
            let wakeup = self.io.wait(Interest::READABLE, deadline.as_mut().map(|at| at.at())).await;
            if let Some(partial) = self.io.handle.resume() {
                self.request = partial;
            }
            match wakeup {
                _ if self.io.handle.is_closed() => return Err(ReadError::Closed),
                Wakeup::Ready => self.io.drained = false,
                Wakeup::TimedOut => return Err(ReadError::TimedOut),
                Wakeup::Closed => return Err(ReadError::Closed),
            }
        }
    }

    /// Sends the last response, and ends the connection as it says.
    async fn finish(mut self, response: Response) {
        // The request is wiped before the reply waits for the client to take it.
        self.request.release();
        let taken = self.io.send(response.reply).await;
        match response.then {
            AfterReply::Linger if taken => {
                // What the client still sends is not a request: the connection gives way to one
                // that has a request.
                self.server.connections().borrow_mut().mark_idle(&self.io.handle);
                self.io.linger(self.server.scratch(), Instant::now() + limits::LINGER).await;
            }
            AfterReply::Shutdown => self.server.shutdown().request(ShutdownReason::Requested),
            _ => {}
        }
    }
}

/// Returns `true` if the process that opened the connection has exited since it was accepted. A
/// first request that was there at once came from a process just found alive. A first request that
/// was waited for, and every `further` one, may come from a process that inherited the descriptor.
fn opener_has_exited(peer: &Peer, io: &mut ConnectionIo, further: bool) -> bool {
    if !further && !io.has_waited() {
        return false;
    }
    let (alive, readable) = peer.is_alive_beside(io.handle.stream.as_fd());
    // A read ends at bytes of another sender as if nothing more had arrived.
    io.drained &= !readable;
    if !alive {
        tracing::info!(pid = peer.pid.as_raw(), "connection closed: the process that opened it has exited");
    }
    !alive
}
