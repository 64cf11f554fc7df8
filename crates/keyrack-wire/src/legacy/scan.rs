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
