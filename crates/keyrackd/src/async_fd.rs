//! Descriptors the runtime waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use keyrack_sys::clock::Ticker;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A thing that owns one descriptor, the same and open for as long as the thing lives. Implemented for nothing that could be
/// made to own another.
pub(crate) trait StableFd: AsRawFd {}

impl StableFd for std::os::unix::net::UnixListener {}
impl StableFd for std::rc::Rc<crate::conn::table::ConnectionHandle> {}

impl StableFd for Tick {}

/// A ticker the runtime waits for. The runtime's own timers would have it read a clock and set one of the kernel's at every turn.
pub(crate) struct Interval(AsyncFd<Tick>);

struct Tick(Ticker);

impl AsRawFd for Tick {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Interval {
    /// Begins to tick.
    pub(crate) fn every(period: Duration) -> io::Result<Self> {
        watch(Tick(Ticker::every(period)?), Interest::READABLE).map(Interval)
    }

    /// Waits for the next tick. Never ends when the runtime is shutting down.
    pub(crate) async fn next(&self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else { return std::future::pending().await };
            ready.clear_ready();
            match self.0.get_ref().0.has_ticked() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "a ticker cannot be read"),
            }
        }
    }
}

/// Lets the runtime wait for it.
pub(crate) fn watch<T: StableFd>(thing: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe for want of the bound that OwnsOne states; unsafe is not for here"
    )]
    AsyncFd::with_interest(thing, interest)
}
