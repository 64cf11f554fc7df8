//! Shutdown of the daemon: by a signal, by a request, or because it is idle, unreachable or logged
//! out.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Reason for a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    /// SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// A client requested it.
    Requested,
    /// No key was held and no request came for the idle timeout.
    Idle,
    /// The socket or its directory was removed or replaced, so no client finds the daemon.
    Unreachable,
    /// The daemon has no descriptors left to watch its login session with.
    CannotWatchSession,
    /// The login session ended.
    LoggedOut,
}

/// Handle to request a shutdown, and to wait for one.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    reason: Cell<Option<ShutdownReason>>,
    requested: Notify,
}

impl Shutdown {
    /// Requests a shutdown. The first reason counts.
    pub(crate) fn request(&self, reason: ShutdownReason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
        }
        self.requested.notify_one();
    }

    /// Waits until a shutdown is requested.
    pub(crate) async fn requested(&self) -> ShutdownReason {
        loop {
            if let Some(reason) = self.reason.get() {
                return reason;
            }
            self.requested.notified().await;
        }
    }
}

/// Signal handlers, installed when this is made.
pub(crate) struct Signals {
    shutdown: [Signal; 3],
    erase: Signal,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Signals {
            shutdown: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ],
            erase: signal(SignalKind::user_defined1())?,
        })
    }

    /// Spawns the tasks that act on the signals: SIGUSR1 calls `erase_all`, the others shut down.
    pub(crate) fn spawn_tasks(self, shutdown: &Rc<Shutdown>, erase_all: impl Fn() + 'static) {
        let Signals { shutdown: signals, mut erase } = self;
        for mut signal in signals {
            let shutdown = Rc::clone(shutdown);
            tokio::task::spawn_local(async move {
                while signal.recv().await.is_some() {
                    shutdown.request(ShutdownReason::Signal);
                }
            });
        }
        tokio::task::spawn_local(async move {
            while erase.recv().await.is_some() {
                tracing::info!("all keys erased: SIGUSR1");
                erase_all();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    #[test]
    fn first_requested_reason_is_reported_to_every_waiter() {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let shutdown = Rc::new(Shutdown::default());
            let waiter = Rc::clone(&shutdown);
            let waiting = tokio::task::spawn_local(async move { waiter.requested().await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            shutdown.request(ShutdownReason::Idle);
            shutdown.request(ShutdownReason::Signal);
            assert_eq!(waiting.await.unwrap(), ShutdownReason::Idle);
            assert_eq!(shutdown.requested().await, ShutdownReason::Idle);
        });
    }
}
