//! Asks that may mean more than one key.

use super::errors;
use super::key::{by_name, expand, infer_env, resolve_key};
use super::query::{KeyQuery, Operation};
use crate::env::Env;
use crate::error::Error;
use crate::org::Org;
use crate::repo_manifest::{KeySpec, RepoManifest};
use crate::slug::{Slug, check_known_name, check_typed};

/// Every key of the repository in an env: of `all`, every key of every env. Without `--env` it is `all` if neither the manifest nor a file it extends declares an env.
///
/// # Errors
///
/// [`NoManifest`](crate::ErrorCode::NoManifest), [`BadEnv`](crate::ErrorCode::BadEnv), [`EnvRequired`](crate::ErrorCode::EnvRequired),
/// [`SudoNeedsKey`](crate::ErrorCode::SudoNeedsKey).
pub fn repo_keys<'a>(query: &KeyQuery<'a>) -> Result<(Env, Vec<&'a KeySpec>), Error> {
    let env = query.env()?;
    if env == Some(Env::Sudo) {
        return Err(errors::sudo_needs_key());
    }
    let manifest = query.manifest.ok_or_else(|| errors::no_manifest_for_repo(query))?;
    let env = whole_env(env, manifest)?;
    Ok((env, manifest.keys_for(env).collect()))
}

fn whole_env(env: Option<Env>, manifest: &RepoManifest) -> Result<Env, Error> {
    match env {
        Some(env) => Ok(env),
        None if manifest.all_envs.is_empty() => Ok(Env::All),
        None => Err(errors::env_required(&manifest.all_envs)),
    }
}

/// The keys an unlock means, each once. `hosts` are the slugs the host manifest knows.
///
/// With a key: that key, as [`resolve_key`] reads it, which the manifest must declare unless it is the machine's or a `sudo` one; a bare name also means the
/// machine's key of that env and name, if it is set. Without: every key of the repository in the env, and every key of the machine in it. A slug may be in the answer
/// that the host manifest does not know (nor its `all`): that key was never set.
///
/// # Errors
///
/// Those of [`resolve_key`]; [`SudoNeedsKey`](crate::ErrorCode::SudoNeedsKey); [`KeyNotFound`](crate::ErrorCode::KeyNotFound) for a named key that is not declared, or
/// needs no declaration and was never set.
pub fn unlock_slugs<'h, I>(query: &KeyQuery<'_>, hosts: I) -> Result<Vec<Slug>, Error>
where
    I: IntoIterator<Item = &'h Slug>,
{
    check_typed(query.key.unwrap_or_default())?;
    let hosts: Vec<&Slug> = hosts.into_iter().collect();
    match query.key {
        Some(key) if Slug::looks_full(key) => {
            let slug = resolve_key(query, Operation::Unlock)?;
            match query.manifest {
                Some(manifest) if !slug.is_machine() && !slug.is_sudo() && manifest.spec(&slug).is_none() => {
                    Err(errors::not_declared(query, &slug))
                }
                _ => Ok(vec![slug]),
            }
        }
        Some(name) => unlock_named(query, name, &hosts),
        None => unlock_all(query, &hosts),
    }
}

fn unlock_named(query: &KeyQuery<'_>, name: &str, hosts: &[&Slug]) -> Result<Vec<Slug>, Error> {
    check_known_name(name)?;
    let (given, org) = (query.env()?, query.org()?);
    let env = match (given, query.manifest, &org) {
        (Some(env), _, _) => env,
        (None, Some(manifest), Org::This | Org::Named(_)) => {
            infer_env(query, Operation::Unlock, name, manifest)?
        }
        (None, _, _) => return Err(errors::env_required(&[])),
    };
    let is_set = |slug: &Slug| hosts.contains(&slug);
    let machine = Slug::new(Org::MACHINE, env, name)?;
    let (Some(manifest), false) = (query.manifest, org == Org::Machine) else {
        // No repository's key can be meant, unless an org is named.
        let slug = match &org {
            Org::Named(_) => by_name(query, Operation::Unlock, name, Some(env), &org)?,
            Org::This | Org::Machine => machine,
        };
        return if is_set(&slug) { Ok(vec![slug]) } else { Err(errors::never_set(query, &slug)) };
    };
    let own = by_name(query, Operation::Unlock, name, Some(env), &org)?;
    let mut slugs: Vec<Slug> = match (env, given) {
        (Env::Sudo, _) => [&own].into_iter().filter(|slug| is_set(slug)).cloned().collect(),
        // `--env all` said aloud means every env, as it does without a key.
        (Env::All, Some(_)) => {
            manifest.keys().iter().map(|key| &key.slug).filter(|slug| slug.name() == name).cloned().collect()
        }
        _ => manifest.spec(&own).map(|key| key.slug.clone()).into_iter().collect(),
    };
    if org == Org::This && is_set(&machine) {
        slugs.push(machine);
    }
    match (slugs.is_empty(), env) {
        (false, _) => Ok(slugs),
        (true, Env::Sudo) => Err(errors::never_set(query, &own)),
        (true, _) => Err(errors::not_declared(query, &own)),
    }
}

fn unlock_all(query: &KeyQuery<'_>, hosts: &[&Slug]) -> Result<Vec<Slug>, Error> {
    let (env, org) = (query.env()?, query.org()?);
    if env == Some(Env::Sudo) {
        return Err(errors::sudo_needs_key());
    }
    let (env, mut slugs) = match (query.manifest, &org) {
        (Some(manifest), Org::This) => {
            let env = whole_env(env, manifest)?;
            (env, manifest.keys_for(env).map(|key| key.slug.clone()).collect())
        }
        (Some(manifest), Org::Named(name)) if *name == manifest.org => {
            let env = whole_env(env, manifest)?;
            return Ok(manifest.keys_for(env).map(|key| key.slug.clone()).collect());
        }
        (Some(manifest), Org::Named(name)) => return Err(errors::org_mismatch(name, manifest)),
        (None, Org::Named(_)) => return Err(errors::no_manifest_for_repo(query)),
        (_, Org::Machine) | (None, Org::This) => (env.ok_or_else(|| errors::env_required(&[]))?, Vec::new()),
    };
    slugs.extend(
        hosts
            .iter()
            .filter(|slug| slug.is_machine() && slug.env_kind() == Some(env))
            .map(|slug| (*slug).clone()),
    );
    Ok(slugs)
}

/// The slugs a relock of a named key means, each once: a full slug that one, wherever it belongs, for to end a key is always allowed; a bare name every slug
/// that the same words could have unlocked, the `all` that answers in its stead included.
///
/// # Errors
///
/// Those of [`resolve_key`], save that no org is refused.
pub fn relock_slugs(query: &KeyQuery<'_>) -> Result<Vec<Slug>, Error> {
    let (env, org) = (query.env()?, query.org()?);
    let key = query.key.unwrap_or_default();
    check_typed(key)?;
    if Slug::looks_full(key) {
        let slug = expand(query, Operation::Relock, key)?;
        if env.is_some() && env != slug.env_kind() {
            return Err(errors::env_conflict(query, Operation::Relock, &slug));
        }
        return Ok(vec![slug]);
    }
    // What a peer stored under an env that is none of the six reads as a slug all the same, unless a name is declared so.
    let declared = query.manifest.is_some_and(|manifest| !manifest.envs_of(key).is_empty());
    if env.is_none()
        && !declared
        && let Ok(stored) = Slug::parse_stored(key)
    {
        return Ok(vec![stored]);
    }
    check_known_name(key)?;
    let env = match (env, query.manifest) {
        (Some(env), _) => env,
        (None, Some(manifest)) if org != Org::Machine => infer_env(query, Operation::Relock, key, manifest)?,
        (None, _) => Env::All,
    };
    let repo = query.manifest.map(|manifest| manifest.org.as_str());
    let orgs: Vec<&str> = match &org {
        Org::Machine => vec![Org::MACHINE],
        Org::Named(name) => vec![name],
        Org::This => repo.into_iter().chain([Org::MACHINE]).collect(),
    };
    let mut slugs = Vec::new();
    for org in orgs {
        let slug = Slug::new(org, env, key)?;
        let stand_in = slug.fallback();
        slugs.push(slug);
        slugs.extend(stand_in);
    }
    Ok(slugs)
}
