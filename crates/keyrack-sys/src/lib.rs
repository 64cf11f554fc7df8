//! What keyrack asks of the kernel: who is at the other end of a socket, pages that keep a secret, clocks that count
//! suspend, a hardened process, private sockets and directories, a detached child.
//!
//! This is the only crate with `unsafe`, `nix` and `libc`. It reports what the kernel says and never judges it, and it
//! never knows what a key is. Linux only.

#[cfg(not(target_os = "linux"))]
compile_error!("keyrack-sys has a backend for Linux only");

pub mod ancestors;
pub mod beneath;
pub mod clock;
pub mod dir;
pub mod drain;
pub mod file;
pub mod harden;
pub mod inherited;
pub mod kernel;
pub mod memfd;
pub mod memory;
pub mod peer;
pub mod pid;
pub mod pidfd;
mod proc;
pub mod program;
pub mod protection;
pub mod pty;
pub mod random;
pub mod sandbox;
pub mod sessions;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod supervise;
pub mod terminal;
mod termios;
pub mod user;
