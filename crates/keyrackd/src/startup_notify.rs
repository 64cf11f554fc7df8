//! Startup notification: what the daemon reports to the process that started it, over an inherited
//! pipe. The daemon closes the pipe after the report, so the starter reads to the end and never
//! waits for more.
//!
//! The report is `ready\n`, `served\n`, `fit\nmemory <mode>\n` (a check), or
//! `error <code>\n<message>`, with `\nfix: <command>` and `\nhint: <sentence>` where the error has
//! them. An end without a report means that the daemon died.

use std::io::Write;

use keyrack_core::{Error, Invocation};

/// Result of starting the daemon.
#[derive(Clone, Debug)]
pub(crate) enum StartupStatus<'a> {
    /// This process serves the socket.
    Ready,
    /// Another daemon serves the socket and answers.
    AlreadyRunning,
    /// A daemon could start here, with this memory.
    Fit(&'a str),
    /// The daemon did not start, or could not.
    Failed(&'a Error),
}

impl StartupStatus<'_> {
    /// Returns the report.
    pub(crate) fn bytes(&self) -> Vec<u8> {
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

    /// Writes the report and closes the pipe. A starter that is gone does not concern the daemon.
    pub(crate) fn send(&self, pipe: impl Write) {
        let mut pipe = pipe;
        let _ = pipe.write_all(&self.bytes());
    }
}

#[cfg(test)]
mod tests {
    use keyrack_core::{ErrorCode, Fix};

    use super::*;

    #[test]
    fn each_status_has_its_report() {
        assert_eq!(StartupStatus::Ready.bytes(), b"ready\n");
        assert_eq!(StartupStatus::AlreadyRunning.bytes(), b"served\n");
        let error = Error::new(ErrorCode::Traced, "keyrackd is being traced\nby gdb");
        assert_eq!(StartupStatus::Failed(&error).bytes(), b"error traced\nkeyrackd is being traced\nby gdb");
        let helped = error.fix(Fix::Text("kill it".to_owned())).hint("close it");
        assert!(StartupStatus::Failed(&helped).bytes().ends_with(b"by gdb\nfix: kill it\nhint: close it"));
        assert_eq!(StartupStatus::Fit("locked").bytes(), b"fit\nmemory locked\n");
    }
}
