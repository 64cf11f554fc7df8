//! Connections to a daemon: connecting, verifying the peer, and exchanging requests and replies
//! within a deadline.

pub mod connect;
pub(crate) mod convert;
pub(crate) mod error;
pub mod legacy;
pub(crate) mod read_buffer;
pub(crate) mod round_trip;
pub(crate) mod stream;
pub mod types;
