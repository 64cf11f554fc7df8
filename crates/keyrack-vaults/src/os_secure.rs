//! The vault os.secure: one age file for each key, encrypted to the recipients of the host manifest.
//!
//! The file holds the value and nothing else, as the files in use do. A new one takes the old one's place only after it was opened and
//! compared, where an identity at hand can; no plaintext is ever written.

use keyrack_core::{ErrorCode, Fix, Mechanism, Owner, Problem, Slug, VaultId};

use crate::armor::{self, AgeFile, Fault, MAX_SECRET, file_limit, too_large};
use crate::atomic;
use crate::journal;
use crate::lock::Lock;
use crate::mech;
use crate::recipient;
use crate::vault::{Context, Entry, Material, Vault};

/// The vault os.secure.
#[derive(Clone, Copy, Debug)]
pub struct OsSecure;

impl Vault for OsSecure {
    fn id(&self) -> VaultId {
        VaultId::OsSecure
    }

    fn get(&self, entry: Entry<'_>, context: &mut Context<'_, '_>) -> Result<Option<Material>, Problem> {
        let racks = context.racks;
        journal::recover_for_reading(racks);
        let path = racks.secure_path(entry.slug);
        let read = atomic::read_private(&racks.dir(), &path, file_limit(MAX_SECRET));
        let Some(bytes) = read.map_err(|problem| problem.of(entry.slug))? else {
            return Ok(None);
        };
        let known = (!context.recipients.is_empty()).then_some(context.recipients);
        let secret = AgeFile::parse(&bytes)
            .and_then(|file| file.open(context.identities, known, MAX_SECRET))
            .map_err(|fault| does_not_open(&path, entry.slug, racks.owner(), fault))?;
        mech::deliver(entry.slug, &VaultId::OsSecure, entry.mech, secret).map(Some)
    }

    fn check_set(&self, entry: Entry<'_>, context: &Context<'_, '_>) -> Result<(), Problem> {
        mech::check(entry.slug, &VaultId::OsSecure, entry.mech.unwrap_or(&Mechanism::Replica))?;
        if context.recipients.is_empty() {
            let message = "nobody could open the file: there is no host manifest yet that names a recipient";
            return Err(Problem::new(ErrorCode::HostManifestMissing, message)
                .of(entry.slug)
                .fix(Fix::with_owner("init", context.racks.owner(), [])));
        }
        recipient::ready(context.recipients).map(drop).map_err(|problem| problem.of(entry.slug))
    }

    fn set(&self, entry: Entry<'_>, secret: &[u8], context: &mut Context<'_, '_>) -> Result<(), Problem> {
        self.check_set(entry, context)?;
        check_secret(entry.slug, secret)?;
        let ready = recipient::ready(context.recipients).map_err(|problem| problem.of(entry.slug))?;
        let armored = armor::encrypt_ready(&ready, secret)?;
        let path = context.racks.secure_path(entry.slug);
        let lock = Lock::take(context.racks)?;
        atomic::write_private(&lock, &path, armored.as_bytes(), |written| {
            armor::verify(written, secret, ready.len(), Some(context.identities)).map_err(|why| {
                Problem::new(
                    ErrorCode::Io,
                    format!("what was written for {} is not right: {why}", path.display()),
                )
                .hint("the old value is untouched")
            })
        })
        .map_err(|problem| problem.of(entry.slug))
    }

    fn del(&self, entry: Entry<'_>, context: &mut Context<'_, '_>) -> Result<bool, Problem> {
        if !context.racks.secure_dir().exists() {
            return Ok(false);
        }
        let lock = Lock::take(context.racks)?;
        atomic::remove_private(&lock, &context.racks.secure_path(entry.slug))
            .map_err(|problem| problem.of(entry.slug))
    }

    fn has(&self, entry: Entry<'_>, context: &Context<'_, '_>) -> bool {
        let racks = context.racks;
        atomic::exists(&racks.dir(), &racks.secure_path(entry.slug)).unwrap_or(false)
    }
}

/// Refuses a secret that no key can carry.
pub(crate) fn check_secret(slug: &Slug, secret: &[u8]) -> Result<(), Problem> {
    if secret.is_empty() {
        return Err(Problem::new(ErrorCode::EmptySecret, format!("the secret for {slug} is empty")).of(slug));
    }
    if secret.len() > MAX_SECRET {
        let message =
            format!("the secret for {slug} has {} bytes, and keyrack carries {MAX_SECRET}", secret.len());
        return Err(Problem::new(ErrorCode::SecretTooLarge, message).of(slug));
    }
    Ok(())
}

fn does_not_open(path: &std::path::Path, slug: &Slug, owner: &Owner, fault: Fault) -> Problem {
    match fault {
        Fault::Damaged(why) => Problem::new(
            ErrorCode::VaultCorrupt,
            format!("the file of {slug} is damaged: {}: {why}", path.display()),
        )
        .of(slug)
        .fix(Fix::set_secure(owner, slug)),
        Fault::TooLarge => too_large(format!("the file of {slug}, {}", path.display()), MAX_SECRET).of(slug),
        Fault::Identity(mut problem) => {
            if problem.code == ErrorCode::NoIdentity {
                problem.message = format!("no identity at hand opens the file of {slug}, {}", path.display());
            }
            problem.of(slug)
        }
    }
}
