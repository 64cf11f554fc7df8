//! Descriptors that the runtime watches.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use keyrack_sys::clock::Ticker;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An owner of one descriptor, which stays the same and open for as long as the owner lives. Not to
/// be implemented for a type that can be made to own another descriptor.
pub(crate) trait StableFd: AsRawFd {}

impl StableFd for std::os::unix::net::UnixListener {}

/// Has the runtime watch a descriptor.
pub(crate) fn watch<T: StableFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[allow(
        deprecated,
        reason = "the successor is unsafe for lack of the bound that StableFd states; this crate has no unsafe"
    )]
    AsyncFd::with_interest(owner, interest)
}

/// Ticks at a fixed interval. A timer of the runtime would have it read a clock and set a kernel
/// timer at every turn.
pub(crate) struct Interval(AsyncFd<WatchedTicker>);

struct WatchedTicker(Ticker);

impl StableFd for WatchedTicker {}

impl AsRawFd for WatchedTicker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Interval {
    /// Starts to tick, a `period` from now.
    pub(crate) fn every(period: Duration) -> io::Result<Self> {
        watch(WatchedTicker(Ticker::every(period)?), Interest::READABLE).map(Interval)
    }

    /// Waits for the next tick. Never returns when the runtime is shutting down.
    pub(crate) async fn tick(&self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else { return std::future::pending().await };
            ready.clear_ready();
            match self.0.get_ref().0.has_ticked() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "cannot read a ticker"),
            }
        }
    }
}
