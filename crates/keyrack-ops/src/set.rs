//! `set`: a key into a vault, the host manifest, the inventory and `keyrack.yml`.
//!
//! Whatever can be refused is refused before the secret is asked for. Then the order is such that a crash loses nothing: the vault first,
//! the manifest that points to it next, the marker, the daemon's stale copy, and `keyrack.yml` last.

use keyrack_client::daemon;
use keyrack_client::session::{KeyToUnlock, RelockWhat};
use keyrack_core::ask::{Verb, resolve};
use keyrack_core::host_manifest::{Host, HostManifest, NewHost};
use keyrack_core::life::LifeAsk;
use keyrack_core::{
    Clock, ErrorCode, Fix, Grade, Life, Mechanism, Org, Problem, Slug, Source, VaultId, firewall,
    life::grant_life,
};
use keyrack_vaults::{Identities, Racks, inventory, manifest_file, registry, vault};
use zeroize::Zeroizing;

use crate::outside::Outside;
use crate::repo::Repo;
use crate::{MAX_SECRET, declare};

/// What is to be set, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct SetAsk {
    /// A bare name or a full slug.
    pub key: String,
    /// The vault's name.
    pub vault: String,
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
pub fn set(outside: &Outside<'_>, ask: &SetAsk) -> Result<Set, Problem> {
    let checked = Checked::new(outside, ask)?;
    let racks = outside.racks()?;
    let mut identities = outside.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
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
    drop(secret);
    let mut notices = plan.tidy(outside, &racks, &mut identities, &manifest, old.as_ref())?;
    let declared = to_declare && plan.declare(&mut notices);
    Ok(Set { host, declared, notices })
}

/// What was typed, read and found to fit together.
struct Checked {
    slug: Slug,
    vault: VaultId,
    /// The mechanism that was named.
    named: Option<Mechanism>,
    max_duration: Option<Life>,
    repo: Repo,
}

impl Checked {
    fn new(outside: &Outside<'_>, ask: &SetAsk) -> Result<Self, Problem> {
        let vault = VaultId::parse(&ask.vault);
        if let VaultId::Other(_) = vault {
            let known: Vec<_> = VaultId::ALL.iter().map(VaultId::as_str).collect();
            let message = format!("{:?} is no vault: it must be one of {}", ask.vault, known.join(", "));
            return Err(Problem::new(ErrorCode::BadVault, message));
        }
        if vault != VaultId::OsDaemon {
            registry::vault(&vault)?;
        }
        let named = ask.mech.as_deref().map(|text| mechanism_of(&vault, text)).transpose()?;
        let max_duration = ask.max_duration.as_deref().map(some_life).transpose()?;
        if ask.exid.is_some() {
            let message = format!("{vault} keeps the secret itself, so there is nothing --exid could name");
            return Err(Problem::new(ErrorCode::Usage, message));
        }

        // No repository has a say in a key of the machine, so not even a broken keyrack.yml is in its way.
        let repo = match (&ask.at, is_of_machine(&ask.key, ask.org.as_deref())) {
            (None, true) => Repo::none(),
            (Some(at), _) => Repo::with_manifest_at(&outside.client, at)?,
            (None, false) => Repo::of(&outside.client)?,
        };
        let slug = resolve(
            &repo.ask(&outside.client.owner, &ask.key, ask.env.as_deref(), ask.org.as_deref()),
            Verb::Set,
        )?;
        Ok(Checked { slug, vault, named, max_duration, repo })
    }

    /// The mechanism: the one that was named, else the only one there is if it is not permanent, else what a person says.
    fn mechanism(&self, outside: &Outside<'_>, typed: Option<&str>) -> Result<Mechanism, Problem> {
        if let Some(named) = &self.named {
            return Ok(named.clone());
        }
        debug_assert!(typed.is_none(), "what was typed was read");
        let all: Vec<&Mechanism> = self.vault.mechanisms().iter().filter(|mech| is_here(mech)).collect();
        let flag = all.iter().map(|mech| mech.as_str()).collect::<Vec<_>>().join("|");
        let flag = format!("--mech {flag}");
        let unsaid = |problem: Problem| {
            if problem.code != ErrorCode::PromptNeeded {
                return problem;
            }
            let vault = &self.vault;
            let message =
                format!("how a key in {vault} comes to be must be said: a permanent one is never assumed");
            let unsaid = Problem::new(ErrorCode::MechRequired, message).of(&self.slug);
            match (&all[..], Fix::set(&outside.client.owner, &self.slug, vault.as_str())) {
                ([only], Fix::Command(mut words)) => {
                    words.extend(["--mech".to_owned(), only.to_string()]);
                    unsaid.fix(Fix::Command(words))
                }
                _ => unsaid.hint(format!("pass {flag}")),
            }
        };
        match all[..] {
            [only] if only.is_ephemeral() => Ok(only.clone()),
            [only] => {
                let question = format!(
                    "keep {} as {only} ({}), which does not end by itself?",
                    self.slug,
                    only.describe()
                );
                let yes = outside.ask(|prompts| prompts.confirm(&question, &flag)).map_err(unsaid)?;
                if yes {
                    return Ok(only.clone());
                }
                Err(Problem::new(ErrorCode::MechRequired, "not stored, since a permanent key was declined")
                    .of(&self.slug))
            }
            _ => {
                let options: Vec<String> =
                    all.iter().map(|mech| format!("{mech} — {}", mech.describe())).collect();
                let chosen = outside
                    .ask(|prompts| prompts.choose("which mechanism?", &options, &flag))
                    .map_err(unsaid)?;
                let chosen =
                    all.get(chosen).copied().ok_or_else(|| Problem::new(ErrorCode::Usage, "not a choice"))?;
                Ok(chosen.clone())
            }
        }
    }
}

/// A key that is about to be set.
struct Plan<'a> {
    checked: Checked,
    mech: Mechanism,
    ask: &'a SetAsk,
}

impl Plan<'_> {
    fn grade(&self) -> Grade {
        Grade::of(&self.checked.vault, &self.mech)
    }

    /// Grades never degrade.
    fn check_grade(&self, outside: &Outside<'_>, manifest: &HostManifest) -> Result<(), Problem> {
        let slug = &self.checked.slug;
        let Some(old) = manifest.hosts.get(slug) else { return Ok(()) };
        if !self.grade().is_weaker_than(old.grade()) {
            return Ok(());
        }
        let message = format!(
            "{slug} is of grade {} in {}, and would become weaker: {} in {}",
            old.grade(),
            old.vault,
            self.grade(),
            self.checked.vault
        );
        Err(Problem::new(ErrorCode::GradeDegraded, message)
            .of(slug)
            .fix(Fix::del(&outside.client.owner, slug))
            .hint("if that is meant, remove the key first"))
    }

    /// A key weaker than its declaration could be stored and never be unlocked.
    fn check_declared(&self, outside: &Outside<'_>) -> Result<(), Problem> {
        let slug = &self.checked.slug;
        let spec = self.checked.repo.manifest.as_ref().and_then(|manifest| manifest.spec(slug));
        let Some(spec) = spec.filter(|spec| !spec.grade.is_met_by(self.grade())) else { return Ok(()) };
        if let Some(fault) = &spec.fault {
            return Err(fault.clone().of(slug));
        }
        let message = format!(
            "{slug} would be of grade {} in {}, weaker than the {} that {} demands",
            self.grade(),
            self.checked.vault,
            spec.grade,
            self.checked.repo.path
        );
        let problem = Problem::new(ErrorCode::BelowDeclared, message).of(slug);
        let secure = Grade::of(&VaultId::OsSecure, &self.mech);
        if spec.grade.is_met_by(secure) {
            return Err(problem.fix(Fix::set(&outside.client.owner, slug, VaultId::OsSecure.as_str())));
        }
        Err(problem.hint("set it by a mechanism whose keys end by themselves, or change the demand"))
    }

    fn check_vault(
        &self,
        outside: &Outside<'_>,
        racks: &Racks,
        identities: &mut Identities<'_>,
        manifest: &HostManifest,
    ) -> Result<(), Problem> {
        if self.checked.vault == VaultId::OsDaemon {
            return Ok(());
        }
        let entry =
            vault::Entry { slug: &self.checked.slug, mech: Some(&self.mech), exid: self.ask.exid.as_deref() };
        let env = |name: &str| outside.variable(name);
        let context = outside.vaults(racks, identities, &manifest.recipients, &env);
        registry::vault(&self.checked.vault)?.check_set(entry, &context)
    }

    fn check_secret(&self, secret: &[u8]) -> Result<(), Problem> {
        let slug = &self.checked.slug;
        if secret.is_empty() {
            let message = format!("the secret for {slug} is empty: nothing was stored");
            return Err(Problem::new(ErrorCode::EmptySecret, message).of(slug));
        }
        if secret.len() > MAX_SECRET {
            let message =
                format!("the secret for {slug} has {} bytes, and keyrack carries {MAX_SECRET}", secret.len());
            return Err(Problem::new(ErrorCode::SecretTooLarge, message).of(slug));
        }
        if let Some(named) = firewall::blob_mech(secret)
            && named != Mechanism::Replica
            && named != self.mech
        {
            let message = format!("the value itself says it is {named}, and {} was asked for", self.mech);
            return Err(Problem::new(ErrorCode::MechMismatch, message)
                .of(slug)
                .hint(format!("set it with --mech {named}")));
        }
        if self.ask.allow_dangerous {
            return Ok(());
        }
        firewall::check(secret, &self.mech).map_err(|reasons| {
            Problem::new(ErrorCode::LongLivedToken, format!("{slug} was not stored: {}", reasons.join("; ")))
                .of(slug)
                .hint("use a short-lived credential, or pass --allow-dangerous if you must")
        })
    }

    fn new_host(&self, old: Option<&Host>) -> NewHost {
        NewHost {
            vault: self.checked.vault.clone(),
            mech: self.mech.clone(),
            exid: self.ask.exid.clone(),
            meta: old.filter(|old| old.vault == self.checked.vault).and_then(|old| old.meta.clone()),
            max_duration: self.ask.max_duration.clone(),
        }
    }

    /// Stores the secret and then the entry that points to it. Returns the entry and the one it replaced.
    fn store_in_vault(
        &self,
        outside: &Outside<'_>,
        racks: &Racks,
        identities: &mut Identities<'_>,
        secret: &[u8],
    ) -> Result<(Host, Option<Host>), Problem> {
        let slug = &self.checked.slug;
        let vault = registry::vault(&self.checked.vault)?;
        let entry = vault::Entry { slug, mech: Some(&self.mech), exid: self.ask.exid.as_deref() };
        let env = |name: &str| outside.variable(name);
        let mut fresh = false;
        let stored = manifest_file::update(racks, identities, |manifest, identities| {
            // Somebody may have set it meanwhile.
            self.check_grade(outside, manifest)?;
            let recipients = manifest.recipients.clone();
            let mut context = outside.vaults(racks, identities, &recipients, &env);
            fresh = !vault.has(entry, &context);
            vault.set(entry, secret, &mut context)?;
            self.put(manifest, outside.now_ms)
        });
        if stored.is_err() && fresh {
            // Nothing points to what was stored: it goes again, so that no half of a key stays.
            let mut context = outside.vaults(racks, identities, &[], &env);
            let _ = vault.del(entry, &mut context);
        }
        stored
    }

    /// Gives the secret to the daemon alone, and records that it is there.
    fn give_to_daemon(
        &self,
        outside: &Outside<'_>,
        racks: &Racks,
        identities: &mut Identities<'_>,
        secret: &Zeroizing<Vec<u8>>,
    ) -> Result<(Host, Option<Host>), Problem> {
        let slug = &self.checked.slug;
        let ask =
            LifeAsk { max_duration: self.checked.max_duration, sudo: slug.is_sudo(), ..LifeAsk::default() };
        let (life, _) = grant_life(ask, Clock { boot_ns: 0, wall_ms: outside.now_ms })?;
        let source = Source { vault: VaultId::OsDaemon, mech: Mechanism::Session };
        let key = KeyToUnlock {
            slug,
            grade: self.grade(),
            source: &source,
            life,
            credential_expires_at_ms: None,
            secret,
        };
        // Not under the lock: a start takes its time.
        let (mut session, _) = daemon::ensure(&outside.client, &outside.keyrackd)?;
        manifest_file::update(racks, identities, |manifest, _| {
            self.check_grade(outside, manifest)?;
            for unlocked in session.unlock(&[key])? {
                unlocked.outcome?;
            }
            self.put(manifest, outside.now_ms)
        })
    }

    fn put(&self, manifest: &mut HostManifest, now_ms: i64) -> Result<(Host, Option<Host>), Problem> {
        let slug = &self.checked.slug;
        let old = manifest.hosts.get(slug).cloned();
        manifest.put(slug, self.new_host(old.as_ref()), now_ms);
        let host = manifest.hosts.get(slug).cloned();
        let host =
            host.ok_or_else(|| Problem::new(ErrorCode::Internal, "an entry that was put is not there"))?;
        Ok((host, old))
    }

    /// The marker, the vault the key was in before, and the daemon's copy. The key is set by now.
    fn tidy(
        &self,
        outside: &Outside<'_>,
        racks: &Racks,
        identities: &mut Identities<'_>,
        manifest: &HostManifest,
        old: Option<&Host>,
    ) -> Result<Vec<String>, Problem> {
        let slug = &self.checked.slug;
        let mut notices = Vec::new();
        if self.checked.vault == VaultId::OsDaemon {
            inventory::remove(racks, slug)?;
        } else {
            inventory::add(racks, slug)?;
            notices.extend(forget(outside, slug));
        }
        if let Some(old) = old.filter(|old| old.vault != self.checked.vault)
            && let Ok(vault) = registry::vault(&old.vault)
        {
            let env = |name: &str| outside.variable(name);
            let mut context = outside.vaults(racks, identities, &manifest.recipients, &env);
            if let Err(problem) = vault.del(vault::Entry::of(slug, old), &mut context)
                && problem.code != ErrorCode::VaultReadOnly
            {
                notices.push(format!("the old value is still in {}: {problem}", old.vault));
            }
        }
        Ok(notices)
    }

    /// Adds the key to `keyrack.yml`. Says whether it did; if not, the key is set all the same.
    fn declare(&self, notices: &mut Vec<String>) -> bool {
        let Some(path) = self.checked.repo.manifest_path() else { return false };
        match declare::add(&self.checked.repo, &path, &self.checked.slug) {
            Ok(()) => true,
            Err(problem) => {
                let hint = problem.hint.map_or_else(String::new, |hint| format!("; {hint}"));
                notices.push(format!("the key is set, and not declared: {}{hint}", problem.message));
                false
            }
        }
    }
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
        Err(problem) if matches!(problem.code, ErrorCode::DaemonAbsent | ErrorCode::RuntimeDirMissing) => {
            None
        }
        Err(problem) => Some(format!("the daemon may still hold an old copy of {slug}: {problem}")),
    }
}

/// The mechanism of a name, if keys of the vault can have it.
fn mechanism_of(vault: &VaultId, text: &str) -> Result<Mechanism, Problem> {
    let mech = Mechanism::parse(text);
    let all = vault.mechanisms();
    if all.contains(&mech) && is_here(&mech) {
        return Ok(mech);
    }
    let here: Vec<_> = all.iter().filter(|mech| is_here(mech)).map(Mechanism::as_str).collect();
    let why = match &mech {
        Mechanism::Other(_) => format!("{text:?} is no mechanism"),
        known if all.contains(known) => format!("{known} is not in this version of keyrack"),
        known => format!("{vault} has no keys of {known}"),
    };
    Err(Problem::new(ErrorCode::BadMech, format!("{why}: for {vault} it must be {}", here.join(" or "))))
}

/// Whether this version can set keys of a mechanism.
fn is_here(mech: &Mechanism) -> bool {
    matches!(mech, Mechanism::Replica | Mechanism::Session)
}

/// Whether what was typed can only mean a key of the machine.
pub(crate) fn is_of_machine(key: &str, org: Option<&str>) -> bool {
    org == Some(Org::MACHINE) || (Slug::looks_full(key) && key.starts_with("@all."))
}

/// A duration that is more than nothing.
pub(crate) fn some_life(text: &str) -> Result<Life, Problem> {
    match text.parse::<Life>()? {
        Life(0) => {
            Err(Problem::new(ErrorCode::BadDuration, "a duration of nothing would lock the key at once"))
        }
        life => Ok(life),
    }
}
