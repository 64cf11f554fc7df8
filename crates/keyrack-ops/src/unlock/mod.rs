//! `unlock`: keys out of their vaults into the daemon, the only way there is. Each key ends unlocked or left out with its own cause, and none
//! stops the others; the daemon is started only when there is something to give it.

mod collect;
mod omission;

pub use omission::Omission;

use keyrack_client::daemon;
use keyrack_client::session::KeyToUnlock;
use keyrack_core::resolve::{KeyQuery, unlock_slugs};
use keyrack_core::{Env, Error, ErrorCode, Fix, Grant, Org, Slug, Ttl, VaultId};
use keyrack_vaults::manifest_file;

use crate::context::OpContext;
use crate::repo::Repo;
use crate::set::{is_machine_key, parse_nonzero_ttl};

/// What is to be unlocked, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct UnlockRequest {
    /// The env.
    pub env: Option<String>,
    /// One key only: a bare name or a full slug.
    pub key: Option<String>,
    /// The org: `@this` if none.
    pub org: Option<String>,
    /// For how long.
    pub duration: Option<String>,
    /// Unlock keys although they look like long-lived tokens.
    pub allow_dangerous: bool,
}

/// What came of an unlock.
#[derive(Debug, Default)]
pub struct UnlockReport {
    /// The keys the daemon keeps.
    pub unlocked: Vec<UnlockedGrant>,
    /// The keys that were left out.
    pub omitted: Vec<OmittedKey>,
    /// The pid of the daemon, if this started it.
    pub started: Option<u32>,
    /// What else there is to say, a sentence each.
    pub notices: Vec<String>,
    /// What nothing was to be unlocked for, if that is hardly what was meant.
    pub nothing: Option<Error>,
}

/// A key the daemon keeps.
#[derive(Clone, Debug)]
pub struct UnlockedGrant {
    /// What is known of it, its end included.
    pub grant: Grant,
    /// Its life.
    pub ttl: Ttl,
    /// Why that is shorter than what was asked for.
    pub note: Option<String>,
}

/// A key that was left out.
#[derive(Clone, Debug)]
pub struct OmittedKey {
    /// Its slug.
    pub slug: Slug,
    /// Why.
    pub reason: Omission,
    /// What happened, if something did.
    pub cause: Option<Error>,
    /// The way out, if the cause does not say it.
    pub fix: Option<Fix>,
}

impl UnlockReport {
    /// The exit code: 1 if something failed that the caller cannot help; 2 if the caller has to act, or a key that was named (`named`) is
    /// not unlocked; else 0, also with keys that were left out by rule ([`is_by_rule`]).
    pub fn exit(&self, named: bool) -> u8 {
        let causes = || self.omitted.iter().filter_map(|omitted| omitted.cause.as_ref());
        if let Some(fault) = causes().map(Error::exit).find(|exit| *exit != 2) {
            return fault;
        }
        let must_act = |omitted: &OmittedKey| {
            omitted.reason == Omission::Errored
                && !omitted.cause.as_ref().is_some_and(|cause| is_by_rule(&cause.code))
        };
        if self.omitted.iter().any(must_act) || (named && self.unlocked.is_empty()) { 2 } else { 0 }
    }
}

/// Returns `true` if a key with this error was left out by a rule that held as it should, which is no failure of an unlock of many keys: the
/// token check, a grade, or a vault or mechanism that this version does not have.
fn is_by_rule(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::LongLivedToken
            | ErrorCode::BelowDeclared
            | ErrorCode::GradeDegraded
            | ErrorCode::VaultUnsupported
            | ErrorCode::NotAvailable
            | ErrorCode::Lost
    )
}

/// Unlocks keys.
///
/// # Errors Those of choosing the keys, of opening the host manifest and of reaching the daemon.
/// The error of a single key is in the report.
pub fn unlock(ctx: &OpContext<'_>, request: &UnlockRequest) -> Result<UnlockReport, Error> {
    let asked = request.duration.as_deref().map(parse_nonzero_ttl).transpose()?;
    request.env.as_deref().map(str::parse::<Env>).transpose()?;
    request.org.as_deref().map(str::parse::<Org>).transpose()?;
    let of_machine = is_machine_key(request.key.as_deref().unwrap_or_default(), request.org.as_deref());
    let repo = if of_machine { Repo::none() } else { Repo::of(&ctx.client)? };
    let wanted = KeyQuery {
        key: request.key.as_deref(),
        env: request.env.as_deref(),
        org: request.org.as_deref(),
        owner: &ctx.client.owner,
        manifest: repo.manifest.as_ref(),
    };
    let (asked, cut) = cut_to_ceiling(asked, &wanted);
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
    ctx.remember(&racks, &identities);
    let slugs = unlock_slugs(&wanted, manifest.hosts.keys())?;
    let how = UnlockOptions { asked, allow_dangerous: request.allow_dangerous, named: request.key.is_some() };
    let mut report = collect::collect(ctx, &racks, &mut identities, &manifest, &repo, &slugs, how)?;
    report.notices.extend(cut);
    let faults = repo.manifest.iter().flat_map(|manifest| &manifest.faults);
    match (slugs.is_empty(), &repo.manifest) {
        (true, Some(_)) => report.notices.push(declares_nothing(request.env.as_deref())),
        (true, None) => report.nothing = Some(nothing_here(&wanted, &repo, of_machine)),
        (false, _) => {}
    }
    let told = faults.map(|fault| match &fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message.clone(),
    });
    report.notices.splice(0..0, told);
    report.notices.extend(manifest.faults().into_iter().map(|fault| fault.message));
    Ok(report)
}

/// That nothing was unlocked where no `keyrack.yml` asks for keys; and none was to, for those of the machine alone.
fn nothing_here(request: &KeyQuery<'_>, repo: &Repo, of_machine: bool) -> Error {
    let own = format!("this machine has no keys of its own for {}", request.env.unwrap_or_default());
    if of_machine {
        return Error::new(ErrorCode::Absent, own);
    }
    let error = Error::new(ErrorCode::NoManifest, format!("there is no keyrack.yml here, and {own}"));
    match repo.root {
        Some(_) => error.fix(Fix::with_owner("init", request.owner, [])),
        None => error.hint("go into the repository whose keys are meant"),
    }
}

/// Says that `keyrack.yml` names no key for an env.
pub fn declares_nothing(env: Option<&str>) -> String {
    match env {
        Some(env) if env != Env::All.as_str() => format!("keyrack.yml declares nothing for {env}"),
        _ => "keyrack.yml declares nothing".to_owned(),
    }
}

/// Unlocks exactly these keys, which a read has found locked, for the default duration.
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
    let how = UnlockOptions { asked: None, allow_dangerous, named: true };
    collect::collect(ctx, &racks, &mut identities, &manifest, &repo, slugs, how)
}

/// How keys are to be unlocked.
#[derive(Clone, Copy)]
struct UnlockOptions {
    asked: Option<Ttl>,
    allow_dangerous: bool,
    /// Whether the keys were named rather than swept up.
    named: bool,
}

/// Cuts a duration to the ceiling, with a notice that says so.
fn cut_to_ceiling(asked: Option<Ttl>, request: &KeyQuery<'_>) -> (Option<Ttl>, Option<String>) {
    let sudo = request.env == Some(Env::Sudo.as_str())
        || request
            .key
            .filter(|key| Slug::looks_full(key))
            .is_some_and(|key| Slug::parse(key).is_ok_and(|slug| slug.is_sudo()));
    let ceiling = Ttl::ceiling_of(sudo);
    match asked {
        Some(asked) if asked > ceiling => {
            let kind = if sudo { "sudo keys" } else { "keys" };
            let notice = format!("--duration {asked} is above the limit: {kind} stay unlocked for {ceiling}");
            (Some(ceiling), Some(notice))
        }
        asked => (asked, None),
    }
}

/// Gives opened keys to the daemon, which is started if need be.
fn send(ctx: &OpContext<'_>, opened: Vec<collect::Opened>, report: &mut UnlockReport) -> Result<(), Error> {
    if opened.is_empty() {
        return Ok(());
    }
    let (mut session, started) = daemon::ensure(&ctx.client, &ctx.keyrackd)?;
    if started {
        report.started = session.hello().ok().map(|hello| hello.pid);
    }
    let keys: Vec<KeyToUnlock<'_>> = opened.iter().map(collect::Opened::to_send).collect();
    let outcomes = session.unlock(&keys)?;
    drop(keys);
    for (opened, outcome) in opened.into_iter().zip(outcomes) {
        match outcome.outcome {
            Ok(kept) => {
                let note = opened.note(kept.ttl);
                let mut grant = opened.grant;
                grant.expires_at_ms = Some(kept.expires_at_ms);
                report.unlocked.push(UnlockedGrant { grant, ttl: kept.ttl, note });
            }
            Err(mut error) => {
                if error.code == ErrorCode::GradeDegraded && error.fix.is_none() {
                    error.fix = Some(Fix::relock(&ctx.client.owner, &opened.grant.slug));
                }
                report.omitted.push(errored(opened.grant.slug, error));
            }
        }
    }
    Ok(())
}

fn errored(slug: Slug, cause: Error) -> OmittedKey {
    OmittedKey { slug, reason: Omission::Errored, cause: Some(cause), fix: None }
}

/// Whether a vault can only be written.
fn is_write_only(vault: &VaultId) -> bool {
    *vault == VaultId::GithubSecrets
}
