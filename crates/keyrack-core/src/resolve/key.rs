//! Queries for one key.

use super::errors;
use super::query::{KeyQuery, Operation};
use crate::env::Env;
use crate::error::{Error, ErrorCode};
use crate::org::Org;
use crate::repo_manifest::RepoManifest;
use crate::slug::{Slug, check_known_name, check_name, check_typed};

/// Resolves a query to one slug.
///
/// A bare name is looked up in the env of `--env`. Without `--env` the manifest decides: `all` if
/// it declares the name there, else the only env that declares it. An undeclared name is an error,
/// except for `del`, which assumes `all`. Without a manifest a bare name needs `--org`; its env is
/// then `all`, unless `--env` is given.
///
/// # Errors
///
/// [`ErrorCode::Usage`] without a key; [`ErrorCode::BadEnv`], [`ErrorCode::BadOrg`],
/// [`ErrorCode::BadSlug`], [`ErrorCode::BadKeyName`] for malformed names;
/// [`ErrorCode::OrgMismatch`], [`ErrorCode::EnvConflict`], [`ErrorCode::EnvRequired`],
/// [`ErrorCode::AmbiguousKey`], [`ErrorCode::KeyNotFound`], [`ErrorCode::NoManifest`] for parts
/// that do not fit together.
pub fn resolve_key(query: &KeyQuery<'_>, operation: Operation) -> Result<Slug, Error> {
    let key = query.key.ok_or_else(|| Error::new(ErrorCode::Usage, "name the key with --key"))?;
    check_typed(key)?;
    let (env, org) = (query.env()?, query.org()?);
    let slug = if Slug::looks_full(key) {
        by_slug(query, operation, key, env, &org, false)?
    } else {
        by_name(query, operation, key, env, &org)?
    };
    if operation == Operation::Set {
        check_storable(&slug)?;
    }
    Ok(slug)
}

/// Resolves like [`resolve_key`], but accepts a full slug of any org where there is no manifest.
///
/// # Errors
///
/// Those of [`resolve_key`].
pub fn resolve_anywhere(query: &KeyQuery<'_>, operation: Operation) -> Result<Slug, Error> {
    match query.key {
        Some(key) if query.manifest.is_none() && Slug::looks_full(key) => {
            check_typed(key)?;
            let slug = by_slug(query, operation, key, query.env()?, &query.org()?, true)?;
            if operation == Operation::Set {
                check_storable(&slug)?;
            }
            Ok(slug)
        }
        _ => resolve_key(query, operation),
    }
}

/// Returns an error for a slug that older keyracks could not read back.
fn check_storable(slug: &Slug) -> Result<(), Error> {
    check_name(slug.name())?;
    if !slug.is_machine() && !Org::is_storable_name(slug.org()) {
        return Err(errors::not_storable(slug));
    }
    Ok(())
}

/// Resolves a full slug. `anywhere` accepts any org where there is no manifest.
fn by_slug(
    query: &KeyQuery<'_>,
    operation: Operation,
    key: &str,
    env: Option<Env>,
    org: &Org,
    anywhere: bool,
) -> Result<Slug, Error> {
    let slug = expand(query, operation, key)?;
    if env.is_some() && env != slug.env_kind() {
        return Err(errors::env_conflict(query, operation, &slug));
    }
    let is_requested = match org {
        Org::This => true,
        Org::Machine => slug.is_machine(),
        Org::Named(name) => slug.org() == name,
    };
    if !is_requested {
        return Err(errors::org_option_conflict(org, &slug));
    }
    if slug.is_machine() {
        return Ok(slug);
    }
    match query.manifest {
        Some(manifest) if manifest.org != slug.org() => {
            Err(errors::org_mismatch(slug.org(), manifest).of(&slug))
        }
        None if operation.is_write() && !anywhere => {
            Err(errors::no_manifest_of(query, operation, slug.org(), slug.name()))
        }
        _ => Ok(slug),
    }
}

/// Parses a full slug, and replaces `@this` by the manifest's org.
pub(super) fn expand(query: &KeyQuery<'_>, operation: Operation, key: &str) -> Result<Slug, Error> {
    let slug = Slug::parse(key)?;
    match slug.org().parse::<Org>()? {
        Org::Machine | Org::Named(_) => Ok(slug),
        Org::This => {
            let Some(manifest) = query.manifest else {
                return Err(errors::no_manifest(query, operation, slug.name(), slug.env_kind()));
            };
            Ok(Slug::parse(&format!("{}.{}.{}", manifest.org, slug.env(), slug.name()))?)
        }
    }
}

/// Resolves a bare name.
pub(super) fn by_name(
    query: &KeyQuery<'_>,
    operation: Operation,
    name: &str,
    env: Option<Env>,
    org: &Org,
) -> Result<Slug, Error> {
    check_known_name(name)?;
    let or_all = || match env {
        None if operation == Operation::Set => Err(errors::env_required_for_set(name)),
        env => Ok(env.unwrap_or(Env::All)),
    };
    match (org, query.manifest) {
        (Org::Machine, _) => Ok(Slug::new(Org::MACHINE, or_all()?, name)?),
        (Org::Named(org), Some(manifest)) if *org != manifest.org => Err(errors::org_mismatch(org, manifest)),
        (Org::This | Org::Named(_), Some(manifest)) => {
            let env = env.map_or_else(|| infer_env(query, operation, name, manifest), Ok)?;
            Ok(Slug::new(&manifest.org, env, name)?)
        }
        (Org::Named(org), None) if !operation.is_write() => Ok(Slug::new(org, or_all()?, name)?),
        (Org::Named(org), None) => Err(errors::no_manifest_of(query, operation, org, name)),
        (Org::This, None) => Err(errors::no_manifest(query, operation, name, env)),
    }
}

/// Finds the env of a name that was given without one.
pub(super) fn infer_env(
    query: &KeyQuery<'_>,
    operation: Operation,
    name: &str,
    manifest: &RepoManifest,
) -> Result<Env, Error> {
    match manifest.envs_of(name).as_slice() {
        envs if envs.contains(&Env::All) => Ok(Env::All),
        [only] => Ok(*only),
        [] if operation == Operation::Del => Ok(Env::All),
        [] if operation == Operation::Set => Err(errors::env_required_for_set(name)),
        [] => Err(errors::key_not_found(query, operation, name)),
        envs => Err(errors::ambiguous(query, operation, name, envs)),
    }
}
