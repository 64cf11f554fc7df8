//! The real binary, in hermetic directories: who is served, both protocols, limits, starts and
//! ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod daemon;
mod end;
mod foreign_client;
mod legacy;
mod lifecycle;
mod limits;
mod load;
mod log;
mod logout;
mod memory;
mod memory_scan;
mod namespaces;
mod native;
mod peer_auth;
mod peer_process;
mod process;
mod sandbox;
mod start;
