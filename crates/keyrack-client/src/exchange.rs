//! One native request and its reply over a connection: composed, written, awaited, decoded. Hello goes before it in the same write when
//! the connection is fresh.

use std::time::Duration;

use keyrack_core::{Error, ErrorCode};
use keyrack_wire::native::{self, Decoded, Frame, Hello, Op, ReplyBody, Request};
use keyrack_wire::{EncodeError, WipedBuffer};

use crate::connect::Connection;
use crate::session::broken_protocol;
use crate::stream::{Broken, Inbox, Until, write_all};
use crate::wire_names;

/// A whole reply frame, not yet read.
pub(crate) struct Received {
    inbox: Inbox,
    /// The id of the request it has to answer.
    id: u64,
}

impl Received {
    /// The memory it came in, wiped, for the next one.
    pub(crate) fn into_inbox(self) -> Inbox {
        self.inbox.again()
    }

    /// Reads it as an answer of this kind, or as the daemon's refusal.
    pub(crate) fn read<'a, T: ReplyBody<'a>>(&'a self) -> Result<(T, Frame<'a>), Error> {
        let frame = whole(&self.inbox)?;
        let reply = native::decode_reply::<T>(&frame).map_err(|error| broken_protocol(&error.to_string()))?;
        // A request the daemon could not read is answered under 0.
        if reply.id != self.id && !(reply.id == 0 && reply.outcome.is_err()) {
            return Err(broken_protocol("it answered another request"));
        }
        match reply.outcome {
            Ok(ok) => Ok((ok, frame)),
            Err(error) => Err(wire_names::error(&error)),
        }
    }
}

fn whole(inbox: &Inbox) -> Result<Frame<'_>, Error> {
    match native::decode(inbox.unused()) {
        Ok(Decoded::Frame(frame)) => Ok(frame),
        Ok(Decoded::Need(_)) => Err(broken_protocol("a frame is not whole")),
        Err(error) => Err(broken_protocol(&error.to_string())),
    }
}

/// What a request is composed in and its reply read into. Wiped after each use; kept because most are of a size.
#[derive(Debug)]
pub(crate) struct Desk {
    outbox: WipedBuffer,
    inbox: Option<Inbox>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Desk { outbox: WipedBuffer::new(MOST_SENT), inbox: None }
    }

    /// Takes an inbox back that is read.
    pub(crate) fn put_back(&mut self, received: Received) {
        self.inbox = Some(received.into_inbox());
    }

    /// Wipes what was sent; keeps no more room than most requests need.
    fn clear(&mut self) {
        self.outbox.clear();
        if self.outbox.capacity() > SHORT {
            self.outbox = WipedBuffer::new(MOST_SENT);
        }
    }
}

/// Hello and one more.
const MOST_SENT: usize = 2 * (native::MAX_LENGTH + 4);

/// A request that any socket has room for, so that writing it takes no time.
const SHORT: usize = 4096;

/// Sends one request, with hello before it if `hello` gives an id for it, and awaits the replies.
pub(crate) fn exchange(
    connection: &Connection,
    deadline: Duration,
    hello: Option<u64>,
    id: u64,
    desk: &mut Desk,
    compose: &mut impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
) -> Result<(Option<Received>, Received), Broken> {
    let until = Until::after(deadline);
    // A connection that is used again is worth making patient: each wait is then one system call instead of two.
    let patient = hello.is_none() && connection.make_patient(deadline);
    let composed = send(connection, until, hello, id, &mut desk.outbox, compose);
    let length = desk.outbox.as_slice().len();
    desk.clear();
    // A patient stream waits for as long as the whole deadline, so it may only wait while all of that is ahead.
    let patient = composed? && patient && length < SHORT;

    let mut inbox = desk.inbox.take().unwrap_or_else(|| Inbox::new(native::MAX_LENGTH + 4));
    let greeting = match hello {
        Some(id) => {
            let length = receive(connection, &mut inbox, until, false)?;
            let greeting = Received { inbox: inbox.split_off(length), id };
            // A refused caller is told so once, and then the daemon hangs up.
            greeting.read::<native::HelloOk<'_>>()?;
            Some(greeting)
        }
        None => None,
    };
    let length = receive(connection, &mut inbox, until, patient)?;
    if inbox.unused().len() > length {
        return Err(broken_protocol("it said more than it was asked").into());
    }
    Ok((greeting, Received { inbox, id }))
}

/// Composes and writes; returns whether all went at once.
fn send(
    connection: &Connection,
    until: Until,
    hello: Option<u64>,
    id: u64,
    outbox: &mut WipedBuffer,
    compose: &mut impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
) -> Result<bool, Broken> {
    if let Some(id) = hello {
        say_hello(outbox, id).map_err(|error| not_composed(&error))?;
    }
    compose(outbox, id).map_err(|error| not_composed(&error))?;
    write_all(&connection.stream, outbox.as_slice(), until)
}

/// Reads until the inbox begins with a whole frame; returns its length.
fn receive(
    connection: &Connection,
    inbox: &mut Inbox,
    until: Until,
    mut patient: bool,
) -> Result<usize, Broken> {
    loop {
        let need = match native::decode(inbox.unused()) {
            Ok(Decoded::Frame(frame)) => return Ok(frame.consumed),
            Ok(Decoded::Need(need)) => need,
            Err(error) => return Err(broken_protocol(&error.to_string()).into()),
        };
        if !inbox.read(&connection.stream, need, until, std::mem::take(&mut patient))? {
            return Err(if inbox.is_untouched() { Broken::Lost } else { Broken::Cut });
        }
    }
}

fn say_hello(outbox: &mut WipedBuffer, id: u64) -> Result<(), EncodeError> {
    let hello = Hello {
        proto: native::PROTO,
        min_proto: native::MIN_PROTO,
        version: env!("CARGO_PKG_VERSION").into(),
        build: env!("CARGO_PKG_VERSION").into(),
    };
    Request { id, op: Op::Hello(hello) }.encode(outbox)
}

fn not_composed(error: &EncodeError) -> Error {
    Error::new(ErrorCode::TooLarge, format!("the request cannot be sent: {error}"))
}
