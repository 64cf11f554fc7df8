//! From what a caller typed to the slugs that are meant: one resolver for every command.
//!
//! A full slug is another way of writing an ask, never a way around it: its org has to be the manifest's or the machine's, its env has to agree with `--env`,
//! and a `sudo` key is only ever met by an ask for `sudo`.

mod errors;
mod keys;
#[cfg(test)]
mod tests;

pub use keys::{relock_slugs, repo_keys, unlock_slugs};

use crate::env::Env;
use crate::error::{Error, ErrorCode};
use crate::org::Org;
use crate::owner::Owner;
use crate::repo_manifest::RepoManifest;
use crate::slug::{Slug, check_known_name, check_name, check_typed};

/// What a caller typed, and where it was typed.
#[derive(Clone, Copy, Debug)]
pub struct KeyQuery<'a> {
    /// `--key`: a name, or a full slug `org.env.NAME` whose org may be `@this`.
    pub key: Option<&'a str>,
    /// `--env`
    pub env: Option<&'a str>,
    /// `--org`; `@this` if none.
    pub org: Option<&'a str>,
    /// Whose rack it is, for the commands that mend a failure.
    pub owner: &'a Owner,
    /// The manifest of the repository the caller stands in, if it has one.
    pub manifest: Option<&'a RepoManifest>,
}

/// What is to be done with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read it.
    Get,
    /// Read it into a shell or a process.
    Source,
    /// Open its vault.
    Unlock,
    /// End it.
    Relock,
    /// Store it.
    Set,
    /// Forget it.
    Del,
}

impl Operation {
    /// The command's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Source => "source",
            Operation::Unlock => "unlock",
            Operation::Relock => "relock",
            Operation::Set => "set",
            Operation::Del => "del",
        }
    }

    /// Whether it changes what is stored, which takes a manifest, or `@all`, to say whose key it is.
    fn stores(self) -> bool {
        matches!(self, Operation::Set | Operation::Del)
    }
}

/// The one slug an ask for a key means.
///
/// A bare name goes by `--env`; without it by the envs that declare it: `all` if that is among them, else the only one. An undeclared name is not
/// found, save by `del`, which takes it for one of `all`. Without a manifest a bare name needs `--org`, and its env is then `all` if none is given.
///
/// # Errors
///
/// [`ErrorCode::Usage`] without a key; [`ErrorCode::BadEnv`], [`ErrorCode::BadOrg`], [`ErrorCode::BadSlug`], [`ErrorCode::BadKeyName`] for what is malformed;
/// [`ErrorCode::OrgMismatch`], [`ErrorCode::EnvConflict`], [`ErrorCode::EnvRequired`], [`ErrorCode::AmbiguousKey`], [`ErrorCode::KeyNotFound`],
/// [`ErrorCode::NoManifest`] for what does not fit together.
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
        storable(&slug)?;
    }
    Ok(slug)
}

/// The same for storing and removing where no repository says whose the key is: a slug that is written out is then taken at its word. Where there is a
/// manifest it has its say as ever.
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
                storable(&slug)?;
            }
            Ok(slug)
        }
        _ => resolve_key(query, operation),
    }
}

/// Refuses a slug that cannot be written down so that every keyrack reads it.
fn storable(slug: &Slug) -> Result<(), Error> {
    check_name(slug.name())?;
    if !slug.is_machine() && !Org::is_storable_name(slug.org()) {
        return Err(errors::not_storable(slug));
    }
    Ok(())
}

impl KeyQuery<'_> {
    fn env(&self) -> Result<Option<Env>, Error> {
        self.env.map(str::parse).transpose()
    }

    fn org(&self) -> Result<Org, Error> {
        self.org.map_or(Ok(Org::This), str::parse)
    }
}

/// The slug as it is written out, its org known; `anywhere` also where a manifest would have to say so.
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
    let asked_for = match org {
        Org::This => true,
        Org::Machine => slug.is_machine(),
        Org::Named(name) => slug.org() == name,
    };
    if !asked_for {
        return Err(errors::org_option_conflict(org, &slug));
    }
    if slug.is_machine() {
        return Ok(slug);
    }
    match query.manifest {
        Some(manifest) if manifest.org != slug.org() => {
            Err(errors::org_mismatch(slug.org(), manifest).of(&slug))
        }
        None if operation.stores() && !anywhere => {
            Err(errors::no_manifest_of(query, operation, slug.org(), slug.name()))
        }
        _ => Ok(slug),
    }
}

/// Reads a full slug, `@this` replaced.
fn expand(query: &KeyQuery<'_>, operation: Operation, key: &str) -> Result<Slug, Error> {
    let slug = Slug::parse(key)?;
    match slug.org().parse::<Org>()? {
        Org::Machine | Org::Named(_) => Ok(slug),
        Org::This => {
            let Some(manifest) = query.manifest else {
                return Err(errors::no_manifest(query, operation, slug.name(), slug.env_kind()));
            };
            Slug::parse(&format!("{}.{}.{}", manifest.org, slug.env(), slug.name()))
        }
    }
}

fn by_name(
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
        (Org::Machine, _) => Slug::new(Org::MACHINE, or_all()?, name),
        (Org::Named(org), Some(manifest)) if *org != manifest.org => Err(errors::org_mismatch(org, manifest)),
        (Org::This | Org::Named(_), Some(manifest)) => {
            let env = env.map_or_else(|| infer_env(query, operation, name, manifest), Ok)?;
            Slug::new(&manifest.org, env, name)
        }
        (Org::Named(org), None) if !operation.stores() => Slug::new(org, or_all()?, name),
        (Org::Named(org), None) => Err(errors::no_manifest_of(query, operation, org, name)),
        (Org::This, None) => Err(errors::no_manifest(query, operation, name, env)),
    }
}

/// The env of a name that was asked for without one.
fn infer_env(
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
