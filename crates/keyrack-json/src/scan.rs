//! Incremental search for the end of a JSON object.

use crate::error::ScanError;
use crate::{MAX_DEPTH, is_space};

/// Finds the end of an object as its bytes arrive. It visits each byte once, however the bytes are
/// split: inside an escape, inside a character, anywhere.
///
/// It finds the end only; [`RawValue::parse`](crate::RawValue::parse) checks the grammar.
#[derive(Debug)]
pub struct EndScanner {
    limit: usize,
    /// Number of bytes visited.
    at: usize,
    depth: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeObject,
    Value,
    String,
    /// After a backslash in a string.
    Escape,
    /// After the closing brace, which ends at this offset.
    AfterObject(usize),
}

impl EndScanner {
    /// Returns a scanner for a text of at most `limit` bytes, white space included.
    pub fn new(limit: usize) -> Self {
        Self { limit, at: 0, depth: 0, state: State::BeforeObject }
    }

    /// Returns the number of bytes visited.
    pub fn scanned(&self) -> usize {
        self.at
    }

    /// Continues where the last call stopped, and returns the offset after the closing brace once
    /// the object is complete. `buffer` holds all bytes so far, from the first.
    ///
    /// # Errors
    /// [`ScanError`] if no bytes can complete the object any more. Later calls fail too.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, ScanError> {
        if self.at > self.limit {
            return Err(ScanError::TooLong { limit: self.limit });
        }
        for byte in buffer.get(self.at..).unwrap_or_default() {
            self.step(*byte)?;
            self.at += 1;
            if self.at > self.limit {
                return Err(ScanError::TooLong { limit: self.limit });
            }
        }
        match self.state {
            State::AfterObject(end) => Ok(Some(end)),
            _ => Ok(None),
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), ScanError> {
        #[cfg(any(test, feature = "visits"))]
        crate::visits::add(1);
        self.state = match (self.state, byte) {
            (State::BeforeObject | State::AfterObject(_), space) if is_space(space) => self.state,
            (State::BeforeObject, b'{') => {
                self.depth = 1;
                State::Value
            }
            (State::BeforeObject, _) => return Err(ScanError::NotAnObject),
            (State::AfterObject(_), _) => return Err(ScanError::Trailing),
            (State::Value, b'"') => State::String,
            (State::Value, b'{' | b'[') => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ScanError::TooDeep);
                }
                State::Value
            }
            (State::Value, b'}' | b']') => {
                self.depth -= 1;
                if self.depth == 0 { State::AfterObject(self.at + 1) } else { State::Value }
            }
            (State::Value, _) => State::Value,
            (State::String, b'"') => State::Value,
            (State::String, b'\\') => State::Escape,
            (State::String | State::Escape, _) => State::String,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visits;

    const LIMIT: usize = 1 << 20;

    type Progress = Result<Option<usize>, ScanError>;

    /// Scans whole, split in two at every byte, and byte by byte: the result is always the same.
    #[track_caller]
    fn check(text: &[u8], expected: &Progress) {
        assert_eq!(EndScanner::new(LIMIT).advance(text), *expected);
        for split in 0..=text.len() {
            let mut scanner = EndScanner::new(LIMIT);
            let first = scanner.advance(&text[..split]);
            if first != Ok(None) && *expected != Err(ScanError::Trailing) {
                assert_eq!(first, *expected, "split at {split}");
            }
            assert_eq!(scanner.advance(text), *expected, "split at {split}");
        }
        let mut scanner = EndScanner::new(LIMIT);
        let mut last = scanner.advance(&[]);
        for end in 1..=text.len() {
            last = scanner.advance(&text[..end]);
        }
        assert_eq!(last, *expected, "byte by byte");
    }

    #[test]
    fn scanner_finds_the_end_wherever_the_bytes_are_split() {
        for (message, after) in [
            ("{}", ""),
            ("  {}", ""),
            ("\r\n\t {}", " \r\n\t"),
            ("{\"a\":\"}\"}", "\n"),
            ("{\"a\":\"{[\"}", " "),
            (r#"{"a":"\"}"}"#, ""),
            (r#"{"a":"\\"}"#, " "),
            (r#"{"a":"\\\"}"}"#, ""),
            (r#"{"a\"}":[{},{"b":[]}]}"#, "\t"),
            ("{\"é\":\"\u{1f511}\"}", "\n\n"),
            (r#"{"a":"\ud83d\udd11"}"#, ""),
        ] {
            check(format!("{message}{after}").as_bytes(), &Ok(Some(message.len())));
        }
    }

    #[test]
    fn scanner_waits_for_the_end_of_a_prefix() {
        for text in ["", " ", "\n", "{", "{\"", "{\"a", "{\"a\\", "{\"a\\\"", "{\"a\":{}", "{\"a\":[", "{\"}"]
        {
            check(text.as_bytes(), &Ok(None));
        }
    }

    #[test]
    fn scanner_rejects_what_cannot_become_one_object() {
        for text in ["null", "[]", "\"a\"", "1", "  x", "\0", "\u{feff}{}", "}", "GET / HTTP/1.1"] {
            check(text.as_bytes(), &Err(ScanError::NotAnObject));
        }
        for text in ["{}x", "{} {}", "{}{}", "{}\0", "{}}"] {
            check(text.as_bytes(), &Err(ScanError::Trailing));
        }
        let deep =
            |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1), "{".to_owned() + &"}".repeat(depth));
        check(deep(MAX_DEPTH).as_bytes(), &Ok(Some(deep(MAX_DEPTH).len())));
        check(deep(MAX_DEPTH + 1).as_bytes(), &Err(ScanError::TooDeep));
        check("{\"a\":[".repeat(MAX_DEPTH).as_bytes(), &Err(ScanError::TooDeep));
    }

    #[test]
    fn scanner_counts_every_byte_against_its_limit() {
        let mut scanner = EndScanner::new(LIMIT);
        let mut text = vec![b' '; LIMIT];
        text[LIMIT - 2..].copy_from_slice(b"{}");
        assert_eq!(scanner.advance(&text), Ok(Some(LIMIT)));
        text.push(b' ');
        assert_eq!(scanner.advance(&text), Err(ScanError::TooLong { limit: LIMIT }));
        assert_eq!(scanner.advance(&text), Err(ScanError::TooLong { limit: LIMIT }), "later calls fail too");
        let endless = vec![b' '; LIMIT + 1];
        assert_eq!(EndScanner::new(LIMIT).advance(&endless), Err(ScanError::TooLong { limit: LIMIT }));
    }

    #[test]
    fn scanner_visits_each_byte_once() {
        let text = format!("{{\"a\":\"{}\"}}", "x\\\"é".repeat(40_000)).into_bytes();
        for chunk in [1, 7, 4096, text.len()] {
            visits::take();
            let mut scanner = EndScanner::new(LIMIT);
            let mut end = 0;
            let mut last = Ok(None);
            while end < text.len() {
                end = (end + chunk).min(text.len());
                last = scanner.advance(&text[..end]);
            }
            assert_eq!(last, Ok(Some(text.len())));
            assert_eq!(visits::take(), text.len(), "in chunks of {chunk}");
            assert_eq!(scanner.scanned(), text.len());
        }
    }
}
