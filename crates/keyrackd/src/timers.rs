//! Ends keys at their deadlines without any traffic. The timers are the kernel's, on the two clocks that count; the runtime's
//! own stand still in suspend and are never asked when a key ends.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use keyrack_sys::clock::DeadlineTimers;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::async_fd::{StableFd, watch};
use crate::state::Daemon;

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

/// Ends keys as their deadlines come, and when the wall clock is set.
pub(crate) fn run(daemon: &Rc<Daemon>) -> io::Result<()> {
    let boot = watch(BootTimer(Rc::clone(&daemon.timers)), Interest::READABLE)?;
    let wall = watch(WallTimer(Rc::clone(&daemon.timers)), Interest::READABLE)?;
    tokio::task::spawn_local(attend(Rc::clone(daemon), boot));
    tokio::task::spawn_local(attend(Rc::clone(daemon), wall));
    Ok(())
}

async fn attend<T: AsRawFd>(daemon: Rc<Daemon>, timer: AsyncFd<T>) {
    loop {
        // Fails only when the runtime is shutting down.
        let Ok(mut ready) = timer.readable().await else { return };
        ready.clear_ready();
        match daemon.timers.drain() {
            Ok(fired) => tracing::debug!(?fired, "a deadline timer fired"),
            Err(error) => tracing::error!(%error, "a deadline timer cannot be read"),
        }
        daemon.expire();
    }
}
