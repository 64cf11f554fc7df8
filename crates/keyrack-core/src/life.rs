//! Lives and deadlines: how long an unlocked key may stay, and when it ends.
//!
//! A key has two deadlines, fixed at unlock: one on CLOCK_BOOTTIME, which counts suspend, and one on the wall clock. Whichever comes first
//! ends it, so that setting the clock can shorten a life and never lengthen it. No clock is read here.

use std::fmt;
use std::str::FromStr;

use crate::error::{ErrorCode, Problem};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A span of life, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life(pub u64);

impl Life {
    /// What a key gets when nobody asks otherwise.
    pub const DEFAULT: Life = Life(9 * HOUR);
    /// What a `sudo` key gets when nobody asks otherwise.
    pub const DEFAULT_SUDO: Life = Life(30 * MINUTE);
    /// The most a key can get.
    pub const CEILING: Life = Life(24 * HOUR);
    /// The most a `sudo` key can get.
    pub const CEILING_SUDO: Life = Life(HOUR);

    /// The default for a key.
    pub fn default_of(sudo: bool) -> Life {
        if sudo { Self::DEFAULT_SUDO } else { Self::DEFAULT }
    }

    /// The ceiling for a key.
    pub fn ceiling_of(sudo: bool) -> Life {
        if sudo { Self::CEILING_SUDO } else { Self::CEILING }
    }

    /// Milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0
    }
}

impl FromStr for Life {
    type Err = Problem;

    /// `^\d+(h|m|s)$`: one number, one unit. Fails with [`ErrorCode::BadDuration`], also for a number no clock can hold.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let bad = || {
            let shown: String = text.chars().take(24).collect();
            Problem::new(
                ErrorCode::BadDuration,
                format!("invalid duration {shown:?}: must be a number and h, m or s, such as 9h, 30m or 45s"),
            )
        };
        let unit = match text.bytes().last() {
            Some(b'h') => HOUR,
            Some(b'm') => MINUTE,
            Some(b's') => SECOND,
            _ => return Err(bad()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let count: u64 = digits.parse().map_err(|_| bad())?;
        count.checked_mul(unit).map(Life).ok_or_else(bad)
    }
}

impl fmt::Display for Life {
    /// The largest unit that is exact, else seconds rounded up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= HOUR && ms % HOUR == 0 => write!(f, "{}h", ms / HOUR),
            ms if ms >= MINUTE && ms % MINUTE == 0 => write!(f, "{}m", ms / MINUTE),
            ms => write!(f, "{}s", ms.div_ceil(SECOND)),
        }
    }
}

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// CLOCK_BOOTTIME, in nanoseconds: counts suspend, cannot be set.
    pub boot_ns: u64,
    /// CLOCK_REALTIME, in milliseconds since the Unix epoch: can be set by root.
    pub wall_ms: i64,
}

/// When a key ends: at whichever of the two comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// On CLOCK_BOOTTIME, in nanoseconds.
    pub boot_ns: u64,
    /// On the wall clock, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Deadlines {
    /// Both deadlines of a life that begins now. Sums that no clock can hold end at its last instant.
    pub fn after(now: Clock, life: Life) -> Self {
        let wall = i64::try_from(life.0).unwrap_or(i64::MAX);
        Deadlines {
            boot_ns: now.boot_ns.saturating_add(life.0.saturating_mul(1_000_000)),
            wall_ms: now.wall_ms.saturating_add(wall),
        }
    }

    /// Whether the key has ended: at its deadline, not after it.
    pub fn passed(&self, now: Clock) -> bool {
        now.boot_ns >= self.boot_ns || now.wall_ms >= self.wall_ms
    }

    /// What is left of the life: the lesser of both clocks.
    pub fn left(&self, now: Clock) -> Life {
        let boot = self.boot_ns.saturating_sub(now.boot_ns) / 1_000_000;
        let wall = u64::try_from(self.wall_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
        Life(boot.min(wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("9h", 9 * HOUR), ("30m", 30 * MINUTE), ("0s", 0), ("45s", 45_000), ("007m", 7 * MINUTE)]
        {
            assert_eq!(text.parse::<Life>().unwrap(), Life(ms), "{text}");
        }
        for bad in [
            "",
            "h",
            "9",
            "9d",
            "9H",
            " 9h",
            "9h ",
            "1h30m",
            "-1h",
            "+1h",
            "1.5h",
            "٣h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(bad.parse::<Life>().unwrap_err().code, ErrorCode::BadDuration, "{bad:?}");
        }
    }

    #[test]
    fn shown() {
        for (life, text) in [
            (Life::DEFAULT, "9h"),
            (Life::DEFAULT_SUDO, "30m"),
            (Life(1), "1s"),
            (Life(90_000), "90s"),
            (Life(0), "0s"),
        ] {
            assert_eq!(life.to_string(), text);
        }
    }

    #[test]
    fn ends_at_its_deadline_on_either_clock() {
        let start = Clock { boot_ns: 5_000_000_000, wall_ms: 1_000_000 };
        let deadlines = Deadlines::after(start, Life(2000));
        let at = |boot_ms: u64, wall_ms: i64| Clock {
            boot_ns: 5_000_000_000 + boot_ms * 1_000_000,
            wall_ms: 1_000_000 + wall_ms,
        };
        for (now, passed) in [
            (at(0, 0), false),
            (at(1999, 1999), false),
            (at(2000, 1999), true),
            (at(1999, 2000), true),
            (at(2000, -1_000_000), true),
            (at(0, 31_536_000_000), true),
            (at(2001, 2001), true),
        ] {
            assert_eq!(deadlines.passed(now), passed, "{now:?}");
            assert_eq!(deadlines.left(now).0 == 0, passed, "{now:?}");
        }
        assert_eq!(deadlines.left(at(500, 1500)), Life(500));
    }

    #[test]
    fn nothing_overflows() {
        let end = Clock { boot_ns: u64::MAX, wall_ms: i64::MAX };
        let deadlines = Deadlines::after(end, Life(u64::MAX));
        assert!(deadlines.passed(end));
        let early = Clock { boot_ns: 0, wall_ms: i64::MIN };
        assert!(!Deadlines::after(early, Life(u64::MAX)).passed(early));
        assert!(deadlines.left(early).0 > 0);
    }
}
