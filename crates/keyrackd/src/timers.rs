//! Kernel timers that expire keys without traffic, one on each clock of a deadline. The timers of
//! the runtime stop while the machine is suspended, so they expire no key.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use keyrack_core::Deadlines;
use keyrack_sys::clock::DeadlineTimers;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::async_fd::{StableFd, watch};

/// One timer per clock, armed for the earliest deadline.
pub(crate) struct ExpiryTimers {
    timers: Rc<DeadlineTimers>,
    armed: Cell<Option<Deadlines>>,
}

impl ExpiryTimers {
    /// # Errors
    /// No descriptors are left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(ExpiryTimers { timers: Rc::new(DeadlineTimers::new()?), armed: Cell::new(None) })
    }

    /// Arms the timers for these deadlines, unless they are armed for them already.
    pub(crate) fn arm(&self, next: Option<Deadlines>) {
        if next == self.armed.get() {
            return;
        }
        match self.timers.set(next.map(|at| at.boot_ns), next.map(|at| at.wall_ms)) {
            Ok(()) => self.armed.set(next),
            // Lookups read the clocks themselves, and the next change of the keys tries again.
            Err(error) => tracing::error!(%error, "cannot set the expiry timers"),
        }
    }

    /// Makes the next [`ExpiryTimers::arm`] set the timers in any case.
    pub(crate) fn invalidate(&self) {
        self.armed.set(None);
    }

    /// Calls `on_expiry` when a deadline passes, and when the wall clock is set.
    ///
    /// # Errors
    /// The runtime cannot watch a timer.
    pub(crate) fn spawn(&self, on_expiry: impl Fn() + Clone + 'static) -> io::Result<()> {
        let boot = watch(BootTimer(Rc::clone(&self.timers)), Interest::READABLE)?;
        let wall = watch(WallTimer(Rc::clone(&self.timers)), Interest::READABLE)?;
        tokio::task::spawn_local(run(Rc::clone(&self.timers), boot, on_expiry.clone()));
        tokio::task::spawn_local(run(Rc::clone(&self.timers), wall, on_expiry));
        Ok(())
    }
}

async fn run<T: AsRawFd>(timers: Rc<DeadlineTimers>, timer: AsyncFd<T>, on_expiry: impl Fn()) {
    loop {
        // Fails only when the runtime is shutting down.
        let Ok(mut ready) = timer.readable().await else { return };
        ready.clear_ready();
        match timers.drain() {
            Ok(fired) => tracing::debug!(?fired, "expiry timer fired"),
            Err(error) => tracing::error!(%error, "cannot read an expiry timer"),
        }
        on_expiry();
    }
}

struct BootTimer(Rc<DeadlineTimers>);

impl StableFd for BootTimer {}

impl AsRawFd for BootTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.boot_fd().as_raw_fd()
    }
}

struct WallTimer(Rc<DeadlineTimers>);

impl StableFd for WallTimer {}

impl AsRawFd for WallTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.wall_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    /// Passed since long ago on CLOCK_BOOTTIME, and far away on the wall clock.
    const PASSED: Deadlines = Deadlines { boot_ns: 1, wall_ms: 32_503_680_000_000 };

    #[test]
    fn arm_fires_again_for_the_same_deadline_only_after_invalidate() {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
        runtime.unwrap().block_on(async {
            let timers = ExpiryTimers::new().unwrap();
            let fired = Rc::new(Cell::new(0));
            let count = Rc::clone(&fired);
            timers.spawn(move || count.set(count.get() + 1)).unwrap();
            let settle = || tokio::time::sleep(Duration::from_millis(50));
            settle().await;
            assert_eq!(fired.get(), 0, "nothing is armed");
            timers.arm(Some(PASSED));
            settle().await;
            assert_eq!(fired.get(), 1);
            timers.arm(Some(PASSED));
            settle().await;
            assert_eq!(fired.get(), 1, "the timers are armed for it already");
            timers.invalidate();
            timers.arm(Some(PASSED));
            settle().await;
            assert_eq!(fired.get(), 2);
        });
    }
}
