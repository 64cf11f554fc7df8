//! Clocks and deadline timers.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyrack_sys::clock::{DeadlineTimers, Fired, Ticker, boot_id, boot_ns, wall_ms};
use keyrack_sys::socket::wait_readable;
use keyrack_testkit::{Need, can_run};
use nix::errno::Errno;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn clocks_agree_with_the_system() {
    let before = boot_ns();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let after = boot_ns();
    assert!(before <= after);
    // /proc/uptime is CLOCK_BOOTTIME cut to hundredths of a second.
    let between = Duration::from_secs_f64(uptime + 0.01) >= Duration::from_nanos(before)
        && Duration::from_secs_f64(uptime) <= Duration::from_nanos(after);
    assert!(between, "{before} {uptime} {after}");

    let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let ours = u128::try_from(wall_ms()).unwrap();
    assert!(ours.abs_diff(system) < 60_000, "{ours} {system}");

    let id = boot_id().unwrap();
    assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
}

/// Returns the timers that fired, ignoring that the clock was set, as the test below does.
fn drain(timers: &DeadlineTimers) -> Fired {
    Fired { clock_set: false, ..timers.drain().unwrap() }
}

#[test]
fn timers_fire_at_their_own_deadline_alone() {
    let timers = DeadlineTimers::new().unwrap();
    assert_eq!(timers.drain().unwrap(), Fired::default());
    let hour = 3_600_000;
    let (boot_later, wall_later) = (boot_ns() + 3_600_000_000_000, wall_ms() + hour);
    let (boot, wall) = (Fired { boot: true, ..Fired::default() }, Fired { wall: true, ..Fired::default() });
    for (boot_at, wall_at, expected) in [
        (Some(boot_ns() + 5_000_000), Some(wall_later), boot),
        (Some(boot_later), Some(wall_ms() + 5), wall),
        // Already past, and as far past as can be said.
        (Some(1), None, boot),
        (Some(0), None, boot),
        (None, Some(1), wall),
        (None, Some(0), wall),
        (None, Some(i64::MIN), wall),
    ] {
        timers.set(boot_at, wall_at).unwrap();
        let fd = if expected.boot { timers.boot_fd() } else { timers.wall_fd() };
        let fired = loop {
            assert!(wait_readable(fd, SOON).unwrap(), "{boot_at:?} {wall_at:?}");
            let fired = drain(&timers);
            if fired != Fired::default() {
                break fired;
            }
        };
        assert_eq!(fired, expected, "{boot_at:?} {wall_at:?}");
        assert_eq!(drain(&timers), Fired::default(), "a timer fires once");
    }

    for (boot_at, wall_at) in
        [(None, None), (Some(u64::MAX), Some(i64::MAX)), (Some(boot_later), Some(wall_later))]
    {
        timers.set(Some(1), Some(1)).unwrap();
        timers.set(boot_at, wall_at).unwrap();
        assert_eq!(drain(&timers), Fired::default(), "{boot_at:?} {wall_at:?}");
    }
}

#[test]
fn setting_the_clock_wakes_the_wall_timer() {
    if !can_run("setting_the_clock_wakes_the_wall_timer", &[Need::Root]) {
        return;
    }
    let timers = DeadlineTimers::new().unwrap();
    timers.set(Some(u64::MAX), Some(wall_ms() + 3_600_000)).unwrap();
    timers.drain().unwrap();
    shift_clock(1);
    assert!(wait_readable(timers.wall_fd(), SOON).unwrap());
    assert_eq!(timers.drain().unwrap(), Fired { clock_set: true, ..Fired::default() });

    // Set again before anything read it: arming it again must not fail, and it must be armed.
    shift_clock(-1);
    timers.set(None, Some(wall_ms() + 5)).unwrap();
    loop {
        assert!(wait_readable(timers.wall_fd(), SOON).unwrap());
        if timers.drain().unwrap().wall {
            break;
        }
    }
}

/// Sets the wall clock off by a nanosecond or back.
fn shift_clock(by: i64) {
    // SAFETY: an all-zero timex is a valid value of that plain C structure.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    // The nanoseconds of an offset are never negative: −1 ns is −1 s and 999,999,999 ns.
    (change.time.tv_sec, change.time.tv_usec) = if by < 0 { (-1, 1_000_000_000 + by) } else { (0, by) };
    // SAFETY: the kernel reads and writes the structure it is given.
    Errno::result(unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &raw mut change) }).unwrap();
}

#[test]
fn ticker_ticks_periodically() {
    let ticker = Ticker::every(Duration::from_millis(20)).unwrap();
    assert!(!ticker.has_ticked().unwrap());
    for _ in 0..3 {
        assert!(wait_readable(ticker.as_fd(), Duration::from_secs(5)).unwrap());
        assert!(ticker.has_ticked().unwrap());
    }
    let never = Ticker::every(Duration::from_secs(u64::MAX));
    assert!(
        never.is_err() || !never.unwrap().has_ticked().unwrap(),
        "a period that no clock can hold does not panic"
    );
    let zero = Ticker::every(Duration::ZERO).unwrap();
    assert!(wait_readable(zero.as_fd(), Duration::from_secs(5)).unwrap(), "zero would disarm it");
}
