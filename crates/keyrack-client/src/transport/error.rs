//! Errors of the transport.

use std::io;
use std::time::Duration;

use keyrack_core::{Error, ErrorCode, Fix, Owner};

/// Error of a round trip.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// The connection ended before the first byte of the reply. The request may be sent again.
    Lost,
    /// The connection ended within a reply.
    Cut,
    /// The deadline passed. Holds the time that the whole round trip had.
    TimedOut(Duration),
    Io(io::Error),
    /// A domain error: the request cannot be sent, or the daemon refused it.
    Other(Error),
}

impl TransportError {
    /// Converts to the error for the caller. `owner` is the rack's owner, for the fix.
    pub(crate) fn into_error(self, owner: &Owner) -> Error {
        match self {
            TransportError::Lost => unresponsive("the daemon closed the connection without a reply", owner),
            TransportError::Cut => unresponsive("the daemon closed the connection within a reply", owner),
            TransportError::TimedOut(deadline) => {
                let message = format!("the daemon did not answer within {} ms", deadline.as_millis());
                unresponsive(&message, owner)
            }
            TransportError::Io(error) => {
                Error::new(ErrorCode::Io, format!("the connection to the daemon failed: {error}"))
            }
            TransportError::Other(error) => error,
        }
    }
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        TransportError::Other(error)
    }
}

/// Error for a daemon that runs and does not respond.
pub(crate) fn unresponsive(message: &str, owner: &Owner) -> Error {
    Error::new(ErrorCode::DaemonUnresponsive, message)
        .hint("if this happens again, end the daemon; you will have to unlock its keys again")
        .fix(Fix::with_owner("daemon prune", owner, []))
}

/// Error for a rack without a daemon.
pub(crate) fn no_daemon() -> Error {
    Error::new(ErrorCode::DaemonAbsent, "no keyrack daemon runs in this login session")
}

/// Error for a reply that violates the protocol.
pub(crate) fn protocol_error(reason: &str) -> Error {
    Error::new(ErrorCode::BadFrame, format!("the daemon violated the protocol: {reason}"))
}
