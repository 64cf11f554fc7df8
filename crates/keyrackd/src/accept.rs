//! Accepts clients, and authenticates each before a byte of it is read. An authorized peer is
//! served; any other gets an error reply.

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
use crate::conn::{reject, serve};
use crate::limits;
use crate::peer_auth::{LocalIdentity, PeerAuthError};
use crate::server::Server;

/// Attempts to authenticate a client while the process has no descriptors left for it.
const ATTEMPTS: u32 = 8;

/// Clients that are accepted before connections run.
const ACCEPTS_PER_TURN: u32 = 32;

/// Accepts clients until the runtime ends. `listener` is non-blocking.
///
/// # Errors
/// The runtime cannot watch the listener.
pub(crate) fn spawn(server: Rc<Server>, listener: UnixListener, identity: LocalIdentity) -> io::Result<()> {
    let listener = watch(listener, Interest::READABLE)?;
    let acceptor =
        Acceptor { server, identity, rejected_peers: Rc::new(Cell::new(0)), pause: limits::BACK_OFF.0 };
    tokio::task::spawn_local(acceptor.run(listener));
    Ok(())
}

struct Acceptor {
    server: Rc<Server>,
    identity: LocalIdentity,
    /// Number of rejected peers that are being sent an error.
    rejected_peers: Rc<Cell<usize>>,
    /// Pause when descriptors run out next.
    pause: Duration,
}

impl Acceptor {
    async fn run(mut self, listener: AsyncFd<UnixListener>) {
        let mut accepted: u32 = 0;
        loop {
            match socket::accept(listener.get_ref()) {
                Ok(stream) => {
                    self.admit(stream).await;
                    accepted = accepted.wrapping_add(1);
                    if accepted.is_multiple_of(ACCEPTS_PER_TURN) {
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Fails only when the runtime is shutting down.
                    let Ok(mut ready) = listener.readable().await else { return };
                    ready.clear_ready();
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.back_off().await;
                }
            }
        }
    }

    /// Authenticates a client, and serves or rejects it.
    async fn admit(&mut self, stream: UnixStream) {
        for _ in 0..ATTEMPTS {
            match self.identity.authenticate(stream.as_fd()) {
                Ok(peer) => {
                    tracing::debug!(pid = peer.pid.as_raw(), "connection accepted");
                    poll_once_then_spawn(serve(Rc::clone(&self.server), stream, peer));
                    self.pause = limits::BACK_OFF.0;
                    return;
                }
                Err(PeerAuthError::Rejected(_)) => {
                    if let Some(permit) = RejectPermit::take(&self.rejected_peers) {
                        let server = Rc::clone(&self.server);
                        poll_once_then_spawn(async move {
                            reject(server, stream).await;
                            drop(permit);
                        });
                    }
                    self.pause = limits::BACK_OFF.0;
                    return;
                }
                // Nothing is known of the client, so nothing is sent to it.
                Err(PeerAuthError::OutOfDescriptors) => self.back_off().await,
            }
        }
        tracing::warn!("connection closed: no descriptors left to authenticate it");
    }

    /// Frees the descriptors of the longest idle connection and pauses, after descriptors or memory
    /// ran out.
    async fn back_off(&mut self) {
        let evicted = self.server.connections().borrow_mut().evict_idle();
        if let Some(evicted) = evicted {
            evicted.close();
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(limits::BACK_OFF.1);
    }
}

/// Returns `true` if the client disconnected before it was accepted, or a signal arrived.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

/// Polls a task once, and hands it to the runtime only if it has to wait. A request that has
/// arrived is answered without a task (row "GET of one key, fresh connection, legacy" of
/// bench/run.mjs).
fn poll_once_then_spawn(task: impl Future<Output = ()> + 'static) {
    let mut task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
    // The runtime polls the task again when it is spawned, so no wakeup is lost.
    let mut cx = Context::from_waker(Waker::noop());
    if task.as_mut().poll(&mut cx).is_pending() {
        tokio::task::spawn_local(task);
    }
}

/// Permission to answer a rejected peer. Limits how many are answered at the same time.
struct RejectPermit(Rc<Cell<usize>>);

impl RejectPermit {
    fn take(count: &Rc<Cell<usize>>) -> Option<Self> {
        if count.get() >= limits::MAX_REJECTED_PEERS {
            return None;
        }
        count.set(count.get() + 1);
        Some(RejectPermit(Rc::clone(count)))
    }
}

impl Drop for RejectPermit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reject_permits_are_limited_and_returned() {
        let count = Rc::new(Cell::new(0));
        let mut permits: Vec<_> =
            (0..limits::MAX_REJECTED_PEERS).map(|_| RejectPermit::take(&count).unwrap()).collect();
        assert!(RejectPermit::take(&count).is_none());
        permits.pop();
        assert!(RejectPermit::take(&count).is_some());
        drop(permits);
        assert_eq!(count.get(), 0);
    }
}
