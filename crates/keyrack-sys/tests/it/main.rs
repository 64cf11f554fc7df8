//! keyrack-sys against the kernel it runs on. What must not happen to the test's own process
//! (limits, users, filters) happens in a child: the same test, run again alone.
#![expect(unsafe_code, reason = "some cases fork, filter system calls or look at pages directly")]
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]
#![allow(clippy::print_stderr, reason = "what was measured is told")]

mod clock;
mod command;
mod debugger;
mod hardening;
mod memory;
mod peer;
mod pidfd;
mod sandbox;
mod session;
mod socket;
mod spawn;
mod support;
