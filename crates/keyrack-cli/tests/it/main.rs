//! The command as its users meet it: the real binaries, in homes of their own.

mod changes;
mod scenario;
mod terminal;

use std::path::Path;

#[test]
fn scenarios() {
    scenario::run_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd"));
}
