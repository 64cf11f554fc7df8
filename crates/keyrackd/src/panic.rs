//! The last act of a daemon that has a bug: it takes its socket away, says where it happened and nothing of what it held, wipes
//! every page, and ends with 70. Never a payload: a panic's message may quote anything.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use keyrack_sys::memory::Pool;

use crate::files::OwnFiles;

/// The exit code of a daemon that panicked (EX_SOFTWARE of sysexits.h).
pub const EXIT: i32 = 70;

/// What is to be wiped and removed, once there is any.
static LEFT: OnceLock<(Pool, Arc<OwnFiles>)> = OnceLock::new();

/// Makes every panic of this process the last thing it does. The runtime would catch those of its tasks, so it is done by
/// the hook, which runs first.
pub fn install() {
    std::panic::set_hook(Box::new(last_act));
}

/// Says what there is to wipe and to remove.
pub(crate) fn leave(pool: Pool, files: Arc<OwnFiles>) {
    // A second daemon in one process is a test's; the first stays.
    let _ = LEFT.set((pool, files));
}

fn last_act(info: &PanicHookInfo<'_>) {
    let left = LEFT.get();
    if let Some((_, files)) = left {
        files.remove();
    }
    if let Some(place) = info.location() {
        let _ = writeln!(std::io::stderr(), "keyrackd: a bug at {}:{}", place.file(), place.line());
    }
    if let Some((pool, _)) = left {
        pool.wipe_and_exit(EXIT);
    }
    std::process::exit(EXIT)
}
