//! From a complete request to its reply: functions of the request, the keys, the facts about this
//! daemon and the time.
//!
//! Nothing here awaits. A secret is copied from one secret page to another, and is never in
//! ordinary memory.

pub(crate) mod handler;
pub(crate) mod legacy;
pub(crate) mod native;
pub(crate) mod response;
#[cfg(test)]
mod tests;

use keyrack_core::ErrorCode;
use keyrack_core::peer::PeerRejection;
use keyrack_sys::memory::OutOfMemory;
use keyrack_wire::Protocol;

use response::Response;

/// Error response in the format of `protocol`. The connection closes after it.
pub(crate) fn refuse(protocol: Protocol, code: &str, message: &str) -> Response {
    match protocol {
        Protocol::Native => native::refuse(code, message),
        Protocol::Legacy | Protocol::Neither => legacy::refuse(message),
    }
}

/// Error response to a request that found no page, or whose page another connection needed.
pub(crate) fn out_of_memory_reply(protocol: Protocol, error: &OutOfMemory) -> Response {
    refuse(protocol, ErrorCode::MemoryFull.as_str(), &error.to_string())
}

/// Error response to a peer that is not authorized.
pub(crate) fn rejection(protocol: Protocol) -> Response {
    refuse(protocol, ErrorCode::SessionMismatch.as_str(), PeerRejection::PUBLIC_MESSAGE)
}
