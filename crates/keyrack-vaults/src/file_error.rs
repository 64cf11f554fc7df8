//! Errors for files that cannot be used: what keyrack did, the path, the cause.

use std::io;
use std::path::Path;

use keyrack_core::{Error, ErrorCode};

/// Error for a failed system call. `verb` is what keyrack did to the path: "cannot {verb} PATH".
pub(crate) fn io_error(verb: &str, path: &Path, error: &io::Error) -> Error {
    let failure = Error::new(ErrorCode::Io, format!("cannot {verb} {}: {}", path.display(), reason(error)));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.hint("free some space and try again; the old file was not changed")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            failure.hint("keyrack needs a home directory that it can write to; the old file was not changed")
        }
        _ => failure,
    }
}

/// Returns the error's text without the `(os error N)` that Rust adds.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// Error for a path that keyrack does not use, as it could be under the control of another program.
pub(crate) fn unsafe_path(path: &Path, reason: &str) -> Error {
    refused(path, reason).hint(
        "keyrack's files and directories must belong to you and must not be links; move it away and try again",
    )
}

/// Error for a file of another user. Its hint is not to move the file away, which would remove that
/// user's keys.
pub(crate) fn foreign_file(path: &Path, file_uid: u32, own_uid: u32) -> Error {
    let error = refused(path, &format!("it belongs to uid {file_uid}, not to uid {own_uid}"));
    match (file_uid, own_uid) {
        (_, 0) => error.hint(
            "you are root and HOME belongs to another user: run keyrack as that user, or with your own HOME (`sudo -H`)",
        ),
        (0, _) => error.hint(
            "root created it, as `sudo keyrack` does with your HOME: make yourself the owner with `chown -R`",
        ),
        _ => error.hint("HOME belongs to another user: set it to your own home directory"),
    }
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::new(ErrorCode::FileUnsafe, format!("refused to use {}: {reason}", path.display()))
}
