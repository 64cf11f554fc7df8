//! Accepts callers, and looks at each before a byte of it is. One of us is served; a stranger is told that it is one.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use keyrack_sys::socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::async_fd::watch;
use crate::conn::{begin, reject};
use crate::limits;
use crate::peer_auth::PeerAuthError;
use crate::state::Daemon;

/// How often a caller is looked at while there are no descriptors to look with.
const TRIES: u32 = 8;

/// How many callers are accepted before those that wait get a turn.
const TURN: u32 = 32;

/// Accepts until the runtime ends. `listener` is non-blocking.
///
/// # Errors
/// When the listener cannot be waited for.
pub(crate) fn run(daemon: &Rc<Daemon>, listener: UnixListener) -> io::Result<()> {
    let listener = watch(listener, Interest::READABLE)?;
    tokio::task::spawn_local(accept(Rc::clone(daemon), listener));
    Ok(())
}

async fn accept(daemon: Rc<Daemon>, listener: AsyncFd<UnixListener>) {
    let mut pause = limits::BACK_OFF.0;
    let mut accepted: u32 = 0;
    loop {
        match socket::accept(listener.get_ref()) {
            Ok(stream) => {
                pause = meet(&daemon, stream, pause).await;
                accepted = accepted.wrapping_add(1);
                if accepted.is_multiple_of(TURN) {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Fails only when the runtime is shutting down.
                let Ok(mut ready) = listener.readable().await else { return };
                ready.clear_ready();
            }
            Err(error) if gone(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no caller can be accepted");
                pause = back_off(&daemon, pause).await;
            }
        }
    }
}

/// The caller went away before it was accepted, or a signal came.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

/// Out of descriptors or memory: the connection longest without a request gives way, and we wait a little.
async fn back_off(daemon: &Daemon, pause: Duration) -> Duration {
    daemon.table.borrow_mut().evict_idle();
    tokio::time::sleep(pause).await;
    (pause * 2).min(limits::BACK_OFF.1)
}

/// Looks at a caller, and serves it or turns it away. Returns the pause to make when descriptors run out next.
async fn meet(daemon: &Rc<Daemon>, stream: UnixStream, mut pause: Duration) -> Duration {
    for _ in 0..TRIES {
        match daemon.identity.authenticate(stream.as_fd()) {
            Ok(peer) => {
                tracing::debug!(pid = peer.pid.as_raw(), "a caller is met");
                begin(daemon, stream, peer, |connection, first| poll_once_then_spawn(connection.run(first)));
                return limits::BACK_OFF.0;
            }
            Err(PeerAuthError::Rejected(_)) => {
                if let Some(seat) = RejectPermit::take(daemon) {
                    let daemon = Rc::clone(daemon);
                    poll_once_then_spawn(async move {
                        reject(daemon, stream).await;
                        drop(seat);
                    });
                }
                return limits::BACK_OFF.0;
            }
            // Nothing is known of it, so nothing is said to it until there is.
            Err(PeerAuthError::OutOfDescriptors) => pause = back_off(daemon, pause).await,
        }
    }
    tracing::warn!("a caller is closed unseen: there are no descriptors to look at it with");
    pause
}

/// Runs a task as far as it goes at once; only one that has to wait is handed to the runtime.
fn poll_once_then_spawn(task: impl Future<Output = ()> + 'static) {
    let mut task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
    // Whatever it waits for is asked again when the runtime polls it first.
    let mut nobody = Context::from_waker(Waker::noop());
    if task.as_mut().poll(&mut nobody).is_pending() {
        tokio::task::spawn_local(task);
    }
}

/// One of the few places for strangers.
struct RejectPermit(Rc<Daemon>);

impl RejectPermit {
    fn take(daemon: &Rc<Daemon>) -> Option<Self> {
        let rejected_peers: &Cell<usize> = &daemon.rejected_peers;
        if rejected_peers.get() >= limits::REJECTED_PEERS {
            return None;
        }
        rejected_peers.set(rejected_peers.get() + 1);
        Some(RejectPermit(Rc::clone(daemon)))
    }
}

impl Drop for RejectPermit {
    fn drop(&mut self) {
        self.0.rejected_peers.set(self.0.rejected_peers.get() - 1);
    }
}
