//! Scan for processes of the login session, of any user: while one lives that is not a daemon, the
//! user is logged in. The scan holds the first such process and waits for it to exit, and only then
//! looks for the next.
//!
//! A scan that fails, or that races with an exiting process, is inconclusive: the session has ended
//! when two complete scans, some time apart, find no process. The daemon also shuts down when scans
//! keep failing because it has no descriptors left.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use keyrack_sys::fs::descriptors::DescriptorLimit;
use keyrack_sys::session::{ScanFilter, ScanStep, SessionProcess, SessionScan};
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::async_fd::{StableFd, watch};
use crate::conn::table::ConnectionTable;
use crate::shutdown::{Shutdown, ShutdownReason};

/// Process name of daemons. Daemons do not keep a session alive. (A user may give any process this
/// name, which only lets keys be erased earlier.)
const DAEMON: &str = "keyrackd";

/// Minimum pause between two scans.
const PAUSE: Duration = Duration::from_secs(1);

/// Number of consecutive scans that find no process before the session has ended.
const EMPTY_SCANS: u32 = 2;

/// Number of consecutive scans without descriptors before the daemon shuts down. Connections give
/// their descriptors up for a scan, so it does not fail because of them: another process lowered
/// the limit, as any process of the user can (`prlimit(2)`), and keys must not outlive a logout
/// that the daemon cannot see.
const FAILED_SCANS: u32 = 6;

/// Shuts the daemon down when its login session has no process left.
pub(super) async fn run(
    session: u32,
    shutdown: Rc<Shutdown>,
    connections: Rc<RefCell<ConnectionTable>>,
    checks: Rc<Notify>,
) {
    let filter = ScanFilter { session, exclude_comm: DAEMON };
    // The process that started the daemon waits for it now, and is in the session.
    checks.notified().await;
    let (mut empty, mut failed) = (0, 0);
    loop {
        let scan = scan(filter).await;
        failed = if is_out_of_descriptors(&scan) { failed + 1 } else { 0 };
        if failed >= FAILED_SCANS {
            return shutdown.request(ShutdownReason::CannotWatchSession);
        }
        match scan {
            Ok(ScanResult::Found(process)) => {
                empty = 0;
                wait_for_exit(process, &checks).await;
            }
            Ok(ScanResult::NoProcess) => {
                empty += 1;
                if empty >= EMPTY_SCANS {
                    return shutdown.request(ShutdownReason::LoggedOut);
                }
            }
            Ok(ScanResult::Inconclusive) => empty = 0,
            Err(error) => {
                empty = 0;
                tracing::warn!(%error, "cannot scan the processes of the login session");
                if DescriptorLimit::of(&error).is_some() {
                    let evicted = connections.borrow_mut().evict_idle();
                    if let Some(evicted) = evicted {
                        evicted.close();
                    }
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns `true` if a scan failed because this process has no descriptor left, whatever the
/// machine has.
fn is_out_of_descriptors(scan: &io::Result<ScanResult>) -> bool {
    matches!(scan, Err(error) if DescriptorLimit::of(error) == Some(DescriptorLimit::Process))
}

enum ScanResult {
    Found(SessionProcess),
    NoProcess,
    /// A process exited while it was looked at.
    Inconclusive,
}

/// Scans all processes, a few at a time, so that clients do not wait for it.
async fn scan(filter: ScanFilter) -> io::Result<ScanResult> {
    let mut scan = SessionScan::start(filter)?;
    loop {
        match scan.step()? {
            ScanStep::More => yield_now().await,
            ScanStep::Found(process) => return Ok(ScanResult::Found(process)),
            ScanStep::Done { vanished: true } => return Ok(ScanResult::Inconclusive),
            ScanStep::Done { vanished: false } => return Ok(ScanResult::NoProcess),
        }
    }
}

struct WatchedProcess(SessionProcess);

impl StableFd for WatchedProcess {}

impl AsRawFd for WatchedProcess {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits until a process has exited or left the session.
async fn wait_for_exit(process: SessionProcess, checks: &Notify) {
    tracing::debug!(pid = process.pid().as_raw(), "waiting for a process of the login session");
    let watched = match watch(WatchedProcess(process), Interest::READABLE) {
        Ok(watched) => watched,
        Err(error) => {
            // The next scan finds it again.
            tracing::warn!(%error, "cannot wait for a process of the login session");
            return;
        }
    };
    let process = &watched.get_ref().0;
    loop {
        let mut exited = pin!(watched.readable());
        let mut check = pin!(checks.notified());
        // Fails only when the runtime is shutting down.
        let is_shutting_down = poll_fn(|cx| {
            if let Poll::Ready(ready) = exited.as_mut().poll(cx) {
                return Poll::Ready(ready.map(|mut ready| ready.clear_ready()).is_err());
            }
            check.as_mut().poll(cx).map(|()| false)
        });
        if is_shutting_down.await || !process.is_still_wanted() {
            return;
        }
    }
}
