//! What the daemon tells the one that started it, over an inherited pipe: that it serves, that another one already does,
//! or why it does not. The pipe is closed behind the word, so the starter reads to the end and never waits for more.
//!
//! The word is `ready\n`, `served\n`, `fit\nmemory <mode>\n` (a check), or `error <code>\n<message>`, followed by
//! `\nfix: <command>` and `\nhint: <sentence>` where there are such. An end without a word is a daemon that died.

use std::io::Write;

use keyrack_core::{Error, Invocation};

/// What came of a start.
#[derive(Clone, Debug)]
pub enum StartupStatus<'a> {
    /// The socket is served by this process.
    Ready,
    /// The socket is served by another daemon, which answers.
    AlreadyRunning,
    /// A daemon could start here, with this memory.
    Fit(&'a str),
    /// It is not served, or could not be.
    Failed(&'a Error),
}

impl StartupStatus<'_> {
    /// The bytes on the pipe.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            StartupStatus::Ready => b"ready\n".to_vec(),
            StartupStatus::AlreadyRunning => b"served\n".to_vec(),
            StartupStatus::Fit(memory) => format!("fit\nmemory {memory}\n").into_bytes(),
            StartupStatus::Failed(error) => {
                let fix = error.fix.as_ref().map(|fix| fix.render(Invocation::default()));
                let fix = fix.map(|fix| format!("\nfix: {fix}")).unwrap_or_default();
                let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                format!("error {}\n{}{fix}{hint}", error.code, error.message).into_bytes()
            }
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
    use keyrack_core::{ErrorCode, Fix};

    use super::*;

    #[test]
    fn words() {
        assert_eq!(StartupStatus::Ready.bytes(), b"ready\n");
        assert_eq!(StartupStatus::AlreadyRunning.bytes(), b"served\n");
        let error = Error::new(ErrorCode::Traced, "keyrackd is being traced\nby somebody");
        assert_eq!(
            StartupStatus::Failed(&error).bytes(),
            b"error traced\nkeyrackd is being traced\nby somebody"
        );
        let helped = error.fix(Fix::Text("kill it".to_owned())).hint("end it");
        assert!(StartupStatus::Failed(&helped).bytes().ends_with(b"by somebody\nfix: kill it\nhint: end it"));
        assert_eq!(StartupStatus::Fit("locked").bytes(), b"fit\nmemory locked\n");
    }
}
