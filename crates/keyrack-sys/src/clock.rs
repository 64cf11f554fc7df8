//! The two clocks of a deadline, and the two timers that fire at it without traffic. Never
//! CLOCK_MONOTONIC: it stops during suspend (`clock_gettime(2)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

/// Returns CLOCK_BOOTTIME in nanoseconds: time since boot, including suspend. It cannot be set. (A
/// time namespace shifts it by a constant.)
#[must_use]
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has CLOCK_BOOTTIME");
    u64::try_from(Duration::from(now).as_nanos()).expect("584 years of nanoseconds fit")
}

/// CLOCK_REALTIME in milliseconds since 1970-01-01 UTC, rounded down; negative before that.
#[must_use]
pub fn wall_ms() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("every Linux has CLOCK_REALTIME");
    (now.tv_sec() as i64).saturating_mul(1000).saturating_add(now.tv_nsec() as i64 / 1_000_000)
}

/// Returns the id of this boot, `/proc/sys/kernel/random/boot_id` (36 characters). Only readings of
/// [`boot_ns`] of the same boot can be compared.
///
/// # Errors
/// When `/proc` does not have it.
pub fn boot_id() -> io::Result<String> {
    let mut buffer = [0; 64];
    let text = crate::process::procfs::read_small(format_args!("sys/kernel/random/boot_id"), &mut buffer)?;
    Ok(String::from_utf8_lossy(text).trim().to_owned())
}

/// Events since the last call of [`DeadlineTimers::drain`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// The boot time deadline was reached.
    pub boot: bool,
    /// The wall clock deadline was reached.
    pub wall: bool,
    /// The wall clock was set while a wall deadline was armed. Check every wall deadline.
    pub clock_set: bool,
}

/// Two timer descriptors, readable when an absolute deadline of their clock is reached; the wall
/// clock's also when that clock is set (`timerfd_create(2)`, `TFD_TIMER_CANCEL_ON_SET`).
/// Non-blocking and close-on-exec.
#[derive(Debug)]
pub struct DeadlineTimers {
    boot: TimerFd,
    wall: TimerFd,
}

impl DeadlineTimers {
    /// Makes both timers, unarmed.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self {
            boot: TimerFd::new(TimerClock::CLOCK_BOOTTIME, flags)?,
            wall: TimerFd::new(TimerClock::CLOCK_REALTIME, flags)?,
        })
    }

    /// Arms each timer for an absolute moment of its clock ([`boot_ns`], [`wall_ms`]), replacing
    /// what it was armed for; `None` disarms it. A moment already past fires at once.
    ///
    /// # Errors
    /// None the kernel documents for these arguments.
    pub fn set(&self, boot_ns: Option<u64>, wall_ms: Option<i64>) -> io::Result<()> {
        let at = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        arm(&self.boot, boot_ns.map(Duration::from_nanos), at)?;
        let wall = wall_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        arm(&self.wall, wall, at | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET)
    }

    /// The CLOCK_BOOTTIME timer, to be polled for reading.
    #[must_use]
    pub fn boot_fd(&self) -> BorrowedFd<'_> {
        self.boot.as_fd()
    }

    /// The CLOCK_REALTIME timer, to be polled for reading.
    #[must_use]
    pub fn wall_fd(&self) -> BorrowedFd<'_> {
        self.wall.as_fd()
    }

    /// Says which have fired and makes their descriptors unreadable again. Never blocks.
    ///
    /// # Errors
    /// None that the kernel documents for a timer descriptor.
    pub fn drain(&self) -> io::Result<Fired> {
        let (boot, _) = take(self.boot_fd())?;
        let (wall, clock_set) = take(self.wall_fd())?;
        Ok(Fired { boot, wall, clock_set })
    }
}

/// A timer descriptor that becomes readable periodically, on CLOCK_BOOTTIME, so that a periodic
/// check also runs soon after a suspend. Non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Ticker(TimerFd);

impl Ticker {
    /// Returns a ticker that ticks every `period` from now on, clamped to one millisecond and one
    /// year.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn every(period: Duration) -> io::Result<Self> {
        let timer =
            TimerFd::new(TimerClock::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let period = period.clamp(Duration::from_millis(1), Duration::from_secs(366 * 24 * 3600));
        timer.set(Expiration::Interval(TimeSpec::from_duration(period)), TimerSetTimeFlags::empty())?;
        Ok(Self(timer))
    }

    /// Returns `true` if it has ticked since the last call. Never blocks.
    ///
    /// # Errors
    /// None that the kernel documents for a timer descriptor.
    pub fn has_ticked(&self) -> io::Result<bool> {
        take(self.0.as_fd()).map(|(ticked, _)| ticked)
    }
}

impl AsFd for Ticker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn arm(timer: &TimerFd, at: Option<Duration>, flags: TimerSetTimeFlags) -> io::Result<()> {
    let result = match at {
        None => timer.unset(),
        // Zero would disarm the timer, so use the first nanosecond.
        Some(at) => {
            timer.set(Expiration::OneShot(TimeSpec::from_duration(at.max(Duration::from_nanos(1)))), flags)
        }
    };
    match result {
        // The clock was set since the last read of the timer. The kernel armed it all the same,
        // against the new time.
        Ok(()) | Err(Errno::ECANCELED) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns `true` for each of two events: the timer has expired; its clock was set.
fn take(timer: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    let mut count = [0; 8];
    loop {
        match nix::unistd::read(timer, &mut count) {
            Ok(_) => return Ok((true, false)),
            Err(Errno::EAGAIN) => return Ok((false, false)),
            Err(Errno::ECANCELED) => return Ok((false, true)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
