//! One caller's connection, from its first byte to its end. The caller has been verified before any of this runs.
//!
//! Everything is tried before it is waited for: a caller whose request is there already is served without the runtime ever
//! hearing of its descriptor.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use keyrack_core::ErrorCode;
use keyrack_core::peer::Refusal;
use keyrack_sys::memory::{Buffer, Full, Share};
use keyrack_wire::Protocol;
use keyrack_wire::legacy::{LegacyError, MAX_REQUEST, Progress, Scanner};
use keyrack_wire::native::{Decoded, MAX_LENGTH, decode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::dispatch::{Answer, Then, legacy, native};
use crate::end::Why;
use crate::identity::Opener;
use crate::limits;
use crate::link::{Link, Table};
use crate::reply::Reply;
use crate::state::Daemon;
use crate::watch::watch;

/// The least that is read at a time.
const PAGE: usize = 4096;

/// The longest request of either protocol, with room to see that one is longer.
const LONGEST: usize = if MAX_REQUEST > MAX_LENGTH + 4 { MAX_REQUEST + 1 } else { MAX_LENGTH + 5 };

/// How many requests one connection may have answered before the others get a turn.
const TURN: u32 = 16;

/// What a wait for a connection ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Ready,
    TooLate,
    /// It was ended from outside, or may not wait.
    Ended,
}

/// What reading came to.
enum Came {
    Bytes,
    End,
    TooLate,
    NoRoom(Full),
    /// There is nobody left to answer.
    Gone,
}

/// Where a line stands in the table of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It never had to wait.
    None,
    At(usize),
    /// Nowhere.
    Stranger,
}

/// A stream that can be waited for, known to the table of connections from its first wait on.
pub(crate) struct Line {
    daemon: Rc<Daemon>,
    link: Rc<Link>,
    watched: Option<AsyncFd<Rc<Link>>>,
    place: Place,
    /// Whether all that had come when it was last looked at has been read: the next byte wakes a wait.
    drained: bool,
}

impl Line {
    pub(crate) fn new(daemon: Rc<Daemon>, stream: UnixStream) -> Self {
        Line { daemon, link: Rc::new(Link::new(stream)), watched: None, place: Place::None, drained: false }
    }

    /// One that takes no place in the table: it displaces nobody, and strangers are counted elsewhere.
    fn of_stranger(daemon: Rc<Daemon>, stream: UnixStream) -> Self {
        let mut line = Line::new(daemon, stream);
        line.place = Place::Stranger;
        line
    }

    /// Reads what is there. `None`: nothing is; `Some(0)`: nothing will be.
    fn try_read(&mut self, into: &mut [u8]) -> Option<usize> {
        loop {
            match (&self.link.stream).read(into) {
                Ok(n) => {
                    self.drained = 0 < n && n < into.len();
                    return Some(n);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        self.drained = true;
                        return None;
                    }
                    // The caller is gone, and has left something unread.
                    _ => return Some(0),
                },
            }
        }
    }

    /// Sends all of the reply in `link.queued`. False if the caller did not take it.
    async fn send(&mut self, reply: Reply) -> bool {
        let mut sent = 0;
        match write(&self.link.stream, reply.bytes(), &mut sent) {
            Some(done) => return done,
            None => *self.link.queued.borrow_mut() = Some(reply),
        }
        let deadline = Instant::now() + limits::REPLY;
        loop {
            if self.wait(Interest::WRITABLE, Some(deadline)).await != Woken::Ready {
                break;
            }
            let queued = self.link.queued.borrow();
            // It is taken away when a secret in it is erased.
            let Some(reply) = queued.as_ref() else { break };
            if let Some(done) = write(&self.link.stream, reply.bytes(), &mut sent) {
                drop(queued);
                *self.link.queued.borrow_mut() = None;
                return done;
            }
        }
        *self.link.queued.borrow_mut() = None;
        false
    }

    /// Waits until the stream can be read or written, the deadline, or the end of the connection.
    async fn wait(&mut self, interest: Interest, deadline: Option<Instant>) -> Woken {
        if self.place == Place::None {
            let Some(place) = self.daemon.table.borrow_mut().admit(&self.link) else {
                tracing::warn!("a caller was turned away: every connection has a request in flight");
                return Woken::Ended;
            };
            self.place = Place::At(place);
        }
        if self.watched.is_none() {
            match watch(Rc::clone(&self.link), Interest::READABLE | Interest::WRITABLE) {
                Ok(watched) => self.watched = Some(watched),
                Err(error) => {
                    tracing::error!(%error, "a connection cannot be waited for");
                    return Woken::Ended;
                }
            }
        }
        let (Some(watched), link) = (&self.watched, &self.link) else { return Woken::Ended };
        let mut sleep = pin!(deadline.map(tokio::time::sleep_until));
        poll_fn(|cx| {
            if link.has_ended() {
                return Poll::Ready(Woken::Ended);
            }
            let polled = if interest.is_readable() {
                watched.poll_read_ready(cx)
            } else {
                watched.poll_write_ready(cx)
            };
            match polled {
                Poll::Ready(Ok(mut ready)) => {
                    // What comes from now on makes it ready again; what has come is about to be looked at.
                    ready.clear_ready();
                    return Poll::Ready(Woken::Ready);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Woken::Ended),
                Poll::Pending => {}
            }
            if let Some(sleep) = sleep.as_mut().as_pin_mut()
                && sleep.poll(cx).is_ready()
            {
                return Poll::Ready(Woken::TooLate);
            }
            link.wake_at_end(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Closes for writing and lets in, unseen, what the caller still sends, until `deadline`. Closed with bytes unread,
    /// the kernel would tell the caller of a broken connection instead of an end.
    async fn linger(&mut self, deadline: Instant) {
        let _ = self.link.stream.shutdown(Shutdown::Write);
        let daemon = Rc::clone(&self.daemon);
        let mut left = limits::LINGER_BYTES;
        while left > 0 && !self.link.has_ended() {
            match daemon.with_scratch(|page| self.try_read(page)) {
                Some(0) => return,
                Some(n) => left = left.saturating_sub(n),
                None => {
                    if self.wait(Interest::READABLE, Some(deadline)).await != Woken::Ready {
                        return;
                    }
                }
            }
        }
    }

    /// Reads the first byte alone, without a page: for a caller of whom nothing else is looked at.
    async fn first_byte(&mut self, deadline: Instant) -> Option<u8> {
        let mut first = [0];
        loop {
            match self.try_read(&mut first) {
                Some(1) => return Some(first[0]),
                Some(_) => return None,
                None => {
                    if self.wait(Interest::READABLE, Some(deadline)).await != Woken::Ready {
                        return None;
                    }
                }
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Place::At(place) = self.place {
            self.daemon.table.borrow_mut().forget(place, &self.link);
        }
    }
}

/// Writes what is left. `None`: the rest has to wait; else whether all of it is out.
fn write(mut stream: &UnixStream, bytes: &[u8], sent: &mut usize) -> Option<bool> {
    while *sent < bytes.len() {
        match stream.write(&bytes[*sent..]) {
            Ok(0) => return Some(false),
            Ok(n) => *sent += n,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return None,
                _ => return Some(false),
            },
        }
    }
    Some(true)
}

/// A verified caller's connection.
pub(crate) struct Connection {
    line: Line,
    opener: Opener,
    /// What has come and is not answered yet. Without a page while the caller is silent.
    came: Buffer,
}

impl Connection {
    pub(crate) fn new(daemon: Rc<Daemon>, stream: UnixStream, opener: Opener) -> Self {
        let came = daemon.pool.buffer(LONGEST);
        Connection { line: Line::new(daemon, stream), opener, came }
    }

    /// Serves it to its end.
    pub(crate) async fn serve(mut self) {
        let deadline = Instant::now() + limits::FIRST_BYTE;
        let protocol = match self.read_more(PAGE, Some(deadline)).await {
            Came::Bytes => Protocol::of(self.came.filled()[0]),
            Came::NoRoom(full) => return self.no_room(&full, None).await,
            // Older clients look whether somebody listens by connecting and going away.
            Came::End | Came::TooLate | Came::Gone => return,
        };
        Table::busy(&self.line.link);
        match protocol {
            Protocol::Native => self.serve_native().await,
            Protocol::Legacy => self.serve_legacy().await,
            Protocol::Neither => {
                let text = "this is neither a frame nor a JSON object";
                self.finish(legacy::refuse(text)).await;
            }
        }
    }

    async fn serve_legacy(mut self) {
        let mut scanner = Scanner::for_request();
        let deadline = Instant::now() + limits::REQUEST;
        loop {
            let answer = match scanner.advance(self.came.filled()) {
                Progress::Complete { end } => legacy::answer(&self.line.daemon, &self.came.filled()[..end]),
                Progress::Bad(error) => legacy::refuse(&error.to_string()),
                Progress::More => {
                    let more = self.came.filled().len().max(PAGE);
                    match self.read_more(more, Some(deadline)).await {
                        Came::Bytes => continue,
                        Came::End => legacy::refuse("the request ended before it was complete"),
                        Came::TooLate => legacy::refuse(&too_late()),
                        Came::NoRoom(Full { share: Share::Buffer, .. }) => {
                            legacy::refuse(&LegacyError::TooLarge { limit: MAX_REQUEST }.to_string())
                        }
                        Came::NoRoom(full) => legacy::refuse(&full.to_string()),
                        Came::Gone => return,
                    }
                }
            };
            // The request is wiped before its reply waits for the caller to take it.
            self.came.release();
            return self.finish(answer).await;
        }
    }

    async fn serve_native(mut self) {
        let mut answered: u32 = 0;
        let mut deadline = Instant::now() + limits::REQUEST;
        loop {
            let refused = match decode(self.came.filled()) {
                Ok(Decoded::Frame(frame)) => {
                    if answered > 0 && !self.opener.is_alive() {
                        tracing::info!(
                            pid = self.opener.pid,
                            "the process that opened a connection has ended"
                        );
                        return;
                    }
                    let consumed = frame.consumed;
                    let Answer { reply, then } = native::answer(&self.line.daemon, &frame);
                    self.came.consume(consumed);
                    if then != Then::Next {
                        self.came.release();
                        return self.finish(Answer { reply, then }).await;
                    }
                    if !self.line.send(reply).await {
                        return;
                    }
                    answered = answered.wrapping_add(1);
                    if answered.is_multiple_of(TURN) {
                        tokio::task::yield_now().await;
                    }
                    deadline = Instant::now() + limits::REQUEST;
                    continue;
                }
                Ok(Decoded::Need(whole)) => {
                    let has = self.came.filled().len();
                    let idle = has == 0;
                    if idle {
                        self.line.daemon.table.borrow_mut().idle(&self.line.link);
                    }
                    let came = self.read_more((whole - has).max(PAGE), (!idle).then_some(deadline)).await;
                    Table::busy(&self.line.link);
                    match came {
                        Came::Bytes if idle => {
                            deadline = Instant::now() + limits::REQUEST;
                            continue;
                        }
                        Came::Bytes => continue,
                        Came::End if idle => return,
                        Came::Gone => return,
                        Came::NoRoom(full) => return self.no_room(&full, Some(Protocol::Native)).await,
                        Came::End => native::refuse(
                            ErrorCode::BadFrame.as_str(),
                            "the frame ended before it was complete",
                        ),
                        Came::TooLate => native::refuse(ErrorCode::TimedOut.as_str(), &too_late()),
                    }
                }
                Err(error) => native::refuse(error.code(), &error.to_string()),
            };
            self.came.release();
            return self.finish(refused).await;
        }
    }

    /// Reads what has come, at most `most` bytes, waiting until `deadline` for the first of them.
    async fn read_more(&mut self, most: usize, deadline: Option<Instant>) -> Came {
        loop {
            if self.line.link.has_ended() {
                return Came::Gone;
            }
            if !self.line.drained {
                if let Err(full) = self.came.ensure_spare(1) {
                    return Came::NoRoom(full);
                }
                let spare = self.came.spare_mut();
                let most = most.min(spare.len());
                match self.line.try_read(&mut spare[..most]) {
                    Some(0) => return Came::End,
                    Some(n) => {
                        self.came.advance(n);
                        return Came::Bytes;
                    }
                    None => {}
                }
            }
            if self.came.filled().is_empty() {
                self.came.release();
            }
            match self.line.wait(Interest::READABLE, deadline).await {
                Woken::Ready => self.line.drained = false,
                Woken::TooLate => return Came::TooLate,
                Woken::Ended => return Came::Gone,
            }
        }
    }

    /// Answers a caller whose request found no page, in the format its first byte tells: it alone is looked at.
    async fn no_room(mut self, full: &Full, protocol: Option<Protocol>) {
        let protocol = match protocol {
            Some(protocol) => protocol,
            None => match self.line.first_byte(Instant::now()).await {
                Some(first) => Protocol::of(first),
                None => return,
            },
        };
        let answer = match protocol {
            Protocol::Native => native::refuse(ErrorCode::MemoryFull.as_str(), &full.to_string()),
            Protocol::Legacy | Protocol::Neither => legacy::refuse(&full.to_string()),
        };
        self.came.release();
        self.finish(answer).await;
    }

    /// Sends the last reply, and ends the connection as it says.
    async fn finish(mut self, answer: Answer) {
        let sent = self.line.send(answer.reply).await;
        match answer.then {
            Then::Refuse if sent => self.line.linger(Instant::now() + limits::LINGER).await,
            Then::Shutdown => self.line.daemon.ending.decide(Why::Asked),
            _ => {}
        }
    }
}

fn too_late() -> String {
    format!("the request did not come within {} s", limits::REQUEST.as_secs())
}

/// Tells a stranger that it is one, in the format its first byte asks for. Nothing else of what it sends is looked at, and
/// nothing of the daemon changes.
pub(crate) async fn turn_away(daemon: Rc<Daemon>, stream: UnixStream) {
    let end = Instant::now() + limits::STRANGER;
    let mut line = Line::of_stranger(daemon, stream);
    let Some(first) = line.first_byte(end).await else { return };
    let answer = match Protocol::of(first) {
        Protocol::Native => native::refuse(ErrorCode::SessionMismatch.as_str(), Refusal::TOLD),
        Protocol::Legacy | Protocol::Neither => legacy::refuse(Refusal::TOLD),
    };
    // Far shorter than what the kernel takes at once.
    if line.send(answer.reply).await {
        line.linger(end).await;
    }
}

#[cfg(test)]
mod tests;
