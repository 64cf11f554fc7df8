//! The host manifest on disk: an age file that says where each key of an owner rests.
//!
//! It is read, changed and written under one lock, so that two changes at once lose nothing; a person is only ever asked something
//! before that lock is taken. Fields, vaults and mechanisms this version does not know survive.

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

/// Whether there is a host manifest, without opening it.
///
/// # Errors
/// [`ErrorCode::FileUnsafe`], [`ErrorCode::Io`].
pub fn exists(racks: &RackPaths) -> Result<bool, Error> {
    private_file::exists(&racks.dir(), &racks.manifest_path())
}

/// Opens and reads the host manifest. `None` when there is none yet.
///
/// # Errors
/// [`ErrorCode::NoIdentity`], [`ErrorCode::BadPassphrase`], [`ErrorCode::PromptNeeded`] when no identity opens it;
/// [`ErrorCode::VaultCorrupt`] when it is no whole age file; [`ErrorCode::HostManifestInvalid`] when what is in it is no host manifest.
pub fn load(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<Option<HostManifest>, Error> {
    journal::recover_for_reading(racks);
    read(racks, identities)
}

/// The same, where there must be one.
///
/// # Errors
/// Those of [`load`], and [`ErrorCode::HostManifestMissing`].
pub fn load_existing(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<HostManifest, Error> {
    load(racks, identities)?.ok_or_else(|| missing(racks))
}

/// Reads the host manifest, lets `change` change it, and writes it if it did, all under the owner's lock. `change` may fail, and then nothing is
/// written; it must not ask anybody anything.
///
/// # Errors
/// Those of [`load_existing`], of `change`, and of writing, after which the old manifest is what it was.
pub fn update<T>(
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    change: impl FnOnce(&mut HostManifest, &mut Identities<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    // A passphrase is asked here, with the lock not yet held: whatever opens the file now opens it again without a question.
    load_existing(racks, identities)?;
    let lock = journal::lock_rack(racks)?;
    let mut manifest = read(racks, identities)?.ok_or_else(|| missing(racks))?;
    let before = manifest.clone();
    let result = change(&mut manifest, identities)?;
    if manifest != before {
        manifest.check_storable(&before)?;
        write(&lock, racks, &manifest, identities)?;
    }
    Ok(result)
}

/// Records the `meta` that a vault gave for an entry which is still what it was read as. Returns
/// `true` if it was recorded.
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

/// Writes the first manifest of an owner. `Ok(false)` when there is one already, which is left alone.
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

/// A manifest of this owner with no key yet.
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

/// The owners who have a host manifest in this home, in alphabetical order. Empty where that cannot be read.
pub fn owners(racks: &RackPaths) -> Vec<Owner> {
    let entries = std::fs::read_dir(racks.dir()).into_iter().flatten().flatten();
    let mut owners: Vec<Owner> =
        entries.filter_map(|entry| RackPaths::owner_of(entry.file_name().to_str()?)).collect();
    owners.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    owners
}

fn read(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<Option<HostManifest>, Error> {
    let path = racks.manifest_path();
    let Some(bytes) = private_file::read(&racks.dir(), &path, file_limit(MAX_MANIFEST))? else {
        return Ok(None);
    };
    let plain = AgeFile::parse(&bytes, 0)
        .and_then(|file| file.open(identities, None, MAX_MANIFEST))
        .map_err(|error| does_not_open(&path, error))?;
    parse(&path, &plain).map(Some)
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

/// An error of the text says which file, and the place in its plaintext, and quotes nothing.
pub(crate) fn parse(path: &Path, plain: &[u8]) -> Result<HostManifest, Error> {
    HostManifest::parse(plain)
        .map_err(|error| Error { message: format!("{}: {}", path.display(), error.message), ..error })
}

/// The file of a manifest, encrypted to its own recipients, and the plaintext to check it against.
pub(crate) fn seal(manifest: &HostManifest) -> Result<(Zeroizing<Vec<u8>>, String), Error> {
    let ready = recipient_key::parse_all(&manifest.recipients)?;
    let plain = Zeroizing::new(manifest.to_plaintext().into_bytes());
    if plain.len() > MAX_MANIFEST {
        return Err(Error::new(ErrorCode::HostManifestInvalid, "the host manifest would be over 16 MiB"));
    }
    let armored = age_file::encrypt_to(&ready, &[], &plain)?;
    // How many recipients it has is not known before it is opened, so all of them must fit the
    // limit for none.
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
        Error::new(ErrorCode::Io, format!("what was written for {} is not right: {why}", path.display()))
            .hint("the old file is untouched")
    })
}
