//! The command as its users meet it: the real binaries, in homes of their own.
#![allow(clippy::unwrap_used, reason = "a test that fails there says where")]

mod binding;
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
mod leaks;
mod man;
mod namespaces;
mod ownership;
mod protection;
mod run;
mod scenario;
mod schemas;
mod terminal;
mod terminal_programs;
mod values;

use std::path::Path;

#[test]
fn scenarios() {
    scenario::run_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd"));
}
