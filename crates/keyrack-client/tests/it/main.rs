//! The client against the real daemon, and against untrusted servers.
//!
//! Everything runs in a home and a runtime directory of its own. The daemon is the built one;
//! hostile servers are this test binary again (see [`server`]), so that they are processes of their
//! own and can be put into another login session or run as another user.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking, and so do the helpers they share")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")]

mod daemon;
mod harness;
mod hostile;
mod reads;
mod server;
mod session;
