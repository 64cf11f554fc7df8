//! Finds the end of a message as its bytes come. Each byte is looked at once, however the bytes are split: inside an
//! escape, inside a character, anywhere.

use super::error::LegacyError;
use super::{MAX_REPLY, MAX_REQUEST};
use crate::json::{MAX_DEPTH, is_space};

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Its end has not come yet.
    More,
    /// It is complete and ends before this place in the buffer. Only white space follows.
    Complete {
        /// Length of the buffer's part to parse.
        end: usize,
    },
    /// It is none, whatever follows.
    Bad(LegacyError),
}

/// The state between two reads into the same growing buffer.
#[derive(Debug)]
pub struct Scanner {
    limit: usize,
    /// Bytes looked at so far.
    at: usize,
    depth: usize,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Value,
    String,
    /// Behind a backslash in a string.
    Escape,
    /// Behind the closing brace, which this is the end of.
    After(usize),
}

impl Scanner {
    /// For a request, of at most [`MAX_REQUEST`] bytes.
    pub fn for_request() -> Self {
        Self::with_limit(MAX_REQUEST)
    }

    /// For a reply, of at most [`MAX_REPLY`] bytes.
    pub fn for_reply() -> Self {
        Self::with_limit(MAX_REPLY)
    }

    fn with_limit(limit: usize) -> Self {
        Self { limit, at: 0, depth: 0, place: Place::Before }
    }

    /// How many bytes have been looked at.
    pub fn scanned(&self) -> usize {
        self.at
    }

    /// Goes on where the last call stopped. `buffer` is all that has come so far, from the first byte.
    pub fn advance(&mut self, buffer: &[u8]) -> Progress {
        if self.at > self.limit {
            return Progress::Bad(LegacyError::TooLarge { limit: self.limit });
        }
        let fresh = buffer.get(self.at..).unwrap_or_default();
        for byte in fresh {
            if let Err(error) = self.step(*byte) {
                return Progress::Bad(error);
            }
            self.at += 1;
            if self.at > self.limit {
                return Progress::Bad(LegacyError::TooLarge { limit: self.limit });
            }
        }
        match self.place {
            Place::After(end) => Progress::Complete { end },
            _ => Progress::More,
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), LegacyError> {
        #[cfg(test)]
        crate::json::visits::add(1);
        self.place = match (self.place, byte) {
            (Place::Before | Place::After(_), space) if is_space(space) => self.place,
            (Place::Before, b'{') => {
                self.depth = 1;
                Place::Value
            }
            (Place::Before, _) => return Err(LegacyError::NotAnObject),
            (Place::After(_), _) => return Err(LegacyError::Trailing),
            (Place::Value, b'"') => Place::String,
            (Place::Value, b'{' | b'[') => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(LegacyError::TooDeep);
                }
                Place::Value
            }
            (Place::Value, b'}' | b']') => {
                self.depth -= 1;
                if self.depth == 0 { Place::After(self.at + 1) } else { Place::Value }
            }
            (Place::Value, _) => Place::Value,
            (Place::String, b'"') => Place::Value,
            (Place::String, b'\\') => Place::Escape,
            (Place::String | Place::Escape, _) => Place::String,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::visits;
    use crate::legacy::Request;

    /// Whole, and split in two at every byte, and byte by byte: always the same.
    #[track_caller]
    fn check(text: &[u8], expected: &Progress) {
        assert_eq!(Scanner::for_request().advance(text), *expected);
        for split in 0..=text.len() {
            let mut scanner = Scanner::for_request();
            let first = scanner.advance(&text[..split]);
            if first != Progress::More && !matches!(expected, Progress::Bad(LegacyError::Trailing)) {
                assert_eq!(first, *expected, "split at {split}");
            }
            assert_eq!(scanner.advance(text), *expected, "split at {split}");
        }
        let mut scanner = Scanner::for_request();
        let mut last = scanner.advance(&[]);
        for end in 1..=text.len() {
            last = scanner.advance(&text[..end]);
        }
        assert_eq!(last, *expected, "byte by byte");
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_split() {
        for (message, behind) in [
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
            check(format!("{message}{behind}").as_bytes(), &Progress::Complete { end: message.len() });
        }
    }

    #[test]
    fn what_has_not_ended_is_awaited() {
        for text in ["", " ", "\n", "{", "{\"", "{\"a", "{\"a\\", "{\"a\\\"", "{\"a\":{}", "{\"a\":[", "{\"}"]
        {
            check(text.as_bytes(), &Progress::More);
        }
    }

    #[test]
    fn what_can_never_be_a_request_is_bad_at_once() {
        for text in ["null", "[]", "\"a\"", "1", "  x", "\0", "\u{feff}{}", "}", "GET / HTTP/1.1"] {
            check(text.as_bytes(), &Progress::Bad(LegacyError::NotAnObject));
        }
        for text in ["{}x", "{} {}", "{}{}", "{}\0", "{}}"] {
            check(text.as_bytes(), &Progress::Bad(LegacyError::Trailing));
        }
        let deep =
            |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1), "{".to_owned() + &"}".repeat(depth));
        check(deep(MAX_DEPTH).as_bytes(), &Progress::Complete { end: deep(MAX_DEPTH).len() });
        check(deep(MAX_DEPTH + 1).as_bytes(), &Progress::Bad(LegacyError::TooDeep));
        check("{\"a\":[".repeat(MAX_DEPTH).as_bytes(), &Progress::Bad(LegacyError::TooDeep));
    }

    #[test]
    fn the_limit_counts_every_byte() {
        for (mut scanner, limit) in [(Scanner::for_request(), MAX_REQUEST), (Scanner::for_reply(), MAX_REPLY)]
        {
            let mut text = vec![b' '; limit];
            text[limit - 2..].copy_from_slice(b"{}");
            assert_eq!(scanner.advance(&text), Progress::Complete { end: limit });
            text.push(b' ');
            let too_large = Progress::Bad(LegacyError::TooLarge { limit });
            assert_eq!(scanner.advance(&text), too_large);
            assert_eq!(scanner.advance(&text), too_large, "it stays bad");
        }
        let endless = vec![b' '; MAX_REQUEST + 1];
        let too_large = Progress::Bad(LegacyError::TooLarge { limit: MAX_REQUEST });
        assert_eq!(Scanner::for_request().advance(&endless), too_large);
    }

    #[test]
    fn each_byte_is_looked_at_once_however_it_comes() {
        let text = format!("{{\"a\":\"{}\"}}", "x\\\"é".repeat(40_000)).into_bytes();
        for chunk in [1, 7, 4096, text.len()] {
            visits::take();
            let mut scanner = Scanner::for_request();
            let mut end = 0;
            let mut last = Progress::More;
            while end < text.len() {
                end = (end + chunk).min(text.len());
                last = scanner.advance(&text[..end]);
            }
            assert_eq!(last, Progress::Complete { end: text.len() });
            assert_eq!(visits::take(), text.len(), "in chunks of {chunk}");
            assert_eq!(scanner.scanned(), text.len());
        }
    }

    /// The parser passes over a value once for each object of the protocol's own it is inside of, and over a string
    /// once more to check it: a fixed number, whatever the sender nests or repeats.
    #[test]
    fn parsing_is_linear() {
        let grant = |secret: &str, more: &str| {
            format!(
                r#"{{"slug":"a.b.c","key":{{"secret":"{secret}","grade":{{"protection":"p","duration":"d"{more}}}{more}}},"source":{{"vault":"v","mech":"m"{more}}},"env":"b","org":"a"{more}}}"#
            )
        };
        let unlock = |grants: &[String]| {
            format!(r#"{{"command":"UNLOCK","payload":{{"keys":[{}]}}}}"#, grants.join(","))
        };
        let deep = format!(",\"x\":{}{}", "[".repeat(50), "]".repeat(50));
        let wide = format!(",\"x\":[{}1]", "[],".repeat(50_000));
        let many: String = (0..64).map(|n| format!(",\"x{n}\":{{\"\\u0061\":[null,true,1.5e3]}}")).collect();
        let long_names: String = (0..64).map(|n| format!(",\"{}{n:02}\":0", "x".repeat(1000))).collect();
        let messages = [
            unlock(&[grant(&"\\u0041".repeat(150_000), "")]),
            unlock(&vec![grant("s", &deep); 600]),
            unlock(&[grant("s", &wide)]),
            unlock(&vec![grant("s", &many); 50]),
            unlock(&[grant("s", &long_names)]),
            unlock(&vec![grant("s", ""); 4000]),
            format!(r#"{{"command":"GET","payload":{{"slugs":[{}"a"]}}}}"#, r#""\u0061.b.c","#.repeat(4000)),
            format!(
                r#"{{{}"command":"STATUS","payload":{{}}}}"#,
                r#""command_":{"payload":[{}]},"#.repeat(30_000)
            ),
        ];
        for message in &messages {
            visits::take();
            Request::parse(message.as_bytes()).unwrap();
            let visited = visits::take();
            assert!(visited <= 8 * message.len(), "{visited} for {} bytes: {:.60}", message.len(), message);
        }
    }
}
