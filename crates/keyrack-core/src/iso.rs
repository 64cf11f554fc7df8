//! Times as the files and the wire write them: `YYYY-MM-DDTHH:MM:SS.mmmZ`, UTC, always three digits of milliseconds.
//!
//! Today's TypeScript compares these as strings, so the form is fixed; on reading, any RFC 3339 time is understood.

use jiff::Timestamp;

/// Formats milliseconds since the Unix epoch. Times outside the years −9999 to 9999 are clamped to them.
pub fn format_ms(ms: i64) -> String {
    let time =
        Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.3}")
}

/// Reads an RFC 3339 time as milliseconds since the Unix epoch, rounded down; `None` if it is none.
pub fn parse_ms(text: &str) -> Option<i64> {
    if text.len() > 40 {
        return None;
    }
    text.parse::<Timestamp>().ok().map(|time| time.as_millisecond())
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
        assert!(format_ms(i64::MAX).starts_with("9999-"));
    }
}
