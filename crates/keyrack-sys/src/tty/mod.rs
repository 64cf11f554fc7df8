//! Terminals: input without echo, and a pseudo-terminal in front of the real one.

pub mod pty;
pub mod secret_input;
mod termios;
