//! Times as files and the wire write them: `YYYY-MM-DDTHH:MM:SS.mmmZ`, in UTC, always with three
//! digits of milliseconds. Today's TypeScript compares them as strings, so the form is fixed. Any
//! RFC 3339 time is read.

use jiff::Timestamp;
use jiff::tz::Offset;

/// Longest text that is parsed. Peers send it.
const MAX_LENGTH: usize = 40;

/// First instant of the year 0.
const FIRST: Timestamp = Timestamp::constant(-62_167_219_200, 0);

/// Text of a time. It is formatted without an allocation, which would take eight times as long with
/// musl. Benchmark row: "GET, native, persistent, Rust client".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampText([u8; 24]);

impl TimestampText {
    /// Formats milliseconds since the Unix epoch. Times outside the years 0 to 9999 are clamped to
    /// them.
    pub fn of_ms(ms: i64) -> Self {
        let out_of_range = if ms < 0 { FIRST } else { Timestamp::MAX };
        let time = Timestamp::from_millisecond(ms).unwrap_or(out_of_range);
        let time = Offset::UTC.to_datetime(time.max(FIRST));
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (end, number) in [
            (4, time.year()),
            (7, time.month().into()),
            (10, time.day().into()),
            (13, time.hour().into()),
            (16, time.minute().into()),
            (19, time.second().into()),
            (23, time.millisecond()),
        ] {
            // Digits from the right; the zeros before them stay.
            let (mut rest, mut at) = (number.unsigned_abs(), end);
            while rest > 0 {
                at -= 1;
                text[at] = b'0' + u8::try_from(rest % 10).expect("a digit fits");
                rest /= 10;
            }
        }
        TimestampText(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits and separators are ASCII")
    }
}

/// Formats milliseconds since the Unix epoch, as [`TimestampText`] does.
pub fn format_ms(ms: i64) -> String {
    TimestampText::of_ms(ms).as_str().to_owned()
}

/// Parses an RFC 3339 time to milliseconds since the Unix epoch, rounded down. Returns `None` for
/// any other text. A time outside those that [`format_ms`] writes is clamped to the nearest of
/// them.
pub fn parse_ms(text: &str) -> Option<i64> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.max(FIRST).as_millisecond());
    }
    // Many programs write the last hours of the year 9999 for "never". They are after the latest
    // instant of jiff.
    let rest = text.strip_prefix("9999-12-3").filter(|rest| rest.starts_with(['0', '1']))?;
    let year_before = format!("9998-12-3{rest}");
    year_before.parse::<Timestamp>().ok().map(|_| Timestamp::MAX.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_ms_writes_what_parse_ms_reads() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (253_402_207_199_999, "9999-12-30T21:59:59.999Z"),
        ] {
            assert_eq!(format_ms(ms), text);
            assert_eq!(parse_ms(text), Some(ms));
        }
        // The years 0 to 9999, in steps that hit every month, hour and leap year.
        for ms in (-62_167_219_200_000..253_402_207_200_000_i64).step_by(86_399_999 * 31) {
            assert_eq!(format_ms(ms).len(), 24);
            assert_eq!(parse_ms(&format_ms(ms)), Some(ms));
        }
    }

    #[test]
    fn format_ms_clamps_the_year() {
        assert!(format_ms(i64::MAX).starts_with("9999-12-30T"), "{}", format_ms(i64::MAX));
        for ms in [i64::MIN, -62_167_219_200_001] {
            assert_eq!(format_ms(ms), "0000-01-01T00:00:00.000Z");
        }
    }

    #[test]
    fn parse_ms_reads_rfc_3339() {
        for (text, ms) in [
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600_000),
            ("2026-01-01T00:00:00.1239Z", 1_767_225_600_123),
        ] {
            assert_eq!(parse_ms(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn parse_ms_clamps_years_before_0_and_the_end_of_9999() {
        assert_eq!(parse_ms("-000001-12-31T23:59:59.999Z"), Some(FIRST.as_millisecond()));
        for text in ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "9999-12-31T00:00:00-12:00"] {
            assert_eq!(parse_ms(text), Some(Timestamp::MAX.as_millisecond()), "{text}");
        }
    }

    #[test]
    fn parse_ms_rejects_other_text() {
        for text in [
            "",
            "tomorrow",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00.000Z",
            "2025-02-29T00:00:00.000Z",
            "2100-02-29T00:00:00.000Z",
            "2025-04-31T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:00.00 Z",
            "+026-01-01T00:00:00.000Z",
            "9999-12-32T00:00:00Z",
            "9999-12-31T25:00:00Z",
            "9999-12-31",
            "9999-12-31T23:59:59",
            &"2".repeat(50),
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }
}
