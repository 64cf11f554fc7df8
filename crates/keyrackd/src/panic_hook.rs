//! Panic hook: removes the socket, reports the source location, wipes every secret page and exits
//! with
//! 70. Never reports the payload: a panic message may quote anything.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use keyrack_sys::memory::Pool;

use crate::runtime_files::RuntimeFiles;

/// Exit code after a panic (EX_SOFTWARE of sysexits.h).
pub(crate) const EXIT: i32 = 70;

/// Memory to wipe and files to remove, once the daemon has them.
static CLEANUP: OnceLock<(Pool, Arc<RuntimeFiles>)> = OnceLock::new();

/// Makes every panic exit the process. The runtime would catch the panics of its tasks, but the
/// hook runs first.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(clean_up_and_exit));
}

/// Sets the memory to wipe and the files to remove.
pub(crate) fn set_cleanup(pool: Pool, files: Arc<RuntimeFiles>) {
    // Only a test starts a second daemon in one process; the first one counts.
    let _ = CLEANUP.set((pool, files));
}

fn clean_up_and_exit(info: &PanicHookInfo<'_>) {
    let left = CLEANUP.get();
    if let Some((_, files)) = left {
        files.remove();
    }
    if let Some(place) = info.location() {
        let _ = writeln!(std::io::stderr(), "keyrackd: a bug at {}:{}", place.file(), place.line());
        tracing::error!(file = place.file(), line = place.line(), "a bug ends the daemon");
    }
    if let Some((pool, _)) = left {
        pool.wipe_and_exit(EXIT);
    }
    std::process::exit(EXIT)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use keyrack_sys::memory::{Budget, ModeRequest};

    use super::*;

    const SOCKET: &str = "KEYRACKD_TEST_PANIC_SOCKET";

    /// Not a test of its own: the child that panics, in a task of a runtime, as a bug in the daemon
    /// would.
    #[test]
    #[ignore = "exits the process"]
    fn child() {
        let Some(socket) = std::env::var_os(SOCKET).map(std::path::PathBuf::from) else { return };
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        let secret = pool.store(b"hunter2").unwrap();
        install();
        set_cleanup(pool, Arc::new(RuntimeFiles::of_bound(&socket).unwrap()));
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let task = tokio::task::spawn_local(async move {
                // Also from within a secret's own closure.
                secret.with(|bytes| panic!("it was {}", String::from_utf8_lossy(bytes)));
            });
            let _ = task.await;
        });
        std::process::exit(3);
    }

    #[test]
    fn panic_removes_files_hides_payload_and_exits_with_70() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("k.sock");
        // Name of the child in this test binary: its path without the crate.
        let (_, child) = std::any::type_name_of_val(&child).split_once("::").unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", child, "--ignored", "--nocapture"])
            .env(SOCKET, &socket)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(EXIT), "{said}");
        assert!(said.contains("keyrackd: a bug at ") && said.contains("panic_hook.rs:"), "the place: {said}");
        assert!(!said.contains("hunter2"), "and nothing else: {said}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "its socket and pid file are gone");
    }
}
