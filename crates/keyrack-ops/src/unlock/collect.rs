//! Collects the secrets of keys from their vaults, one key after the other, for the caller to send.

use super::omission::Omission;
use keyrack_client::daemon;
use keyrack_client::session::KeyToUnlock;
use keyrack_core::declared_grade;
use keyrack_core::grade::MinimumGrade;
use keyrack_core::host_manifest::{HostEntry, HostManifest};
use keyrack_core::ttl::{TtlLimit, TtlRequest, resolve_ttl};
use keyrack_core::{
    Clock, Error, ErrorCode, Fix, FixCommand, Grade, Grant, GrantSource, GrantedTtl, Mechanism, Slug, Ttl,
    VaultId, firewall,
};
use keyrack_vaults::{Identities, RackPaths, inventory, manifest_file, registry, vault};
use zeroize::Zeroizing;

use super::report::OmittedKey;
use crate::context::{OpContext, is_interrupted};
use crate::repo::Repo;

/// Options that apply to all keys of one unlock.
#[derive(Clone, Copy)]
pub(super) struct UnlockOptions {
    /// TTL that the user requested.
    pub(super) requested: Option<Ttl>,
    /// Skips the token check.
    pub(super) allow_dangerous: bool,
    /// Set if the user named the keys, rather than asking for all of an env.
    pub(super) named: bool,
}

/// Keys and omissions of one unlock.
pub(super) struct Collected {
    pub(super) keys: Vec<CollectedKey>,
    pub(super) omitted: Vec<OmittedKey>,
}

/// A key with its secret, ready to be sent.
pub(super) struct CollectedKey {
    pub(super) grant: Grant,
    secret: Zeroizing<Vec<u8>>,
    ttl: Ttl,
    limit: TtlLimit,
    credential_expires_at_ms: Option<i64>,
}

impl CollectedKey {
    /// The key as the daemon's protocol takes it.
    pub(super) fn to_wire(&self) -> KeyToUnlock<'_> {
        KeyToUnlock {
            slug: &self.grant.slug,
            grade: self.grant.grade,
            source: &self.grant.source,
            ttl: self.ttl,
            granted: GrantedTtl { ttl: None, limit: Some(self.limit) },
            credential_expires_at_ms: self.credential_expires_at_ms,
            secret: &self.secret,
        }
    }

    /// Explains why the daemon's TTL is shorter than requested; `None` if it is not.
    pub(super) fn limit_note(&self, ttl: Ttl) -> Option<String> {
        match self.limit {
            TtlLimit::MaxDuration => Some(format!("shortened to {ttl}, the key's maxDuration")),
            TtlLimit::Credential => Some("shortened to the credential's remaining TTL".to_owned()),
            TtlLimit::Requested | TtlLimit::Default | TtlLimit::Ceiling => None,
        }
    }
}

/// Outcome for one key.
enum KeyOutcome {
    Collected(CollectedKey),
    Omitted(Omission, Option<Fix>),
}

/// Secret that a vault returned.
struct VaultSecret {
    secret: Zeroizing<Vec<u8>>,
    source: GrantSource,
    credential_expires_at_ms: Option<i64>,
}

/// Reads the keys of these slugs from their vaults.
///
/// # Errors
/// [`ErrorCode::Interrupted`]. All other errors are recorded with their key.
pub(super) fn collect(
    ctx: &OpContext<'_>,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    manifest: &HostManifest,
    repo: &Repo,
    slugs: &[Slug],
    options: UnlockOptions,
) -> Result<Collected, Error> {
    let mut collector = Collector { ctx, racks, identities, manifest, repo, options };
    let mut collected = Collected { keys: Vec::new(), omitted: Vec::new() };
    // Several slugs may resolve to one stored key, through its `all`: it is read once, and must
    // meet the grades that all of them require.
    for (slug, aliases) in by_stored_key(manifest, slugs) {
        let required = |alias: &Slug| {
            repo.manifest.as_ref().and_then(|manifest| manifest.spec(alias)).map(|spec| spec.grade)
        };
        let required: Vec<MinimumGrade> = aliases.iter().filter_map(required).collect();
        match collector.collect_key(&slug, &required) {
            Ok(KeyOutcome::Collected(key)) => collected.keys.push(key),
            Ok(KeyOutcome::Omitted(reason, fix)) => {
                collected.omitted.push(OmittedKey { slug, reason, cause: None, fix });
            }
            Err(error) if is_interrupted(&error) => return Err(error),
            Err(error) => collected.omitted.push(OmittedKey::errored(slug, error)),
        }
    }
    Ok(collected)
}

/// The stored keys to read, each once, with the slugs that resolve to it. A key that is not set is
/// listed under the slug that was requested.
fn by_stored_key(manifest: &HostManifest, slugs: &[Slug]) -> Vec<(Slug, Vec<Slug>)> {
    let mut keys: Vec<(Slug, Vec<Slug>)> = Vec::new();
    for slug in slugs {
        let fallback = slug.fallback().filter(|fallback| manifest.hosts.contains_key(fallback));
        let stored = if manifest.hosts.contains_key(slug) {
            slug.clone()
        } else {
            fallback.unwrap_or_else(|| slug.clone())
        };
        match keys.iter_mut().find(|(key, _)| *key == stored) {
            Some((_, aliases)) => aliases.push(slug.clone()),
            None => keys.push((stored, vec![slug.clone()])),
        }
    }
    // `env.all` of keyrack.yml declares a key for every env and for `all`. If the key is set for
    // one of them, the others are found or reported under their own slugs, and a missing `all`
    // adds nothing.
    let set: Vec<Slug> =
        keys.iter().map(|(slug, _)| slug.clone()).filter(|slug| manifest.hosts.contains_key(slug)).collect();
    keys.retain(|(slug, _)| {
        manifest.hosts.contains_key(slug)
            || slug.env() != "all"
            || !set.iter().any(|other| other.org() == slug.org() && other.name() == slug.name())
    });
    keys
}

struct Collector<'a, 'p, 'i> {
    ctx: &'a OpContext<'p>,
    racks: &'a RackPaths,
    identities: &'a mut Identities<'i>,
    manifest: &'a HostManifest,
    repo: &'a Repo,
    options: UnlockOptions,
}

impl Collector<'_, '_, '_> {
    fn collect_key(&mut self, slug: &Slug, required: &[MinimumGrade]) -> Result<KeyOutcome, Error> {
        let owner = &self.ctx.client.owner;
        let Some(host) = self.manifest.hosts.get(slug) else {
            return Ok(KeyOutcome::Omitted(Omission::Absent, Some(Fix::set_secure(owner, slug))));
        };
        if is_write_only(&host.vault) {
            if !self.options.named {
                return Ok(KeyOutcome::Omitted(Omission::Remote, None));
            }
            let message = format!("cannot unlock {slug}: {} is write-only", host.vault);
            return Err(Error::new(ErrorCode::VaultWriteOnly, message).of(slug));
        }
        // Checked twice: the grade in the manifest before the vault is opened, and the grade that
        // the vault reports after.
        self.check_grade(slug, (host.grade(), &host.mech), required)?;
        let max_duration = host.max_ttl()?;
        let Some(found) = self.fetch(host)? else {
            let fix = Fix::set(owner, slug, &host.vault, &host.mech);
            return Ok(KeyOutcome::Omitted(Omission::Lost, Some(fix)));
        };
        let grade = Grade::of(&found.source.vault, &found.source.mech);
        self.check_grade(slug, (grade, &found.source.mech), required)?;
        self.check_secret(slug, &found.secret, &found.source.mech)?;
        let request = TtlRequest {
            requested: self.options.requested,
            max_duration,
            credential_expires_at_ms: found.credential_expires_at_ms,
            sudo: slug.is_sudo(),
        };
        let (ttl, limit) = resolve_ttl(request, Clock { boot_ns: 0, wall_ms: self.ctx.now_ms })?;
        if ttl.as_ms() == 0 {
            let message = format!("the credential of {slug} has expired");
            return Err(Error::new(ErrorCode::Lost, message).of(slug).fix(Fix::set(
                owner,
                slug,
                &host.vault,
                &host.mech,
            )));
        }
        Ok(KeyOutcome::Collected(CollectedKey {
            grant: Grant { slug: slug.clone(), grade, source: found.source, expires_at_ms: None },
            secret: found.secret,
            ttl,
            limit,
            credential_expires_at_ms: found.credential_expires_at_ms,
        }))
    }

    /// Reads a key from its vault. `None` if the vault has lost it; then the inventory's marker is
    /// removed too, if the vault is sure.
    fn fetch(&mut self, host: &HostEntry) -> Result<Option<VaultSecret>, Error> {
        let slug = &host.slug;
        if host.vault == VaultId::OsDaemon {
            return self.fetch_from_daemon(slug);
        }
        let with_slug = |error: Error| if error.slug.is_some() { error } else { error.of(slug) };
        let vault = registry::vault(&host.vault).map_err(with_slug)?;
        let ctx = self.ctx;
        let env = |name: &str| ctx.variable(name);
        let mut context = ctx.vaults(self.racks, self.identities, &self.manifest.recipients, &env);
        let entry = vault::VaultEntry::of(slug, host);
        match vault.get(entry, &mut context).map_err(with_slug)? {
            Some(material) => {
                // A `set` was interrupted before it recorded this version. Unlocking works without
                // the record, so an error is ignored.
                if let Some(meta) = material.newer_meta {
                    let _ =
                        manifest_file::record_meta(self.racks, self.identities, host, &material.mech, meta);
                }
                Ok(Some(VaultSecret {
                    secret: material.secret,
                    source: GrantSource { vault: host.vault.clone(), mech: material.mech },
                    credential_expires_at_ms: material.credential_expires_at_ms,
                }))
            }
            None => {
                if !vault.has(entry, &context) {
                    inventory::remove(self.racks, slug)?;
                }
                Ok(None)
            }
        }
    }

    /// Reads a key that only the daemon has, to renew its TTL.
    fn fetch_from_daemon(&self, slug: &Slug) -> Result<Option<VaultSecret>, Error> {
        let Some(daemon) = daemon::connect(&self.ctx.client)? else { return Ok(None) };
        let mut session = daemon.native("unlock")?;
        let held = session.get(std::slice::from_ref(slug))?;
        Ok(held.into_iter().find(|held| held.grant.slug == *slug).map(|held| VaultSecret {
            secret: held.secret.into_inner(),
            source: held.grant.source,
            credential_expires_at_ms: None,
        }))
    }

    /// Checks a key against the grades that its declarations in `keyrack.yml` require.
    fn check_grade(
        &self,
        slug: &Slug,
        grade: (Grade, &Mechanism),
        required: &[MinimumGrade],
    ) -> Result<(), Error> {
        let owner = &self.ctx.client.owner;
        required.iter().try_for_each(|minimum| {
            declared_grade::check(slug.as_str(), slug, owner, grade, *minimum, &self.repo.path)
        })
    }

    /// Refuses an empty secret, and one that the token check holds back.
    fn check_secret(&self, slug: &Slug, secret: &[u8], mech: &Mechanism) -> Result<(), Error> {
        if secret.is_empty() {
            return Err(Error::new(ErrorCode::EmptySecret, format!("the secret of {slug} is empty")).of(slug));
        }
        if self.options.allow_dangerous {
            return Ok(());
        }
        firewall::check(secret, mech).map_err(|reasons| {
            Error::new(ErrorCode::LongLivedToken, format!("{slug} stays locked: {}", reasons.join("; ")))
                .of(slug)
                .hint("use a short-lived credential, or pass --allow-dangerous")
                .fix(self.unlock_command(slug).allowing_dangerous())
        })
    }

    /// The command that unlocks this key alone, for the requested TTL.
    fn unlock_command(&self, slug: &Slug) -> Fix {
        let owner = &self.ctx.client.owner;
        let is_own_org = self.repo.manifest.as_ref().is_some_and(|manifest| manifest.org == slug.org());
        let fix = match is_own_org || slug.is_machine() {
            true => Fix::unlock(owner, slug),
            false => FixCommand::new("unlock").owner(owner).key(slug.as_str()).into(),
        };
        match (fix, self.options.requested) {
            (Fix::Command(command), Some(requested)) => {
                command.args(["--duration", &requested.to_string()]).into()
            }
            (fix, _) => fix,
        }
    }
}

/// Returns `true` for vaults that keyrack cannot read from.
fn is_write_only(vault: &VaultId) -> bool {
    *vault == VaultId::GithubSecrets
}
