//! Responses of the dispatcher: a reply, and what the connection does after it.

use keyrack_wire::EncodeError;

use crate::reply::{PlainWriter, Reply};

/// A reply, and what the connection does after it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) reply: Reply,
    pub(crate) then: AfterReply,
}

/// Action of a connection after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterReply {
    /// Reads the next request.
    Continue,
    /// Lets other connections run, then reads the next request: this one may have taken long.
    Yield,
    /// Closes. The protocol allows one request.
    Close,
    /// Closes after an error. Discards what the client still sends for a while, so that the client
    /// reads the error and not a connection reset.
    Linger,
    /// Closes, and the daemon shuts down.
    Shutdown,
}

/// Encodes a reply that carries no secret.
pub(super) fn plain(
    encode: impl FnOnce(&mut PlainWriter) -> Result<(), EncodeError>,
) -> Result<Reply, EncodeError> {
    let mut writer = PlainWriter(Vec::new());
    encode(&mut writer)?;
    Ok(Reply::Plain(writer.0))
}
