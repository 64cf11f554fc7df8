//! The keyrack daemon.
fn main() {}
