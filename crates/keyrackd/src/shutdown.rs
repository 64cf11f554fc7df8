//! How the daemon ends: by a signal, because it is asked to, because nobody needs it, because nobody can reach it any more, or
//! because its login session is over.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use keyrack_sys::fs::file::FileId;
use keyrack_sys::fs::private_dir::PrivateDir;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::async_fd::Interval;
use crate::logout::Logout;
use crate::runtime_files::OwnFiles;
use crate::state::Daemon;

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    /// SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// A caller asked for it.
    Requested,
    /// No key is held and nobody has asked for long.
    Idle,
    /// The socket or its directory is gone, or another's.
    Unreachable,
    /// Somebody has taken away the descriptors it would look with whether its login session is over.
    CannotWatchSession,
    /// The login session is over.
    LoggedOut,
}

/// The end to come, if one is decided.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    why: Cell<Option<ShutdownReason>>,
    decided: Notify,
}

impl Shutdown {
    /// Decides the end. The first reason stands.
    pub(crate) fn decide(&self, why: ShutdownReason) {
        if self.why.get().is_none() {
            self.why.set(Some(why));
        }
        self.decided.notify_one();
    }

    /// Waits until it is decided.
    pub(crate) async fn decided(&self) -> ShutdownReason {
        loop {
            if let Some(why) = self.why.get() {
                return why;
            }
            self.decided.notified().await;
        }
    }
}

/// The signals, caught from the moment this is made.
pub(crate) struct Signals {
    end: [Signal; 3],
    erase: Signal,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Signals {
            end: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ],
            erase: signal(SignalKind::user_defined1())?,
        })
    }

    /// Obeys them.
    pub(crate) fn spawn_signal_tasks(self, daemon: &Rc<Daemon>) {
        let Signals { end, mut erase } = self;
        for mut signal in end {
            let daemon = Rc::clone(daemon);
            tokio::task::spawn_local(async move {
                while signal.recv().await.is_some() {
                    daemon.ending.decide(ShutdownReason::Signal);
                }
            });
        }
        let daemon = Rc::clone(daemon);
        tokio::task::spawn_local(async move {
            while erase.recv().await.is_some() {
                tracing::info!("every key is erased: a signal asked for it");
                daemon.erase_all();
            }
        });
    }
}

/// Ends a daemon that holds no key, has had no request for `timeout` and has none in flight. Checks
/// every `check`.
pub(crate) async fn watch_idleness(daemon: Rc<Daemon>, timeout: Duration, check: Interval) {
    loop {
        check.next().await;
        if daemon.is_idle(timeout) {
            // What came together with the tick is taken in first.
            tokio::task::yield_now().await;
            if daemon.is_idle(timeout) {
                daemon.ending.decide(ShutdownReason::Idle);
            }
        }
    }
}

/// Looks, each `check`, after what a daemon cannot do without. One whose socket or directory is gone or is another's ends: nobody
/// who looks for it would find it.
pub(crate) async fn watch_surroundings(
    daemon: Rc<Daemon>,
    files: Arc<OwnFiles>,
    dir: PrivateDir,
    logout: Rc<Logout>,
    check: Interval,
) {
    loop {
        check.next().await;
        if !files.socket_stands() || !same_dir(dir.path(), dir.id()) {
            daemon.ending.decide(ShutdownReason::Unreachable);
        }
        logout.look(&daemon);
    }
}

fn same_dir(path: &Path, id: FileId) -> bool {
    FileId::of(path).is_ok_and(|found| found == id)
}
