//! Queries for several keys.

use super::errors;
use super::key::{by_name, expand, infer_env, resolve_key};
use super::query::{KeyQuery, Operation};
use crate::env::Env;
use crate::error::Error;
use crate::org::Org;
use crate::repo_manifest::{KeySpec, RepoManifest};
use crate::slug::{Slug, check_known_name, check_typed};

/// Returns every key of the repository in an env. For `all`: every key of every env. Without
/// `--env` it is `all`, if no file of the manifest declares an env.
///
/// # Errors
///
/// [`NoManifest`](crate::ErrorCode::NoManifest), [`BadEnv`](crate::ErrorCode::BadEnv),
/// [`EnvRequired`](crate::ErrorCode::EnvRequired),
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

/// Returns the slugs that an unlock opens, each once. `hosts` are the slugs of the host manifest.
///
/// With a key: that key, as [`resolve_key`] resolves it. The manifest must declare it, unless it is
/// one of the machine or of `sudo`. A bare name also means the machine's key of that env and name,
/// if it is set. Without a key: every key of the repository and every key of the machine in the
/// env. A slug that is not in the host manifest (nor its `all`) was never set.
///
/// # Errors
///
/// Those of [`resolve_key`]; [`SudoNeedsKey`](crate::ErrorCode::SudoNeedsKey);
/// [`KeyNotFound`](crate::ErrorCode::KeyNotFound) for a named key that is not declared, or needs no
/// declaration and was never set.
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
        // Without a named org it cannot be a repository's key.
        let slug = match &org {
            Org::Named(_) => by_name(query, Operation::Unlock, name, Some(env), &org)?,
            Org::This | Org::Machine => machine,
        };
        return if is_set(&slug) { Ok(vec![slug]) } else { Err(errors::never_set(query, &slug)) };
    };
    let own = by_name(query, Operation::Unlock, name, Some(env), &org)?;
    let mut slugs: Vec<Slug> = match (env, given) {
        (Env::Sudo, _) => [&own].into_iter().filter(|slug| is_set(slug)).cloned().collect(),
        // An explicit `--env all` means every env, as it does without a key.
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

/// Returns the slugs that a relock of a named key removes, each once. A full slug means that key,
/// of any org, as relocking is always allowed. A bare name means every slug that the same flags
/// could have unlocked, also the `all` that answers for it.
///
/// # Errors
///
/// Those of [`resolve_key`], except that every org is accepted.
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
    // A name that a peer stored under an unknown env is a slug too, unless the manifest declares a
    // key of this name.
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
