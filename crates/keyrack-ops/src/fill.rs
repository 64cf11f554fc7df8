//! `fill`: sets every key that `keyrack.yml` declares for an env and that is missing, for one or
//! more owners, and reads each back.
//!
//! The environment does not count: a key must be in a vault. One key never stops the others; each
//! is found, set, or failed with its own cause. A passphrase, and the choice of permanent keys, are
//! prompted for once per command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::unlock::Omission;
use keyrack_client::get::{GetOptions, GetPlan, KeyOutcome, Scope, read};
use keyrack_client::{Context, Environment};
use keyrack_core::layout::variables::{HOME, PREFIX, RUNTIME_DIR, SSH_AUTH_SOCK};
use keyrack_core::resolve::{KeyQuery, repo_keys};
use keyrack_core::set_rule::parse_mechanism;
use keyrack_core::slug::{check_known_name, check_typed};
use keyrack_core::{Attempt, Env, Error, ErrorCode, Fix, Mechanism, Org, Owner, Slug, VaultId};
use keyrack_vaults::manifest_file;
use zeroize::Zeroizing;

use crate::context::{OpContext, is_interrupted};
use crate::prompts::Prompts;
use crate::repo::{Repo, without_naming_keys};
use crate::set::{SetRequest, set};
use crate::unlock::unlock_locked;

/// Vault that missing keys are stored in.
const VAULT: VaultId = VaultId::OsSecure;

/// Keys to fill, as the user typed them.
#[derive(Clone, Debug, Default)]
pub struct FillRequest {
    /// The env; `all` for every key of every env.
    pub env: String,
    /// One key only: a bare name or a full slug.
    pub key: Option<String>,
    /// Mechanism of missing keys; the user confirms it if it is not given.
    pub mech: Option<String>,
    /// Set again what is there.
    pub refresh: bool,
    /// Set again what is blocked or cannot be unlocked.
    pub repair: bool,
    /// Skips the token check.
    pub allow_dangerous: bool,
}

/// Context of a fill.
#[derive(Clone, Debug)]
pub struct FillContext {
    /// Working directory and environment of the caller.
    pub client: Context,
    /// The daemon's program, an absolute path.
    pub keyrackd: PathBuf,
    /// Key files given by name.
    pub prikeys: Vec<PathBuf>,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub now_ms: fn() -> i64,
}

/// Result for one key of one owner.
#[derive(Clone, Debug)]
pub struct FilledKey {
    /// Slug of the key.
    pub slug: Slug,
    /// Owner of the rack.
    pub owner: Owner,
    /// Outcome for the key.
    pub effect: FillOutcome,
}

/// Outcome for a key.
#[derive(Clone, Debug)]
pub enum FillOutcome {
    /// It is there, under this slug: its own, or the one for all envs.
    Found(Slug),
    /// It was set, and read back.
    Set,
    /// The key is neither found nor set.
    Failed(Error),
}

/// Result of a fill.
#[derive(Debug, Default)]
pub struct FillReport {
    /// Key by key, in the order of `keyrack.yml`, and owner by owner.
    pub filled: Vec<FilledKey>,
    /// Number of keys in total: more than `filled` if the user interrupted the command.
    pub total: usize,
    /// The pid of a daemon that was started.
    pub started: Option<u32>,
    /// Notices for the user, a sentence each.
    pub notices: Vec<String>,
}

impl FillReport {
    /// Number of keys that were found, or set and read back.
    pub fn verified(&self) -> usize {
        self.filled.iter().filter(|one| !matches!(one.effect, FillOutcome::Failed(_))).count()
    }

    /// Exit code: 130 if the user interrupted the command, else 1 if a key failed for a reason that
    /// the user cannot help, 2 if another key failed, 0.
    pub fn exit(&self) -> u8 {
        let causes = self.filled.iter().filter_map(|one| match &one.effect {
            FillOutcome::Failed(error) => Some(error.exit()),
            FillOutcome::Found(_) | FillOutcome::Set => None,
        });
        match causes.reduce(|worst, exit| if worst == 2 { exit } else { worst }) {
            _ if self.filled.len() < self.total => ErrorCode::Interrupted.exit(),
            None => 0,
            Some(exit) => exit,
        }
    }
}

/// Progress of a fill, to be shown to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillProgress<'a> {
    /// Number of the key, from 1.
    pub at: usize,
    /// Of how many.
    pub of: usize,
    /// Slug of the key.
    pub slug: &'a Slug,
    /// For how many owners.
    pub owners: usize,
}

/// Fills the keys that `keyrack.yml` declares, for each owner.
///
/// # Errors
/// Those of choosing the keys and of opening an owner's rack, before any prompt or change. The
/// error of a single key is in the report.
pub fn fill(
    place: &FillContext,
    owners: &[Owner],
    request: &FillRequest,
    prompts: &mut dyn Prompts,
    follow: &mut dyn FnMut(FillProgress<'_>),
) -> Result<FillReport, Error> {
    let mech = request.mech.as_deref().map(|text| parse_mechanism(&VAULT, text)).transpose()?;
    let repo = Repo::of(&place.client)?;
    let slugs = declared(&repo, request)?;
    let mut prompts = CachedPrompts { person: prompts, passphrases: BTreeMap::new() };
    if !slugs.is_empty() {
        for owner in owners {
            place.with_context(owner, &mut prompts, |ctx| {
                let racks = ctx.racks()?;
                manifest_file::load_existing(&racks, &mut ctx.identities(&racks)?).map(drop)
            })?;
        }
    }
    let mut run = Filler { request, mech: mech.map(Ok), report: FillReport::default() };
    run.report.total = slugs.len() * owners.len();
    let faults = repo.manifest.iter().flat_map(|manifest| &manifest.faults);
    run.report.notices.extend(faults.map(|fault| fault.message.clone()));
    for (at, slug) in slugs.iter().enumerate() {
        follow(FillProgress { at: at + 1, of: slugs.len(), slug, owners: owners.len() });
        for owner in owners {
            let effect = place.with_context(owner, &mut prompts, |ctx| run.fill_key(ctx, slug));
            let effect = match effect {
                Err(error) if is_interrupted(&error) => return Ok(run.report),
                other => other.unwrap_or_else(|error| FillOutcome::Failed(error.of(slug))),
            };
            run.report.filled.push(FilledKey { slug: slug.clone(), owner: owner.clone(), effect });
        }
    }
    Ok(run.report)
}

/// Keys of the request.
fn declared(repo: &Repo, request: &FillRequest) -> Result<Vec<Slug>, Error> {
    if request.env.parse::<Env>()? == Env::Sudo {
        return Err(Error::new(
            ErrorCode::SudoNeedsKey,
            "cannot fill sudo keys: keyrack.yml does not declare them",
        )
        .hint("set a sudo key by name: keyrack set --env sudo --key NAME"));
    }
    let whole = KeyQuery {
        key: None,
        env: Some(&request.env),
        org: None,
        owner: &Owner::DEFAULT,
        manifest: repo.manifest.as_ref(),
    };
    let (env, keys) = repo_keys(&whole).map_err(without_naming_keys)?;
    let is_meant =
        |slug: &Slug| request.key.as_ref().is_none_or(|key| key == slug.name() || key == slug.as_str());
    let slugs: Vec<Slug> = keys.iter().map(|key| &key.slug).filter(|slug| is_meant(slug)).cloned().collect();
    match &request.key {
        Some(key) if slugs.is_empty() => {
            check_typed(key)?;
            check_known_name(key.rsplit('.').next().unwrap_or(key))?;
            let message = format!("keyrack.yml does not declare {key} for {env}");
            let known: Vec<&str> = keys.iter().map(|key| key.slug.name()).collect();
            let error = Error::new(ErrorCode::KeyNotFound, message);
            Err(if known.is_empty() {
                error
            } else {
                error.hint(format!("it declares {}", known.join(", ")))
            })
        }
        _ => Ok(slugs),
    }
}

impl FillContext {
    /// Runs something for an owner.
    fn with_context<T>(
        &self,
        owner: &Owner,
        prompts: &mut dyn Prompts,
        run: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut client = self.client.clone().with_owner(owner.clone());
        client.env = settings(&self.client.env);
        let ctx = OpContext::new(client, self.keyrackd.clone(), (self.now_ms)(), prompts);
        run(&ctx.with_prikeys(self.prikeys.iter().cloned()))
    }
}

/// Returns the environment without the variables that could provide a key: only keyrack's settings
/// and the paths of its files remain.
fn settings(env: &Environment) -> Environment {
    let names = env.names().filter(|name| {
        [HOME, RUNTIME_DIR, SSH_AUTH_SOCK].iter().any(|known| name == known)
            || name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
    });
    names.filter_map(|name| Some((name, env.get(name)?))).collect()
}

/// A fill under way.
struct Filler<'a> {
    request: &'a FillRequest,
    /// The mechanism of missing keys, once it is known or was declined.
    mech: Option<Result<Mechanism, Error>>,
    report: FillReport,
}

impl Filler<'_> {
    fn fill_key(&mut self, ctx: &OpContext<'_>, slug: &Slug) -> Result<FillOutcome, Error> {
        match self.find(ctx, slug) {
            Ok(Some(found)) if !self.request.refresh => return Ok(FillOutcome::Found(found)),
            Ok(_) => {}
            Err(error) if is_interrupted(&error) || !self.request.repair => return Err(error),
            Err(_) => {}
        }
        self.set(ctx, slug)?;
        let not_read_back = |mut error: Error| {
            error.message = format!("the key was set, but could not be read back: {}", error.message);
            error
        };
        match self.find(ctx, slug).map_err(not_read_back)? {
            Some(_) => Ok(FillOutcome::Set),
            None => Err(not_read_back(Error::new(ErrorCode::Lost, "its vault does not have the key"))),
        }
    }

    /// Returns the slug under which a key is found and usable; `None` if it was never set or is
    /// lost.
    fn find(&mut self, ctx: &OpContext<'_>, slug: &Slug) -> Result<Option<Slug>, Error> {
        let answer = self.read(ctx, slug)?;
        if let Some(done) = usable_slug(answer)? {
            return Ok(Some(done));
        }
        let report = unlock_locked(ctx, std::slice::from_ref(slug), self.request.allow_dangerous)?;
        self.report.started = self.report.started.or(report.started);
        self.report.notices.extend(report.notices);
        // One key was requested, so at most one is omitted.
        if let Some(omitted) = report.omitted.into_iter().next() {
            let no_cause = || Error::new(ErrorCode::Internal, "cannot unlock it");
            return match omitted.reason {
                Omission::Absent | Omission::Lost => Ok(None),
                Omission::Remote => Err(Error::new(ErrorCode::VaultWriteOnly, "its vault is write-only")),
                Omission::Errored => Err(omitted.cause.unwrap_or_else(no_cause)),
            };
        }
        usable_slug(self.read(ctx, slug)?)
    }

    /// From the daemon alone, with what `keyrack.yml` demands of the key.
    fn read(&self, ctx: &OpContext<'_>, slug: &Slug) -> Result<KeyOutcome, Error> {
        let scope = Scope::Key { ask: slug.to_string(), org: Org::This, env: None };
        let plan = GetPlan::of(&ctx.client, &scope)?;
        let options =
            GetOptions { allow_dangerous: self.request.allow_dangerous, undeclared_is_absent: false };
        let mut outcome = read(&ctx.client, plan, options).answer(|_| None)?;
        outcome.keys.pop().ok_or_else(|| Error::new(ErrorCode::Internal, "a read of one key returned none"))
    }

    fn set(&mut self, ctx: &OpContext<'_>, slug: &Slug) -> Result<(), Error> {
        let owner = &ctx.client.owner;
        if !ctx.prompt(|prompts| prompts.is_interactive()) {
            let message = format!("cannot prompt for the secret of {slug}");
            return Err(Error::new(ErrorCode::PromptNeeded, message).fix(Fix::set_secure(owner, slug)));
        }
        // Declined once for all keys, and each of them names the way to be set all the same.
        let mech = self.mechanism(ctx).map_err(|error| match error.code {
            ErrorCode::MechRequired => error.fix(Fix::set_secure(owner, slug)),
            _ => error,
        })?;
        let request = SetRequest {
            key: slug.to_string(),
            vault: Some(VAULT.to_string()),
            mech: Some(mech.to_string()),
            allow_dangerous: self.request.allow_dangerous,
            ..SetRequest::default()
        };
        let done = set(ctx, &request)?;
        self.report.notices.extend(done.notices);
        Ok(())
    }

    /// Asked once for all: a permanent key is confirmed, never assumed.
    fn mechanism(&mut self, ctx: &OpContext<'_>) -> Result<Mechanism, Error> {
        if let Some(known) = &self.mech {
            return known.clone();
        }
        let mech = Mechanism::Replica;
        let question = format!("Store missing keys permanently in {VAULT}, as {mech} ({})?", mech.describe());
        let yes = ctx.prompt(|prompts| prompts.confirm(&question, &format!("--mech {mech}")))?;
        let said = if yes {
            Ok(mech)
        } else {
            Err(Error::new(ErrorCode::MechRequired, "nothing was stored: permanent keys were declined"))
        };
        self.mech.insert(said).clone()
    }
}

/// The slug of a key that is granted; `None` for one that has to be unlocked or set first.
///
/// # Errors
/// [`ErrorCode::Blocked`].
fn usable_slug(answer: KeyOutcome) -> Result<Option<Slug>, Error> {
    match answer.attempt {
        Attempt::Granted { grant, .. } => Ok(Some(grant.slug)),
        Attempt::Absent { .. } | Attempt::Locked { .. } => Ok(None),
        Attempt::Blocked { slug, reasons, fix } => {
            let mut error = Error::new(ErrorCode::Blocked, reasons.join("; ")).of(&slug);
            error.fix = fix;
            Err(error.hint("--repair sets it again"))
        }
    }
}

/// Prompts that ask for each passphrase once.
struct CachedPrompts<'p> {
    person: &'p mut dyn Prompts,
    passphrases: BTreeMap<PathBuf, Zeroizing<String>>,
}

impl Prompts for CachedPrompts<'_> {
    fn is_interactive(&self) -> bool {
        self.person.is_interactive()
    }

    fn secret(&mut self, slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.person.secret(slug)
    }

    fn passphrase(&mut self, key: &Path, again: bool) -> Result<Zeroizing<String>, Error> {
        if let (Some(known), false) = (self.passphrases.get(key), again) {
            return Ok(known.clone());
        }
        let typed = self.person.passphrase(key, again)?;
        self.passphrases.insert(key.to_owned(), typed.clone());
        Ok(typed)
    }

    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error> {
        self.person.confirm(question, flag)
    }

    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        default: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error> {
        self.person.choose(question, options, default, flag)
    }
}
