//! The real binary, in hermetic directories: who is served, both protocols, limits, starts and ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod actor;
mod daemon;
mod end;
mod legacy;
mod lifecycle;
mod limits;
mod load;
mod log;
mod logout;
mod memory;
mod namespaces;
mod native;
mod peer_auth;
mod process;
mod sandbox;
mod scan;
mod start;
mod teller;
