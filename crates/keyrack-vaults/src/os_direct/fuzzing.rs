//! The editor of os.direct's file, as functions from text to text, for the fuzz target.

use zeroize::Zeroizing;

use super::file;
use super::file::DirectFile;

/// The text is not such a file, or the entry is unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectFileError;

impl From<file::DirectFileError> for DirectFileError {
    fn from(_: file::DirectFileError) -> Self {
        DirectFileError
    }
}

/// Value of an entry and its expiry, in milliseconds since the Unix epoch.
pub type StoredValue = (Zeroizing<Vec<u8>>, Option<i64>);

/// Returns an entry.
///
/// # Errors
/// [`DirectFileError`].
pub fn get(text: &[u8], slug: &str) -> Result<Option<StoredValue>, DirectFileError> {
    let found = DirectFile::read(text)?.get(slug)?;
    Ok(found.map(|found| (found.secret, found.expires_at_ms)))
}

/// Returns the text with an entry set.
///
/// # Errors
/// [`DirectFileError`].
pub fn with(text: &[u8], slug: &str, secret: &str) -> Result<Zeroizing<Vec<u8>>, DirectFileError> {
    Ok(DirectFile::read(text)?.with(slug, secret))
}

/// Returns the text without an entry.
///
/// # Errors
/// [`DirectFileError`].
pub fn without(text: &[u8], slug: &str) -> Result<Zeroizing<Vec<u8>>, DirectFileError> {
    Ok(DirectFile::read(text)?.without(slug))
}
