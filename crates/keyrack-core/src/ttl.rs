//! Lives and deadlines: how long an unlocked key may stay, and when it ends.
//!
//! A key has two deadlines, fixed at unlock: one on CLOCK_BOOTTIME, which counts suspend, and one on the wall clock. Whichever comes first
//! ends it, so that setting the clock can shorten a life and never lengthen it. No clock is read here.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorCode};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A span of life, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub u64);

impl Ttl {
    /// What a key gets when nobody asks otherwise.
    pub const DEFAULT: Ttl = Ttl(9 * HOUR);
    /// What a `sudo` key gets when nobody asks otherwise.
    pub const DEFAULT_SUDO: Ttl = Ttl(30 * MINUTE);
    /// The most a key can get.
    pub const CEILING: Ttl = Ttl(24 * HOUR);
    /// The most a `sudo` key can get.
    pub const CEILING_SUDO: Ttl = Ttl(HOUR);

    /// The default for a key.
    pub fn default_of(sudo: bool) -> Ttl {
        if sudo { Self::DEFAULT_SUDO } else { Self::DEFAULT }
    }

    /// The ceiling for a key.
    pub fn ceiling_of(sudo: bool) -> Ttl {
        if sudo { Self::CEILING_SUDO } else { Self::CEILING }
    }

    /// The time from one wall clock instant to a later one; zero if it is not later.
    fn between(from_ms: i64, until_ms: i64) -> Ttl {
        let span = i128::from(until_ms) - i128::from(from_ms);
        Ttl(u64::try_from(span.max(0)).unwrap_or(u64::MAX))
    }

    /// Milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0
    }
}

impl FromStr for Ttl {
    type Err = Error;

    /// `^\d+(h|m|s)$`: one number, one unit. Fails with [`ErrorCode::BadDuration`], also for a number no clock can hold.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::new(
                ErrorCode::BadDuration,
                "invalid duration: must be a number and h, m or s, such as 9h, 30m or 45s",
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
        count.checked_mul(unit).map(Ttl).ok_or_else(bad)
    }
}

impl fmt::Display for Ttl {
    /// The largest unit that is exact, else seconds rounded up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= HOUR && ms % HOUR == 0 => write!(f, "{}h", ms / HOUR),
            ms if ms >= MINUTE && ms % MINUTE == 0 => write!(f, "{}m", ms / MINUTE),
            ms => write!(f, "{}s", ms.div_ceil(SECOND)),
        }
    }
}

/// What fixes a key's life at unlock, beside the ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TtlRequest {
    /// The duration that was asked for; the default if none.
    pub requested: Option<Ttl>,
    /// The key's own `maxDuration`.
    pub max_duration: Option<Ttl>,
    /// When the credential itself ends, in milliseconds since the Unix epoch.
    pub credential_expires_at_ms: Option<i64>,
    /// Whether it is a `sudo` key.
    pub sudo: bool,
}

/// Which of the limits gave a key its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlLimit {
    /// What was asked for.
    Requested,
    /// The default, as nothing was asked for.
    Default,
    /// The key's `maxDuration`.
    MaxDuration,
    /// The credential's own end.
    Credential,
    /// The ceiling.
    Ceiling,
}

impl TtlLimit {
    /// All of them, the word of each on the wire and in JSON beside it.
    const WORDS: [(TtlLimit, &'static str); 5] = [
        (TtlLimit::Requested, "asked"),
        (TtlLimit::Default, "default"),
        (TtlLimit::MaxDuration, "max_duration"),
        (TtlLimit::Credential, "credential"),
        (TtlLimit::Ceiling, "ceiling"),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.into_iter().find(|(bound, _)| *bound == self).map_or("", |(_, word)| word)
    }

    /// The limit of a word; `None` for one that is not known here, as a newer peer may have more.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(_, known)| *known == word).map(|(bound, _)| bound)
    }
}

/// The life a key was given, whole, and what limited it. It is told to people and ends nothing: deadlines do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantedTtl {
    /// From its unlocking to its end; `None` where that is not known.
    pub ttl: Option<Ttl>,
    /// Why it is not longer; `None` where that is not known.
    pub by: Option<TtlLimit>,
}

/// The life a key gets, and which limit gave it: the least of the asked (or default) duration, the key's `maxDuration`, what is left of the
/// credential, and the ceiling. Zero if the credential has already ended. Fails with [`ErrorCode::DurationAboveCeiling`] when more than the ceiling
/// was asked for.
pub fn resolve_ttl(request: TtlRequest, now: Clock) -> Result<(Ttl, TtlLimit), Error> {
    let ceiling = Ttl::ceiling_of(request.sudo);
    match request.requested {
        Some(asked) if asked > ceiling => {
            let kind = if request.sudo { "a sudo key" } else { "a key" };
            Err(Error::new(
                ErrorCode::DurationAboveCeiling,
                format!("{kind} can be unlocked for at most {ceiling}, not for {asked}"),
            ))
        }
        _ => Ok(clamp_ttl(request, now)),
    }
}

/// The life a key gets where too long an ask is shortened instead of refused, as the legacy protocol wants it.
pub fn clamp_ttl(request: TtlRequest, now: Clock) -> (Ttl, TtlLimit) {
    let credential = request.credential_expires_at_ms.map(|end| Ttl::between(now.wall_ms, end));
    let asked = match request.requested {
        Some(asked) => (Some(asked), TtlLimit::Requested),
        None => (Some(Ttl::default_of(request.sudo)), TtlLimit::Default),
    };
    let bounds = [
        asked,
        (request.max_duration, TtlLimit::MaxDuration),
        (credential, TtlLimit::Credential),
        (Some(Ttl::ceiling_of(request.sudo)), TtlLimit::Ceiling),
    ];
    // The first of equals is named, so that a limit is only blamed when it took something away.
    bounds
        .into_iter()
        .filter_map(|(ttl, bound)| ttl.map(|ttl| (ttl, bound)))
        .min_by_key(|(ttl, _)| *ttl)
        .expect("what was asked for and the ceiling are always there")
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
    pub fn after(now: Clock, ttl: Ttl) -> Self {
        let wall = i64::try_from(ttl.0).unwrap_or(i64::MAX);
        Deadlines {
            boot_ns: now.boot_ns.saturating_add(ttl.0.saturating_mul(1_000_000)),
            wall_ms: now.wall_ms.saturating_add(wall),
        }
    }

    /// Both deadlines of a key that ends at a wall clock instant, or at the ceiling if that comes first or no end is given.
    pub fn until(now: Clock, expires_at_ms: Option<i64>, sudo: bool) -> Self {
        let ceiling = Ttl::ceiling_of(sudo);
        match expires_at_ms {
            None => Deadlines::after(now, ceiling),
            Some(end) => Deadlines {
                wall_ms: end.min(Deadlines::after(now, ceiling).wall_ms),
                ..Deadlines::after(now, Ttl::between(now.wall_ms, end).min(ceiling))
            },
        }
    }

    /// The earlier of both, on each clock.
    #[must_use]
    pub fn min(self, other: Deadlines) -> Self {
        Deadlines { boot_ns: self.boot_ns.min(other.boot_ns), wall_ms: self.wall_ms.min(other.wall_ms) }
    }

    /// Whether the key has ended: at its deadline, not after it.
    pub fn is_expired(&self, now: Clock) -> bool {
        now.boot_ns >= self.boot_ns || now.wall_ms >= self.wall_ms
    }

    /// What is left of the life: the lesser of both clocks.
    pub fn remaining(&self, now: Clock) -> Ttl {
        let boot = self.boot_ns.saturating_sub(now.boot_ns) / 1_000_000;
        Ttl(boot).min(Ttl::between(now.wall_ms, self.wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_words() {
        for (bound, word) in TtlLimit::WORDS {
            assert_eq!((bound.as_str(), TtlLimit::parse(word)), (word, Some(bound)));
        }
        assert_eq!(TtlLimit::parse("moon"), None);
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("9h", 9 * HOUR), ("30m", 30 * MINUTE), ("0s", 0), ("45s", 45_000), ("007m", 7 * MINUTE)]
        {
            assert_eq!(text.parse::<Ttl>().unwrap(), Ttl(ms), "{text}");
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
            assert_eq!(bad.parse::<Ttl>().unwrap_err().code, ErrorCode::BadDuration, "{bad:?}");
        }
    }

    #[test]
    fn shown() {
        for (ttl, text) in [
            (Ttl::DEFAULT, "9h"),
            (Ttl::DEFAULT_SUDO, "30m"),
            (Ttl(1), "1s"),
            (Ttl(90_000), "90s"),
            (Ttl(0), "0s"),
        ] {
            assert_eq!(ttl.to_string(), text);
        }
    }

    #[test]
    fn ends_at_its_deadline_on_either_clock() {
        let start = Clock { boot_ns: 5_000_000_000, wall_ms: 1_000_000 };
        let deadlines = Deadlines::after(start, Ttl(2000));
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
            assert_eq!(deadlines.is_expired(now), passed, "{now:?}");
            assert_eq!(deadlines.remaining(now).0 == 0, passed, "{now:?}");
        }
        assert_eq!(deadlines.remaining(at(500, 1500)), Ttl(500));
    }

    #[test]
    fn the_least_limit_gives_the_life() {
        use TtlLimit::{Ceiling, Credential, Default, MaxDuration, Requested};
        let now = Clock { boot_ns: 77, wall_ms: 1_000_000 };
        let h = |hours: u64| Some(Ttl(hours * HOUR));
        let at = |minutes: i64| Some(1_000_000 + minutes * 60_000);
        // asked, maxDuration, credential's end, sudo => life in minutes and its bound; None where the ask is refused
        let table = [
            (None, None, None, false, Some((540, Default))),
            (None, None, None, true, Some((30, Default))),
            (h(1), None, None, false, Some((60, Requested))),
            (h(24), None, None, false, Some((1440, Requested))),
            (h(25), None, None, false, None),
            (h(1), None, None, true, Some((60, Requested))),
            (h(2), None, None, true, None),
            (None, h(1), None, false, Some((60, MaxDuration))),
            (None, h(9), None, false, Some((540, Default))),
            (h(3), h(2), at(60), false, Some((60, Credential))),
            (h(3), h(1), at(61), false, Some((60, MaxDuration))),
            (None, None, at(0), false, Some((0, Credential))),
            (None, None, at(-5), false, Some((0, Credential))),
            (None, h(48), at(4000), false, Some((540, Default))),
            (h(25), h(1), at(1), false, None),
        ];
        for (asked, max_duration, credential_expires_at_ms, sudo, expected) in table {
            let request = TtlRequest { requested: asked, max_duration, credential_expires_at_ms, sudo };
            match (resolve_ttl(request, now), expected) {
                (Ok((ttl, bound)), Some((minutes, wanted))) => {
                    assert_eq!((ttl.0, bound), (minutes * MINUTE, wanted), "{request:?}");
                    assert_eq!(clamp_ttl(request, now), (ttl, bound));
                }
                (Err(error), None) => {
                    assert_eq!(error.code, ErrorCode::DurationAboveCeiling, "{request:?}");
                }
                (got, _) => panic!("{request:?} gave {got:?}"),
            }
        }
        for (asked, sudo, ttl) in [(h(25), false, Ttl::CEILING), (h(2), true, Ttl::CEILING_SUDO)] {
            let request = TtlRequest { requested: asked, sudo, ..TtlRequest::default() };
            assert_eq!(clamp_ttl(request, now), (ttl, Ceiling));
        }
    }

    #[test]
    fn until_an_instant_of_the_wall_clock() {
        let now = Clock { boot_ns: 9_000_000, wall_ms: 1_000_000 };
        let day = 24 * 3_600_000;
        for (end, sudo, life_ms) in [
            (Some(1_000_500), false, 500),
            (Some(1_000_000), false, 0),
            (Some(1_000_000 + day), false, day),
            (Some(1_000_001 + day), false, day),
            (Some(i64::MAX), false, day),
            (None, false, day),
            (None, true, 3_600_000),
            (Some(1_000_000 + day), true, 3_600_000),
        ] {
            let boot_ns = 9_000_000 + u64::try_from(life_ms).unwrap() * 1_000_000;
            let expected = Deadlines { boot_ns, wall_ms: 1_000_000 + life_ms };
            assert_eq!(Deadlines::until(now, end, sudo), expected, "{end:?} {sudo}");
        }
        for past in [999_999, 0, i64::MIN] {
            let deadlines = Deadlines::until(now, Some(past), false);
            assert!(deadlines.is_expired(now), "{past}");
            assert_eq!(deadlines.wall_ms, past);
        }
    }

    #[test]
    fn nothing_overflows() {
        let end = Clock { boot_ns: u64::MAX, wall_ms: i64::MAX };
        let deadlines = Deadlines::after(end, Ttl(u64::MAX));
        assert!(deadlines.is_expired(end));
        let early = Clock { boot_ns: 0, wall_ms: i64::MIN };
        assert!(!Deadlines::after(early, Ttl(u64::MAX)).is_expired(early));
        assert!(deadlines.remaining(early).0 > 0);
    }
}
