//! The processes of the login session, of any user: as long as one lives that is no daemon, somebody is logged in. One of them is
//! held and waited for; only when it ends the others are looked through for the next.
//!
//! A look that failed, or that a process escaped by ending, is no look: only two complete ones, some time apart, that find nobody
//! are the end. Only looks that somebody keeps failing, by leaving the daemon no descriptors, are one too.

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
use tokio::task::yield_now;

use super::Logout;
use crate::async_fd::{StableFd, watch as readiness};
use crate::shutdown::ShutdownReason;
use crate::state::Daemon;

/// How daemons are named. They do not keep one another alive: nobody is logged in through them. (A user may give any process this
/// name, and so only shorten the life of the keys.)
const DAEMON: &str = "keyrackd";

/// From one look through all processes to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// How many looks in a row have to find nobody.
const LOOKS: u32 = 2;

/// How many looks in a row may fail for want of descriptors. Callers give theirs up for a look, so it is not for them: the limit was
/// lowered from outside, as any process of the user's can (`prlimit(2)`), and keys must not outlive a logout that cannot be seen.
const BLIND: u32 = 6;

/// Ends a daemon whose login session has no process left.
pub(super) async fn watch(daemon: Rc<Daemon>, session: u32, logout: Rc<Logout>) {
    let wanted = ScanFilter { session, exclude_comm: DAEMON };
    // Whoever started the daemon waits for an answer now, and is of the session.
    logout.round.notified().await;
    let (mut empty, mut blind) = (0, 0);
    loop {
        let look = look_through(wanted).await;
        blind = if is_out_of_descriptors(&look) { blind + 1 } else { 0 };
        if blind >= BLIND {
            daemon.ending.decide(ShutdownReason::CannotWatchSession);
            return;
        }
        match look {
            Ok(Who::Somebody(member)) => {
                empty = 0;
                wait_for(member, &logout).await;
            }
            Ok(Who::Nobody) => {
                empty += 1;
                if empty >= LOOKS {
                    daemon.ending.decide(ShutdownReason::LoggedOut);
                    return;
                }
            }
            Ok(Who::Unsure) => empty = 0,
            Err(error) => {
                empty = 0;
                tracing::warn!(%error, "the processes of the login session cannot be looked through");
                if DescriptorLimit::of(&error).is_some() {
                    daemon.table.borrow_mut().evict_idle();
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns `true` if a scan failed because this process has no descriptor left, whatever the machine
/// has.
fn is_out_of_descriptors(look: &io::Result<Who>) -> bool {
    matches!(look, Err(error) if DescriptorLimit::of(error) == Some(DescriptorLimit::Process))
}

enum Who {
    Somebody(SessionProcess),
    Nobody,
    /// Somebody was there, and ended while it was looked at.
    Unsure,
}

/// Looks through the processes of the machine, a few at a time, so that callers do not wait for it.
async fn look_through(wanted: ScanFilter) -> io::Result<Who> {
    let mut walk = SessionScan::start(wanted)?;
    loop {
        match walk.step()? {
            ScanStep::More => yield_now().await,
            ScanStep::Found(member) => return Ok(Who::Somebody(member)),
            ScanStep::Done { vanished: true } => return Ok(Who::Unsure),
            ScanStep::Done { vanished: false } => return Ok(Who::Nobody),
        }
    }
}

struct Watched(SessionProcess);

impl StableFd for Watched {}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits until it has ended, or left the session.
async fn wait_for(member: SessionProcess, logout: &Logout) {
    tracing::debug!(pid = member.pid().as_raw(), "a process of the login session is waited for");
    let watched = match readiness(Watched(member), Interest::READABLE) {
        Ok(watched) => watched,
        Err(error) => {
            // It is looked for again, then.
            tracing::warn!(%error, "a process of the login session cannot be waited for");
            return;
        }
    };
    let member = &watched.get_ref().0;
    loop {
        let mut ended = pin!(watched.readable());
        let mut round = pin!(logout.round.notified());
        let looked = poll_fn(|cx| {
            if let Poll::Ready(ready) = ended.as_mut().poll(cx) {
                return Poll::Ready(ready.map(|mut ready| ready.clear_ready()).is_err());
            }
            round.as_mut().poll(cx).map(|()| false)
        });
        // Fails only when the runtime is shutting down.
        let over = looked.await;
        if over || !member.is_still_wanted() {
            return;
        }
    }
}
