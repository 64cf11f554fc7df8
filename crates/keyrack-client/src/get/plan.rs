//! Which keys a call asks for, and what `keyrack.yml` says of each.

use keyrack_core::grade::MinimumGrade;
use keyrack_core::repo_manifest::{KeySpec, RepoManifest};
use keyrack_core::resolve::{self, KeyQuery, Operation};
use keyrack_core::{Env, Error, Org, Slug};
use keyrack_sys::user::Uid;

use crate::context::Context;
use crate::manifest::{self, ManifestCache};

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One key, by its bare name or its full slug.
    Key {
        /// As typed.
        ask: String,
        /// `--org`; [`Org::This`] for the one of `keyrack.yml`.
        org: Org,
        /// `--env`.
        env: Option<Env>,
    },
    /// Several keys, each as in [`Scope::Key`].
    Keys {
        /// As typed, in the order they are answered in.
        asks: Vec<String>,
        /// `--org`, for all of them.
        org: Org,
        /// `--env`, for all of them.
        env: Option<Env>,
    },
    /// Every key that `keyrack.yml` declares for an env.
    Repo {
        /// `--env`; `None` only where `keyrack.yml` and what it extends have no env.
        env: Option<Env>,
    },
}

/// One key to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Its slug.
    pub slug: Slug,
    /// The least its entry demands.
    pub minimum: MinimumGrade,
    /// Why the demand of its entry could not be read, if so: it is then the strictest.
    pub fault: Option<Error>,
    /// The variable that makes it optional when set.
    pub optional_if_has: Option<String>,
    /// There is a `keyrack.yml`, and it does not declare the key.
    pub undeclared: bool,
    /// The declared key that an undeclared one may be a slip of.
    pub near: Option<Slug>,
}

/// The keys of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetPlan {
    /// In the order asked: that of `keyrack.yml` for a whole repository.
    pub asked: Vec<KeyRequest>,
    /// Whether a single key was asked for rather than several, or a repository's.
    pub single: bool,
    /// The org of `keyrack.yml`, if there is one.
    pub manifest_org: Option<String>,
    /// What is wrong with single entries of `keyrack.yml`: worth a warning.
    pub manifest_faults: Vec<Error>,
}

impl GetPlan {
    /// What a caller who stands in the context's directory means. A key of the machine is found
    /// beside a broken `keyrack.yml` too.
    ///
    /// # Errors
    /// Those of [`manifest::of`], [`resolve::resolve_key`] and [`resolve::repo_keys`].
    pub fn of(ctx: &Context, scope: &Scope) -> Result<Self, Error> {
        let manifest = if scope.is_machine() { None } else { manifest::of(ctx)? };
        Self::with(ctx, scope, manifest.as_ref())
    }

    /// The same with a manifest that may be kept from an earlier read. `user` is the effective uid.
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

    /// The same with a manifest that was read already, or none.
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

    /// Exactly these keys, with no demand on them.
    pub fn of_slugs(slugs: impl IntoIterator<Item = Slug>, manifest_org: Option<String>) -> Self {
        let asked = slugs.into_iter().map(|slug| KeyRequest::by(slug, None, false)).collect();
        GetPlan { asked, single: false, manifest_org, manifest_faults: Vec::new() }
    }
}

impl Scope {
    /// Whether it can only be a key of the machine, which no `keyrack.yml` has a say in.
    fn is_machine(&self) -> bool {
        let of_machine = |ask: &str, org: &Org| *org == Org::Machine || is_machine(ask);
        match self {
            Scope::Key { ask, org, .. } => of_machine(ask, org),
            Scope::Keys { asks, org, .. } => asks.iter().all(|ask| of_machine(ask, org)),
            Scope::Repo { .. } => false,
        }
    }
}

/// Whether a key is written out as one of the machine.
fn is_machine(ask: &str) -> bool {
    Slug::looks_full(ask) && ask.split('.').next() == Some(Org::MACHINE)
}

impl KeyRequest {
    /// The one key an ask means, as the manifest declares it.
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
