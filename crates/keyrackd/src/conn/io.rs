//! I/O of one connection: reads and writes at once where that is possible, and waits where it is
//! not.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::Shutdown as Direction;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use keyrack_sys::memory::Buffer;
use keyrack_sys::socket::Sender;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::async_fd::watch;
use crate::conn::nonblocking::{self, is_drained};
use crate::conn::table::{ConnectionHandle, ConnectionTable, SlotIndex};
use crate::limits;
use crate::reply::Reply;

/// Result of waiting for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakeup {
    Ready,
    TimedOut,
    /// The connection was closed by another task, or may not wait.
    Closed,
}

/// Registration of a connection in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    /// The connection never had to wait.
    None,
    Slot(SlotIndex),
    /// The connection takes no slot: it belongs to a rejected peer.
    Exempt,
}

/// A non-blocking stream that registers with the connection table when it first waits.
///
/// A connection whose request has arrived and whose reply can be sent at once never registers, and
/// the runtime never watches it. Benchmark row: "GET of one key, fresh connection, legacy".
pub(crate) struct ConnectionIo {
    table: Rc<RefCell<ConnectionTable>>,
    pub(crate) handle: Rc<ConnectionHandle>,
    /// Registration with the runtime, and `true` if it covers writing too.
    watched: Option<(AsyncFd<Rc<ConnectionHandle>>, bool)>,
    registration: Registration,
    /// The last read took everything, so the next byte wakes a wait. Saves a read that returns
    /// EAGAIN. Benchmark row: "GET, native, persistent, Rust client".
    pub(crate) drained: bool,
}

impl ConnectionIo {
    pub(crate) fn new(table: Rc<RefCell<ConnectionTable>>, stream: UnixStream) -> Self {
        ConnectionIo {
            table,
            handle: Rc::new(ConnectionHandle::new(stream)),
            watched: None,
            registration: Registration::None,
            drained: false,
        }
    }

    /// I/O of a rejected peer. It takes no slot, so it evicts no one; accept limits their number.
    pub(crate) fn exempt(table: Rc<RefCell<ConnectionTable>>, stream: UnixStream) -> Self {
        let mut io = ConnectionIo::new(table, stream);
        io.registration = Registration::Exempt;
        io
    }

    /// Returns `true` if the connection ever had to wait.
    pub(crate) fn has_waited(&self) -> bool {
        self.registration != Registration::None
    }

    /// Reads as [`nonblocking::read`].
    fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let result = nonblocking::read(&self.handle.stream, into);
        self.drained = is_drained(result, into.len());
        result
    }

    /// Reads as [`nonblocking::receive`].
    pub(crate) fn receive(&mut self, into: &mut Buffer, max: usize) -> Option<(usize, Option<Sender>)> {
        let room = max.min(into.room());
        let result = nonblocking::receive(&self.handle.stream, into, max);
        self.drained = is_drained(result.map(|(n, _)| n), room);
        result
    }

    /// Sends a reply. Returns `false` if the client did not take it.
    pub(crate) async fn send(&mut self, reply: Reply) -> bool {
        let mut sent = 0;
        match nonblocking::write(&self.handle.stream, reply.bytes(), &mut sent) {
            Some(done) => return done,
            None => self.table.borrow_mut().queue(&self.handle, reply),
        }
        let deadline = Instant::now() + limits::REPLY;
        let mut done = None;
        while done.is_none() && self.wait(Interest::WRITABLE, Some(deadline)).await == Wakeup::Ready {
            // The reply is dropped when a secret in it is erased.
            done = match self.handle.queued.borrow().as_ref() {
                Some(reply) => nonblocking::write(&self.handle.stream, reply.bytes(), &mut sent),
                None => Some(false),
            };
        }
        *self.handle.queued.borrow_mut() = None;
        done.unwrap_or(false)
    }

    /// Waits until the stream can be read or written, the deadline passes, or another task closes
    /// the connection.
    pub(crate) async fn wait(&mut self, interest: Interest, deadline: Option<Instant>) -> Wakeup {
        if !self.register() {
            return Wakeup::Closed;
        }
        self.watch(interest.is_writable());
        let (Some((watched, _)), handle) = (&self.watched, &self.handle) else { return Wakeup::Closed };
        let mut sleep = pin!(deadline.map(tokio::time::sleep_until));
        poll_fn(|cx| {
            if handle.is_closed() {
                return Poll::Ready(Wakeup::Closed);
            }
            let polled = if interest.is_readable() {
                watched.poll_read_ready(cx)
            } else {
                watched.poll_write_ready(cx)
            };
            match polled {
                Poll::Ready(Ok(mut ready)) => {
                    // New bytes make the stream ready again; those that have arrived are read next.
                    ready.clear_ready();
                    return Poll::Ready(Wakeup::Ready);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Wakeup::Closed),
                Poll::Pending => {}
            }
            if let Some(sleep) = sleep.as_mut().as_pin_mut()
                && sleep.poll(cx).is_ready()
            {
                return Poll::Ready(Wakeup::TimedOut);
            }
            handle.wake_on_close(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Takes a slot in the table, if the connection has none yet. Returns `false` if there is none.
    fn register(&mut self) -> bool {
        if self.registration != Registration::None {
            return true;
        }
        let inserted = self.table.borrow_mut().insert(&self.handle);
        let Ok((slot, evicted)) = inserted else {
            tracing::warn!("connection refused: every other connection has a request in flight");
            return false;
        };
        if let Some(evicted) = evicted {
            evicted.close();
        }
        self.registration = Registration::Slot(slot);
        true
    }

    /// Has the runtime watch the stream: for reading alone until there is something to write.
    /// Otherwise each reply that the client takes would wake the task. Benchmark row: "GET, native,
    /// persistent, Rust client".
    fn watch(&mut self, writing: bool) {
        if self.watched.as_ref().is_none_or(|(_, both)| writing && !both) {
            self.watched = None;
            let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            match watch(Rc::clone(&self.handle), interest) {
                Ok(watched) => self.watched = Some((watched, writing)),
                Err(error) => tracing::error!(%error, "cannot watch a connection"),
            }
        }
    }

    /// Closes for writing, and discards what the client still sends until `deadline`. If the kernel
    /// closed with bytes unread, the client would see a connection reset instead of the reply.
    pub(crate) async fn linger(&mut self, scratch: &RefCell<Buffer>, deadline: Instant) {
        let _ = self.handle.stream.shutdown(Direction::Write);
        let mut budget = limits::LINGER_BYTES;
        while budget > 0 && !self.handle.is_closed() {
            let read = {
                let mut scratch = scratch.borrow_mut();
                let read = self.read(scratch.spare_mut());
                // Wipes what was read.
                scratch.clear();
                read
            };
            match read {
                Some(0) => return,
                Some(n) => budget = budget.saturating_sub(n),
                None if self.wait(Interest::READABLE, Some(deadline)).await == Wakeup::Ready => {}
                None => return,
            }
        }
    }

    /// Reads the first byte alone, without a page: for a client of which nothing else is read.
    pub(crate) async fn first_byte(&mut self, deadline: Instant) -> Option<u8> {
        let mut first = [0];
        loop {
            match self.read(&mut first) {
                Some(1) => return Some(first[0]),
                Some(_) => return None,
                None if self.wait(Interest::READABLE, Some(deadline)).await == Wakeup::Ready => {}
                None => return None,
            }
        }
    }
}

impl Drop for ConnectionIo {
    fn drop(&mut self) {
        if let Registration::Slot(slot) = self.registration {
            self.table.borrow_mut().remove(slot, &self.handle);
        }
    }
}
