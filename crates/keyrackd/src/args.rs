//! Arguments of the daemon. None of them is a secret, and unknown ones are rejected.

use std::ffi::OsString;
use std::path::PathBuf;

use keyrack_core::{Error, ErrorCode};
use keyrack_sys::process::spawn::READY_FD;

/// Text of `--help`.
pub(crate) const HELP: &str = "\
Hold unlocked keys for one login session

Usage: keyrackd --socket PATH [--ready-fd 3]
       keyrackd --check [--ready-fd 3]

  --socket PATH   socket to serve on: an absolute path of at most 107 bytes, in a directory that you own, with mode 0700
  --check         check that a daemon could start here, and print the kind of memory it would use
  --ready-fd 3    report readiness or a start error on descriptor 3, a pipe (for clients that start a daemon)
  --version       print the version and exit
  --help          print this help and exit

You rarely need to run keyrackd: `keyrack unlock` starts it.

Environment:
  KEYRACK_DAEMON_IDLE_TIMEOUT_MS       exit after this long without a key or a request (default: 900000)
  KEYRACK_DAEMON_TERMINATION_CHECK_MS  interval of that check (default: 900000)
  KEYRACK_MEMORY                       kind of memory that keys must be kept in: auto, secret or locked (default: auto)
  KEYRACK_ALLOW_NAMESPACES             nested namespaces whose processes are served: user, or all for pid namespaces too (default: none)
  KEYRACK_LOG                          off, error, warn, info, debug or trace; logs name keys and peers, never values (default: off; warn in the foreground)
  KEYRACK_LOG_FILE                     absolute path of a log file with mode 0600 (default: standard error, or journald when a client starts keyrackd)
";

/// Parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Args {
    Help,
    Version,
    /// Take the steps of a start that come before its socket, and report.
    Check {
        /// Report on the pipe at [`READY_FD`], not on standard output.
        report: bool,
    },
    Serve {
        socket: PathBuf,
        /// Report on the pipe at [`READY_FD`].
        report: bool,
    },
}

/// Parses the arguments that follow the program's name.
///
/// # Errors
/// [`ErrorCode::Usage`], naming the argument if it cannot be a secret.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Error> {
    let mut args = args.into_iter();
    let (mut socket, mut report, mut check) = (None, None, None);
    while let Some(arg) = args.next() {
        let mut value = |name: &str| args.next().ok_or_else(|| usage(format!("{name} requires a value")));
        match arg.to_str() {
            Some("--help" | "-h") => return Ok(Args::Help),
            Some("--version" | "-V") => return Ok(Args::Version),
            Some("--check") => set_once(&mut check, "--check", ())?,
            Some("--socket") => set_once(&mut socket, "--socket", PathBuf::from(value("--socket")?))?,
            Some("--ready-fd") => {
                let text = value("--ready-fd")?;
                if text.to_str().and_then(|text| text.parse().ok()) != Some(READY_FD) {
                    return Err(usage(format!("--ready-fd must be {READY_FD}")));
                }
                set_once(&mut report, "--ready-fd", ())?;
            }
            _ => return Err(usage("unknown argument (not shown: it could be a secret)".to_owned())),
        }
    }
    let report = report.is_some();
    match (socket, check) {
        (Some(socket), None) => Ok(Args::Serve { socket, report }),
        (None, Some(())) => Ok(Args::Check { report }),
        (Some(_), Some(())) => Err(usage("--check cannot be used with --socket")),
        (None, None) => Err(usage("--socket PATH is required")),
    }
}

fn set_once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(usage(format!("{name} is given more than once"))),
    }
}

/// Error of `--ready-fd` without a pipe to report on.
pub(crate) fn no_pipe() -> Error {
    usage(format!("--ready-fd {READY_FD}: descriptor {READY_FD} is not a pipe open for writing"))
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Usage, message).hint("run `keyrackd --help`")
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
            (&[][..], "--socket PATH is required"),
            (&["--socket"], "--socket requires a value"),
            (&["--socket", "/a", "--socket", "/b"], "--socket is given more than once"),
            (&["--ready-fd", "4", "--socket", "/a"], "must be 3"),
            (&["--ready-fd", "x", "--socket", "/a"], "must be 3"),
            (&["--ready-fd", "3", "--ready-fd", "3", "--socket", "/a"], "--ready-fd is given more than once"),
            (&["--check", "--check"], "--check is given more than once"),
            (&["--check", "--socket", "/a"], "--check cannot be used with --socket"),
            (&["hunter2"], "unknown argument"),
            (&["--socket", "/a", "--hunter2"], "unknown argument"),
        ] {
            let message = parsed(args).unwrap_err();
            assert!(message.contains(expected) && !message.contains("hunter2"), "{args:?}: {message}");
        }
    }
}
