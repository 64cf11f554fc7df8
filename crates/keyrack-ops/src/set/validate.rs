//! What was typed, found to fit together, before anything is opened and anybody asked; and which mechanism is meant.

use keyrack_core::resolve::{Operation, resolve_anywhere, resolve_key};
use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Env, Error, ErrorCode, Fix, Mechanism, Slug, Ttl, VaultId};
use keyrack_vaults::{os_envvar, registry};

use super::SetRequest;
use crate::context::OpContext;
use crate::input::{is_machine_key, parse_nonzero_ttl};
use crate::repo::Repo;

/// The vaults a key can be set in.
const VAULTS: [&str; 3] = ["os.secure", "os.direct", "os.daemon"];

/// The envs a key can be set for, as they are offered.
const ENVS: [(Env, &str); 6] = [
    (Env::Test, "test"),
    (Env::Prep, "prep"),
    (Env::Prod, "prod"),
    (Env::Camp, "camp"),
    (Env::All, "all — every env but sudo"),
    (Env::Sudo, "sudo — asked for one by one, and for an hour at most"),
];

/// What was typed, read and found to fit together.
pub(super) struct ValidatedSet {
    pub(super) slug: Slug,
    pub(super) vault: VaultId,
    /// The mechanism that was named.
    pub(super) named: Option<Mechanism>,
    pub(super) max_duration: Option<Ttl>,
    pub(super) repo: Repo,
}

impl ValidatedSet {
    pub(super) fn new(ctx: &OpContext<'_>, request: &SetRequest) -> Result<Self, Error> {
        let vault = request.vault.as_deref().map(|text| vault_of(text, request)).transpose()?;
        let max_duration = request.max_duration.as_deref().map(parse_nonzero_ttl).transpose()?;

        // No repository has a say in a key of the machine, so not even a broken keyrack.yml is in its way.
        let repo = match (&request.at, is_machine_key(&request.key, request.org.as_deref())) {
            (None, true) => Repo::none(),
            (Some(at), _) => Repo::with_manifest_at(&ctx.client, at)?,
            (None, false) => Repo::of(&ctx.client)?,
        };
        let slug = slug(ctx, request, &repo)?;
        let (vault, named) = match vault {
            Some(vault) => vault,
            None => vault_of(&choose_vault(ctx, request, &slug)?, request)?,
        };
        if vault == VaultId::OsEnvvar {
            return Err(os_envvar::read_only(&slug));
        }
        Ok(ValidatedSet { slug, vault, named, max_duration, repo })
    }

    /// The mechanism: the one that was named, else the only one there is if it is not permanent, else what a person says.
    pub(super) fn mechanism(&self, ctx: &OpContext<'_>, typed: Option<&str>) -> Result<Mechanism, Error> {
        if let Some(named) = &self.named {
            return Ok(named.clone());
        }
        debug_assert!(typed.is_none(), "what was typed was read");
        let all: Vec<&Mechanism> = self.vault.mechanisms().iter().filter(|mech| is_here(mech)).collect();
        let flag = all.iter().map(|mech| mech.as_str()).collect::<Vec<_>>().join("|");
        let flag = format!("--mech {flag}");
        let unsaid = |error: Error| {
            if error.code != ErrorCode::PromptNeeded {
                return error;
            }
            let vault = &self.vault;
            let message =
                format!("`--mech` is required for {vault}: permanent keys must be chosen explicitly");
            let unsaid = Error::new(ErrorCode::MechRequired, message).of(&self.slug);
            match all[..] {
                [only] => unsaid.fix(Fix::set(&ctx.client.owner, &self.slug, vault, only)),
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
                let yes = ctx.prompt(|prompts| prompts.confirm(&question, &flag)).map_err(unsaid)?;
                if yes {
                    return Ok(only.clone());
                }
                Err(Error::new(ErrorCode::MechRequired, "not stored, since a permanent key was declined")
                    .of(&self.slug)
                    .fix(Fix::set(&ctx.client.owner, &self.slug, &self.vault, only)))
            }
            _ => {
                let options: Vec<String> =
                    all.iter().map(|mech| format!("{mech} — {}", mech.describe())).collect();
                let chosen = ctx
                    .prompt(|prompts| prompts.choose("which mechanism?", &options, None, &flag))
                    .map_err(unsaid)?;
                let chosen =
                    all.get(chosen).copied().ok_or_else(|| Error::new(ErrorCode::Usage, "not a choice"))?;
                Ok(chosen.clone())
            }
        }
    }
}

/// The vault of a name and the mechanism that was named with it, if keys can be set there in that way.
fn vault_of(text: &str, request: &SetRequest) -> Result<(VaultId, Option<Mechanism>), Error> {
    let vault = VaultId::parse(text);
    if let VaultId::Other(_) = vault {
        let message = "unknown vault: must be os.secure, os.direct or os.daemon";
        let error = Error::new(ErrorCode::BadVault, message);
        return Err(Error { hint: did_you_mean(text, VAULTS), ..error });
    }
    if vault != VaultId::OsDaemon {
        registry::vault(&vault)
            .map_err(|error| error.hint("--vault os.secure keeps a key encrypted on this machine"))?;
    }
    let named = request.mech.as_deref().map(|text| mechanism_of(&vault, text)).transpose()?;
    if request.exid.is_some() {
        let message = format!("{vault} keeps the secret itself, so there is nothing --exid could name");
        return Err(Error::new(ErrorCode::Usage, message));
    }
    Ok((vault, named))
}

/// Which key is meant; a person is asked for an env that nothing tells.
fn slug(ctx: &OpContext<'_>, request: &SetRequest, repo: &Repo) -> Result<Slug, Error> {
    let resolved = |env: Option<&str>| {
        let wanted = repo.query(&ctx.client.owner, &request.key, env, request.org.as_deref());
        if request.anywhere {
            resolve_anywhere(&wanted, Operation::Set)
        } else {
            resolve_key(&wanted, Operation::Set)
        }
    };
    let unclear = match resolved(request.env.as_deref()) {
        Err(error)
            if request.env.is_none()
                && matches!(error.code, ErrorCode::EnvRequired | ErrorCode::AmbiguousKey) =>
        {
            error
        }
        other => return other,
    };
    let envs = ENVS.map(|(_, shown)| shown.to_owned());
    let question = format!("for which env is {}?", request.key);
    match ctx.prompt(|prompts| prompts.choose(&question, &envs, None, "--env ENV")) {
        Ok(at) => resolved(ENVS.get(at).map(|(env, _)| env.as_str())),
        Err(error) if error.code == ErrorCode::PromptNeeded => Err(unclear),
        Err(error) => Err(error),
    }
}

/// The vault a person chooses; `os.secure` by an empty answer.
fn choose_vault(ctx: &OpContext<'_>, request: &SetRequest, slug: &Slug) -> Result<String, Error> {
    let places = [
        "os.secure — an encrypted file of this machine",
        "os.direct — a plain file of this machine",
        "os.daemon — only in memory, until it is locked",
    ];
    let options = places.map(str::to_owned);
    let question = format!("where is {slug} to rest?");
    match ctx.prompt(|prompts| prompts.choose(&question, &options, Some(0), "--vault VAULT")) {
        Ok(at) => Ok(VAULTS.get(at).copied().unwrap_or(VAULTS[0]).to_owned()),
        Err(error) if error.code == ErrorCode::PromptNeeded => {
            let mech = request.mech.as_deref().map_or(Mechanism::Replica, Mechanism::parse);
            let vault = if mech == Mechanism::Session { VaultId::OsDaemon } else { VaultId::OsSecure };
            Err(Error::new(ErrorCode::Usage, "missing: --vault <VAULT>").of(slug).fix(Fix::set(
                &ctx.client.owner,
                slug,
                &vault,
                &mech,
            )))
        }
        Err(error) => Err(error),
    }
}

/// The mechanism of a name, if keys of the vault can have it.
pub(crate) fn mechanism_of(vault: &VaultId, text: &str) -> Result<Mechanism, Error> {
    let mech = Mechanism::parse(text);
    let all = vault.mechanisms();
    if all.contains(&mech) && is_here(&mech) {
        return Ok(mech);
    }
    let here: Vec<_> = all.iter().filter(|mech| is_here(mech)).map(Mechanism::as_str).collect();
    let why = match &mech {
        Mechanism::Other(_) => "unknown mechanism".to_owned(),
        known if all.contains(known) => format!("{known} is not in this version of keyrack"),
        known => format!("{vault} has no keys of {known}"),
    };
    let error =
        Error::new(ErrorCode::BadMech, format!("{why}: for {vault} it must be {}", here.join(" or ")));
    Err(Error { hint: did_you_mean(text, here), ..error })
}

/// Whether this version can set keys of a mechanism.
fn is_here(mech: &Mechanism) -> bool {
    matches!(mech, Mechanism::Replica | Mechanism::Session)
}
