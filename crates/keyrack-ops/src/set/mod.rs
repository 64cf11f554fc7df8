//! `set`: a key into a vault, the host manifest, the inventory and `keyrack.yml`.
//!
//! Whatever can be refused is refused before the secret is asked for. Then the order is such that a crash loses nothing: the vault first,
//! the manifest that points to it next, the marker, the daemon's stale copy, and `keyrack.yml` last.

mod plan;
mod validate;

use keyrack_client::daemon;
use keyrack_client::session::RelockScope;
use keyrack_core::host_manifest::HostEntry;
use keyrack_core::{Error, ErrorCode, Org, Slug, Ttl, VaultId};
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
/// Whatever refuses it, before the secret is asked for; then [`ErrorCode::EmptySecret`], [`ErrorCode::LongLivedToken`],
/// [`ErrorCode::MechMismatch`]; then what kept it from being stored, after which nothing is changed.
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

/// Makes the daemon forget its copy of a key, if one runs. Says what went wrong.
pub(crate) fn forget(ctx: &OpContext<'_>, slug: &Slug) -> Option<String> {
    let done = daemon::connect(&ctx.client).and_then(|found| match found {
        Some(mut daemon) => daemon.relock(&RelockScope::Slugs(vec![slug.clone()])).map(drop),
        None => Ok(()),
    });
    match done {
        Ok(()) => None,
        // Where no daemon can be, none holds a copy.
        Err(error) if matches!(error.code, ErrorCode::DaemonAbsent | ErrorCode::RuntimeDirMissing) => None,
        Err(error) => Some(format!("the daemon may still hold an old copy of {slug}: {error}")),
    }
}

/// Whether what was typed can only mean a key of the machine.
pub(crate) fn is_machine_key(key: &str, org: Option<&str>) -> bool {
    org == Some(Org::MACHINE) || (Slug::looks_full(key) && key.starts_with("@all."))
}

/// A duration that is more than nothing.
pub(crate) fn parse_nonzero_ttl(text: &str) -> Result<Ttl, Error> {
    match text.parse::<Ttl>()? {
        Ttl(0) => Err(Error::new(ErrorCode::BadDuration, "a duration of nothing would lock the key at once")),
        ttl => Ok(ttl),
    }
}
