//! Connections to a daemon: reaching it, verifying it, and exchanging requests and replies with it
//! within a deadline.

pub mod connect;
pub(crate) mod convert;
pub mod legacy;
pub(crate) mod read_buffer;
pub(crate) mod round_trip;
pub mod types;
