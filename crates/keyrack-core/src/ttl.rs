//! Time to live of unlocked keys, and their deadlines.
//!
//! A key has two deadlines, fixed at unlock: one on CLOCK_BOOTTIME, which counts suspend, and one
//! on the wall clock. The key expires at whichever comes first, so that setting the clock can
//! shorten its time and never extend it. No clock is read here.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorCode};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Time to live of a key, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub u64);

impl Ttl {
    /// Default for a key.
    pub const DEFAULT: Ttl = Ttl(9 * HOUR);
    /// Default for a `sudo` key.
    pub const DEFAULT_SUDO: Ttl = Ttl(30 * MINUTE);
    /// Maximum for a key.
    pub const CEILING: Ttl = Ttl(24 * HOUR);
    /// Maximum for a `sudo` key.
    pub const CEILING_SUDO: Ttl = Ttl(HOUR);

    /// Default for a key of this kind.
    pub fn default_of(sudo: bool) -> Ttl {
        if sudo { Self::DEFAULT_SUDO } else { Self::DEFAULT }
    }

    /// Maximum for a key of this kind.
    pub fn ceiling_of(sudo: bool) -> Ttl {
        if sudo { Self::CEILING_SUDO } else { Self::CEILING }
    }

    /// Parses a TTL that must be above zero.
    ///
    /// # Errors
    /// [`ErrorCode::BadDuration`].
    pub fn parse_nonzero(text: &str) -> Result<Ttl, Error> {
        match text.parse()? {
            Ttl(0) => Err(Error::new(ErrorCode::BadDuration, "the duration must be above zero")),
            ttl => Ok(ttl),
        }
    }

    /// Time from one wall clock instant to a later one; zero if it is not later.
    fn between(from_ms: i64, until_ms: i64) -> Ttl {
        let span = i128::from(until_ms) - i128::from(from_ms);
        Ttl(u64::try_from(span.max(0)).unwrap_or(u64::MAX))
    }

    /// Returns the milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0
    }
}

impl FromStr for Ttl {
    type Err = Error;

    /// Parses `^\d+(h|m|s)$`: one number, one unit.
    ///
    /// # Errors
    /// [`ErrorCode::BadDuration`], also for a number that no clock can hold.
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
    /// Writes the largest unit that is exact, else seconds rounded up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= HOUR && ms % HOUR == 0 => write!(f, "{}h", ms / HOUR),
            ms if ms >= MINUTE && ms % MINUTE == 0 => write!(f, "{}m", ms / MINUTE),
            ms => write!(f, "{}s", ms.div_ceil(SECOND)),
        }
    }
}

/// Limits of a key's TTL at unlock, besides the ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TtlRequest {
    /// Requested duration. `None` for the default.
    pub requested: Option<Ttl>,
    /// `maxDuration` of the key.
    pub max_duration: Option<Ttl>,
    /// Expiry of the credential itself, in milliseconds since the Unix epoch.
    pub credential_expires_at_ms: Option<i64>,
    /// Set for a `sudo` key.
    pub sudo: bool,
}

/// Limit that decided a key's TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlLimit {
    /// Requested duration.
    Requested,
    /// Default duration, as none was requested.
    Default,
    /// `maxDuration` of the key.
    MaxDuration,
    /// Expiry of the credential.
    Credential,
    /// Maximum for any key.
    Ceiling,
}

impl TtlLimit {
    /// Every limit, with its name on the wire and in JSON.
    const WORDS: [(TtlLimit, &'static str); 5] = [
        (TtlLimit::Requested, "asked"),
        (TtlLimit::Default, "default"),
        (TtlLimit::MaxDuration, "max_duration"),
        (TtlLimit::Credential, "credential"),
        (TtlLimit::Ceiling, "ceiling"),
    ];

    /// Name of the limit.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.into_iter().find(|(bound, _)| *bound == self).map_or("", |(_, word)| word)
    }

    /// Limit of this name. `None` for an unknown one: a newer peer may have more.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(_, known)| *known == word).map(|(bound, _)| bound)
    }
}

/// TTL that a key was granted at unlock, and the limit that decided it. It is shown to users. The
/// deadlines decide when the key expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantedTtl {
    /// Time from unlock to expiry. `None` if it is unknown.
    pub ttl: Option<Ttl>,
    /// Limit that decided it. `None` if it is unknown.
    pub limit: Option<TtlLimit>,
}

/// Returns the TTL of a key and the limit that decided it: the least of the requested (or default)
/// duration, the key's `maxDuration`, the time until the credential expires, and the ceiling. Zero
/// if the credential has expired.
///
/// # Errors
/// [`ErrorCode::DurationAboveCeiling`] if more than the ceiling was requested.
pub fn resolve_ttl(request: TtlRequest, now: Clock) -> Result<(Ttl, TtlLimit), Error> {
    let ceiling = Ttl::ceiling_of(request.sudo);
    match request.requested {
        Some(requested) if requested > ceiling => {
            Err(Error::new(ErrorCode::DurationAboveCeiling, above_ceiling(requested, request.sudo)))
        }
        _ => Ok(clamp_ttl(request, now)),
    }
}

/// Returns the sentence for a requested duration above the ceiling.
pub fn above_ceiling(requested: Ttl, sudo: bool) -> String {
    let keys = if sudo { "sudo keys" } else { "keys" };
    let ceiling = Ttl::ceiling_of(sudo);
    format!("{requested} is above the limit: {keys} stay unlocked for at most {ceiling}")
}

/// Returns the TTL like [`resolve_ttl`], but shortens a request above the ceiling, as the legacy
/// protocol does.
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
    // The first of equals counts, so that a limit is only named if it shortened the time.
    bounds
        .into_iter()
        .filter_map(|(ttl, bound)| ttl.map(|ttl| (ttl, bound)))
        .min_by_key(|(ttl, _)| *ttl)
        .expect("the requested TTL and the ceiling are always present")
}

/// Time of both clocks at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// CLOCK_BOOTTIME, in nanoseconds: counts suspend, cannot be set.
    pub boot_ns: u64,
    /// CLOCK_REALTIME, in milliseconds since the Unix epoch: can be set by root.
    pub wall_ms: i64,
}

/// Instant at which a key expires: whichever of the two comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// On CLOCK_BOOTTIME, in nanoseconds.
    pub boot_ns: u64,
    /// On the wall clock, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Deadlines {
    /// Deadlines of a TTL that begins now. Sums that no clock can hold are clamped to its last
    /// instant.
    pub fn after(now: Clock, ttl: Ttl) -> Self {
        let wall = i64::try_from(ttl.0).unwrap_or(i64::MAX);
        Deadlines {
            boot_ns: now.boot_ns.saturating_add(ttl.0.saturating_mul(1_000_000)),
            wall_ms: now.wall_ms.saturating_add(wall),
        }
    }

    /// Deadlines of a key that expires at a wall clock instant, or at the ceiling if that is
    /// earlier or no instant is given.
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

    /// Returns the earlier deadline on each clock.
    #[must_use]
    pub fn min(self, other: Deadlines) -> Self {
        Deadlines { boot_ns: self.boot_ns.min(other.boot_ns), wall_ms: self.wall_ms.min(other.wall_ms) }
    }

    /// Returns `true` from the deadline on.
    pub fn is_expired(&self, now: Clock) -> bool {
        now.boot_ns >= self.boot_ns || now.wall_ms >= self.wall_ms
    }

    /// Remaining time: the lesser of both clocks.
    pub fn remaining(&self, now: Clock) -> Ttl {
        let boot = self.boot_ns.saturating_sub(now.boot_ns) / 1_000_000;
        Ttl(boot).min(Ttl::between(now.wall_ms, self.wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_round_trips_through_its_name() {
        for (bound, word) in TtlLimit::WORDS {
            assert_eq!((bound.as_str(), TtlLimit::parse(word)), (word, Some(bound)));
        }
        assert_eq!(TtlLimit::parse("moon"), None);
    }

    #[test]
    fn ttl_parses_number_and_unit() {
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
    fn ttl_is_shown_in_the_largest_exact_unit() {
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
    fn key_expires_at_the_deadline_of_either_clock() {
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
    fn resolve_ttl_takes_the_least_limit() {
        use TtlLimit::{Ceiling, Credential, Default, MaxDuration, Requested};
        let now = Clock { boot_ns: 77, wall_ms: 1_000_000 };
        let h = |hours: u64| Some(Ttl(hours * HOUR));
        let at = |minutes: i64| Some(1_000_000 + minutes * 60_000);
        // requested, maxDuration, credential, sudo => TTL in minutes and its limit; None if
        // rejected
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
    fn deadlines_until_are_bounded_by_the_ceiling() {
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
    fn ttl_arithmetic_does_not_overflow() {
        let end = Clock { boot_ns: u64::MAX, wall_ms: i64::MAX };
        let deadlines = Deadlines::after(end, Ttl(u64::MAX));
        assert!(deadlines.is_expired(end));
        let early = Clock { boot_ns: 0, wall_ms: i64::MIN };
        assert!(!Deadlines::after(early, Ttl(u64::MAX)).is_expired(early));
        assert!(deadlines.remaining(early).0 > 0);
    }
}
