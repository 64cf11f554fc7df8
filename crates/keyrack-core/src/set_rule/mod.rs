//! Rules of `set`: from what the user typed and what is known of the key to a plan or an error.
//! Pure: the caller reads files, prompts and writes.
//!
//! A `set` applies them in this order, so that it fails before it asks for the secret:
//!
//! 1. [`parse_vault`], [`parse_mechanism`] and [`check_exid`] read what was typed. Once the slug is
//!    known, [`check_writable`].
//! 2. [`choose_mechanism`] takes the mechanism that was named, or says which question to ask. The
//!    answer "no" is [`permanent_declined`]; [`mech_required`] is for a caller that cannot ask.
//! 3. [`SetInput::plan`] compares the key with its entry in the host manifest and its declaration
//!    in `keyrack.yml`. Call it again with the entry that is read under the lock, because another
//!    process may have set the key in between.
//! 4. [`SetPlan::check_secret`] accepts or rejects the secret. [`SetPlan::irregularities`] is a
//!    notice for the user.
//! 5. [`SetPlan::new_entry`] goes into the host manifest after the vault has stored the secret, and
//!    the old value is removed from [`SetPlan::old_vault`].

use serde_json::Value;

use crate::declared_grade;
use crate::error::{Error, ErrorCode};
use crate::firewall;
use crate::fix::Fix;
use crate::grade::Grade;
use crate::host_manifest::{HostEntry, NewHostEntry};
use crate::mechanism::Mechanism;
use crate::owner::Owner;
use crate::repo_manifest::KeySpec;
use crate::secret_text;
use crate::slug::Slug;
use crate::suggest::did_you_mean;
use crate::vault_id::VaultId;

#[cfg(test)]
mod tests;

/// Maximum size of a secret, in bytes: what one frame to the daemon carries after its header.
pub const MAX_SECRET: usize = (1 << 20) - (64 << 10) - 4;

/// Vaults that `set` stores keys in, in the order in which they are offered.
pub const VAULTS: [VaultId; 3] = [VaultId::OsSecure, VaultId::OsDirect, VaultId::OsDaemon];

/// Parses the name of a vault. Known vaults that this version cannot write to are accepted.
///
/// # Errors
/// [`ErrorCode::BadVault`] for an unknown name, with the closest known one as a hint.
pub fn parse_vault(typed: &str) -> Result<VaultId, Error> {
    match VaultId::parse(typed) {
        VaultId::Other(_) => {
            let message = "unknown vault: must be os.secure, os.direct or os.daemon";
            let hint = did_you_mean(typed, VAULTS.iter().map(VaultId::as_str));
            Err(Error { hint, ..Error::new(ErrorCode::BadVault, message) })
        }
        vault => Ok(vault),
    }
}

/// Parses the name of a mechanism for a key in `vault`.
///
/// # Errors
/// [`ErrorCode::BadMech`] if keys of the vault cannot have it, or this version cannot set such
/// keys.
pub fn parse_mechanism(vault: &VaultId, typed: &str) -> Result<Mechanism, Error> {
    let mech = Mechanism::parse(typed);
    if settable(vault).any(|known| *known == mech) {
        return Ok(mech);
    }
    let names: Vec<&str> = settable(vault).map(Mechanism::as_str).collect();
    let why = match &mech {
        Mechanism::Other(_) => "unknown mechanism".to_owned(),
        known if vault.mechanisms().contains(known) => {
            format!("this version of keyrack does not support {known}")
        }
        known => format!("{vault} does not support {known}"),
    };
    let message = format!("{why}: for {vault} it must be {}", names.join(" or "));
    Err(Error { hint: did_you_mean(typed, names), ..Error::new(ErrorCode::BadMech, message) })
}

/// Mechanisms of the vault that this version can set keys with.
fn settable(vault: &VaultId) -> impl Iterator<Item = &'static Mechanism> {
    vault.mechanisms().iter().filter(|mech| matches!(mech, Mechanism::Replica | Mechanism::Session))
}

/// Returns an error if `exid` is given: every vault of this version stores the secret itself.
///
/// # Errors
/// [`ErrorCode::Usage`].
pub fn check_exid(vault: &VaultId, exid: Option<&str>) -> Result<(), Error> {
    match exid {
        Some(_) => {
            let message = format!("{vault} stores the secret itself: --exid does not apply");
            Err(Error::new(ErrorCode::Usage, message))
        }
        None => Ok(()),
    }
}

/// Returns an error if no key can be written to the vault.
///
/// # Errors
/// [`ErrorCode::VaultReadOnly`].
pub fn check_writable(slug: &Slug, vault: &VaultId) -> Result<(), Error> {
    match vault {
        VaultId::OsEnvvar => Err(read_only(slug)),
        _ => Ok(()),
    }
}

/// Error for a change to a key in `os.envvar`.
pub fn read_only(slug: &Slug) -> Error {
    let name = slug.name();
    let message = format!("os.envvar is read-only: {name} comes from the environment of the process");
    Error::new(ErrorCode::VaultReadOnly, message)
        .of(slug)
        .hint("to store the key in keyrack, set it with --vault os.secure")
}

/// Mechanism of a key, or the question that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MechChoice {
    /// No question is needed.
    Use(Mechanism),
    /// The vault has one mechanism only, and it is permanent: the user confirms it.
    Confirm(Mechanism),
    /// The user chooses one of these.
    Choose(Vec<Mechanism>),
}

/// Chooses the mechanism of a key. A permanent mechanism is named or confirmed, never assumed; an
/// ephemeral one is used where it is the only one.
///
/// # Errors
/// [`ErrorCode::BadMech`] if this version cannot set keys in the vault.
pub fn choose_mechanism(vault: &VaultId, named: Option<&Mechanism>) -> Result<MechChoice, Error> {
    if let Some(named) = named {
        return parse_mechanism(vault, named.as_str()).map(MechChoice::Use);
    }
    let all: Vec<Mechanism> = settable(vault).cloned().collect();
    match all.as_slice() {
        [] => {
            let message = format!("{vault} has no mechanism that this version of keyrack can set");
            Err(Error::new(ErrorCode::BadMech, message))
        }
        [only] if only.is_ephemeral() => Ok(MechChoice::Use(only.clone())),
        [only] => Ok(MechChoice::Confirm(only.clone())),
        _ => Ok(MechChoice::Choose(all)),
    }
}

/// Flag that answers the question of [`choose_mechanism`]: `--mech A|B`.
pub fn mech_flag(vault: &VaultId) -> String {
    let names: Vec<&str> = settable(vault).map(Mechanism::as_str).collect();
    format!("--mech {}", names.join("|"))
}

/// Error for a mechanism that was not named where the user cannot be asked.
pub fn mech_required(slug: &Slug, owner: &Owner, vault: &VaultId) -> Error {
    let message = format!("`--mech` is required for {vault}: permanent keys must be chosen explicitly");
    let error = Error::new(ErrorCode::MechRequired, message).of(slug);
    match choose_mechanism(vault, None) {
        Ok(MechChoice::Use(only) | MechChoice::Confirm(only)) => {
            error.fix(Fix::set(owner, slug, vault, &only))
        }
        Ok(MechChoice::Choose(_)) | Err(_) => error.hint(format!("pass {}", mech_flag(vault))),
    }
}

/// Error for a permanent key that the user did not confirm.
pub fn permanent_declined(slug: &Slug, owner: &Owner, vault: &VaultId, mech: &Mechanism) -> Error {
    Error::new(ErrorCode::MechRequired, "nothing was stored: the permanent key was declined")
        .of(slug)
        .fix(Fix::set(owner, slug, vault, mech))
}

/// Declaration of a key in the repository.
#[derive(Clone, Copy, Debug)]
pub struct Declaration<'a> {
    /// The key as the file declares it.
    pub spec: &'a KeySpec,
    /// Path of the file, for messages.
    pub path: &'a str,
}

/// A key to set, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct SetInput<'a> {
    /// The key.
    pub slug: &'a Slug,
    /// Owner of the rack, for the commands in errors.
    pub owner: &'a Owner,
    /// Vault to store it in.
    pub vault: &'a VaultId,
    /// Mechanism to set it with.
    pub mech: &'a Mechanism,
    /// The vault's own name for the key.
    pub exid: Option<&'a str>,
    /// Maximum time that the key may be unlocked for, as typed.
    pub max_duration: Option<&'a str>,
    /// Present entry of the host manifest.
    pub current: Option<&'a HostEntry>,
    /// Declaration of the key, if the repository has one.
    pub declared: Option<Declaration<'a>>,
}

impl<'a> SetInput<'a> {
    /// Checks that the set is allowed, and returns the plan for it.
    ///
    /// # Errors
    /// [`ErrorCode::VaultReadOnly`]; [`ErrorCode::GradeDegraded`] if the key would become weaker
    /// than it is; [`ErrorCode::BelowDeclared`], or the fault of the declaration, if it would be
    /// weaker than declared and could never be unlocked.
    pub fn plan(self) -> Result<SetPlan<'a>, Error> {
        check_writable(self.slug, self.vault)?;
        let plan = SetPlan { grade: Grade::of(self.vault, self.mech), input: self };
        plan.check_degradation()?;
        plan.check_declaration()?;
        Ok(plan)
    }
}

/// A set that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct SetPlan<'a> {
    input: SetInput<'a>,
    grade: Grade,
}

impl<'a> SetPlan<'a> {
    /// Grade that the key gets.
    pub fn grade(&self) -> Grade {
        self.grade
    }

    fn check_degradation(&self) -> Result<(), Error> {
        let SetInput { slug, owner, vault, current, .. } = self.input;
        let Some(current) = current.filter(|current| self.grade.is_weaker_than(current.grade())) else {
            return Ok(());
        };
        let message = format!(
            "{slug} would be downgraded from {} ({}) to {} ({vault})",
            current.grade(),
            current.vault,
            self.grade,
        );
        Err(Error::new(ErrorCode::GradeDegraded, message)
            .of(slug)
            .fix(Fix::del(owner, slug))
            .hint("to downgrade it on purpose, delete the key first"))
    }

    fn check_declaration(&self) -> Result<(), Error> {
        let SetInput { slug, owner, vault, mech, declared, .. } = self.input;
        let Some(Declaration { spec, path }) = declared else { return Ok(()) };
        // A minimum that cannot be read is met by no grade.
        if let Some(fault) = spec.fault.as_ref().filter(|_| !spec.grade.is_met_by(self.grade)) {
            return Err(fault.clone().of(slug));
        }
        let subject = format!("{slug} in {vault}");
        declared_grade::check(&subject, slug, owner, (self.grade, mech), spec.grade, path)
    }

    /// Checks the secret. `allow_dangerous` skips the token check.
    ///
    /// # Errors
    /// Those of [`check_secret`]; [`ErrorCode::EmptySecret`] for one that is blank;
    /// [`ErrorCode::MechMismatch`] for one that names another mechanism;
    /// [`ErrorCode::LongLivedToken`].
    pub fn check_secret(&self, secret: &[u8], allow_dangerous: bool) -> Result<(), Error> {
        let SetInput { slug, mech, .. } = self.input;
        check_secret(slug, secret)?;
        if secret_text::is_blank(secret) {
            let message = format!("the secret for {slug} is blank: it holds only white space");
            return Err(Error::new(ErrorCode::EmptySecret, message).of(slug).hint(ENTER_SECRET));
        }
        if let Some(named) = firewall::blob_mech(secret)
            && named != Mechanism::Replica
            && named != *mech
        {
            let message = format!("the secret for {slug} names the mechanism {named}, not {mech}");
            let hint = format!("set it with --mech {named}");
            return Err(Error::new(ErrorCode::MechMismatch, message).of(slug).hint(hint));
        }
        if allow_dangerous {
            return Ok(());
        }
        firewall::check(secret, mech).map_err(|reasons| {
            let message = format!("{slug} was not stored: {}", reasons.join("; "));
            Error::new(ErrorCode::LongLivedToken, message)
                .of(slug)
                .hint("use a short-lived credential, or pass --allow-dangerous")
        })
    }

    /// Returns a notice that names what is irregular about the secret. The secret is stored as
    /// given.
    pub fn irregularities(&self, secret: &[u8]) -> Option<String> {
        let found: Vec<String> =
            secret_text::irregularities(secret).iter().map(ToString::to_string).collect();
        let slug = self.input.slug;
        (!found.is_empty())
            .then(|| format!("the secret for {slug} {}; it was stored as given", found.join(" and ")))
    }

    /// Entry for the host manifest. `meta` is what the vault returned.
    pub fn new_entry(&self, meta: Option<Value>) -> NewHostEntry {
        let SetInput { vault, mech, exid, max_duration, .. } = self.input;
        NewHostEntry {
            vault: vault.clone(),
            mech: mech.clone(),
            exid: exid.map(str::to_owned),
            meta,
            max_duration: max_duration.map(str::to_owned),
        }
    }

    /// Vault that the key is in so far, if it is another one: its old value is removed at the end.
    pub fn old_vault(&self) -> Option<&'a VaultId> {
        self.input.current.map(|current| &current.vault).filter(|vault| *vault != self.input.vault)
    }
}

/// Hint for a secret that is empty or blank.
const ENTER_SECRET: &str = "enter the secret at the prompt, or pipe it to the command";

/// Checks the size of a secret: not empty, and at most [`MAX_SECRET`] bytes.
///
/// # Errors
/// [`ErrorCode::EmptySecret`], [`ErrorCode::SecretTooLarge`].
pub fn check_secret(slug: &Slug, secret: &[u8]) -> Result<(), Error> {
    if secret.is_empty() {
        let message = format!("the secret for {slug} is empty");
        return Err(Error::new(ErrorCode::EmptySecret, message).of(slug).hint(ENTER_SECRET));
    }
    if secret.len() > MAX_SECRET {
        let message = format!("the secret for {slug} has {} bytes: the limit is {MAX_SECRET}", secret.len());
        return Err(Error::new(ErrorCode::SecretTooLarge, message).of(slug));
    }
    Ok(())
}
