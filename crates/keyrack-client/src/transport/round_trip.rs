//! One native request and its reply over a connection. On a fresh connection, `hello` goes before
//! it in the same write.

use std::time::Duration;

use keyrack_core::{Error, ErrorCode};
use keyrack_wire::native::{self, Decoded, Frame, Hello, Op, ReplyBody, Request};
use keyrack_wire::{EncodeError, WipedBuffer};

use super::connect::Connection;
use super::convert;
use super::error::{TransportError, protocol_error};
use super::read_buffer::ReadBuffer;
use super::stream::{Deadline, write_all};

/// A complete reply frame, not decoded yet.
pub(crate) struct RawReply {
    buffer: ReadBuffer,
    /// Id of the request that it must answer.
    id: u64,
}

impl RawReply {
    /// Returns the buffer, wiped, for the next reply.
    pub(crate) fn into_buffer(self) -> ReadBuffer {
        self.buffer.reset()
    }

    /// Decodes a reply of this kind, or the daemon's error.
    pub(crate) fn decode<'a, T: ReplyBody<'a>>(&'a self) -> Result<(T, Frame<'a>), Error> {
        let frame = match native::decode(self.buffer.unread()) {
            Ok(Decoded::Frame(frame)) => frame,
            Ok(Decoded::Need(_)) => return Err(protocol_error("incomplete frame")),
            Err(error) => return Err(protocol_error(&error.to_string())),
        };
        let reply = native::decode_reply::<T>(&frame).map_err(|error| protocol_error(&error.to_string()))?;
        // The daemon answers a request that it could not read under id 0.
        if reply.id != self.id && !(reply.id == 0 && reply.outcome.is_err()) {
            return Err(protocol_error("reply to another request"));
        }
        match reply.outcome {
            Ok(ok) => Ok((ok, frame)),
            Err(error) => Err(convert::error(&error)),
        }
    }
}

/// Buffers of a session: one that requests are encoded in, one that replies are read into. Wiped
/// after each use, and kept, because most requests and replies have about the same size.
#[derive(Debug)]
pub(crate) struct Buffers {
    write: WipedBuffer,
    read: Option<ReadBuffer>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Buffers { write: WipedBuffer::new(MAX_WRITE), read: None }
    }

    /// Takes back the buffer of a reply that was decoded.
    pub(crate) fn recycle(&mut self, reply: RawReply) {
        self.read = Some(reply.into_buffer());
    }

    /// Wipes the write buffer. Keeps no more room than most requests need.
    fn clear_write(&mut self) {
        self.write.clear();
        if self.write.capacity() > SHORT {
            self.write = WipedBuffer::new(MAX_WRITE);
        }
    }
}

/// Maximum size of one write: `hello` and another request.
const MAX_WRITE: usize = 2 * (native::MAX_LENGTH + 4);

/// Size of a request that fits into the send buffer of any socket, so that writing it cannot block.
const SHORT: usize = 4096;

/// Sends one request and waits for the reply. If `hello` has an id, sends `hello` under it first
/// and returns its reply too.
pub(crate) fn round_trip(
    connection: &Connection,
    timeout: Duration,
    hello: Option<u64>,
    id: u64,
    buffers: &mut Buffers,
    encode: &mut impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
) -> Result<(Option<RawReply>, RawReply), TransportError> {
    let deadline = Deadline::after(timeout);
    // A blocking read is one system call instead of two, which pays off on a connection that is
    // used again. Benchmark row: "GET, native, persistent, Rust client".
    let blocking = hello.is_none() && connection.make_blocking(timeout);
    let sent = send(connection, deadline, hello, id, &mut buffers.write, encode);
    let length = buffers.write.as_slice().len();
    buffers.clear_write();
    // A blocking read waits for the whole timeout, so none of it may have been spent on writing.
    let blocking = sent? && blocking && length < SHORT;

    let mut buffer = buffers.read.take().unwrap_or_else(|| ReadBuffer::new(native::MAX_LENGTH + 4));
    let hello = match hello {
        Some(id) => {
            let length = receive(connection, &mut buffer, deadline, false)?;
            let hello = RawReply { buffer: buffer.split_off(length), id };
            // A daemon that refuses the caller replies once and closes the connection.
            hello.decode::<native::HelloOk<'_>>()?;
            Some(hello)
        }
        None => None,
    };
    let length = receive(connection, &mut buffer, deadline, blocking)?;
    if buffer.unread().len() > length {
        return Err(protocol_error("bytes after the reply").into());
    }
    Ok((hello, RawReply { buffer, id }))
}

/// Encodes and writes. Returns `true` if one system call wrote everything.
fn send(
    connection: &Connection,
    deadline: Deadline,
    hello: Option<u64>,
    id: u64,
    write: &mut WipedBuffer,
    encode: &mut impl FnMut(&mut WipedBuffer, u64) -> Result<(), EncodeError>,
) -> Result<bool, TransportError> {
    if let Some(id) = hello {
        encode_hello(write, id).map_err(|error| not_encoded(&error))?;
    }
    encode(write, id).map_err(|error| not_encoded(&error))?;
    write_all(&connection.stream, write.as_slice(), deadline)
}

/// Reads until the buffer begins with a complete frame. Returns the frame's length.
fn receive(
    connection: &Connection,
    buffer: &mut ReadBuffer,
    deadline: Deadline,
    mut blocking: bool,
) -> Result<usize, TransportError> {
    loop {
        let need = match native::decode(buffer.unread()) {
            Ok(Decoded::Frame(frame)) => return Ok(frame.consumed),
            Ok(Decoded::Need(need)) => need,
            Err(error) => return Err(protocol_error(&error.to_string()).into()),
        };
        if !buffer.read(&connection.stream, need, deadline, std::mem::take(&mut blocking))? {
            return Err(if buffer.is_untouched() { TransportError::Lost } else { TransportError::Cut });
        }
    }
}

fn encode_hello(write: &mut WipedBuffer, id: u64) -> Result<(), EncodeError> {
    let hello = Hello {
        proto: native::PROTO,
        min_proto: native::MIN_PROTO,
        version: env!("CARGO_PKG_VERSION").into(),
        build: env!("CARGO_PKG_VERSION").into(),
    };
    Request { id, op: Op::Hello(hello) }.encode(write)
}

fn not_encoded(error: &EncodeError) -> Error {
    Error::new(ErrorCode::TooLarge, format!("the request cannot be sent: {error}"))
}
