//! Integration tests of the `keyrack` command. They run the real binaries, each test in its own
//! home.
#![allow(clippy::unwrap_used, reason = "a test that fails there says where")]

mod binding;
mod cases;
mod changes;
mod compat;
mod completions;
mod credential;
mod doctor;
mod documents;
mod drop_in;
mod exact;
mod fill;
mod firewall;
mod fixes;
mod fixture;
mod leaks;
mod man;
mod namespaces;
mod ownership;
mod protection;
mod run;
mod schemas;
mod terminal;
mod terminal_programs;
mod values;
