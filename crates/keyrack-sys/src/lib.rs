//! Access to the kernel: peer identity of a socket, memory for secrets, clocks that count suspend,
//! process hardening, private sockets and directories, detached children.
//!
//! This is the only crate with `unsafe`, `nix` and `libc`. It reports what the kernel says and
//! leaves decisions to its callers. It does not know what a key is. Linux only.

#[cfg(not(target_os = "linux"))]
compile_error!("keyrack-sys has a backend for Linux only");

pub mod clock;
pub mod features;
pub mod fs;
pub mod hardening;
pub mod memory;
pub mod peer;
pub mod process;
pub mod random;
pub mod sandbox;
pub mod session;
pub mod session_file;
pub mod socket;
pub mod tty;
pub mod user;
