//! One caller's connection, from its first byte to its end. The caller has been verified before any of this runs.
//!
//! A caller whose request is there already is served on the spot: the runtime never hears of it, and nothing is allocated
//! for its connection.

pub(crate) mod io;
pub(crate) mod reply;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use keyrack_core::ErrorCode;
use keyrack_core::peer::PeerRejection;
use keyrack_sys::memory::{Buffer, OutOfMemory, Partition};
use keyrack_wire::Protocol;
use keyrack_wire::legacy::{LegacyError, MAX_REQUEST, Progress, Scanner};
use keyrack_wire::native::{Decoded, MAX_LENGTH, decode};
use tokio::io::Interest;
use tokio::time::Instant;

use crate::conn::io::{ConnectionIo, Woken, is_drained, receive, write};
use crate::conn::table::ConnectionTable;
use crate::dispatch::{AfterReply, Response, legacy, native, out_of_memory_reply};
use crate::limits;
use crate::peer_auth::Peer;
use crate::shutdown::ShutdownReason;
use crate::state::Daemon;

/// The least that is read at a time.
const PAGE: usize = 4096;

/// The longest request of either protocol, with room to see that one is longer.
const LONGEST: usize = if MAX_REQUEST > MAX_LENGTH + 4 { MAX_REQUEST + 1 } else { MAX_LENGTH + 5 };

/// How many requests one connection may have answered before the others get a turn.
const TURN: u32 = 16;

/// What reading came to.
enum ReadOutcome {
    Bytes,
    /// Bytes of a process other than the one that opened the connection.
    Foreign,
    End,
    TooLate,
    NoRoom(OutOfMemory),
    /// There is nobody left to answer.
    Gone,
}

/// Serves a verified caller: at once if its whole request is there and its reply can go, else as a task that `go` runs.
pub(crate) fn begin(
    daemon: &Rc<Daemon>,
    stream: UnixStream,
    peer: Peer,
    go: impl FnOnce(Connection, ConnectionStart),
) {
    let mut came = daemon.pool.buffer(LONGEST);
    let mut drained = false;
    let mut foreign = false;
    if daemon.ensure_spare(&mut came, 1).is_ok() {
        let read = receive(&stream, &mut came, PAGE);
        drained = is_drained(read.map(|(n, _)| n), PAGE);
        match read {
            // Older clients look whether somebody listens by connecting and going away.
            Some((0, _)) => return,
            Some((_, sender)) => foreign = !peer.is_sender(sender),
            None => came.release(),
        }
    }
    let connection = |stream, came| {
        let mut line = ConnectionIo::new(Rc::clone(daemon), stream);
        line.drained = drained;
        Connection { line, peer, came }
    };
    if foreign {
        return go(connection(stream, came), ConnectionStart::Refuse);
    }
    let whole = match came.filled().first() {
        Some(first) if Protocol::of(*first) == Protocol::Legacy => {
            match Scanner::for_request().advance(came.filled()) {
                Progress::Complete { end } => Some(end),
                _ => None,
            }
        }
        _ => None,
    };
    let Some(end) = whole else { return go(connection(stream, came), ConnectionStart::Serve) };
    let answer = legacy::answer(daemon, &came.filled()[..end]);
    // The request is wiped before its reply goes.
    came.release();
    let mut sent = 0;
    let done = write(&stream, answer.reply.bytes(), &mut sent);
    if done != Some(true) || answer.then != AfterReply::Close {
        go(connection(stream, came), ConnectionStart::Finish(answer, sent));
    }
}

/// What a connection begins with.
pub(crate) enum ConnectionStart {
    /// Its request, of which some may have come.
    Serve,
    /// Request of a process other than the one that opened the connection.
    Refuse,
    /// The rest of its last reply, of which so many bytes are out.
    Finish(Response, usize),
}

/// A verified caller's connection.
pub(crate) struct Connection {
    line: ConnectionIo,
    peer: Peer,
    /// What has come and is not answered yet. Without a page while the caller is silent.
    came: Buffer,
}

impl Connection {
    /// Goes on with it to its end.
    pub(crate) async fn run(self, first: ConnectionStart) {
        match first {
            ConnectionStart::Serve => self.serve().await,
            ConnectionStart::Refuse => self.refuse_sender().await,
            ConnectionStart::Finish(answer, sent) => self.finish(answer, sent).await,
        }
    }

    async fn serve(mut self) {
        if self.came.filled().is_empty() {
            match self.read_more(PAGE, Some(Instant::now() + limits::FIRST_BYTE)).await {
                ReadOutcome::Bytes => {}
                ReadOutcome::Foreign => return self.refuse_sender().await,
                ReadOutcome::NoRoom(full) => return self.out_of_memory_reply(&full, None).await,
                ReadOutcome::End | ReadOutcome::TooLate | ReadOutcome::Gone => return,
            }
        }
        ConnectionTable::busy(&self.line.link);
        match Protocol::of(self.came.filled()[0]) {
            Protocol::Native => self.serve_native().await,
            Protocol::Legacy => self.serve_legacy().await,
            Protocol::Neither => {
                let text = "this is neither a frame nor a JSON object";
                self.finish(legacy::refuse(text), 0).await;
            }
        }
    }

    async fn serve_legacy(mut self) {
        let mut scanner = Scanner::for_request();
        let deadline = Instant::now() + limits::REQUEST;
        loop {
            let answer = match scanner.advance(self.came.filled()) {
                Progress::Complete { .. } if opener_has_exited(&self.peer, &mut self.line, false) => return,
                Progress::Complete { end } => legacy::answer(&self.line.daemon, &self.came.filled()[..end]),
                Progress::Bad(error) => legacy::refuse(&error.to_string()),
                Progress::More => {
                    let more = self.came.filled().len().max(PAGE);
                    match self.read_more(more, Some(deadline)).await {
                        ReadOutcome::Bytes => continue,
                        ReadOutcome::Foreign => return self.refuse_sender().await,
                        ReadOutcome::End => legacy::refuse("the request ended before it was complete"),
                        ReadOutcome::TooLate => legacy::refuse(&too_late()),
                        ReadOutcome::NoRoom(OutOfMemory { partition: Partition::Buffer, .. }) => {
                            legacy::refuse(&LegacyError::TooLarge { limit: MAX_REQUEST }.to_string())
                        }
                        ReadOutcome::NoRoom(full) => legacy::refuse(&full.to_string()),
                        ReadOutcome::Gone => return,
                    }
                }
            };
            // The request is wiped before its reply waits for the caller to take it.
            self.came.release();
            return self.finish(answer, 0).await;
        }
    }

    async fn serve_native(mut self) {
        let mut answered: u32 = 0;
        // Of the request that has begun to come and is not whole.
        let mut deadline = None;
        loop {
            let refused = match decode(self.came.filled()) {
                Ok(Decoded::Frame(frame)) => {
                    if opener_has_exited(&self.peer, &mut self.line, answered > 0) {
                        return;
                    }
                    self.line.link.request_complete();
                    let consumed = frame.consumed;
                    let Response { reply, then } = native::answer(&self.line.daemon, &frame);
                    self.came.consume(consumed);
                    // A long request gives its pages back before the next one's reply needs some.
                    self.came.shrink();
                    if !matches!(then, AfterReply::Next | AfterReply::Yield) {
                        self.came.release();
                        return self.finish(Response { reply, then }, 0).await;
                    }
                    if !self.line.send(reply, 0).await {
                        return;
                    }
                    answered = answered.wrapping_add(1);
                    if answered.is_multiple_of(TURN) || then == AfterReply::Yield {
                        tokio::task::yield_now().await;
                    }
                    deadline = None;
                    continue;
                }
                Ok(Decoded::Need(whole)) => {
                    let has = self.came.filled().len();
                    let came = if has > 0 {
                        let end = *deadline.get_or_insert_with(|| Instant::now() + limits::REQUEST);
                        self.read_more((whole - has).max(PAGE), Some(end)).await
                    } else {
                        self.line.daemon.table.borrow_mut().idle(&self.line.link);
                        let came = self.read_more(PAGE, None).await;
                        ConnectionTable::busy(&self.line.link);
                        came
                    };
                    match came {
                        ReadOutcome::Bytes => continue,
                        ReadOutcome::Foreign => return self.refuse_sender().await,
                        ReadOutcome::End if has == 0 => return,
                        ReadOutcome::Gone => return,
                        ReadOutcome::NoRoom(full) => {
                            return self.out_of_memory_reply(&full, Some(Protocol::Native)).await;
                        }
                        ReadOutcome::End => native::refuse(
                            ErrorCode::BadFrame.as_str(),
                            "the frame ended before it was complete",
                        ),
                        ReadOutcome::TooLate => native::refuse(ErrorCode::TimedOut.as_str(), &too_late()),
                    }
                }
                Err(error) => native::refuse(error.code(), &error.to_string()),
            };
            self.came.release();
            return self.finish(refused, 0).await;
        }
    }

    /// Refuses a request of which another process has sent some, and ends the connection: it was passed on.
    async fn refuse_sender(mut self) {
        tracing::warn!(
            pid = self.peer.pid.as_raw(),
            "a connection was used by another process than its opener"
        );
        let protocol = self.came.filled().first().map(|first| Protocol::of(*first));
        self.came.release();
        self.finish(refuse_stranger(protocol), 0).await;
    }

    /// Reads what has come, at most `most` bytes, waiting until `deadline` for the first of them.
    async fn read_more(&mut self, most: usize, deadline: Option<Instant>) -> ReadOutcome {
        loop {
            if self.line.link.is_closed() {
                return ReadOutcome::Gone;
            }
            if !self.line.drained {
                if let Err(full) = self.line.daemon.ensure_spare(&mut self.came, 1) {
                    return ReadOutcome::NoRoom(full);
                }
                match self.line.receive(&mut self.came, most) {
                    Some((0, _)) => return ReadOutcome::End,
                    Some((_, sender)) if self.peer.is_sender(sender) => return ReadOutcome::Bytes,
                    Some(_) => return ReadOutcome::Foreign,
                    None => {}
                }
            }
            if self.came.filled().is_empty() {
                self.came.release();
            } else {
                // Its pages must be within reach of one who needs them more.
                let left = std::mem::replace(&mut self.came, self.line.daemon.pool.buffer(LONGEST));
                self.line.daemon.table.borrow_mut().park(&self.line.link, left);
            }
            let woken = self.line.wait(Interest::READABLE, deadline).await;
            if let Some(came) = self.line.link.resume() {
                self.came = came;
            }
            match woken {
                _ if self.line.link.is_closed() => return ReadOutcome::Gone,
                Woken::Ready => self.line.drained = false,
                Woken::TooLate => return ReadOutcome::TooLate,
                Woken::Ended => return ReadOutcome::Gone,
            }
        }
    }

    /// Answers a caller whose request found no page, in the format its first byte tells: it alone is looked at.
    async fn out_of_memory_reply(mut self, full: &OutOfMemory, protocol: Option<Protocol>) {
        let protocol = match protocol {
            Some(protocol) => protocol,
            // It may have been met before it said anything.
            None => match self.line.first_byte(Instant::now() + limits::FIRST_BYTE).await {
                Some(first) => Protocol::of(first),
                None => return,
            },
        };
        self.came.release();
        self.finish(out_of_memory_reply(protocol, full), 0).await;
    }

    /// Sends the last reply, and ends the connection as it says.
    async fn finish(mut self, answer: Response, sent: usize) {
        let taken = self.line.send(answer.reply, sent).await;
        match answer.then {
            AfterReply::Refuse if taken => {
                // What it may still send is no request: it gives way to one that has one.
                self.line.daemon.table.borrow_mut().idle(&self.line.link);
                self.line.linger(Instant::now() + limits::LINGER).await;
            }
            AfterReply::Shutdown => self.line.daemon.ending.decide(ShutdownReason::Requested),
            _ => {}
        }
    }
}

/// Returns `true` if the process that opened the connection has exited since it was accepted. A
/// first request that was there at once came from a process just found alive. One that was waited
/// for, and every `further` one, may come from a process that inherited the descriptor.
fn opener_has_exited(peer: &Peer, line: &mut ConnectionIo, further: bool) -> bool {
    if !further && !line.has_waited() {
        return false;
    }
    let (alive, readable) = peer.is_alive_beside(line.link.stream.as_fd());
    // Bytes of another sender end a read as if nothing more had come.
    line.drained &= !readable;
    if !alive {
        tracing::info!(pid = peer.pid.as_raw(), "the process that opened a connection has ended");
    }
    !alive
}

fn too_late() -> String {
    format!("the request did not come within {} s", limits::REQUEST.as_secs())
}

/// Tells a stranger that it is one, in the format its first byte asks for. Nothing else of what it sends is looked at, and
/// nothing of the daemon changes.
pub(crate) async fn reject(daemon: Rc<Daemon>, stream: UnixStream) {
    let end = Instant::now() + limits::REJECT;
    let mut line = ConnectionIo::of_stranger(daemon, stream);
    let Some(first) = line.first_byte(end).await else { return };
    let answer = refuse_stranger(Some(Protocol::of(first)));
    // Far shorter than what the kernel takes at once.
    if line.send(answer.reply, 0).await {
        line.linger(end).await;
    }
}

/// The whole answer to a refused caller.
fn refuse_stranger(protocol: Option<Protocol>) -> Response {
    match protocol {
        Some(Protocol::Native) => {
            native::refuse(ErrorCode::SessionMismatch.as_str(), PeerRejection::PUBLIC_MESSAGE)
        }
        Some(Protocol::Legacy | Protocol::Neither) | None => legacy::refuse(PeerRejection::PUBLIC_MESSAGE),
    }
}
