//! A stream that is read and written at once where that can be, and waited for where it cannot.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
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
use crate::conn::reply::Reply;
use crate::conn::table::ConnectionHandle;
use crate::limits;
use crate::state::Daemon;

/// What a wait for a connection ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Ready,
    TooLate,
    /// It was ended from outside, or may not wait.
    Ended,
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
pub(crate) struct ConnectionIo {
    pub(crate) daemon: Rc<Daemon>,
    pub(crate) link: Rc<ConnectionHandle>,
    /// What the runtime watches, if it has to; and whether for writing too.
    watched: Option<(AsyncFd<Rc<ConnectionHandle>>, bool)>,
    place: Place,
    /// Whether all that had come when it was last looked at has been read: the next byte wakes a wait.
    pub(crate) drained: bool,
}

impl ConnectionIo {
    pub(crate) fn new(daemon: Rc<Daemon>, stream: UnixStream) -> Self {
        ConnectionIo {
            daemon,
            link: Rc::new(ConnectionHandle::new(stream)),
            watched: None,
            place: Place::None,
            drained: false,
        }
    }

    /// One that takes no place in the table: it displaces nobody, and strangers are counted elsewhere.
    pub(crate) fn of_stranger(daemon: Rc<Daemon>, stream: UnixStream) -> Self {
        let mut line = ConnectionIo::new(daemon, stream);
        line.place = Place::Stranger;
        line
    }

    /// Whether it ever had to wait.
    pub(crate) fn has_waited(&self) -> bool {
        self.place != Place::None
    }

    /// Reads what is there, as [`try_read`].
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> Option<usize> {
        let came = try_read(&self.link.stream, into);
        self.drained = is_drained(came, into.len());
        came
    }

    /// Takes in what is there, as [`receive`].
    pub(crate) fn receive(&mut self, into: &mut Buffer, most: usize) -> Option<(usize, Option<Sender>)> {
        let room = most.min(into.room());
        let came = receive(&self.link.stream, into, most);
        self.drained = is_drained(came.map(|(n, _)| n), room);
        came
    }

    /// Sends a reply, of which `sent` bytes are out already. False if the caller did not take it.
    pub(crate) async fn send(&mut self, reply: Reply, mut sent: usize) -> bool {
        match write(&self.link.stream, reply.bytes(), &mut sent) {
            Some(done) => return done,
            None => self.daemon.table.borrow_mut().queue(&self.link, reply),
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
    pub(crate) async fn wait(&mut self, interest: Interest, deadline: Option<Instant>) -> Woken {
        if self.place == Place::None {
            let Some(place) = self.daemon.table.borrow_mut().insert(&self.link) else {
                tracing::warn!("a caller was turned away: every connection has a request in flight");
                return Woken::Ended;
            };
            self.place = Place::At(place);
        }
        self.watch(interest.is_writable());
        let (Some((watched, _)), link) = (&self.watched, &self.link) else { return Woken::Ended };
        let mut sleep = pin!(deadline.map(tokio::time::sleep_until));
        poll_fn(|cx| {
            if link.is_closed() {
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
            link.wake_on_close(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Has the runtime watch the stream. For reading alone as long as that is all there is to wait for: each reply the caller
    /// takes would wake us otherwise.
    fn watch(&mut self, writing: bool) {
        if self.watched.as_ref().is_none_or(|(_, both)| writing && !both) {
            self.watched = None;
            let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            match watch(Rc::clone(&self.link), interest) {
                Ok(watched) => self.watched = Some((watched, writing)),
                Err(error) => tracing::error!(%error, "a connection cannot be waited for"),
            }
        }
    }

    /// Closes for writing and lets in, unseen, what the caller still sends, until `deadline`. Closed with bytes unread,
    /// the kernel would tell the caller of a broken connection instead of an end.
    pub(crate) async fn linger(&mut self, deadline: Instant) {
        let _ = self.link.stream.shutdown(Shutdown::Write);
        let daemon = Rc::clone(&self.daemon);
        let mut left = limits::LINGER_BYTES;
        while left > 0 && !self.link.is_closed() {
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
    pub(crate) async fn first_byte(&mut self, deadline: Instant) -> Option<u8> {
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

impl Drop for ConnectionIo {
    fn drop(&mut self) {
        if let Place::At(place) = self.place {
            self.daemon.table.borrow_mut().remove(place, &self.link);
        }
    }
}

/// Reads what is there. `None`: nothing is; `Some(0)`: nothing will be.
pub(crate) fn try_read(mut stream: &UnixStream, into: &mut [u8]) -> Option<usize> {
    attempt(|| stream.read(into))
}

/// Takes in what is there, at most `most` bytes, as [`try_read`], and who sent it.
pub(crate) fn receive(
    stream: &UnixStream,
    into: &mut Buffer,
    most: usize,
) -> Option<(usize, Option<Sender>)> {
    attempt(|| into.receive(stream.as_fd(), most))
}

fn attempt<T: Default>(mut read: impl FnMut() -> io::Result<T>) -> Option<T> {
    loop {
        match read() {
            Ok(came) => return Some(came),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return None,
                // The caller is gone, and has left something unread.
                _ => return Some(T::default()),
            },
        }
    }
}

/// Returns `true` if the result of a read of `room` bytes means that nothing is left to read. Bytes
/// of another sender, where a read ends too, are found when the opener is checked again.
pub(crate) fn is_drained(came: Option<usize>, room: usize) -> bool {
    came.is_none_or(|n| 0 < n && n < room)
}

/// Writes what is left. `None`: the rest has to wait; else whether all of it is out.
pub(crate) fn write(mut stream: &UnixStream, bytes: &[u8], sent: &mut usize) -> Option<bool> {
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
