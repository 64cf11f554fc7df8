//! The vault os.direct: a plain JSON file of the owner, mode 0600, for keys that need no more.
//!
//! Only the file's mode protects the keys, and their grade is `plaintext`. A file that cannot be
//! read is never overwritten.

mod edit;
mod file;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::path::Path;

use keyrack_core::set_rule::check_secret;
use keyrack_core::{Error, ErrorCode, Mechanism, Slug, VaultId};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::atomic;
use crate::journal;
use crate::mech;
use crate::private_file;
use crate::vault::{ResolvedSecret, Vault, VaultContext, VaultEntry};
use keyrack_core::layout::RackPaths;

use file::{DirectFile, DirectFileError};

/// Longest file, in bytes.
const MAX_FILE: usize = 64 << 20;

/// The vault os.direct.
#[derive(Clone, Copy, Debug)]
pub struct OsDirect;

impl Vault for OsDirect {
    fn id(&self) -> VaultId {
        VaultId::OsDirect
    }

    fn get(
        &self,
        entry: VaultEntry<'_>,
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<ResolvedSecret>, Error> {
        let path = context.racks.direct_path();
        let Some(bytes) = read(context, entry.slug)? else { return Ok(None) };
        let found = DirectFile::read(&bytes)
            .and_then(|file| file.get(entry.slug.as_str()))
            .map_err(|error| corrupt(&path, &bytes, error).of(entry.slug))?;
        let Some(found) = found.filter(|found| found.expires_at_ms.is_none_or(|end| context.now_ms < end))
        else {
            return Ok(None);
        };
        let mut material = mech::resolve(entry.slug, &VaultId::OsDirect, entry.mech, found.secret)?;
        material.credential_expires_at_ms = material.credential_expires_at_ms.or(found.expires_at_ms);
        Ok(Some(material))
    }

    fn check_set(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> Result<(), Error> {
        check_mechanism(entry)?;
        let path = context.racks.direct_path();
        match read(context, entry.slug)? {
            Some(bytes) => DirectFile::read(&bytes)
                .map(drop)
                .map_err(|error| corrupt(&path, &bytes, error).of(entry.slug)),
            None => Ok(()),
        }
    }

    fn set(
        &self,
        entry: VaultEntry<'_>,
        secret: &[u8],
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<Value>, Error> {
        check_mechanism(entry)?;
        check_secret(entry.slug, secret)?;
        let text = std::str::from_utf8(secret).map_err(|_| {
            Error::new(ErrorCode::BadVault, "os.direct holds text, and the secret is not UTF-8")
                .of(entry.slug)
                .hint("os.secure holds any bytes")
        })?;
        let slug = entry.slug.as_str();
        let lock = journal::lock_rack(context.racks)?;
        let path = context.racks.direct_path();
        let new = match read(context, entry.slug)? {
            Some(bytes) => DirectFile::read(&bytes)
                .map_err(|error| corrupt(&path, &bytes, error).of(entry.slug))?
                .with(slug, text),
            None => file::first(slug, text),
        };
        atomic::replace(&lock, &path, &new, |back| {
            let whole = DirectFile::read(back).and_then(|file| file.get(slug));
            match whole {
                Ok(Some(found)) if found.secret.as_slice() == secret => Ok(()),
                _ => Err(Error::new(
                    ErrorCode::Internal,
                    format!("the new content of {} does not read back", path.display()),
                )
                .hint("the old file is untouched")),
            }
        })
        .map(|()| entry.meta(&VaultId::OsDirect).cloned())
        .map_err(|error| error.of(entry.slug))
    }

    fn del(&self, entry: VaultEntry<'_>, context: &mut VaultContext<'_, '_>) -> Result<bool, Error> {
        if read(context, entry.slug)?.is_none() {
            return Ok(false);
        }
        let lock = journal::lock_rack(context.racks)?;
        let path = context.racks.direct_path();
        let Some(bytes) = read(context, entry.slug)? else { return Ok(false) };
        let file = DirectFile::read(&bytes).map_err(|error| corrupt(&path, &bytes, error).of(entry.slug))?;
        if !file.has(entry.slug.as_str()) {
            return Ok(false);
        }
        let new = file.without(entry.slug.as_str());
        atomic::replace(&lock, &path, &new, |back| match DirectFile::read(back) {
            Ok(file) if !file.has(entry.slug.as_str()) => Ok(()),
            _ => Err(Error::new(
                ErrorCode::Internal,
                format!("the new content of {} does not read back", path.display()),
            )),
        })
        .map(|()| true)
        .map_err(|error| error.of(entry.slug))
    }

    fn has(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> bool {
        read(context, entry.slug)
            .ok()
            .flatten()
            .is_some_and(|bytes| DirectFile::read(&bytes).is_ok_and(|file| file.has(entry.slug.as_str())))
    }
}

/// Checks that keys of os.direct can have the mechanism.
fn check_mechanism(entry: VaultEntry<'_>) -> Result<(), Error> {
    mech::check(entry.slug, &VaultId::OsDirect, entry.mech.unwrap_or(&Mechanism::Replica))
        .map_err(|error| error.hint("os.secure takes more mechanisms, and encrypts"))
}

/// Returns the slugs in the file, and checks that every entry is readable. It returns no value.
///
/// # Errors
/// [`ErrorCode::VaultCorrupt`] naming file and line, and those of reading.
pub(crate) fn slugs(racks: &RackPaths) -> Result<Vec<String>, Error> {
    let path = racks.direct_path();
    let Some(bytes) = private_file::read(&racks.dir(), &path, MAX_FILE)? else { return Ok(Vec::new()) };
    let to_error = |error| corrupt(&path, &bytes, error);
    let file = DirectFile::read(&bytes).map_err(to_error)?;
    let slugs: Vec<String> = file.slugs().map(str::to_owned).collect();
    for slug in &slugs {
        file.get(slug).map_err(to_error)?;
    }
    Ok(slugs)
}

fn read(context: &VaultContext<'_, '_>, slug: &Slug) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    private_file::read(&context.racks.dir(), &context.racks.direct_path(), MAX_FILE)
        .map_err(|error| error.of(slug))
}

/// Returns the error for an unreadable file, with the line and nothing of its text.
fn corrupt(path: &Path, bytes: &[u8], error: DirectFileError) -> Error {
    let before = &bytes[..error.offset.min(bytes.len())];
    let line = before.split(|&b| b == b'\n').count();
    Error::new(ErrorCode::VaultCorrupt, format!("{} line {line}: {}", path.display(), error.kind))
        .hint("repair the file or move it away; keyrack does not overwrite a file it cannot read")
}
