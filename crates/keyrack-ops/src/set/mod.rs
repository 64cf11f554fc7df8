//! `set`: a key into a vault, the host manifest, the inventory and `keyrack.yml`.
//!
//! Whatever can be refused is refused before the secret is asked for. Then the order is such that a crash loses nothing: the vault first,
//! the manifest that points to it next, the marker, the daemon's stale copy, and `keyrack.yml` last.

mod plan;
mod validate;

use keyrack_core::host_manifest::HostEntry;
use keyrack_core::{Error, VaultId};
use keyrack_vaults::manifest_file;

use self::plan::Plan;
use self::validate::ValidatedSet;
pub(crate) use self::validate::mechanism_of;
use crate::context::OpContext;
use crate::declare;

/// What is to be set, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct SetRequest {
    /// A bare name or a full slug.
    pub key: String,
    /// The vault's name; asked for if it is not given.
    pub vault: Option<String>,
    /// The mechanism's name; asked for if it is not given and leaves a choice.
    pub mech: Option<String>,
    /// The env; taken from `keyrack.yml` if that leaves no doubt.
    pub env: Option<String>,
    /// `@this`, `@all` or an org's name; `None` for `@this`.
    pub org: Option<String>,
    /// What the vault calls the key.
    pub exid: Option<String>,
    /// The longest it may be unlocked for.
    pub max_duration: Option<String>,
    /// Another `keyrack.yml` of the repository, from its root.
    pub at: Option<String>,
    /// Where no `keyrack.yml` says whose the key is, take a full slug at its word.
    pub anywhere: bool,
    /// Store it although it looks like a long-lived token.
    pub allow_dangerous: bool,
}

/// A key that was set.
#[derive(Clone, Debug)]
pub struct SetReport {
    /// What the host manifest says of it now.
    pub host: HostEntry,
    /// Whether it was added to `keyrack.yml`.
    pub declared: bool,
    /// What could not be done beside, a sentence each; the key is set all the same.
    pub notices: Vec<String>,
}

/// Sets a key.
///
/// # Errors
/// Whatever refuses it, before the secret is asked for; then [`keyrack_core::ErrorCode::EmptySecret`], [`keyrack_core::ErrorCode::LongLivedToken`],
/// [`keyrack_core::ErrorCode::MechMismatch`]; then what kept it from being stored, after which nothing is changed.
pub fn set(ctx: &OpContext<'_>, request: &SetRequest) -> Result<SetReport, Error> {
    let valid = ValidatedSet::new(ctx, request)?;
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
    ctx.remember(&racks, &identities);
    let mech = valid.mechanism(ctx, request.mech.as_deref())?;
    let plan = Plan { valid, mech, request };
    plan.check_grade(ctx, &manifest)?;
    plan.check_vault(ctx, &racks, &mut identities, &manifest)?;
    plan.check_declared(ctx)?;
    let to_declare = declare::check(&plan.valid.repo, &plan.valid.slug)?;

    let secret = ctx.prompt(|prompts| prompts.secret(&plan.valid.slug))?;
    plan.check_secret(&secret)?;

    let (host, old) = match plan.valid.vault {
        VaultId::OsDaemon => plan.give_to_daemon(ctx, &racks, &mut identities, &secret)?,
        _ => plan.store_in_vault(ctx, &racks, &mut identities, &secret)?,
    };
    let irregularities = plan.irregularities(&secret);
    drop(secret);
    let mut notices = plan.tidy(ctx, &racks, &mut identities, &manifest, old.as_ref())?;
    notices.extend(irregularities);
    let declared = to_declare && plan.declare(&mut notices);
    Ok(SetReport { host, declared, notices })
}
