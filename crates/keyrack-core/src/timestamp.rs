//! Times as the files and the wire write them: `YYYY-MM-DDTHH:MM:SS.mmmZ`, UTC, always three digits of milliseconds.
//!
//! Today's TypeScript compares these as strings, so the form is fixed; on reading, any RFC 3339 time is understood.

use jiff::Timestamp;
use jiff::tz::Offset;

/// Formats milliseconds since the Unix epoch. Times outside the years −9999 to 9999 are clamped to them.
pub fn format_ms(ms: i64) -> String {
    let time =
        Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    let at = Offset::UTC.to_datetime(time);
    let Ok(year) = u16::try_from(at.year()) else { return format!("{time:.3}") };
    // By hand: a time is written for every key of every reply.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |from: usize, digits: usize, mut number: u16| {
        for place in text[from..from + digits].iter_mut().rev() {
            *place = b'0' + u8::try_from(number % 10).expect("a digit");
            number /= 10;
        }
    };
    put(0, 4, year);
    for (from, number) in
        [(5, at.month()), (8, at.day()), (11, at.hour()), (14, at.minute()), (17, at.second())]
    {
        put(from, 2, u16::from(number.unsigned_abs()));
    }
    put(20, 3, at.millisecond().unsigned_abs());
    String::from_utf8(text.to_vec()).expect("digits and separators are ASCII")
}

/// Reads an RFC 3339 time as milliseconds since the Unix epoch, rounded down; `None` if it is none. A time behind the latest that
/// [`format_ms`] writes is that one.
pub fn parse_ms(text: &str) -> Option<i64> {
    if text.len() > 40 {
        return None;
    }
    if let Some(ms) = parse_own(text) {
        return Some(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    // The last hours of the year 9999, which many write for "never", lie behind the latest instant of jiff.
    let last = text.strip_prefix("9999-12-3").filter(|rest| rest.starts_with(['0', '1']))?;
    let shifted = format!("9998-12-3{last}");
    shifted.parse::<Timestamp>().ok().map(|_| Timestamp::MAX.as_millisecond())
}

/// Reads the very form [`format_ms`] writes, from the year 1970 to 9998. By hand: a client reads one with every key it gets.
fn parse_own(text: &str) -> Option<i64> {
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    for (at, separator) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')]
    {
        if text[at] != separator {
            return None;
        }
    }
    let number = |from: usize, digits: usize| {
        text[from..from + digits]
            .iter()
            .try_fold(0, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second, ms) = (number(11, 2)?, number(14, 2)?, number(17, 2)?, number(20, 3)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    // Days of the year before a month, and the days of each, in a year without a leap day.
    let (before, days) = *[
        (0, 31),
        (31, 28),
        (59, 31),
        (90, 30),
        (120, 31),
        (151, 30),
        (181, 31),
        (212, 31),
        (243, 30),
        (273, 31),
        (304, 30),
        (334, 31),
    ]
    .get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    let days = days + i64::from(leap && month == 2);
    let fits =
        (1970..=9998).contains(&year) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !fits {
        return None;
    }
    let past = year - 1;
    // Leap days of the years before this one, less those before 1970.
    let leap_days = past / 4 - past / 100 + past / 400 - 477 + i64::from(leap && month > 2);
    let day = (year - 1970) * 365 + leap_days + before + day - 1;
    Some((((day * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format_ms(ms), text);
            assert_eq!(parse_ms(text), Some(ms));
        }
        assert_eq!(parse_ms("2026-01-01T00:00:00Z"), Some(1_767_225_600_000));
        assert_eq!(parse_ms("2026-01-01T01:00:00+01:00"), Some(1_767_225_600_000));
        for bad in ["", "tomorrow", "2026-01-01", "2026-13-01T00:00:00Z", &"2".repeat(50)] {
            assert_eq!(parse_ms(bad), None, "{bad}");
        }
        for never in ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "9999-12-31T00:00:00-12:00"] {
            assert_eq!(parse_ms(never), Some(Timestamp::MAX.as_millisecond()), "{never}");
        }
        for bad in ["9999-12-32T00:00:00Z", "9999-12-31T25:00:00Z", "9999-12-31", "9999-12-31T23:59:59"] {
            assert_eq!(parse_ms(bad), None, "{bad}");
        }
        assert!(format_ms(i64::MAX).starts_with("9999-"));
        assert!(format_ms(i64::MIN).starts_with('-'), "before the year 0");
        // The year 0 to 9999, in steps that meet every month, hour and leap year.
        for ms in (-62_167_219_200_000..253_402_207_200_000_i64).step_by(86_399_999 * 31) {
            let time = Timestamp::from_millisecond(ms).unwrap();
            assert_eq!(format_ms(ms), format!("{time:.3}"));
            let own = parse_own(&format_ms(ms));
            assert_eq!(
                own,
                Some(ms).filter(|_| (1970..9999).contains(&Offset::UTC.to_datetime(time).year()))
            );
        }
        for (year, month) in
            [(2023, 2), (2024, 2), (2100, 2), (2000, 2), (2025, 4), (2025, 12), (2025, 13), (2025, 0)]
        {
            for day in 0..=32 {
                let text = format!("{year}-{month:02}-{day:02}T23:59:59.999Z");
                let time = text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
                assert_eq!(parse_own(&text), time, "{text}");
            }
        }
        for other in [
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:60.000Z",
            "2026-01-01t00:00:00.000Z",
            "2026-01-01T00:00:00.00 Z",
            "+026-01-01T00:00:00.000Z",
            "2026-01-01T00:00:00.000z",
        ] {
            assert_eq!(parse_own(other), None, "{other}");
        }
    }
}
