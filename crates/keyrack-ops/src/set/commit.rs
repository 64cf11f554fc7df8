//! Stores a planned key, in an order in which a crash loses nothing.

use keyrack_client::daemon;
use keyrack_client::session::KeyToUnlock;
use keyrack_core::host_manifest::{HostEntry, Recipient};
use keyrack_core::layout::RackPaths;
use keyrack_core::ttl::{GrantedTtl, TtlRequest, resolve_ttl};
use keyrack_core::{Clock, Error, ErrorCode, GrantSource, Mechanism, VaultId};
use keyrack_vaults::manifest_file::{LockedManifest, ManifestSnapshot};
use keyrack_vaults::{Identities, inventory, os_secure, registry, vault};
use zeroize::Zeroizing;

use super::validate::ValidatedSet;
use crate::context::OpContext;
use crate::evict::evict_from_daemon;

/// A key to store, with the host manifest that it was planned against.
pub(super) struct Commit<'a, 'p> {
    pub(super) ctx: &'a OpContext<'p>,
    pub(super) valid: &'a ValidatedSet,
    pub(super) mech: &'a Mechanism,
    pub(super) racks: &'a RackPaths,
    pub(super) snapshot: &'a ManifestSnapshot,
}

/// A key that was stored: its entry in the host manifest, and the entry that it replaced.
pub(super) struct StoredKey {
    pub(super) entry: HostEntry,
    replaced: Option<HostEntry>,
}

impl Commit<'_, '_> {
    /// Stores the secret, then the entry that points to it.
    pub(super) fn store(
        &self,
        identities: &mut Identities<'_>,
        secret: &Zeroizing<Vec<u8>>,
    ) -> Result<StoredKey, Error> {
        match self.valid.vault {
            VaultId::OsDaemon => self.store_in_daemon(identities, secret),
            _ => self.store_in_vault(identities, secret),
        }
    }

    fn store_in_vault(&self, identities: &mut Identities<'_>, secret: &[u8]) -> Result<StoredKey, Error> {
        let Commit { ctx, valid, mech, racks, .. } = *self;
        let slug = &valid.slug;
        let vault = registry::vault(&valid.vault)?;
        let env = |name: &str| ctx.variable(name);
        let mut locked = LockedManifest::open(racks, identities, self.snapshot)?;
        // An interrupted `set` may have left a file that is newer than its entry. Its version is
        // recorded first, so that no later file is bound to the same version.
        if let Some(host) = locked.manifest.hosts.get_mut(slug)
            && let Some(meta) = os_secure::newer_meta(racks, host)
        {
            host.meta = Some(meta);
            locked.save(identities)?;
        }
        let replaced = locked.manifest.hosts.get(slug).cloned();
        // Planned again: another process may have set the key since.
        let plan = valid.input(&ctx.client.owner, mech, replaced.as_ref()).plan()?;
        let recipients = locked.manifest.recipients.clone();
        let mut context = ctx.vaults(racks, identities, &recipients, &env);
        let entry = vault::VaultEntry {
            slug,
            mech: Some(mech),
            exid: valid.exid.as_deref(),
            host: replaced.as_ref(),
        };
        let is_new =
            replaced.as_ref().is_none_or(|old| old.vault != valid.vault) && !vault.has(entry, &context);
        let stored = vault.set(entry, secret, &mut context).and_then(|meta| {
            locked.manifest.put(slug, plan.new_entry(meta), ctx.now_ms);
            locked.save(identities)
        });
        if let Err(error) = stored {
            if is_new {
                // No entry points to the secret, so it is removed again.
                let mut context = ctx.vaults(racks, identities, &[], &env);
                let _ = vault.del(entry, &mut context);
            }
            return Err(error);
        }
        Ok(StoredKey { entry: stored_entry(&locked, valid)?, replaced })
    }

    /// Gives the secret to the daemon alone, and records that it is there.
    fn store_in_daemon(
        &self,
        identities: &mut Identities<'_>,
        secret: &Zeroizing<Vec<u8>>,
    ) -> Result<StoredKey, Error> {
        let Commit { ctx, valid, mech, racks, .. } = *self;
        let slug = &valid.slug;
        let request =
            TtlRequest { max_duration: valid.max_ttl, sudo: slug.is_sudo(), ..TtlRequest::default() };
        let (ttl, limit) = resolve_ttl(request, Clock { boot_ns: 0, wall_ms: ctx.now_ms })?;
        let source = GrantSource { vault: VaultId::OsDaemon, mech: Mechanism::Session };
        // Before the lock is taken: starting a daemon takes a while.
        let (mut session, _) = daemon::ensure(&ctx.client, &ctx.keyrackd)?;
        let mut locked = LockedManifest::open(racks, identities, self.snapshot)?;
        let replaced = locked.manifest.hosts.get(slug).cloned();
        let plan = valid.input(&ctx.client.owner, mech, replaced.as_ref()).plan()?;
        let key = KeyToUnlock {
            slug,
            grade: plan.grade(),
            source: &source,
            ttl,
            granted: GrantedTtl { ttl: None, limit: Some(limit) },
            credential_expires_at_ms: None,
            secret,
        };
        for unlocked in session.unlock(&[key])? {
            unlocked.outcome?;
        }
        let known = replaced.as_ref().filter(|old| old.vault == VaultId::OsDaemon);
        let meta = known.and_then(|old| old.meta.clone());
        locked.manifest.put(slug, plan.new_entry(meta), ctx.now_ms);
        locked.save(identities)?;
        Ok(StoredKey { entry: stored_entry(&locked, valid)?, replaced })
    }
}

fn stored_entry(locked: &LockedManifest<'_>, valid: &ValidatedSet) -> Result<HostEntry, Error> {
    let entry = locked.manifest.hosts.get(&valid.slug).cloned();
    entry.ok_or_else(|| Error::new(ErrorCode::Internal, "the entry that was put is missing"))
}

/// Updates the inventory, evicts the daemon's stale copy, and deletes the old value from the vault
/// that the key was in before. The key is set by now, so failures are notices.
///
/// # Errors
/// Those of the inventory: without its marker, clients cannot tell that the key exists.
pub(super) fn clean_up(
    ctx: &OpContext<'_>,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    recipients: &[Recipient],
    stored: &StoredKey,
) -> Result<Vec<String>, Error> {
    let slug = &stored.entry.slug;
    let mut notices = Vec::new();
    if stored.entry.vault == VaultId::OsDaemon {
        inventory::remove(racks, slug)?;
    } else {
        let marked = inventory::add(racks, slug);
        // Even without the marker, the daemon must not serve a stale copy.
        notices.extend(evict_from_daemon(ctx, slug));
        marked?;
    }
    if let Some(old) = stored.replaced.as_ref().filter(|old| old.vault != stored.entry.vault)
        && let Ok(vault) = registry::vault(&old.vault)
    {
        let env = |name: &str| ctx.variable(name);
        let mut context = ctx.vaults(racks, identities, recipients, &env);
        if let Err(error) = vault.del(vault::VaultEntry::of(slug, old), &mut context)
            && error.code != ErrorCode::VaultReadOnly
        {
            notices.push(format!("the old value is still in {}: {error}", old.vault));
        }
    }
    Ok(notices)
}
