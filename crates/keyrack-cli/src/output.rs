//! What goes to stdout: only what was asked for. Every write is checked and nothing is buffered, so that no exit cuts an answer short and
//! no copy of a secret stays behind.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use keyrack_core::{Error, ErrorCode};
use serde::Serialize;

/// Writes to stdout, all of it. A reader that has left early (`keyrack … | head -1`) is no failure: it has what it wanted.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Error> {
    match write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| unwritten(&error)),
    }
}

/// Writes a value as it is, byte for byte. At a terminal a newline follows: what stands on a line that is not ended gets glued to the prompt,
/// or is erased by whoever draws there next.
pub(crate) fn print_value(bytes: &[u8]) -> Result<(), Error> {
    print(bytes)?;
    // Written by itself: putting both together would copy the secret.
    if io::stdout().is_terminal() && bytes.last() != Some(&b'\n') { print(b"\n") } else { Ok(()) }
}

/// Like [`fn@print`], for output that the reader must get in full: a reader that left early is an error.
pub(crate) fn print_all(bytes: &[u8]) -> Result<(), Error> {
    write(bytes).map_err(|error| unwritten(&error))
}

fn write(bytes: &[u8]) -> io::Result<()> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)?.write_all(bytes)
}

fn unwritten(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("the answer could not be written to stdout: {error}"))
}

/// Writes a value as JSON with two blanks of indentation, and a newline. Not for secrets.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| {
        Error::new(ErrorCode::Internal, format!("the answer could not be put into JSON: {error}"))
    })?;
    text.push('\n');
    print(text.as_bytes())
}

/// Writes to stderr. Nothing can be done when that fails, so nothing is.
pub(crate) fn eprint(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
