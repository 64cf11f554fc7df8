//! `set`: a key into a vault, the host manifest, the inventory and `keyrack.yml`.
//!
//! Whatever can be refused is refused before the secret is asked for. Then the order is such that a crash loses nothing: the vault first,
//! the manifest that points to it next, the marker, the daemon's stale copy, and `keyrack.yml` last.

mod checked;
mod plan;

use keyrack_client::daemon;
use keyrack_client::session::RelockWhat;
use keyrack_core::host_manifest::Host;
use keyrack_core::{Error, ErrorCode, Org, Slug, Ttl, VaultId};
use keyrack_vaults::manifest_file;

use self::checked::Checked;
pub(crate) use self::checked::mechanism_of;
use self::plan::Plan;
use crate::declare;
use crate::outside::Outside;

/// What is to be set, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct SetAsk {
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
pub struct Set {
    /// What the host manifest says of it now.
    pub host: Host,
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
pub fn set(outside: &Outside<'_>, ask: &SetAsk) -> Result<Set, Error> {
    let checked = Checked::new(outside, ask)?;
    let racks = outside.racks()?;
    let mut identities = outside.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
    outside.remember(&racks, &identities);
    let mech = checked.mechanism(outside, ask.mech.as_deref())?;
    let plan = Plan { checked, mech, ask };
    plan.check_grade(outside, &manifest)?;
    plan.check_vault(outside, &racks, &mut identities, &manifest)?;
    plan.check_declared(outside)?;
    let to_declare = declare::check(&plan.checked.repo, &plan.checked.slug)?;

    let secret = outside.ask(|prompts| prompts.secret(&plan.checked.slug))?;
    plan.check_secret(&secret)?;

    let (host, old) = match plan.checked.vault {
        VaultId::OsDaemon => plan.give_to_daemon(outside, &racks, &mut identities, &secret)?,
        _ => plan.store_in_vault(outside, &racks, &mut identities, &secret)?,
    };
    let irregularities = plan.irregularities(&secret);
    drop(secret);
    let mut notices = plan.tidy(outside, &racks, &mut identities, &manifest, old.as_ref())?;
    notices.extend(irregularities);
    let declared = to_declare && plan.declare(&mut notices);
    Ok(Set { host, declared, notices })
}

/// Makes the daemon forget its copy of a key, if one runs. Says what went wrong.
pub(crate) fn forget(outside: &Outside<'_>, slug: &Slug) -> Option<String> {
    let done = daemon::connect(&outside.client).and_then(|found| match found {
        Some(mut daemon) => daemon.relock(&RelockWhat::Slugs(vec![slug.clone()])).map(drop),
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
pub(crate) fn is_of_machine(key: &str, org: Option<&str>) -> bool {
    org == Some(Org::MACHINE) || (Slug::looks_full(key) && key.starts_with("@all."))
}

/// A duration that is more than nothing.
pub(crate) fn some_life(text: &str) -> Result<Ttl, Error> {
    match text.parse::<Ttl>()? {
        Ttl(0) => Err(Error::new(ErrorCode::BadDuration, "a duration of nothing would lock the key at once")),
        ttl => Ok(ttl),
    }
}
