//! `del`: removes a key from its vault, the daemon, the host manifest, `keyrack.yml` and, last, the
//! inventory.
//!
//! The marker in the inventory goes last: after a crash, keyrack reports a key that is partly gone
//! rather than none.

use keyrack_core::host_manifest::{HostEntry, HostManifest};
use keyrack_core::layout::RackPaths;
use keyrack_core::resolve::{Operation, resolve_anywhere, resolve_key};
use keyrack_core::{Env, Error, ErrorCode, Slug, VaultId};
use keyrack_vaults::manifest_file::{LockedManifest, ManifestSnapshot};
use keyrack_vaults::{Identities, inventory, registry, vault};

use crate::context::OpContext;
use crate::declaration;
use crate::evict::evict_from_daemon;
use crate::input::is_machine_key;
use crate::repo::Repo;

/// A key to remove, as the user typed it.
#[derive(Clone, Debug, Default)]
pub struct DelRequest {
    /// Name or full slug.
    pub key: String,
    /// Env; `None` for that of a full slug, else `all`.
    pub env: Option<String>,
    /// `@this`, `@all` or the name of an org; `None` for `@this`.
    pub org: Option<String>,
    /// Accepts a full slug of any org where no `keyrack.yml` is found.
    pub anywhere: bool,
}

/// Result of a `del`.
#[derive(Clone, Debug)]
pub struct DelReport {
    /// The key.
    pub slug: Slug,
    /// Set if the key existed.
    pub found: bool,
    /// Set if `keyrack.yml` no longer declares it.
    pub undeclared: bool,
    /// Steps that failed, and keys that the user may have meant, a sentence each.
    pub notices: Vec<String>,
}

/// Removes a key. A key that does not exist is not an error.
///
/// # Errors
/// Those of resolving the key; [`ErrorCode::VaultUnsupported`] for a vault that this version cannot
/// delete from; those of deleting.
pub fn del(ctx: &OpContext<'_>, request: &DelRequest) -> Result<DelReport, Error> {
    let of_machine = is_machine_key(&request.key, request.org.as_deref());
    let repo = if of_machine { Repo::none() } else { Repo::of(&ctx.client)? };
    let query = repo.query(&ctx.client.owner, &request.key, request.env.as_deref(), request.org.as_deref());
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let snapshot = ManifestSnapshot::read_if_present(&racks, &mut identities)?;

    let resolved = if request.anywhere {
        resolve_anywhere(&query, Operation::Del)
    } else {
        resolve_key(&query, Operation::Del)
    };
    let slug = match resolved {
        Ok(slug) => slug,
        // No keyrack.yml declares sudo keys, so the rack itself may tell the org.
        Err(error)
            if error.code == ErrorCode::NoManifest && request.env.as_deref() == Some(Env::Sudo.as_str()) =>
        {
            only_sudo(snapshot.as_ref().map(|snapshot| &snapshot.manifest), &request.key, error)?
        }
        Err(error) => return Err(error),
    };
    let mut report = DelReport { slug, found: false, undeclared: false, notices: Vec::new() };
    if let Some(snapshot) = snapshot {
        report.found = remove(ctx, &racks, &mut identities, &snapshot, &report.slug, &mut report.notices)?;
        if !report.found && request.env.is_none() && !Slug::looks_full(&request.key) {
            report.notices.extend(namesakes(&snapshot.manifest, &report.slug));
        }
    }
    match declaration::remove(&repo, &report.slug) {
        Ok(undeclared) => report.undeclared = undeclared,
        Err(error) => {
            let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
            report.notices.push(format!("keyrack.yml still declares the key: {}{hint}", error.message));
        }
    }
    inventory::remove(&racks, &report.slug)?;
    Ok(report)
}

/// Removes the secret, the daemon's copy and the entry. Returns `true` if there was any.
fn remove(
    ctx: &OpContext<'_>,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    snapshot: &ManifestSnapshot,
    slug: &Slug,
    notices: &mut Vec<String>,
) -> Result<bool, Error> {
    let Some(host) = snapshot.manifest.hosts.get(slug) else {
        return remove_without_entry(ctx, racks, identities, slug, notices);
    };
    check_deletable(host)?;
    let mut locked = LockedManifest::open(racks, identities, snapshot)?;
    // The entry that is removed is the present one. Another process may have removed it.
    let Some(host) = locked.manifest.hosts.get(slug).cloned() else { return Ok(true) };
    check_deletable(&host)?;
    if let Ok(vault) = registry::vault(&host.vault)
        && host.vault != VaultId::OsEnvvar
    {
        let env = |name: &str| ctx.variable(name);
        let mut context = ctx.vaults(racks, identities, &[], &env);
        vault.del(vault::VaultEntry::of(slug, &host), &mut context)?;
    }
    notices.extend(evict_from_daemon(ctx, slug));
    locked.manifest.hosts.remove(slug);
    locked.save(identities)?;
    Ok(true)
}

/// Removes what an interrupted `set` left of a key that has no entry.
fn remove_without_entry(
    ctx: &OpContext<'_>,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
    slug: &Slug,
    notices: &mut Vec<String>,
) -> Result<bool, Error> {
    let env = |name: &str| ctx.variable(name);
    let mut found = inventory::has(racks, slug);
    for id in [VaultId::OsSecure, VaultId::OsDirect] {
        let mut context = ctx.vaults(racks, identities, &[], &env);
        found |= registry::vault(&id)?.del(vault::VaultEntry::new(slug), &mut context)?;
    }
    if found {
        notices.extend(evict_from_daemon(ctx, slug));
    }
    Ok(found)
}

/// Checks that this version can delete from the vault, or that the vault only points to an item
/// elsewhere.
fn check_deletable(host: &HostEntry) -> Result<(), Error> {
    match host.vault {
        VaultId::OsSecure
        | VaultId::OsDirect
        | VaultId::OsDaemon
        | VaultId::OsEnvvar
        // Pointers: the item itself stays.
        | VaultId::OnePassword
        | VaultId::AwsConfig => Ok(()),
        _ => registry::vault(&host.vault).map(drop).map_err(|error| {
            error.of(&host.slug).hint("delete it with the version of keyrack that set it")
        }),
    }
}

/// Returns the sudo key of this name, if there is exactly one; with none, the error `otherwise`.
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
                format!("several sudo keys are named {name}: {}", slugs.join(", ")),
            )
            .hint("use the full slug"))
        }
    }
}

/// Notice of keys of the same name in other envs, which the user may have meant.
fn namesakes(manifest: &HostManifest, slug: &Slug) -> Option<String> {
    let same = |other: &&Slug| other.org() == slug.org() && other.name() == slug.name();
    let others: Vec<_> = manifest.hosts.keys().filter(same).map(Slug::env).collect();
    (!others.is_empty())
        .then(|| format!("{} exists for another env: --env {}", slug.name(), others.join(", --env ")))
}
