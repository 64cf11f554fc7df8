//! The editor of os.direct's file, as plain functions from text to text.

use zeroize::Zeroizing;

use super::file;
use super::file::DirectFile;

/// The text is no such file, or the entry none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectFileError;

impl From<file::DirectFileError> for DirectFileError {
    fn from(_: file::DirectFileError) -> Self {
        DirectFileError
    }
}

/// The value of an entry and when it ends, in milliseconds since the Unix epoch.
pub type StoredValue = (Zeroizing<Vec<u8>>, Option<i64>);

/// Reads an entry.
///
/// # Errors
/// [`DirectFileError`].
pub fn get(text: &[u8], slug: &str) -> Result<Option<StoredValue>, DirectFileError> {
    let found = DirectFile::read(text)?.get(slug)?;
    Ok(found.map(|found| (found.secret, found.expires_at_ms)))
}

/// The text with an entry set.
///
/// # Errors
/// [`DirectFileError`].
pub fn with(text: &[u8], slug: &str, secret: &str) -> Result<Zeroizing<Vec<u8>>, DirectFileError> {
    Ok(DirectFile::read(text)?.with(slug, secret))
}

/// The text without an entry.
///
/// # Errors
/// [`DirectFileError`].
pub fn without(text: &[u8], slug: &str) -> Result<Zeroizing<Vec<u8>>, DirectFileError> {
    Ok(DirectFile::read(text)?.without(slug))
}
