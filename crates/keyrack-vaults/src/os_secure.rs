//! Vault os.secure: one age file for each key, encrypted to the recipients of the host manifest.
//!
//! The file contains the value only, as the files in use do, and its header is bound to the key. A
//! new file replaces the old one after it was decrypted and compared, if an available identity can
//! do that. Plaintext is never written.

use keyrack_core::host_manifest::HostEntry;
use keyrack_core::set_rule::check_secret;
use keyrack_core::{Error, ErrorCode, Fix, Mechanism, Owner, Slug, VaultId};
use serde_json::Value;

use crate::age_file::{self, AgeFile, DecryptError, MAX_SECRET, file_limit, too_large};
use crate::atomic;
use crate::binding::{self, Binding, Match, Mismatch};
use crate::journal;
use crate::mech;
use crate::private_file;
use crate::recipient_key;
use crate::vault::{ResolvedSecret, Vault, VaultContext, VaultEntry};
use keyrack_core::layout::RackPaths;

/// Vault os.secure.
#[derive(Clone, Copy, Debug)]
pub struct OsSecure;

impl Vault for OsSecure {
    fn id(&self) -> VaultId {
        VaultId::OsSecure
    }

    fn get(
        &self,
        entry: VaultEntry<'_>,
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<ResolvedSecret>, Error> {
        let racks = context.racks;
        journal::recover_for_reading(racks);
        let path = racks.secure_path(entry.slug);
        let read = private_file::read(&racks.dir(), &path, file_limit(MAX_SECRET));
        let Some(bytes) = read.map_err(|error| error.of(entry.slug))? else {
            return Ok(None);
        };
        let known = (!context.recipients.is_empty()).then_some(context.recipients);
        let damaged = |error| does_not_open(&path, entry.slug, racks.owner(), error);
        let file = AgeFile::parse(&bytes, context.recipients.len()).map_err(damaged)?;
        let secret = file.open(context.identities, known, MAX_SECRET).map_err(damaged)?;
        // The header's MAC is verified here.
        let (mech, newer_meta) = match entry.host.filter(|host| host.vault == VaultId::OsSecure) {
            None => (entry.mech.cloned(), None),
            Some(host) => match binding::compare(file.labels(), host, racks.owner()) {
                Ok(Match::Bound | Match::Unbound) => (entry.mech.cloned(), None),
                Ok(Match::Newer { version, mech }) => {
                    (Some(mech), Some(binding::meta_with_version(host.meta.as_ref(), version)))
                }
                Err(mismatch) => return Err(wrong_file(&path, entry.slug, racks.owner(), mismatch)),
            },
        };
        let mut material = mech::resolve(entry.slug, &VaultId::OsSecure, mech.as_ref(), secret)?;
        material.newer_meta = newer_meta;
        Ok(Some(material))
    }

    fn check_set(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> Result<(), Error> {
        parse_recipients(entry, context).map(drop)
    }

    fn set(
        &self,
        entry: VaultEntry<'_>,
        secret: &[u8],
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<Value>, Error> {
        let ready = parse_recipients(entry, context)?;
        check_secret(entry.slug, secret)?;
        let known = entry.host.filter(|host| host.vault == VaultId::OsSecure);
        let version = binding::next_version(known, context.now_ms);
        let mech = entry.mech.unwrap_or(&Mechanism::Replica);
        let binding = Binding { slug: entry.slug, owner: context.racks.owner(), mech, version };
        let labels = [binding.label()];
        let armored = age_file::encrypt_to(&ready, &labels, secret)?;
        let path = context.racks.secure_path(entry.slug);
        let lock = journal::lock_rack(context.racks)?;
        atomic::replace(&lock, &path, armored.as_bytes(), |written| {
            age_file::verify(written, secret, &labels, ready.len(), Some(context.identities)).map_err(|why| {
                Error::new(
                    ErrorCode::Io,
                    format!("the file written for {} is not valid: {why}", path.display()),
                )
                .hint("the old value is untouched")
            })
        })
        .map(|()| Some(binding::meta_with_version(entry.meta(&VaultId::OsSecure), version)))
        .map_err(|error| error.of(entry.slug))
    }

    fn del(&self, entry: VaultEntry<'_>, context: &mut VaultContext<'_, '_>) -> Result<bool, Error> {
        if !context.racks.secure_dir().exists() {
            return Ok(false);
        }
        let lock = journal::lock_rack(context.racks)?;
        atomic::remove(&lock, &context.racks.secure_path(entry.slug)).map_err(|error| error.of(entry.slug))
    }

    fn has(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> bool {
        let racks = context.racks;
        private_file::exists(&racks.dir(), &racks.secure_path(entry.slug)).unwrap_or(false)
    }
}

/// Checks the mechanism of a key to set, and parses the recipients that its file is encrypted to.
fn parse_recipients(
    entry: VaultEntry<'_>,
    context: &VaultContext<'_, '_>,
) -> Result<Vec<recipient_key::ParsedRecipient>, Error> {
    mech::check(entry.slug, &VaultId::OsSecure, entry.mech.unwrap_or(&Mechanism::Replica))?;
    if context.recipients.is_empty() {
        let message = "no host manifest names a recipient to encrypt to";
        return Err(Error::new(ErrorCode::HostManifestMissing, message).of(entry.slug).fix(Fix::with_owner(
            "init",
            context.racks.owner(),
            [],
        )));
    }
    recipient_key::parse_all(context.recipients).map_err(|error| error.of(entry.slug))
}

/// Returns the `meta` for the entry of a key whose file is one version ahead, because a `set` was
/// interrupted between the two. Only the label is compared, and the file is not decrypted: the
/// result only decides the next version number.
pub fn newer_meta(racks: &RackPaths, host: &HostEntry) -> Option<Value> {
    let host = Some(host).filter(|host| host.vault == VaultId::OsSecure)?;
    let path = racks.secure_path(&host.slug);
    let bytes = private_file::read(&racks.dir(), &path, file_limit(MAX_SECRET)).ok()??;
    match binding::compare(AgeFile::parse(&bytes, 1).ok()?.labels(), host, racks.owner()) {
        Ok(Match::Newer { version, .. }) => Some(binding::meta_with_version(host.meta.as_ref(), version)),
        _ => None,
    }
}

/// Error for a file that can be decrypted and is not the one that the host manifest names.
fn wrong_file(path: &std::path::Path, slug: &Slug, owner: &Owner, mismatch: Mismatch) -> Error {
    let message = format!("the file of {slug} {}: {}", mismatch.reason(), path.display());
    let error = Error::new(ErrorCode::VaultMismatch, message).of(slug);
    match mismatch {
        Mismatch::Unknown => error.hint("update keyrack, or set the key again"),
        _ => error.hint("a program or a person replaced the file: restore it, or set the key again"),
    }
    .fix(Fix::set_secure(owner, slug))
}

fn does_not_open(path: &std::path::Path, slug: &Slug, owner: &Owner, error: DecryptError) -> Error {
    match error {
        DecryptError::Damaged(why) => Error::new(
            ErrorCode::VaultCorrupt,
            format!("the file of {slug} is damaged: {}: {why}", path.display()),
        )
        .of(slug)
        .fix(Fix::set_secure(owner, slug)),
        DecryptError::TooLarge => {
            too_large(format!("the file of {slug}, {}", path.display()), MAX_SECRET).of(slug)
        }
        DecryptError::Identity(mut error) => {
            if error.code == ErrorCode::NoIdentity {
                error.message = format!("no available identity opens the file of {slug}, {}", path.display());
            }
            error.of(slug)
        }
    }
}
