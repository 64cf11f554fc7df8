//! Search for the end of a request as its bytes arrive.

use keyrack_json::EndScanner;

use super::MAX_REQUEST;
use super::error::LegacyError;

/// State of a message after some of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The message is not complete.
    More,
    /// The message is complete. Only white space follows it.
    Complete {
        /// Length of the message in the buffer.
        end: usize,
    },
    /// The bytes are not a message, whatever follows them.
    Bad(LegacyError),
}

/// Finds the end of a request of at most [`MAX_REQUEST`] bytes. It visits each byte once, however
/// the bytes are split.
#[derive(Debug)]
pub struct Scanner(EndScanner);

impl Scanner {
    /// Returns a scanner for one request.
    pub fn for_request() -> Self {
        Self(EndScanner::new(MAX_REQUEST))
    }

    /// Returns the number of bytes visited.
    pub fn scanned(&self) -> usize {
        self.0.scanned()
    }

    /// Continues where the last call stopped. `buffer` holds all bytes so far, from the first.
    pub fn advance(&mut self, buffer: &[u8]) -> Progress {
        match self.0.advance(buffer) {
            Ok(None) => Progress::More,
            Ok(Some(end)) => Progress::Complete { end },
            Err(error) => Progress::Bad(error.into()),
        }
    }
}
