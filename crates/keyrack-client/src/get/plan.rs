//! Plan of a read: the requested keys, with the rules of `keyrack.yml` for each.

use keyrack_core::grade::MinimumGrade;
use keyrack_core::repo_manifest::{KeySpec, RepoManifest};
use keyrack_core::resolve::{self, KeyQuery, Operation};
use keyrack_core::{Env, Error, Org, Slug};
use keyrack_sys::user::Uid;

use crate::context::Context;
use crate::manifest::{self, ManifestCache};

/// Keys that a caller requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One key, by its name or its full slug.
    Key {
        /// Name or slug, as typed.
        ask: String,
        /// `--org`; [`Org::This`] for the one of `keyrack.yml`.
        org: Org,
        /// `--env`.
        env: Option<Env>,
    },
    /// Several keys, each as in [`Scope::Key`].
    Keys {
        /// Names or slugs, as typed, in the order of the results.
        asks: Vec<String>,
        /// `--org` for all keys.
        org: Org,
        /// `--env` for all keys.
        env: Option<Env>,
    },
    /// Every key that `keyrack.yml` declares for an env.
    Repo {
        /// `--env`. `None` only if `keyrack.yml` and the files it extends have no env.
        env: Option<Env>,
    },
}

/// Request for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Slug.
    pub slug: Slug,
    /// Minimum grade that its entry declares.
    pub minimum: MinimumGrade,
    /// Error in the grade of its entry. The minimum is then the strictest.
    pub fault: Option<Error>,
    /// Variable that makes the key optional if it is set.
    pub optional_if_has: Option<String>,
    /// `true` if there is a `keyrack.yml` that does not declare the key.
    pub undeclared: bool,
    /// Declared key with a similar name, if the key is not declared.
    pub near: Option<Slug>,
}

/// Plan of one read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetPlan {
    /// Keys in the order of the request; in that of `keyrack.yml` for a whole repository.
    pub asked: Vec<KeyRequest>,
    /// `true` if the request named a single key, `false` for several or for a repository.
    pub single: bool,
    /// Org of `keyrack.yml`, if there is one.
    pub manifest_org: Option<String>,
    /// Errors in single entries of `keyrack.yml`. Commands warn about them.
    pub manifest_faults: Vec<Error>,
}

impl GetPlan {
    /// Plans a read in the context's working directory. A machine's own key is found despite an
    /// invalid `keyrack.yml`.
    ///
    /// # Errors
    /// Those of [`manifest::of`], [`resolve::resolve_key`] and [`resolve::repo_keys`].
    pub fn of(ctx: &Context, scope: &Scope) -> Result<Self, Error> {
        let manifest = if scope.is_machine() { None } else { manifest::of(ctx)? };
        Self::with(ctx, scope, manifest.as_ref())
    }

    /// Plans a read with a manifest that the cache may keep from an earlier one. `user` is the
    /// effective uid.
    ///
    /// # Errors
    /// As [`GetPlan::of`].
    pub fn cached(
        ctx: &Context,
        scope: &Scope,
        manifests: &mut ManifestCache,
        user: Uid,
    ) -> Result<Self, Error> {
        let manifest = if scope.is_machine() { None } else { manifests.of(ctx, user)? };
        Self::with(ctx, scope, manifest.as_deref())
    }

    /// Plans a read with a manifest that the caller has read, or without one.
    ///
    /// # Errors
    /// Those of [`resolve::resolve_key`] and [`resolve::repo_keys`].
    pub fn with(ctx: &Context, scope: &Scope, manifest: Option<&RepoManifest>) -> Result<Self, Error> {
        let words = |env: &Option<Env>| env.map(Env::as_str);
        let named = |key: &str, org: &Org, env: &Option<Env>| {
            let owner = &ctx.owner;
            KeyRequest::one(&KeyQuery {
                key: Some(key),
                env: words(env),
                org: Some(org.as_str()),
                owner,
                manifest,
            })
        };
        let (asked, single) = match scope {
            Scope::Key { ask, org, env } => (vec![named(ask, org, env)?], true),
            Scope::Keys { asks, org, env } => {
                let asked = asks.iter().map(|ask| named(ask, org, env)).collect::<Result<_, _>>()?;
                (asked, false)
            }
            Scope::Repo { env } => {
                let ask = KeyQuery { key: None, env: words(env), org: None, owner: &ctx.owner, manifest };
                let (_, keys) = resolve::repo_keys(&ask)?;
                (
                    keys.into_iter().map(|key| KeyRequest::by(key.slug.clone(), Some(key), true)).collect(),
                    false,
                )
            }
        };
        Ok(GetPlan {
            asked,
            single,
            manifest_org: manifest.map(|manifest| manifest.org.clone()),
            manifest_faults: manifest.map(|manifest| manifest.faults.clone()).unwrap_or_default(),
        })
    }
}

impl Scope {
    /// Returns `true` if all keys are the machine's own, which no `keyrack.yml` declares.
    fn is_machine(&self) -> bool {
        let of_machine = |ask: &str, org: &Org| *org == Org::Machine || is_machine(ask);
        match self {
            Scope::Key { ask, org, .. } => of_machine(ask, org),
            Scope::Keys { asks, org, .. } => asks.iter().all(|ask| of_machine(ask, org)),
            Scope::Repo { .. } => false,
        }
    }
}

/// Returns `true` for the full slug of a machine's own key.
fn is_machine(ask: &str) -> bool {
    Slug::looks_full(ask) && ask.split('.').next() == Some(Org::MACHINE)
}

impl KeyRequest {
    /// Returns the request for the key that a query means.
    fn one(ask: &KeyQuery<'_>) -> Result<Self, Error> {
        let slug = resolve::resolve_key(ask, Operation::Get)?;
        let spec = ask.manifest.and_then(|manifest| manifest.spec(&slug));
        let near = ask.manifest.and_then(|manifest| manifest.meant_by(&slug));
        Ok(KeyRequest { near, ..KeyRequest::by(slug, spec, ask.manifest.is_some()) })
    }

    fn by(slug: Slug, spec: Option<&KeySpec>, has_manifest: bool) -> Self {
        KeyRequest {
            slug,
            minimum: spec.map(|spec| spec.grade).unwrap_or_default(),
            fault: spec.and_then(|spec| spec.fault.clone()),
            optional_if_has: spec.and_then(|spec| spec.optional_if_has.clone()),
            undeclared: has_manifest && spec.is_none(),
            near: None,
        }
    }
}
