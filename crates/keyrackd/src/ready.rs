//! What the daemon tells the one that started it, over an inherited pipe: that it serves, that another one already does,
//! or why it does not. The pipe is closed behind the word, so the starter reads to the end and never waits for more.
//!
//! The word is `ready\n`, `served\n`, or `error <code>\n<message>`. An end without a word is a daemon that died.

use std::io::Write;

use keyrack_core::Problem;

/// What came of a start.
#[derive(Clone, Debug)]
pub enum Word<'a> {
    /// The socket is served by this process.
    Ready,
    /// The socket is served by another daemon, which answers.
    Served,
    /// It is not served.
    Failed(&'a Problem),
}

impl Word<'_> {
    /// The bytes on the pipe.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Word::Ready => b"ready\n".to_vec(),
            Word::Served => b"served\n".to_vec(),
            Word::Failed(problem) => format!("error {}\n{}", problem.code, problem.message).into_bytes(),
        }
    }

    /// Writes them and closes the pipe. A starter that is gone is no concern of the daemon's.
    pub fn say(&self, pipe: impl Write) {
        let mut pipe = pipe;
        let _ = pipe.write_all(&self.bytes());
    }
}

#[cfg(test)]
mod tests {
    use keyrack_core::ErrorCode;

    use super::*;

    #[test]
    fn words() {
        assert_eq!(Word::Ready.bytes(), b"ready\n");
        assert_eq!(Word::Served.bytes(), b"served\n");
        let problem = Problem::new(ErrorCode::Traced, "keyrackd is being traced\nby somebody");
        assert_eq!(Word::Failed(&problem).bytes(), b"error traced\nkeyrackd is being traced\nby somebody");
    }
}
