//! Output of the commands.
//!
//! Every write to stdout is checked and unbuffered, so that no output is lost at exit and no buffer
//! keeps a copy of a secret.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use keyrack_core::{Error, ErrorCode};
use serde::Serialize;

/// Writes to stdout. A reader that closed the pipe early (`keyrack … | head -1`) is not an error.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Error> {
    match write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| write_error(&error)),
    }
}

/// Writes a value byte for byte. At a terminal a newline follows, or the shell's prompt would be
/// glued to the value or overwrite it.
pub(crate) fn print_value(bytes: &[u8]) -> Result<(), Error> {
    print(bytes)?;
    // A second write, since joining both would copy the secret.
    if io::stdout().is_terminal() && bytes.last() != Some(&b'\n') { print(b"\n") } else { Ok(()) }
}

/// Writes like [`fn@print`], but fails if the reader closed the pipe early.
pub(crate) fn print_all(bytes: &[u8]) -> Result<(), Error> {
    write(bytes).map_err(|error| write_error(&error))
}

fn write(bytes: &[u8]) -> io::Result<()> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)?.write_all(bytes)
}

fn write_error(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot write to stdout: {error}"))
}

/// Writes a value as indented JSON with a newline. Not for secrets: the text is not wiped.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| {
        Error::new(ErrorCode::Internal, format!("cannot encode the output as JSON: {error}"))
    })?;
    text.push('\n');
    print(text.as_bytes())
}

/// Writes to stderr and ignores errors, which could not be reported.
pub(crate) fn eprint(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
