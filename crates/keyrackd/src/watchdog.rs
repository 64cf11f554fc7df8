//! Tasks that shut the daemon down when it is idle or no client can reach it.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use keyrack_sys::fs::file::FileId;
use keyrack_sys::fs::private_dir::PrivateDir;

use crate::async_fd::Interval;
use crate::logout::LogoutWatch;
use crate::runtime_files::RuntimeFiles;
use crate::server::Server;
use crate::shutdown::{Shutdown, ShutdownReason};

/// Shuts down a daemon that is idle: it holds no key, has had no request for `timeout` and has none
/// in flight.
pub(crate) async fn exit_when_idle(
    server: Rc<Server>,
    shutdown: Rc<Shutdown>,
    timeout: Duration,
    interval: Interval,
) {
    loop {
        interval.tick().await;
        if server.is_idle(timeout) {
            // A request that arrived together with the tick is read first.
            tokio::task::yield_now().await;
            if server.is_idle(timeout) {
                shutdown.request(ShutdownReason::Idle);
            }
        }
    }
}

/// Shuts down a daemon that no client can find any more, because its socket or its directory was
/// removed or replaced. Also checks the login session.
pub(crate) async fn exit_when_unreachable(
    shutdown: Rc<Shutdown>,
    files: Arc<RuntimeFiles>,
    dir: PrivateDir,
    logout: LogoutWatch,
    interval: Interval,
) {
    loop {
        interval.tick().await;
        if !files.is_socket_in_place() || !is_same_dir(dir.path(), dir.id()) {
            shutdown.request(ShutdownReason::Unreachable);
        }
        logout.check();
    }
}

fn is_same_dir(path: &Path, id: FileId) -> bool {
    FileId::of(path).is_ok_and(|found| found == id)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use keyrack_core::Clock;
    use keyrack_sys::memory::{Budget, MemoryMode, ModeRequest, Pool};
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;
    use crate::daemon_info::DaemonInfo;

    #[test]
    fn exit_when_idle_waits_for_the_timeout_on_the_injected_clock() {
        const TIMEOUT: Duration = Duration::from_millis(100);
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
        runtime.unwrap().block_on(async {
            let boot_ns = Rc::new(Cell::new(1));
            let now = Rc::clone(&boot_ns);
            let clock = Rc::new(move || Clock { boot_ns: now.get(), wall_ms: 1 });
            let memory = ModeRequest::Require(MemoryMode::Unlocked);
            let pool = Pool::new(memory, Budget::bytes(Budget::LEAST)).unwrap();
            let shutdown = Rc::new(Shutdown::default());
            let server = Server::new(DaemonInfo::example(), pool, 8, Rc::clone(&shutdown), clock).unwrap();
            let tick = Interval::every(Duration::from_millis(1)).unwrap();
            tokio::task::spawn_local(exit_when_idle(Rc::new(server), Rc::clone(&shutdown), TIMEOUT, tick));
            let requested = |limit| tokio::time::timeout(limit, shutdown.requested());

            boot_ns.set(100_000_000);
            assert!(requested(Duration::from_millis(50)).await.is_err(), "a nanosecond is missing");
            boot_ns.set(100_000_001);
            assert_eq!(requested(Duration::from_secs(10)).await, Ok(ShutdownReason::Idle));
        });
    }

    #[test]
    fn is_same_dir_rejects_a_replaced_directory() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        std::fs::create_dir(&dir).unwrap();
        let id = FileId::of(&dir).unwrap();
        assert!(is_same_dir(&dir, id));
        // The old directory still exists, so the new one cannot have its inode.
        std::fs::rename(&dir, root.path().join("old")).unwrap();
        assert!(!is_same_dir(&dir, id));
        std::fs::create_dir(&dir).unwrap();
        assert!(!is_same_dir(&dir, id));
    }
}
