//! `set`: stores a key in a vault and records it in the host manifest, the inventory and
//! `keyrack.yml`.
//!
//! A set runs in three steps, so that whatever can be rejected is rejected before the user types
//! the secret:
//!
//! 1. [`validate`] parses what was typed.
//! 2. [`keyrack_core::set_rule`] plans: it compares the key with its entry in the host manifest and
//!    with its declaration.
//! 3. [`commit`] stores the secret under the owner's lock.
//!
//! The host manifest is decrypted once, and a written one is read back once. A crash loses nothing:
//! the vault is written first, then the manifest that points to it, then the inventory's marker.
//! Then the daemon's stale copy is evicted, and `keyrack.yml` is edited last.

mod commit;
mod request;
#[cfg(test)]
mod tests;
mod validate;

use keyrack_core::host_manifest::HostEntry;
use keyrack_core::layout::RackPaths;
use keyrack_core::{Error, VaultId};
use keyrack_vaults::manifest_file::ManifestSnapshot;
use keyrack_vaults::{Identities, registry, vault};

use self::commit::{Commit, clean_up};
pub use self::request::SetRequest;
use self::validate::ValidatedSet;
use crate::context::OpContext;
use crate::declaration;

/// Result of a `set`.
#[derive(Clone, Debug)]
pub struct SetReport {
    /// Entry of the key in the host manifest.
    pub host: HostEntry,
    /// Set if the key was added to `keyrack.yml`.
    pub declared: bool,
    /// Steps that failed after the key was stored, a sentence each.
    pub notices: Vec<String>,
}

/// Stores a key.
///
/// # Errors
/// Those of [`validate`] and of the rules in [`keyrack_core::set_rule`], before the secret is
/// prompted for; then those of the secret itself; then those of storing it, after which nothing is
/// changed.
pub fn set(ctx: &OpContext<'_>, request: &SetRequest) -> Result<SetReport, Error> {
    let valid = ValidatedSet::new(ctx, request)?;
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    set_validated(ctx, &valid, request.allow_dangerous, &racks, &mut identities)
}

fn set_validated(
    ctx: &OpContext<'_>,
    valid: &ValidatedSet,
    allow_dangerous: bool,
    racks: &RackPaths,
    identities: &mut Identities<'_>,
) -> Result<SetReport, Error> {
    let slug = &valid.slug;
    let snapshot = ManifestSnapshot::read(racks, identities)?;
    ctx.remember(racks, identities);
    let mech = valid.mechanism(ctx)?;
    let plan = valid.input(&ctx.client.owner, &mech, snapshot.manifest.hosts.get(slug)).plan()?;
    if valid.vault != VaultId::OsDaemon {
        let entry = vault::VaultEntry {
            mech: Some(&mech),
            exid: valid.exid.as_deref(),
            ..vault::VaultEntry::new(slug)
        };
        let env = |name: &str| ctx.variable(name);
        let context = ctx.vaults(racks, identities, &snapshot.manifest.recipients, &env);
        registry::vault(&valid.vault)?.check_set(entry, &context)?;
    }
    let declaration = declaration::plan(&valid.repo, slug)?;

    let secret = ctx.prompt(|prompts| prompts.secret(slug))?;
    plan.check_secret(&secret, allow_dangerous)?;
    let irregularities = plan.irregularities(&secret);

    let commit = Commit { ctx, valid, mech: &mech, racks, snapshot: &snapshot };
    let stored = commit.store(identities, &secret)?;
    drop(secret);
    let recipients = &snapshot.manifest.recipients;
    let mut notices = clean_up(ctx, racks, identities, recipients, &stored)?;
    notices.extend(irregularities);
    let declared = match declaration.map(declaration::PlannedDeclaration::commit) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            let hint = error.hint.map_or_else(String::new, |hint| format!("; {hint}"));
            notices.push(format!("the key was set, but not declared: {}{hint}", error.message));
            false
        }
        None => false,
    };
    Ok(SetReport { host: stored.entry, declared, notices })
}
