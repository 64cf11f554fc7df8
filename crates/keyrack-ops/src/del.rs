//! `del`: a key out of its vault, the daemon, the host manifest, `keyrack.yml` and, last, the inventory, so that a run that is cut off leaves
//! a key that says it is there rather than one that denies it.

use keyrack_core::host_manifest::{HostEntry, HostManifest};
use keyrack_core::resolve::{Operation, resolve_anywhere, resolve_key};
use keyrack_core::{Env, Error, ErrorCode, Slug, VaultId};
use keyrack_vaults::{Identities, RackPaths, inventory, manifest_file, registry, vault};

use crate::context::OpContext;
use crate::declare;
use crate::evict::evict_from_daemon;
use crate::input::is_machine_key;
use crate::repo::Repo;

/// What is to be removed, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct DelRequest {
    /// A bare name or a full slug.
    pub key: String,
    /// The env; `None` for that of a full slug, else `all`.
    pub env: Option<String>,
    /// `@this`, `@all` or an org's name; `None` for `@this`.
    pub org: Option<String>,
    /// Where no `keyrack.yml` says whose the key is, take a full slug at its word.
    pub anywhere: bool,
}

/// What came of a removal.
#[derive(Clone, Debug)]
pub struct DelReport {
    /// The key.
    pub slug: Slug,
    /// Whether there was one.
    pub found: bool,
    /// Whether it was taken out of `keyrack.yml`.
    pub undeclared: bool,
    /// What could not be done beside, and what may be meant instead, a sentence each.
    pub notices: Vec<String>,
}

/// Removes a key. That it was not there is no error.
///
/// # Errors
/// What the key's name leaves in doubt; [`ErrorCode::VaultUnsupported`] for a vault this version cannot take it out of; what kept it from
/// being removed.
pub fn del(ctx: &OpContext<'_>, request: &DelRequest) -> Result<DelReport, Error> {
    let of_machine = is_machine_key(&request.key, request.org.as_deref());
    let repo = if of_machine { Repo::none() } else { Repo::of(&ctx.client)? };
    let wanted = repo.query(&ctx.client.owner, &request.key, request.env.as_deref(), request.org.as_deref());
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let found = manifest_file::load(&racks, &mut identities)?;

    let meant = if request.anywhere {
        resolve_anywhere(&wanted, Operation::Del)
    } else {
        resolve_key(&wanted, Operation::Del)
    };
    let slug = match meant {
        Ok(slug) => slug,
        // A sudo key stands in no keyrack.yml, so the rack itself may say whose it is.
        Err(error)
            if error.code == ErrorCode::NoManifest && request.env.as_deref() == Some(Env::Sudo.as_str()) =>
        {
            only_sudo(found.as_ref(), &request.key, error)?
        }
        Err(error) => return Err(error),
    };
    let mut deleted = DelReport { slug, found: false, undeclared: false, notices: Vec::new() };
    if let Some(manifest) = found {
        deleted.found = remove(ctx, &racks, &mut identities, &manifest, &deleted.slug, &mut deleted.notices)?;
        if !deleted.found && request.env.is_none() && !Slug::looks_full(&request.key) {
            deleted.notices.extend(namesakes(&manifest, &deleted.slug));
        }
    }
    match declare::remove(&repo, &deleted.slug) {
        Ok(undeclared) => deleted.undeclared = undeclared,
        Err(error) => {
            let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
            deleted.notices.push(format!("the key still stands in keyrack.yml: {}{hint}", error.message));
        }
    }
    inventory::remove(&racks, &deleted.slug)?;
    Ok(deleted)
}

/// The secret, the daemon's copy, the entry. Also what a `set` that was cut off left of a key without an entry.
fn remove(
    ctx: &OpContext<'_>,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    manifest: &HostManifest,
    slug: &Slug,
    notices: &mut Vec<String>,
) -> Result<bool, Error> {
    let env = |name: &str| ctx.variable(name);
    let Some(host) = manifest.hosts.get(slug) else {
        let mut left = inventory::has(racks, slug);
        for id in [VaultId::OsSecure, VaultId::OsDirect] {
            let mut context = ctx.vaults(racks, identities, &[], &env);
            left |= registry::vault(&id)?.del(vault::VaultEntry::new(slug), &mut context)?;
        }
        if left {
            notices.extend(evict_from_daemon(ctx, slug));
        }
        return Ok(left);
    };
    check(host)?;
    manifest_file::update(racks, identities, |manifest, identities| {
        // What is removed is what is there now.
        let Some(host) = manifest.hosts.get(slug).cloned() else { return Ok(true) };
        check(&host)?;
        if let Ok(vault) = registry::vault(&host.vault)
            && host.vault != VaultId::OsEnvvar
        {
            let mut context = ctx.vaults(racks, identities, &[], &env);
            vault.del(vault::VaultEntry::of(slug, &host), &mut context)?;
        }
        notices.extend(evict_from_daemon(ctx, slug));
        manifest.hosts.remove(slug);
        Ok(true)
    })
}

/// Refuses a vault that this version cannot take a key out of, and that keeps more than a pointer to it.
fn check(host: &HostEntry) -> Result<(), Error> {
    match host.vault {
        VaultId::OsSecure
        | VaultId::OsDirect
        | VaultId::OsDaemon
        | VaultId::OsEnvvar
        // Only pointed to: the item there stays.
        | VaultId::OnePassword
        | VaultId::AwsConfig => Ok(()),
        _ => registry::vault(&host.vault).map(drop).map_err(|error| {
            error.of(&host.slug).hint("remove it with the version of keyrack that set it")
        }),
    }
}

/// The one sudo key of this name.
fn only_sudo(manifest: Option<&HostManifest>, name: &str, otherwise: Error) -> Result<Slug, Error> {
    let all = manifest.iter().flat_map(|manifest| manifest.hosts.keys());
    let found: Vec<&Slug> = all.filter(|slug| slug.is_sudo() && slug.name() == name).collect();
    match found[..] {
        [] => Err(otherwise),
        [only] => Ok(only.clone()),
        _ => {
            let slugs: Vec<_> = found.iter().map(|slug| slug.as_str()).collect();
            Err(Error::new(
                ErrorCode::AmbiguousKey,
                format!("{name} is the name of several sudo keys: {}", slugs.join(", ")),
            )
            .hint("name one by its full slug"))
        }
    }
}

/// Keys of the same name in other envs: one of them may be meant.
fn namesakes(manifest: &HostManifest, slug: &Slug) -> Option<String> {
    let same = |other: &&Slug| other.org() == slug.org() && other.name() == slug.name();
    let others: Vec<_> = manifest.hosts.keys().filter(same).map(Slug::env).collect();
    (!others.is_empty())
        .then(|| format!("{} is there for another env: --env {}", slug.name(), others.join(", --env ")))
}
