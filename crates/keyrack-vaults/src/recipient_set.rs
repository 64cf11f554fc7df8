//! Recipients of an owner's files. Adding or removing one encrypts all files again, as one change.
//!
//! Otherwise a removed recipient could still read the present files, and an added one could not.

use std::fs;

use keyrack_core::host_manifest::{HostManifest, Recipient, check_label};
use keyrack_core::{Error, ErrorCode, Fix, Slug, timestamp};
use zeroize::Zeroizing;

use crate::age_file::{self, AgeFile, DecryptError, MAX_SECRET, file_limit};
use crate::binding::Label;
use crate::file_error::io_error;
use crate::identity::Identities;
use crate::journal;
use crate::journal::{Replacement, is_secure_name};
use crate::manifest_file;
use crate::private_file;
use crate::recipient_key::{self, ParsedRecipient, Pubkey};
use keyrack_core::layout::RackPaths;

/// Result of adding or removing a recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipientChange {
    /// Recipient that was added or removed.
    pub recipient: Recipient,
    /// Number of os.secure files that were encrypted again.
    pub files: usize,
}

/// Recipients of an owner's manifest.
///
/// # Errors
/// Those of [`manifest_file::load_existing`].
pub fn list(racks: &RackPaths, identities: &mut Identities<'_>) -> Result<Vec<Recipient>, Error> {
    manifest_file::load_existing(racks, identities).map(|manifest| manifest.recipients)
}

/// Entry of a public key in the manifest.
pub fn entry(key: Pubkey, label: &str, now_ms: i64) -> Recipient {
    Recipient {
        mech: key.mech.to_owned(),
        pubkey: key.pubkey,
        label: label.to_owned(),
        added_at: timestamp::format_ms(now_ms),
        rest: serde_json::Map::new(),
    }
}

/// Adds a recipient.
///
/// # Errors
/// [`ErrorCode::Usage`] for an invalid label; [`ErrorCode::RecipientExists`] for one that is in
/// use; [`ErrorCode::VaultCorrupt`], [`ErrorCode::NoIdentity`] for a file that cannot be decrypted;
/// those of writing. Nothing was changed then.
pub fn add(
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    key: Pubkey,
    label: &str,
    now_ms: i64,
) -> Result<RecipientChange, Error> {
    check_label(label)?;
    let new = entry(key, label, now_ms);
    change(racks, identities, |manifest| {
        if manifest.recipients.iter().any(|known| known.label == label) {
            return Err(Error::new(ErrorCode::RecipientExists, "a recipient with this label exists")
                .hint("choose another label, or remove that one first")
                .fix(Fix::with_owner("recipient del", racks.owner(), ["--label", label])));
        }
        manifest.recipients.push(new.clone());
        Ok(new)
    })
}

/// Removes the recipient with this label.
///
/// # Errors
/// [`ErrorCode::RecipientNotFound`], [`ErrorCode::LastRecipient`], and those of [`add`].
pub fn remove(
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    label: &str,
) -> Result<RecipientChange, Error> {
    change(racks, identities, |manifest| {
        let Some(at) = manifest.recipients.iter().position(|known| known.label == label) else {
            return Err(Error::new(ErrorCode::RecipientNotFound, "no recipient has this label")
                .fix(Fix::with_owner("recipient get", racks.owner(), [])));
        };
        if manifest.recipients.len() == 1 {
            return Err(Error::new(
                ErrorCode::LastRecipient,
                "the last recipient cannot be removed: the files could never be opened again",
            )
            .hint("add another one first"));
        }
        Ok(manifest.recipients.remove(at))
    })
}

/// Changes the recipients and encrypts every file to the new ones.
fn change(
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    edit: impl FnOnce(&mut HostManifest) -> Result<Recipient, Error>,
) -> Result<RecipientChange, Error> {
    // Passphrase prompts come before the lock is taken.
    let manifest = manifest_file::load_existing(racks, identities)?;
    for name in secure_files(racks)? {
        open(racks, &manifest, identities, &name)?;
    }
    let lock = journal::lock_rack(racks)?;
    let mut manifest = manifest_file::load_existing(racks, identities)?;
    let old = manifest.clone();
    let recipient = edit(&mut manifest)?;
    manifest.check_storable(&old)?;
    let ready = recipient_key::parse_all(&manifest.recipients)?;

    let replacement = Replacement::begin(&lock, racks)?;
    let names = secure_files(racks)?;
    for name in &names {
        rewrite(&replacement, racks, &old, identities, name, &ready)?;
    }
    let (plain, armored) = manifest_file::seal(&manifest)?;
    replacement.add_manifest(armored.as_bytes(), |written| {
        manifest_file::verify(&racks.manifest_path(), written, &plain, ready.len(), identities)
    })?;
    replacement.commit()?;
    Ok(RecipientChange { recipient, files: names.len() })
}

/// Encrypts a file to the new recipients. It keeps its labels: it is the same version of the same
/// key.
fn rewrite(
    replacement: &Replacement<'_>,
    racks: &RackPaths,
    old: &HostManifest,
    identities: &mut Identities<'_>,
    name: &str,
    ready: &[ParsedRecipient],
) -> Result<(), Error> {
    let (secret, labels) = open(racks, old, identities, name)?;
    let armored = age_file::encrypt_to(ready, &labels, &secret)?;
    replacement.add_secure(name, armored.as_bytes(), |written| {
        let path = racks.secure_dir().join(name);
        age_file::verify(written, &secret, &labels, ready.len(), Some(identities)).map_err(|why| {
            Error::new(ErrorCode::Io, format!("the file written for {} is not valid: {why}", path.display()))
                .hint("nothing was changed")
        })
    })
}

fn open(
    racks: &RackPaths,
    manifest: &HostManifest,
    identities: &mut Identities<'_>,
    name: &str,
) -> Result<(Zeroizing<Vec<u8>>, Vec<Label>), Error> {
    let path = racks.secure_dir().join(name);
    let about = |error: Error| match slug_of(manifest, name) {
        Some(slug) => error.of(&slug).fix(Fix::del(racks.owner(), &slug)),
        None => error.hint("no key of the host manifest has this file; move it away and try again"),
    };
    let bytes = private_file::read(&racks.dir(), &path, file_limit(MAX_SECRET))?
        .ok_or_else(|| Error::new(ErrorCode::Io, format!("{} was removed meanwhile", path.display())))?;
    AgeFile::parse(&bytes, manifest.recipients.len())
        .and_then(|file| {
            let secret = file.open(identities, Some(&manifest.recipients), MAX_SECRET)?;
            Ok((secret, file.labels().to_vec()))
        })
        .map_err(|error| match error {
            DecryptError::Damaged(why) => about(Error::new(
                ErrorCode::VaultCorrupt,
                format!("{} is damaged: {why}; nothing was changed", path.display()),
            )),
            DecryptError::TooLarge => about(age_file::too_large(path.display(), MAX_SECRET)),
            DecryptError::Identity(error) if error.code == ErrorCode::NoIdentity => about(Error {
                message: format!("no available identity opens {}; nothing was changed", path.display()),
                ..error
            }),
            DecryptError::Identity(error) => error,
        })
}

/// Key of a file, if the manifest has it. File names are hashes.
fn slug_of(manifest: &HostManifest, name: &str) -> Option<Slug> {
    let hash = name.strip_suffix(".age")?;
    let strange = manifest.strange_hosts.keys().filter_map(|text| Slug::parse_stored(text).ok());
    manifest.hosts.keys().cloned().chain(strange).find(|slug| slug.hash16() == hash)
}

/// Names of the owner's os.secure files, sorted. Files with other names are ignored.
fn secure_files(racks: &RackPaths) -> Result<Vec<String>, Error> {
    let dir = racks.secure_dir();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("read", &dir, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_error("read", &dir, &error))?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_secure_name(name)) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
