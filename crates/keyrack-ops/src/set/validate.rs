//! Parses a `set` request and resolves it to one key, vault and mechanism. Opens no file but
//! `keyrack.yml`.

use keyrack_core::host_manifest::HostEntry;
use keyrack_core::resolve::{Operation, resolve_anywhere, resolve_key};
use keyrack_core::set_rule::{self, Declaration, MechChoice, SetInput};
use keyrack_core::{Env, Error, ErrorCode, Fix, Mechanism, Owner, Slug, Ttl, VaultId};
use keyrack_vaults::registry;

use super::request::SetRequest;
use crate::context::OpContext;
use crate::input::is_machine_key;
use crate::repo::Repo;

/// Envs in the order of the menu, with their descriptions.
const ENVS: [(Env, &str); 6] = [
    (Env::Test, "test"),
    (Env::Prep, "prep"),
    (Env::Prod, "prod"),
    (Env::Camp, "camp"),
    (Env::All, "all — every env but sudo"),
    (Env::Sudo, "sudo — unlocked one at a time, for an hour at most"),
];

/// Vaults in the order of the menu, with their descriptions.
const VAULTS: [(VaultId, &str); 3] = [
    (VaultId::OsSecure, "os.secure — an encrypted file on this machine"),
    (VaultId::OsDirect, "os.direct — a plain file on this machine"),
    (VaultId::OsDaemon, "os.daemon — only in memory, until it is locked"),
];

/// A request that was parsed and is consistent.
pub(super) struct ValidatedSet {
    pub(super) slug: Slug,
    pub(super) vault: VaultId,
    /// Mechanism that the user named.
    named: Option<Mechanism>,
    pub(super) exid: Option<String>,
    /// Maximum TTL, parsed.
    pub(super) max_ttl: Option<Ttl>,
    /// Maximum TTL, as typed.
    max_duration: Option<String>,
    pub(super) repo: Repo,
}

impl ValidatedSet {
    /// Validates a request. Prompts for the env and the vault if they are missing.
    pub(super) fn new(ctx: &OpContext<'_>, request: &SetRequest) -> Result<Self, Error> {
        let vault = request.vault.as_deref().map(|text| parse_vault(text, request)).transpose()?;
        let max_ttl = request.max_duration.as_deref().map(Ttl::parse_nonzero).transpose()?;
        // No repository declares keys of the machine, so not even a broken keyrack.yml matters.
        let repo = match (&request.at, is_machine_key(&request.key, request.org.as_deref())) {
            (None, true) => Repo::none(),
            (Some(at), _) => Repo::with_manifest_at(&ctx.client, at)?,
            (None, false) => Repo::of(&ctx.client)?,
        };
        let slug = resolve_slug(ctx, request, &repo)?;
        let (vault, named) = match vault {
            Some(vault) => vault,
            None => parse_vault(choose_vault(ctx, request, &slug)?.as_str(), request)?,
        };
        set_rule::check_writable(&slug, &vault)?;
        Ok(ValidatedSet {
            slug,
            vault,
            named,
            exid: request.exid.clone(),
            max_ttl,
            max_duration: request.max_duration.clone(),
            repo,
        })
    }

    /// Mechanism to set the key with. Prompts where the user has to choose or confirm it.
    pub(super) fn mechanism(&self, ctx: &OpContext<'_>) -> Result<Mechanism, Error> {
        let (slug, owner, vault) = (&self.slug, &ctx.client.owner, &self.vault);
        let flag = set_rule::mech_flag(vault);
        let required = |error: Error| match error.code {
            ErrorCode::PromptNeeded => set_rule::mech_required(slug, owner, vault),
            _ => error,
        };
        match set_rule::choose_mechanism(vault, self.named.as_ref())? {
            MechChoice::Use(mech) => Ok(mech),
            MechChoice::Confirm(mech) => {
                let question = format!("Store {slug} permanently, as {mech} ({})?", mech.describe());
                match ctx.prompt(|prompts| prompts.confirm(&question, &flag)).map_err(required)? {
                    true => Ok(mech),
                    false => Err(set_rule::permanent_declined(slug, owner, vault, &mech)),
                }
            }
            MechChoice::Choose(mechs) => {
                let options: Vec<String> =
                    mechs.iter().map(|mech| format!("{mech} — {}", mech.describe())).collect();
                let chosen = ctx
                    .prompt(|prompts| prompts.choose("Which mechanism?", &options, None, &flag))
                    .map_err(required)?;
                mechs.into_iter().nth(chosen).ok_or_else(|| Error::new(ErrorCode::Usage, "invalid choice"))
            }
        }
    }

    /// Input of the set rules, for a key whose present entry in the host manifest is `current`.
    pub(super) fn input<'a>(
        &'a self,
        owner: &'a Owner,
        mech: &'a Mechanism,
        current: Option<&'a HostEntry>,
    ) -> SetInput<'a> {
        let spec = self.repo.manifest.as_ref().and_then(|manifest| manifest.spec(&self.slug));
        SetInput {
            slug: &self.slug,
            owner,
            vault: &self.vault,
            mech,
            exid: self.exid.as_deref(),
            max_duration: self.max_duration.as_deref(),
            current,
            declared: spec.map(|spec| Declaration { spec, path: &self.repo.path }),
        }
    }
}

/// Parses the vault, and the mechanism that was named with it.
fn parse_vault(text: &str, request: &SetRequest) -> Result<(VaultId, Option<Mechanism>), Error> {
    let vault = set_rule::parse_vault(text)?;
    if vault != VaultId::OsDaemon {
        registry::vault(&vault).map_err(|error| {
            error.hint("`--vault os.secure` stores the key in an encrypted file on this machine")
        })?;
    }
    let named = request.mech.as_deref().map(|text| set_rule::parse_mechanism(&vault, text)).transpose()?;
    set_rule::check_exid(&vault, request.exid.as_deref())?;
    Ok((vault, named))
}

/// Resolves the key to a slug. Prompts for the env if it is ambiguous.
fn resolve_slug(ctx: &OpContext<'_>, request: &SetRequest, repo: &Repo) -> Result<Slug, Error> {
    let resolve = |env: Option<&str>| {
        let query = repo.query(&ctx.client.owner, &request.key, env, request.org.as_deref());
        if request.anywhere {
            resolve_anywhere(&query, Operation::Set)
        } else {
            resolve_key(&query, Operation::Set)
        }
    };
    let ambiguous = match resolve(request.env.as_deref()) {
        Err(error)
            if request.env.is_none()
                && matches!(error.code, ErrorCode::EnvRequired | ErrorCode::AmbiguousKey) =>
        {
            error
        }
        resolved => return resolved,
    };
    let options = ENVS.map(|(_, description)| description.to_owned());
    let question = format!("Which env is {} for?", request.key);
    match ctx.prompt(|prompts| prompts.choose(&question, &options, None, "--env ENV")) {
        Ok(index) => resolve(ENVS.get(index).map(|(env, _)| env.as_str())),
        Err(error) if error.code == ErrorCode::PromptNeeded => Err(ambiguous),
        Err(error) => Err(error),
    }
}

/// Prompts for the vault; `os.secure` is the default.
fn choose_vault(ctx: &OpContext<'_>, request: &SetRequest, slug: &Slug) -> Result<VaultId, Error> {
    let options = VAULTS.map(|(_, description)| description.to_owned());
    let question = format!("Where should {slug} be stored?");
    match ctx.prompt(|prompts| prompts.choose(&question, &options, Some(0), "--vault VAULT")) {
        Ok(index) => Ok(VAULTS.get(index).map_or(VaultId::OsSecure, |(vault, _)| vault.clone())),
        Err(error) if error.code == ErrorCode::PromptNeeded => {
            let mech = request.mech.as_deref().map_or(Mechanism::Replica, Mechanism::parse);
            let vault = if mech == Mechanism::Session { VaultId::OsDaemon } else { VaultId::OsSecure };
            let fix = Fix::set(&ctx.client.owner, slug, &vault, &mech);
            Err(Error::new(ErrorCode::Usage, "missing: --vault <VAULT>").of(slug).fix(fix))
        }
        Err(error) => Err(error),
    }
}
