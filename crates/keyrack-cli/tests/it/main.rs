//! Tests of the command `keyrack` as users run it: the real binaries, in homes of their own.
#![allow(clippy::unwrap_used, reason = "a test that fails there says where")]

mod binding;
mod cases;
mod changes;
mod compat;
mod completions;
mod credential;
mod doctor;
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
