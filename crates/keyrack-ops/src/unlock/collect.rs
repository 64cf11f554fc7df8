//! Opening the vaults of the keys that are meant, one after the other: what each ends as, before anything is sent.

use super::Omission;
use keyrack_client::daemon;
use keyrack_client::session::KeyToUnlock;
use keyrack_core::grade::MinimumGrade;
use keyrack_core::host_manifest::{HostEntry, HostManifest};
use keyrack_core::ttl::{TtlLimit, TtlRequest, resolve_ttl};
use keyrack_core::{
    Clock, Error, ErrorCode, Fix, Grade, Grant, GrantSource, GrantedTtl, Mechanism, Slug, Ttl, VaultId,
    firewall,
};
use keyrack_vaults::{Identities, RackPaths, inventory, manifest_file, registry, vault};
use zeroize::Zeroizing;

use super::{OmittedKey, UnlockOptions, UnlockReport, errored, is_write_only, send};
use crate::context::{OpContext, is_interrupted};
use crate::repo::Repo;

/// A key whose vault was opened.
pub(super) struct Opened {
    pub(super) grant: Grant,
    secret: Zeroizing<Vec<u8>>,
    ttl: Ttl,
    bound: TtlLimit,
    credential_expires_at_ms: Option<i64>,
}

impl Opened {
    pub(super) fn to_send(&self) -> KeyToUnlock<'_> {
        KeyToUnlock {
            slug: &self.grant.slug,
            grade: self.grant.grade,
            source: &self.grant.source,
            ttl: self.ttl,
            given: GrantedTtl { ttl: None, by: Some(self.bound) },
            credential_expires_at_ms: self.credential_expires_at_ms,
            secret: &self.secret,
        }
    }

    /// Why the life the daemon gave it is not the one that was asked for.
    pub(super) fn note(&self, ttl: Ttl) -> Option<String> {
        match self.bound {
            TtlLimit::MaxDuration => Some(format!("cut to {ttl}, the key's maxDuration")),
            TtlLimit::Credential => Some("cut to what is left of the credential's own life".to_owned()),
            TtlLimit::Requested | TtlLimit::Default | TtlLimit::Ceiling => None,
        }
    }
}

/// What became of one key.
enum Fate {
    Opened(Opened),
    OmittedKey(Omission, Option<Fix>),
}

/// Opens the keys of these slugs and gives them to the daemon.
pub(super) fn collect(
    ctx: &OpContext<'_>,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    manifest: &HostManifest,
    repo: &Repo,
    slugs: &[Slug],
    how: UnlockOptions,
) -> Result<UnlockReport, Error> {
    let mut work = Work { ctx, racks, identities, manifest, repo, how };
    let mut report = UnlockReport::default();
    let mut opened = Vec::new();
    // Several asks may mean one stored key, by its `all`: it is opened once, and every demand on it counts.
    for (slug, asks) in by_stored_key(manifest, slugs) {
        let minimum = |ask: &Slug| {
            repo.manifest.as_ref().and_then(|manifest| manifest.spec(ask)).map(|spec| spec.grade)
        };
        let demands: Vec<MinimumGrade> = asks.iter().filter_map(minimum).collect();
        match work.key(&slug, &demands) {
            Ok(Fate::Opened(key)) => opened.push(key),
            Ok(Fate::OmittedKey(reason, fix)) => {
                report.omitted.push(OmittedKey { slug, reason, cause: None, fix })
            }
            Err(error) if is_interrupted(&error) => return Err(error),
            Err(error) => report.omitted.push(errored(slug, error)),
        }
    }
    send(ctx, opened, &mut report)?;
    Ok(report)
}

/// The keys to open, each once, with the asks that mean it. A key that is not set stands under the slug that was asked for.
fn by_stored_key(manifest: &HostManifest, slugs: &[Slug]) -> Vec<(Slug, Vec<Slug>)> {
    let mut keys: Vec<(Slug, Vec<Slug>)> = Vec::new();
    for ask in slugs {
        let fallback = ask.fallback().filter(|fallback| manifest.hosts.contains_key(fallback));
        let stored = if manifest.hosts.contains_key(ask) {
            ask.clone()
        } else {
            fallback.unwrap_or_else(|| ask.clone())
        };
        match keys.iter_mut().find(|(slug, _)| *slug == stored) {
            Some((_, asks)) => asks.push(ask.clone()),
            None => keys.push((stored, vec![ask.clone()])),
        }
    }
    // `env.all` of keyrack.yml declares a key for every env and for `all`: where one of them is set, the ask for the others is met or
    // reported by itself, and the one for `all` says nothing more.
    let set: Vec<Slug> =
        keys.iter().map(|(slug, _)| slug.clone()).filter(|slug| manifest.hosts.contains_key(slug)).collect();
    keys.retain(|(slug, _)| {
        manifest.hosts.contains_key(slug)
            || slug.env() != "all"
            || !set.iter().any(|other| other.org() == slug.org() && other.name() == slug.name())
    });
    keys
}

struct Work<'a, 'p, 'i> {
    ctx: &'a OpContext<'p>,
    racks: &'a RackPaths,
    identities: &'a mut Identities<'i>,
    manifest: &'a HostManifest,
    repo: &'a Repo,
    how: UnlockOptions,
}

impl Work<'_, '_, '_> {
    fn key(&mut self, slug: &Slug, demands: &[MinimumGrade]) -> Result<Fate, Error> {
        let owner = &self.ctx.client.owner;
        let Some(host) = self.manifest.hosts.get(slug) else {
            return Ok(Fate::OmittedKey(Omission::Absent, Some(Fix::set_secure(owner, slug))));
        };
        if is_write_only(&host.vault) {
            if !self.how.named {
                return Ok(Fate::OmittedKey(Omission::Remote, None));
            }
            let message = format!("{} can only be written: {slug} cannot be unlocked from it", host.vault);
            return Err(Error::new(ErrorCode::VaultWriteOnly, message).of(slug));
        }
        // By what the manifest says, before the vault is opened; by what the vault says, after.
        self.meets(slug, host.grade(), demands)?;
        let max_duration = host.max_ttl()?;
        let Some((material, source)) = self.fetch(host)? else {
            let lost = Fix::set(owner, slug, &host.vault, &host.mech);
            return Ok(Fate::OmittedKey(Omission::Lost, Some(lost)));
        };
        let grade = Grade::of(&source.vault, &source.mech);
        self.meets(slug, grade, demands)?;
        self.firewall(slug, &material.secret, &source.mech)?;
        let request = TtlRequest {
            requested: self.how.asked,
            max_duration,
            credential_expires_at_ms: material.credential_expires_at_ms,
            sudo: slug.is_sudo(),
        };
        let (ttl, bound) = resolve_ttl(request, Clock { boot_ns: 0, wall_ms: self.ctx.now_ms })?;
        if ttl.as_ms() == 0 {
            let message = format!("the credential of {slug} has ended by itself");
            return Err(Error::new(ErrorCode::Lost, message).of(slug).fix(Fix::set(
                owner,
                slug,
                &host.vault,
                &host.mech,
            )));
        }
        Ok(Fate::Opened(Opened {
            grant: Grant { slug: slug.clone(), grade, source, expires_at_ms: None },
            secret: material.secret,
            ttl,
            bound,
            credential_expires_at_ms: material.credential_expires_at_ms,
        }))
    }

    /// What the vault holds. `None` when it has lost the key; then the marker goes too, if the vault is sure of it.
    fn fetch(&mut self, host: &HostEntry) -> Result<Option<(Fetched, GrantSource)>, Error> {
        let slug = &host.slug;
        if host.vault == VaultId::OsDaemon {
            return self.read_back(slug);
        }
        let about = |error: Error| if error.slug.is_some() { error } else { error.of(slug) };
        let from = registry::vault(&host.vault).map_err(about)?;
        let ctx = self.ctx;
        let env = |name: &str| ctx.variable(name);
        let mut context = ctx.vaults(self.racks, self.identities, &self.manifest.recipients, &env);
        let entry = vault::VaultEntry::of(slug, host);
        match from.get(entry, &mut context).map_err(about)? {
            Some(material) => {
                // A `set` was interrupted before it recorded this version. Unlocking works without
                // the record, so an error is ignored.
                if let Some(meta) = material.newer_meta {
                    let _ =
                        manifest_file::record_meta(self.racks, self.identities, host, &material.mech, meta);
                }
                let source = GrantSource { vault: host.vault.clone(), mech: material.mech };
                let (secret, end) = (material.secret, material.credential_expires_at_ms);
                Ok(Some((Fetched { secret, credential_expires_at_ms: end }, source)))
            }
            None => {
                if !from.has(entry, &context) {
                    inventory::remove(self.racks, slug)?;
                }
                Ok(None)
            }
        }
    }

    /// A key that only the daemon has: it is read back, to be given a new life.
    fn read_back(&self, slug: &Slug) -> Result<Option<(Fetched, GrantSource)>, Error> {
        let Some(daemon) = daemon::connect(&self.ctx.client)? else { return Ok(None) };
        let mut session = daemon.native("unlock")?;
        let held = session.get(std::slice::from_ref(slug))?;
        Ok(held.into_iter().find(|held| held.grant.slug == *slug).map(|held| {
            let fetched = Fetched { secret: held.secret.into_inner(), credential_expires_at_ms: None };
            (fetched, held.grant.source)
        }))
    }

    /// Whether the key is as strong as every declaration that asks for it demands.
    fn meets(&self, slug: &Slug, grade: Grade, demands: &[MinimumGrade]) -> Result<(), Error> {
        let Some(demand) = demands.iter().find(|demand| !demand.is_met_by(grade)) else { return Ok(()) };
        let path = &self.repo.path;
        let message = format!("{slug} is of grade {grade}, weaker than the {demand} that {path} demands");
        let error = Error::new(ErrorCode::BelowDeclared, message).of(slug);
        if demand.duration.is_none() && demand.is_met_by(Grade::of(&VaultId::OsSecure, &Mechanism::Replica)) {
            return Err(error.fix(Fix::set_secure(&self.ctx.client.owner, slug)));
        }
        Err(error.hint("set it again by a mechanism that is strong enough, or change the demand"))
    }

    /// The unlock of one key for as long as was asked.
    fn again(&self, slug: &Slug) -> Fix {
        let owner = &self.ctx.client.owner;
        let own = self.repo.manifest.as_ref().is_some_and(|manifest| manifest.org == slug.org());
        let mut fix = match own || slug.is_machine() {
            true => Fix::unlock(owner, slug),
            false => Fix::with_owner("unlock", owner, ["--key", slug.as_str()]),
        };
        if let (Fix::Command(words), Some(asked)) = (&mut fix, self.how.asked) {
            words.extend(["--duration".to_owned(), asked.to_string()]);
        }
        fix
    }

    fn firewall(&self, slug: &Slug, secret: &[u8], mech: &Mechanism) -> Result<(), Error> {
        if secret.is_empty() {
            return Err(Error::new(ErrorCode::EmptySecret, format!("the value of {slug} is empty")).of(slug));
        }
        if self.how.allow_dangerous {
            return Ok(());
        }
        firewall::check(secret, mech).map_err(|reasons| {
            Error::new(ErrorCode::LongLivedToken, format!("{slug} stays locked: {}", reasons.join("; ")))
                .of(slug)
                .hint("set a short-lived credential instead, or pass --allow-dangerous if you must")
                .fix(self.again(slug).allowing_dangerous())
        })
    }
}

/// What a vault held.
struct Fetched {
    secret: Zeroizing<Vec<u8>>,
    credential_expires_at_ms: Option<i64>,
}
