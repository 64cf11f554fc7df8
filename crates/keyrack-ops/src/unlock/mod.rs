//! `unlock`: reads keys from their vaults and gives them to the daemon.
//!
//! No other operation does this. Each key is unlocked, or left out with its own cause; one key
//! never stops the others. The daemon is started only if there is a key to give it.

mod collect;
mod omission;
mod report;

use keyrack_client::daemon;
use keyrack_client::session::KeyToUnlock;
use keyrack_core::resolve::{KeyQuery, unlock_slugs};
use keyrack_core::ttl::above_ceiling;
use keyrack_core::{Env, Error, ErrorCode, Fix, Org, Slug, Ttl};
use keyrack_vaults::manifest_file;

use crate::context::OpContext;
use crate::input::is_machine_key;
use crate::repo::Repo;

use self::collect::{Collected, CollectedKey, UnlockOptions, collect};
pub use self::omission::Omission;
pub use self::report::{OmittedKey, UnlockReport, UnlockedGrant};

/// Keys to unlock, as the user typed them.
#[derive(Clone, Debug, Default)]
pub struct UnlockRequest {
    /// The env; `None` for the one that `keyrack.yml` implies.
    pub env: Option<String>,
    /// A single key, by its name or full slug; `None` for all keys of the env.
    pub key: Option<String>,
    /// The org; `None` for `@this`.
    pub org: Option<String>,
    /// The requested TTL.
    pub duration: Option<String>,
    /// Skips the token check.
    pub allow_dangerous: bool,
}

/// Unlocks keys.
///
/// # Errors
/// Those of choosing the keys, opening the host manifest and reaching the daemon. The error of a
/// single key is in the report.
pub fn unlock(ctx: &OpContext<'_>, request: &UnlockRequest) -> Result<UnlockReport, Error> {
    let requested = request.duration.as_deref().map(Ttl::parse_nonzero).transpose()?;
    request.env.as_deref().map(str::parse::<Env>).transpose()?;
    request.org.as_deref().map(str::parse::<Org>).transpose()?;
    let of_machine = is_machine_key(request.key.as_deref().unwrap_or_default(), request.org.as_deref());
    let repo = if of_machine { Repo::none() } else { Repo::of(&ctx.client)? };
    let query = KeyQuery {
        key: request.key.as_deref(),
        env: request.env.as_deref(),
        org: request.org.as_deref(),
        owner: &ctx.client.owner,
        manifest: repo.manifest.as_ref(),
    };
    let (requested, limited) = limit_to_ceiling(requested, &query);
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
    ctx.remember(&racks, &identities);
    let slugs = unlock_slugs(&query, manifest.hosts.keys())?;
    let options =
        UnlockOptions { requested, allow_dangerous: request.allow_dangerous, named: request.key.is_some() };
    let collected = collect(ctx, &racks, &mut identities, &manifest, &repo, &slugs, options)?;
    let mut report = send(ctx, collected)?;

    report.notices.extend(repo_faults(&repo));
    report.notices.extend(limited);
    match (slugs.is_empty(), &repo.manifest) {
        (true, Some(_)) => report.notices.push(declares_nothing(request.env.as_deref())),
        (true, None) => report.nothing = Some(nothing_to_unlock(&query, &repo, of_machine)),
        (false, _) => {}
    }
    report.notices.extend(manifest.faults().into_iter().map(|fault| fault.message));
    Ok(report)
}

/// Unlocks exactly these keys, which a read has found locked, for the default TTL.
///
/// # Errors
/// As [`unlock`].
pub(crate) fn unlock_locked(
    ctx: &OpContext<'_>,
    slugs: &[Slug],
    allow_dangerous: bool,
) -> Result<UnlockReport, Error> {
    let of_machine = slugs.iter().all(Slug::is_machine);
    let repo = if of_machine { Repo::none() } else { Repo::of(&ctx.client)? };
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
    ctx.remember(&racks, &identities);
    let options = UnlockOptions { requested: None, allow_dangerous, named: true };
    send(ctx, collect(ctx, &racks, &mut identities, &manifest, &repo, slugs, options)?)
}

/// Gives the collected keys to the daemon, and starts one if none runs.
fn send(ctx: &OpContext<'_>, collected: Collected) -> Result<UnlockReport, Error> {
    let Collected { keys, omitted } = collected;
    let mut report = UnlockReport { omitted, ..UnlockReport::default() };
    if keys.is_empty() {
        return Ok(report);
    }
    let (mut session, started) = daemon::ensure(&ctx.client, &ctx.keyrackd)?;
    if started {
        report.started = session.hello().ok().map(|hello| hello.pid);
    }
    let wire_keys: Vec<KeyToUnlock<'_>> = keys.iter().map(CollectedKey::to_wire).collect();
    let outcomes = session.unlock(&wire_keys)?;
    drop(wire_keys);
    for (key, outcome) in keys.into_iter().zip(outcomes) {
        match outcome.outcome {
            Ok(kept) => {
                let note = key.limit_note(kept.ttl);
                let mut grant = key.grant;
                grant.expires_at_ms = Some(kept.expires_at_ms);
                report.unlocked.push(UnlockedGrant { grant, ttl: kept.ttl, note });
            }
            Err(mut error) => {
                if error.code == ErrorCode::GradeDegraded && error.fix.is_none() {
                    error.fix = Some(Fix::relock(&ctx.client.owner, &key.grant.slug));
                }
                report.omitted.push(OmittedKey::errored(key.grant.slug, error));
            }
        }
    }
    Ok(report)
}

/// Entries of `keyrack.yml` that this version cannot use, a sentence each.
fn repo_faults(repo: &Repo) -> impl Iterator<Item = String> {
    repo.manifest.iter().flat_map(|manifest| &manifest.faults).map(|fault| match &fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message.clone(),
    })
}

/// Explains that there was nothing to unlock: no `keyrack.yml` declares keys, or the machine has
/// none of its own.
fn nothing_to_unlock(query: &KeyQuery<'_>, repo: &Repo, of_machine: bool) -> Error {
    let own = format!("this machine has no keys of its own for {}", query.env.unwrap_or_default());
    if of_machine {
        return Error::new(ErrorCode::Absent, own);
    }
    let error = Error::new(ErrorCode::NoManifest, format!("no keyrack.yml found, and {own}"));
    match repo.root {
        Some(_) => error.fix(Fix::with_owner("init", query.owner, [])),
        None => error.hint("run the command in the repository that declares the keys"),
    }
}

/// Notice that `keyrack.yml` declares no key for an env.
pub fn declares_nothing(env: Option<&str>) -> String {
    match env {
        Some(env) if env != Env::All.as_str() => format!("keyrack.yml declares nothing for {env}"),
        _ => "keyrack.yml declares nothing".to_owned(),
    }
}

/// Limits a requested TTL to the ceiling of the keys, with a notice if it was above.
fn limit_to_ceiling(requested: Option<Ttl>, query: &KeyQuery<'_>) -> (Option<Ttl>, Option<String>) {
    let sudo = query.env == Some(Env::Sudo.as_str())
        || query
            .key
            .filter(|key| Slug::looks_full(key))
            .is_some_and(|key| Slug::parse(key).is_ok_and(|slug| slug.is_sudo()));
    let ceiling = Ttl::ceiling_of(sudo);
    match requested {
        Some(requested) if requested > ceiling => {
            (Some(ceiling), Some(format!("--duration {}", above_ceiling(requested, sudo))))
        }
        requested => (requested, None),
    }
}
