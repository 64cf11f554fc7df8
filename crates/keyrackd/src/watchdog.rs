//! Tasks that shut the daemon down when it is of no more use.

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
