//! The binary `keyrackd`: hands the process's own arguments, environment and clocks to the library.

use std::process::ExitCode;
use std::rc::Rc;

use keyrack_core::Clock;
use keyrack_sys::clock::{boot_ns, wall_ms};

fn main() -> ExitCode {
    ExitCode::from(keyrackd::run(keyrackd::DaemonEnv {
        args: std::env::args_os().skip(1).collect(),
        var: &|name| std::env::var_os(name),
        pipe: &keyrack_sys::process::spawn::take_ready_pipe,
        clock: Rc::new(|| Clock { boot_ns: boot_ns(), wall_ms: wall_ms() }),
        wall_ms,
    }))
}
