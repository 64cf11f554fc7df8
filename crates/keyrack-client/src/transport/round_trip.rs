//! One native request and its reply over a connection: composed, written, awaited, decoded. Hello goes before it in the same write when
//! the connection is fresh.

use std::time::Duration;

use keyrack_core::{Error, ErrorCode};
use keyrack_wire::native::{self, Decoded, Frame, Hello, Op, ReplyBody, Request};
use keyrack_wire::{EncodeError, WipedBuffer};

use crate::session::broken_protocol;
use crate::transport::connect::Connection;
use crate::transport::convert;
use crate::transport::read_buffer::{Deadline, ReadBuffer, TransportError, write_all};

/// A whole reply frame, not yet read.
pub(crate) struct RawReply {
    incoming: ReadBuffer,
    /// The id of the request it has to answer.
    id: u64,
}

impl RawReply {
    /// The memory it came in, wiped, for the next one.
    pub(crate) fn into_inbox(self) -> ReadBuffer {
        self.incoming.again()
    }

    /// Reads it as an answer of this kind, or as the daemon's refusal.
    pub(crate) fn read<'a, T: ReplyBody<'a>>(&'a self) -> Result<(T, Frame<'a>), Error> {
        let frame = whole(&self.incoming)?;
        let reply = native::decode_reply::<T>(&frame).map_err(|error| broken_protocol(&error.to_string()))?;
        // A request the daemon could not read is answered under 0.
        if reply.id != self.id && !(reply.id == 0 && reply.outcome.is_err()) {
            return Err(broken_protocol("it answered another request"));
        }
        match reply.outcome {
            Ok(ok) => Ok((ok, frame)),
            Err(error) => Err(convert::error(&error)),
        }
    }
}

fn whole(incoming: &ReadBuffer) -> Result<Frame<'_>, Error> {
    match native::decode(incoming.unused()) {
        Ok(Decoded::Frame(frame)) => Ok(frame),
        Ok(Decoded::Need(_)) => Err(broken_protocol("a frame is not whole")),
        Err(error) => Err(broken_protocol(&error.to_string())),
    }
}

/// What a request is composed in and its reply read into. Wiped after each use; kept because most are of a size.
#[derive(Debug)]
pub(crate) struct Buffers {
    outgoing: WipedBuffer,
    incoming: Option<ReadBuffer>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Buffers { outgoing: WipedBuffer::new(MOST_SENT), incoming: None }
    }

    /// Takes an inbox back that is read.
    pub(crate) fn put_back(&mut self, received: RawReply) {
        self.incoming = Some(received.into_inbox());
    }

    /// Wipes what was sent; keeps no more room than most requests need.
    fn clear(&mut self) {
        self.outgoing.clear();
        if self.outgoing.capacity() > SHORT {
            self.outgoing = WipedBuffer::new(MOST_SENT);
        }
    }
}

/// Hello and one more.
const MOST_SENT: usize = 2 * (native::MAX_LENGTH + 4);

/// A request that any socket has room for, so that writing it takes no time.
const SHORT: usize = 4096;

/// Sends one request, with hello before it if `hello` gives an id for it, and awaits the replies.
pub(crate) fn round_trip(
    connection: &Connection,
    deadline: Duration,
    hello: Option<u64>,
    id: u64,
    buffers: &mut Buffers,
    compose: &mut impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
) -> Result<(Option<RawReply>, RawReply), TransportError> {
    let until = Deadline::after(deadline);
    // A connection that is used again is worth making patient: each wait is then one system call instead of two.
    let patient = hello.is_none() && connection.make_patient(deadline);
    let composed = send(connection, until, hello, id, &mut buffers.outgoing, compose);
    let length = buffers.outgoing.as_slice().len();
    buffers.clear();
    // A patient stream waits for as long as the whole deadline, so it may only wait while all of that is ahead.
    let patient = composed? && patient && length < SHORT;

    let mut incoming = buffers.incoming.take().unwrap_or_else(|| ReadBuffer::new(native::MAX_LENGTH + 4));
    let hello = match hello {
        Some(id) => {
            let length = receive(connection, &mut incoming, until, false)?;
            let hello = RawReply { incoming: incoming.split_off(length), id };
            // A refused caller is told so once, and then the daemon hangs up.
            hello.read::<native::HelloOk<'_>>()?;
            Some(hello)
        }
        None => None,
    };
    let length = receive(connection, &mut incoming, until, patient)?;
    if incoming.unused().len() > length {
        return Err(broken_protocol("it said more than it was asked").into());
    }
    Ok((hello, RawReply { incoming, id }))
}

/// Composes and writes; returns whether all went at once.
fn send(
    connection: &Connection,
    until: Deadline,
    hello: Option<u64>,
    id: u64,
    outgoing: &mut WipedBuffer,
    compose: &mut impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
) -> Result<bool, TransportError> {
    if let Some(id) = hello {
        say_hello(outgoing, id).map_err(|error| not_composed(&error))?;
    }
    compose(outgoing, id).map_err(|error| not_composed(&error))?;
    write_all(&connection.stream, outgoing.as_slice(), until)
}

/// Reads until the inbox begins with a whole frame; returns its length.
fn receive(
    connection: &Connection,
    incoming: &mut ReadBuffer,
    until: Deadline,
    mut patient: bool,
) -> Result<usize, TransportError> {
    loop {
        let need = match native::decode(incoming.unused()) {
            Ok(Decoded::Frame(frame)) => return Ok(frame.consumed),
            Ok(Decoded::Need(need)) => need,
            Err(error) => return Err(broken_protocol(&error.to_string()).into()),
        };
        if !incoming.read(&connection.stream, need, until, std::mem::take(&mut patient))? {
            return Err(if incoming.is_untouched() { TransportError::Lost } else { TransportError::Cut });
        }
    }
}

fn say_hello(outgoing: &mut WipedBuffer, id: u64) -> Result<(), EncodeError> {
    let hello = Hello {
        proto: native::PROTO,
        min_proto: native::MIN_PROTO,
        version: env!("CARGO_PKG_VERSION").into(),
        build: env!("CARGO_PKG_VERSION").into(),
    };
    Request { id, op: Op::Hello(hello) }.encode(outgoing)
}

fn not_composed(error: &EncodeError) -> Error {
    Error::new(ErrorCode::TooLarge, format!("the request cannot be sent: {error}"))
}
