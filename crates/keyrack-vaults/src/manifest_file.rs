//! Host manifest on disk: an age file that names the vault of each key of an owner.
//!
//! It is read, changed and written under one lock, so that concurrent changes lose nothing. Prompts
//! come before the lock is taken. Unknown fields, vaults and mechanisms survive.

use std::fmt;
use std::path::Path;

use keyrack_core::host_manifest::{HostEntry, HostManifest};
use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Error, ErrorCode, Fix, Mechanism, Owner};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::age_file::{self, AgeFile, DecryptError, MAX_MANIFEST, file_limit};
use crate::atomic;
use crate::identity::Identities;
use crate::journal;
use crate::lock::Lock;
use crate::private_file;
use crate::recipient_key;
use keyrack_core::layout::RackPaths;

/// Returns `true` if there is a host manifest. It is not opened.
///
/// # Errors
/// [`ErrorCode::FileUnsafe`], [`ErrorCode::Io`].
pub fn exists(racks: &RackPaths) -> Result<bool, Error> {
    private_file::exists(&racks.dir(), &racks.manifest_path())
}

/// Opens and reads the host manifest. `None` if there is none yet.
///
/// # Errors
/// [`ErrorCode::NoIdentity`], [`ErrorCode::BadPassphrase`], [`ErrorCode::PromptNeeded`] if no
/// identity opens it; [`ErrorCode::VaultCorrupt`] if it is not a complete age file;
/// [`ErrorCode::HostManifestInvalid`] if its plaintext is not a host manifest.
pub fn load(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<Option<HostManifest>, Error> {
    ManifestSnapshot::read_if_present(racks, identities).map(|found| found.map(|found| found.manifest))
}

/// Opens and reads the host manifest, which must exist.
///
/// # Errors
/// Those of [`load`], and [`ErrorCode::HostManifestMissing`].
pub fn load_existing(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<HostManifest, Error> {
    load(racks, identities)?.ok_or_else(|| missing(racks))
}

/// Host manifest as it was read, with the bytes of the file it was decrypted from.
pub struct ManifestSnapshot {
    /// The decrypted manifest.
    pub manifest: HostManifest,
    file: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ManifestSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestSnapshot").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl ManifestSnapshot {
    /// Opens and reads the host manifest. A passphrase is prompted for here, before any lock is
    /// taken.
    ///
    /// # Errors
    /// Those of [`load_existing`].
    pub fn read(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<Self, Error> {
        Self::read_if_present(racks, identities)?.ok_or_else(|| missing(racks))
    }

    /// Reads like [`ManifestSnapshot::read`]; `None` if there is no host manifest yet.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn read_if_present(
        racks: &RackPaths,
        identities: &mut Identities<'_>,
    ) -> Result<Option<Self>, Error> {
        journal::recover_for_reading(racks);
        let Some(file) = read_file(racks)? else { return Ok(None) };
        Ok(Some(ManifestSnapshot { manifest: decrypt(racks, &file, identities)?, file }))
    }
}

/// Host manifest that is open for changes. It holds the owner's lock until it is dropped, so
/// nothing may prompt while it exists.
#[derive(Debug)]
pub struct LockedManifest<'r> {
    /// The manifest, to be changed and then saved.
    pub manifest: HostManifest,
    stored: HostManifest,
    racks: &'r RackPaths,
    lock: Lock,
}

impl<'r> LockedManifest<'r> {
    /// Takes the lock. The file is decrypted again only if it differs from the one that `snapshot`
    /// was read from: equal bytes decrypt to the same manifest.
    ///
    /// # Errors
    /// Those of [`load_existing`] and of waiting for the lock.
    pub fn open(
        racks: &'r RackPaths,
        identities: &mut Identities<'_>,
        snapshot: &ManifestSnapshot,
    ) -> Result<Self, Error> {
        let lock = journal::lock_rack(racks)?;
        let file = read_file(racks)?.ok_or_else(|| missing(racks))?;
        let manifest = match file == snapshot.file {
            true => snapshot.manifest.clone(),
            false => decrypt(racks, &file, identities)?,
        };
        Ok(LockedManifest { stored: manifest.clone(), manifest, racks, lock })
    }

    /// Writes the manifest if it was changed, and reads it back. After an error the old file is
    /// unchanged.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&mut self, identities: &mut Identities<'_>) -> Result<(), Error> {
        if self.manifest != self.stored {
            self.manifest.check_storable(&self.stored)?;
            write(&self.lock, self.racks, &self.manifest, identities)?;
            self.stored = self.manifest.clone();
        }
        Ok(())
    }
}

/// Changes the host manifest under the owner's lock, and writes it if `change` succeeded and
/// changed anything. `change` must not prompt.
///
/// # Errors
/// Those of [`load_existing`], of `change`, and of writing, after which the old file is unchanged.
pub fn update<T>(
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    change: impl FnOnce(&mut HostManifest, &mut Identities<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let snapshot = ManifestSnapshot::read(racks, identities)?;
    let mut locked = LockedManifest::open(racks, identities, &snapshot)?;
    let result = change(&mut locked.manifest, identities)?;
    locked.save(identities)?;
    Ok(result)
}

/// Records the `meta` that a vault returned, if the entry did not change meanwhile. Returns `true`
/// if it was recorded.
///
/// # Errors
/// Those of [`update`].
pub fn record_meta(
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    known: &HostEntry,
    mech: &Mechanism,
    meta: Value,
) -> Result<bool, Error> {
    update(racks, identities, |manifest, _| match manifest.hosts.get_mut(&known.slug) {
        Some(host) if host == known => {
            host.meta = Some(meta);
            host.mech = mech.clone();
            Ok(true)
        }
        _ => Ok(false),
    })
}

/// Writes the first manifest of an owner. Returns `false` if there is one already, which stays as
/// it is.
///
/// # Errors
/// Those of writing.
pub fn create(
    racks: &RackPaths,
    manifest: &HostManifest,
    identities: &mut Identities<'_>,
) -> Result<bool, Error> {
    let lock = journal::lock_rack(racks)?;
    if exists(racks)? {
        return Ok(false);
    }
    manifest.check_storable(&HostManifest::default())?;
    write(&lock, racks, manifest, identities).map(|()| true)
}

/// Manifest of this owner without keys.
pub fn empty(racks: &RackPaths) -> HostManifest {
    HostManifest {
        uri: racks.manifest_uri(),
        owner: racks.owner().name().map(str::to_owned),
        ..HostManifest::default()
    }
}

fn missing(racks: &RackPaths) -> Error {
    let error = Error::new(
        ErrorCode::HostManifestMissing,
        format!("there is no host manifest yet for the owner {}", racks.owner()),
    )
    .fix(Fix::with_owner("init", racks.owner(), []));
    let owners = owners(racks);
    let named = racks.owner().name().unwrap_or_default();
    Error { hint: did_you_mean(named, owners.iter().map(Owner::as_str)), ..error }
}

/// Owners who have a host manifest in this home, in alphabetical order. Empty if the directory
/// cannot be read.
pub fn owners(racks: &RackPaths) -> Vec<Owner> {
    let entries = std::fs::read_dir(racks.dir()).into_iter().flatten().flatten();
    let mut owners: Vec<Owner> =
        entries.filter_map(|entry| RackPaths::owner_of(entry.file_name().to_str()?)).collect();
    owners.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    owners
}

fn read_file(racks: &RackPaths) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    private_file::read(&racks.dir(), &racks.manifest_path(), file_limit(MAX_MANIFEST))
}

fn decrypt(racks: &RackPaths, file: &[u8], identities: &mut Identities<'_>) -> Result<HostManifest, Error> {
    let path = racks.manifest_path();
    let plain = AgeFile::parse(file, 0)
        .and_then(|file| file.open(identities, None, MAX_MANIFEST))
        .map_err(|error| does_not_open(&path, error))?;
    parse(&path, &plain)
}

pub(crate) fn does_not_open(path: &Path, error: DecryptError) -> Error {
    match error {
        DecryptError::Damaged(why) => Error::new(
            ErrorCode::VaultCorrupt,
            format!("the host manifest {} is damaged: {why}", path.display()),
        )
        .hint("restore the file from a backup; keyrack does not overwrite what it cannot open"),
        DecryptError::TooLarge => {
            let message = format!("the host manifest {} is over {MAX_MANIFEST} bytes", path.display());
            Error::new(ErrorCode::HostManifestInvalid, message)
        }
        DecryptError::Identity(mut error) => {
            if error.code == ErrorCode::NoIdentity {
                error.message = format!("no available identity opens the host manifest {}", path.display());
            }
            error
        }
    }
}

/// Parses the plaintext. Errors name the file and the position, and quote nothing.
pub(crate) fn parse(path: &Path, plain: &[u8]) -> Result<HostManifest, Error> {
    HostManifest::parse(plain)
        .map_err(|error| Error { message: format!("{}: {}", path.display(), error.message), ..error })
}

/// Returns the manifest as plaintext and as an age file for its own recipients.
pub(crate) fn seal(manifest: &HostManifest) -> Result<(Zeroizing<Vec<u8>>, String), Error> {
    let ready = recipient_key::parse_all(&manifest.recipients)?;
    let plain = Zeroizing::new(manifest.to_plaintext().into_bytes());
    if plain.len() > MAX_MANIFEST {
        return Err(Error::new(ErrorCode::HostManifestInvalid, "the host manifest would be over 16 MiB"));
    }
    let armored = age_file::encrypt_to(&ready, &[], &plain)?;
    // A reader does not know the number of recipients, so all of them must fit the limit for none.
    if AgeFile::parse(armored.as_bytes(), 0).is_err() {
        let message = format!("{} recipients are more than the host manifest can have", ready.len());
        return Err(Error::new(ErrorCode::BadRecipient, message));
    }
    Ok((plain, armored))
}

fn write(
    lock: &Lock,
    racks: &RackPaths,
    manifest: &HostManifest,
    identities: &mut Identities<'_>,
) -> Result<(), Error> {
    let (plain, armored) = seal(manifest)?;
    let path = racks.manifest_path();
    atomic::replace(lock, &path, armored.as_bytes(), |written| {
        verify(&path, written, &plain, manifest.recipients.len(), identities)
    })
}

pub(crate) fn verify(
    path: &Path,
    written: &[u8],
    plain: &[u8],
    recipients: usize,
    identities: &mut Identities<'_>,
) -> Result<(), Error> {
    age_file::verify(written, plain, &[], recipients, Some(identities)).map_err(|why| {
        Error::new(ErrorCode::Io, format!("the file written for {} is not valid: {why}", path.display()))
            .hint("the old file is untouched")
    })
}
