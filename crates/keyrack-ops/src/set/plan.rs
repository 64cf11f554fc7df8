//! A key that is about to be set: what else there is to check of it, and the steps of storing it, in an order in which a crash loses nothing.

use keyrack_client::daemon;
use keyrack_client::session::KeyToUnlock;
use keyrack_core::host_manifest::{HostEntry, HostManifest, NewHostEntry};
use keyrack_core::ttl::{GrantedTtl, TtlRequest, resolve_ttl};
use keyrack_core::{
    Clock, Error, ErrorCode, Fix, Grade, GrantSource, Mechanism, VaultId, firewall, secret_text,
};
use keyrack_vaults::{Identities, RackPaths, inventory, manifest_file, os_secure, registry, vault};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{SetRequest, ValidatedSet};
use crate::context::OpContext;
use crate::evict::evict_from_daemon;
use crate::{MAX_SECRET, declare};

/// A key that is about to be set.
pub(super) struct Plan<'a> {
    pub(super) valid: ValidatedSet,
    pub(super) mech: Mechanism,
    pub(super) request: &'a SetRequest,
}

impl Plan<'_> {
    fn grade(&self) -> Grade {
        Grade::of(&self.valid.vault, &self.mech)
    }

    /// Grades never degrade.
    pub(super) fn check_grade(&self, ctx: &OpContext<'_>, manifest: &HostManifest) -> Result<(), Error> {
        let slug = &self.valid.slug;
        let Some(old) = manifest.hosts.get(slug) else { return Ok(()) };
        if !self.grade().is_weaker_than(old.grade()) {
            return Ok(());
        }
        let message = format!(
            "{slug} is of grade {} in {}, and would become weaker: {} in {}",
            old.grade(),
            old.vault,
            self.grade(),
            self.valid.vault
        );
        Err(Error::new(ErrorCode::GradeDegraded, message)
            .of(slug)
            .fix(Fix::del(&ctx.client.owner, slug))
            .hint("if that is meant, remove the key first"))
    }

    /// A key weaker than its declaration could be stored and never be unlocked.
    pub(super) fn check_declared(&self, ctx: &OpContext<'_>) -> Result<(), Error> {
        let slug = &self.valid.slug;
        let spec = self.valid.repo.manifest.as_ref().and_then(|manifest| manifest.spec(slug));
        let Some(spec) = spec.filter(|spec| !spec.grade.is_met_by(self.grade())) else { return Ok(()) };
        if let Some(fault) = &spec.fault {
            return Err(fault.clone().of(slug));
        }
        let message = format!(
            "{slug} would be of grade {} in {}, weaker than the {} that {} demands",
            self.grade(),
            self.valid.vault,
            spec.grade,
            self.valid.repo.path
        );
        let error = Error::new(ErrorCode::BelowDeclared, message).of(slug);
        let secure = Grade::of(&VaultId::OsSecure, &self.mech);
        if spec.grade.is_met_by(secure) {
            return Err(error.fix(Fix::set(&ctx.client.owner, slug, &VaultId::OsSecure, &self.mech)));
        }
        Err(error.hint("set it by a mechanism whose keys end by themselves, or change the demand"))
    }

    pub(super) fn check_vault(
        &self,
        ctx: &OpContext<'_>,
        racks: &RackPaths,
        identities: &mut Identities<'_>,
        manifest: &HostManifest,
    ) -> Result<(), Error> {
        if self.valid.vault == VaultId::OsDaemon {
            return Ok(());
        }
        let entry = self.entry(None);
        let env = |name: &str| ctx.variable(name);
        let context = ctx.vaults(racks, identities, &manifest.recipients, &env);
        registry::vault(&self.valid.vault)?.check_set(entry, &context)
    }

    pub(super) fn check_secret(&self, secret: &[u8]) -> Result<(), Error> {
        let slug = &self.valid.slug;
        if secret.is_empty() {
            let message = format!("the secret for {slug} is empty: nothing was stored");
            return Err(Error::new(ErrorCode::EmptySecret, message).of(slug));
        }
        if secret_text::is_blank(secret) {
            let message =
                format!("the secret for {slug} is blank: it holds only white space; nothing was stored");
            return Err(Error::new(ErrorCode::EmptySecret, message).of(slug));
        }
        if secret.len() > MAX_SECRET {
            let message =
                format!("the secret for {slug} has {} bytes, and keyrack carries {MAX_SECRET}", secret.len());
            return Err(Error::new(ErrorCode::SecretTooLarge, message).of(slug));
        }
        if let Some(named) = firewall::blob_mech(secret)
            && named != Mechanism::Replica
            && named != self.mech
        {
            let message = format!("the value itself says it is {named}, and {} was asked for", self.mech);
            return Err(Error::new(ErrorCode::MechMismatch, message)
                .of(slug)
                .hint(format!("set it with --mech {named}")));
        }
        if self.request.allow_dangerous {
            return Ok(());
        }
        firewall::check(secret, &self.mech).map_err(|reasons| {
            Error::new(ErrorCode::LongLivedToken, format!("{slug} was not stored: {}", reasons.join("; ")))
                .of(slug)
                .hint("use a short-lived credential, or pass --allow-dangerous if you must")
        })
    }

    /// Names what is irregular about the secret, which is stored as it was given.
    pub(super) fn irregularities(&self, secret: &[u8]) -> Option<String> {
        let found: Vec<String> =
            secret_text::irregularities(secret).iter().map(ToString::to_string).collect();
        let slug = &self.valid.slug;
        (!found.is_empty())
            .then(|| format!("the secret for {slug} {}; it was stored as given", found.join(" and ")))
    }

    fn new_host(&self, meta: Option<Value>) -> NewHostEntry {
        NewHostEntry {
            vault: self.valid.vault.clone(),
            mech: self.mech.clone(),
            exid: self.request.exid.clone(),
            meta,
            max_duration: self.request.max_duration.clone(),
        }
    }

    /// The key for its vault, with its present entry in the host manifest.
    fn entry<'e>(&'e self, host: Option<&'e HostEntry>) -> vault::VaultEntry<'e> {
        let (slug, mech) = (&self.valid.slug, Some(&self.mech));
        vault::VaultEntry { slug, mech, exid: self.request.exid.as_deref(), host }
    }

    /// Stores the secret and then the entry that points to it. Returns the entry and the one it replaced.
    pub(super) fn store_in_vault(
        &self,
        ctx: &OpContext<'_>,
        racks: &RackPaths,
        identities: &mut Identities<'_>,
        secret: &[u8],
    ) -> Result<(HostEntry, Option<HostEntry>), Error> {
        let slug = &self.valid.slug;
        let vault = registry::vault(&self.valid.vault)?;
        let env = |name: &str| ctx.variable(name);
        let mut fresh = false;
        self.record_newer_version(racks, identities)?;
        let stored = manifest_file::update(racks, identities, |manifest, identities| {
            // Somebody may have set it meanwhile.
            self.check_grade(ctx, manifest)?;
            let recipients = manifest.recipients.clone();
            let mut context = ctx.vaults(racks, identities, &recipients, &env);
            let old = manifest.hosts.get(slug).cloned();
            let entry = self.entry(old.as_ref());
            fresh = !vault.has(entry, &context);
            let meta = vault.set(entry, secret, &mut context)?;
            self.put(manifest, meta, ctx.now_ms)
        });
        if stored.is_err() && fresh {
            // Nothing points to what was stored: it goes again, so that no half of a key stays.
            let mut context = ctx.vaults(racks, identities, &[], &env);
            let _ = vault.del(self.entry(None), &mut context);
        }
        stored
    }

    /// Records the version of a file that an interrupted `set` left behind, so that no later file
    /// is bound to the same version.
    fn record_newer_version(&self, racks: &RackPaths, identities: &mut Identities<'_>) -> Result<(), Error> {
        let manifest = manifest_file::load_existing(racks, identities)?;
        let newer = manifest
            .hosts
            .get(&self.valid.slug)
            .and_then(|host| Some((host, os_secure::newer_meta(racks, host)?)));
        match newer {
            Some((host, meta)) => {
                manifest_file::record_meta(racks, identities, host, &host.mech, meta).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Gives the secret to the daemon alone, and records that it is there.
    pub(super) fn give_to_daemon(
        &self,
        ctx: &OpContext<'_>,
        racks: &RackPaths,
        identities: &mut Identities<'_>,
        secret: &Zeroizing<Vec<u8>>,
    ) -> Result<(HostEntry, Option<HostEntry>), Error> {
        let slug = &self.valid.slug;
        let request = TtlRequest {
            max_duration: self.valid.max_duration,
            sudo: slug.is_sudo(),
            ..TtlRequest::default()
        };
        let (ttl, by) = resolve_ttl(request, Clock { boot_ns: 0, wall_ms: ctx.now_ms })?;
        let source = GrantSource { vault: VaultId::OsDaemon, mech: Mechanism::Session };
        let key = KeyToUnlock {
            slug,
            grade: self.grade(),
            source: &source,
            ttl,
            granted: GrantedTtl { ttl: None, by: Some(by) },
            credential_expires_at_ms: None,
            secret,
        };
        // Not under the lock: a start takes its time.
        let (mut session, _) = daemon::ensure(&ctx.client, &ctx.keyrackd)?;
        manifest_file::update(racks, identities, |manifest, _| {
            self.check_grade(ctx, manifest)?;
            for unlocked in session.unlock(&[key])? {
                unlocked.outcome?;
            }
            let known = manifest.hosts.get(&self.valid.slug).filter(|host| host.vault == VaultId::OsDaemon);
            let meta = known.and_then(|host| host.meta.clone());
            self.put(manifest, meta, ctx.now_ms)
        })
    }

    fn put(
        &self,
        manifest: &mut HostManifest,
        meta: Option<Value>,
        now_ms: i64,
    ) -> Result<(HostEntry, Option<HostEntry>), Error> {
        let slug = &self.valid.slug;
        let old = manifest.hosts.get(slug).cloned();
        manifest.put(slug, self.new_host(meta), now_ms);
        let host = manifest.hosts.get(slug).cloned();
        let host =
            host.ok_or_else(|| Error::new(ErrorCode::Internal, "an entry that was put is not there"))?;
        Ok((host, old))
    }

    /// The marker, the vault the key was in before, and the daemon's copy. The key is set by now.
    pub(super) fn tidy(
        &self,
        ctx: &OpContext<'_>,
        racks: &RackPaths,
        identities: &mut Identities<'_>,
        manifest: &HostManifest,
        old: Option<&HostEntry>,
    ) -> Result<Vec<String>, Error> {
        let slug = &self.valid.slug;
        let mut notices = Vec::new();
        if self.valid.vault == VaultId::OsDaemon {
            inventory::remove(racks, slug)?;
        } else {
            let marked = inventory::add(racks, slug);
            // Whatever became of the marker, no stale copy may be served.
            notices.extend(evict_from_daemon(ctx, slug));
            marked?;
        }
        if let Some(old) = old.filter(|old| old.vault != self.valid.vault)
            && let Ok(vault) = registry::vault(&old.vault)
        {
            let env = |name: &str| ctx.variable(name);
            let mut context = ctx.vaults(racks, identities, &manifest.recipients, &env);
            if let Err(error) = vault.del(vault::VaultEntry::of(slug, old), &mut context)
                && error.code != ErrorCode::VaultReadOnly
            {
                notices.push(format!("the old value is still in {}: {error}", old.vault));
            }
        }
        Ok(notices)
    }

    /// Adds the key to `keyrack.yml`. Says whether it did; if not, the key is set all the same.
    pub(super) fn declare(&self, notices: &mut Vec<String>) -> bool {
        let Some(path) = self.valid.repo.manifest_path() else { return false };
        match declare::add(&self.valid.repo, &path, &self.valid.slug) {
            Ok(()) => true,
            Err(error) => {
                let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
                notices.push(format!("the key is set, and not declared: {}{hint}", error.message));
                false
            }
        }
    }
}
