//! The daemon's arguments. It takes few, none of them a secret, and every unknown one is refused.

use std::ffi::OsString;
use std::path::PathBuf;

use keyrack_core::{Error, ErrorCode};
use keyrack_sys::process::spawn::READY_FD;

/// Text of `--help`.
pub(crate) const HELP: &str = "\
keyrackd: holds unlocked keys for one login session

Usage: keyrackd --socket PATH [--ready-fd 3]
       keyrackd --check [--ready-fd 3]

  --socket PATH   serve on this socket: absolute, at most 107 bytes, in a directory of mode 0700 that is ours
  --check         only check that a daemon could start here, and print the memory it would use
  --ready-fd 3    say on descriptor 3, a pipe, when it is served, or why not (for a client that starts a daemon)
  --version       print the version
  --help          print this

People rarely call it: `keyrack unlock` starts one.

Environment:
  KEYRACK_DAEMON_IDLE_TIMEOUT_MS       end when no key is held and nobody asked for this long (900000)
  KEYRACK_DAEMON_TERMINATION_CHECK_MS  how often that is looked at (900000)
  KEYRACK_MEMORY                       auto, secret or locked: what keys must be kept in (auto)
  KEYRACK_ALLOW_NAMESPACES             user or all: serve callers in nested user namespaces, or in nested pid namespaces too
  KEYRACK_LOG                          off, error, warn, info, debug or trace: it names keys and peers, never values (off; here: warn)
  KEYRACK_LOG_FILE                     a file to log to, absolute, 0600 (standard error; journald when a client starts it)
";

/// Parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Args {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `--check`: start as far as the socket, and report.
    Check {
        /// Report on the pipe at [`READY_FD`], not on standard output.
        report: bool,
    },
    /// Serve.
    Serve {
        /// Path of the socket.
        socket: PathBuf,
        /// Report on the pipe at [`READY_FD`].
        report: bool,
    },
}

/// Reads the arguments, the program's name not among them.
///
/// # Errors
/// [`ErrorCode::Usage`], naming what is wrong.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Error> {
    let mut args = args.into_iter();
    let (mut socket, mut report, mut check) = (None, None, None);
    while let Some(arg) = args.next() {
        let mut value = |name: &str| args.next().ok_or_else(|| usage(format!("{name} needs a value")));
        match arg.to_str() {
            Some("--help" | "-h") => return Ok(Args::Help),
            Some("--version" | "-V") => return Ok(Args::Version),
            Some("--check") => once(&mut check, "--check", ())?,
            Some("--socket") => once(&mut socket, "--socket", PathBuf::from(value("--socket")?))?,
            Some("--ready-fd") => {
                let text = value("--ready-fd")?;
                if text.to_str().and_then(|text| text.parse().ok()) != Some(READY_FD) {
                    return Err(usage(format!("--ready-fd must be {READY_FD}")));
                }
                once(&mut report, "--ready-fd", ())?;
            }
            _ => return Err(usage("an unknown argument (not shown: it could be a secret)".to_owned())),
        }
    }
    let report = report.is_some();
    match (socket, check) {
        (Some(socket), None) => Ok(Args::Serve { socket, report }),
        (None, Some(())) => Ok(Args::Check { report }),
        (Some(_), Some(())) => Err(usage("--check takes no --socket")),
        (None, None) => Err(usage("--socket PATH is needed")),
    }
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(usage(format!("{name} is given twice"))),
    }
}

/// There is nothing to report on.
pub(crate) fn no_pipe() -> Error {
    usage(format!("--ready-fd {READY_FD}: descriptor {READY_FD} is not a pipe open for writing"))
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Usage, message).hint("see keyrackd --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Args, String> {
        parse(args.iter().map(OsString::from)).map_err(|error| {
            assert_eq!(error.code, ErrorCode::Usage);
            error.message
        })
    }

    #[test]
    fn parse_accepts_valid_arguments() {
        let socket = PathBuf::from("/run/k.sock");
        for (args, expected) in [
            (&["--help"][..], Args::Help),
            (&["-h"], Args::Help),
            (&["--socket", "/run/k.sock", "--version"], Args::Version),
            (&["--socket", "/run/k.sock"], Args::Serve { socket: socket.clone(), report: false }),
            (&["--ready-fd", "3", "--socket", "/run/k.sock"], Args::Serve { socket, report: true }),
            (&["--check"], Args::Check { report: false }),
            (&["--check", "--ready-fd", "3"], Args::Check { report: true }),
        ] {
            assert_eq!(parsed(args), Ok(expected), "{args:?}");
        }
    }

    #[test]
    fn parse_rejects_invalid_arguments_without_quoting_them() {
        for (args, expected) in [
            (&[][..], "--socket PATH is needed"),
            (&["--socket"], "--socket needs a value"),
            (&["--socket", "/a", "--socket", "/b"], "--socket is given twice"),
            (&["--ready-fd", "4", "--socket", "/a"], "must be 3"),
            (&["--ready-fd", "x", "--socket", "/a"], "must be 3"),
            (&["--ready-fd", "3", "--ready-fd", "3", "--socket", "/a"], "--ready-fd is given twice"),
            (&["--check", "--check"], "--check is given twice"),
            (&["--check", "--socket", "/a"], "--check takes no --socket"),
            (&["hunter2"], "unknown argument"),
            (&["--socket", "/a", "--hunter2"], "unknown argument"),
        ] {
            let message = parsed(args).unwrap_err();
            assert!(message.contains(expected) && !message.contains("hunter2"), "{args:?}: {message}");
        }
    }
}
