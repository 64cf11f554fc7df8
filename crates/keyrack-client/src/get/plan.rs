//! Which keys a call asks for, and what `keyrack.yml` says of each.

use keyrack_core::grade::MinimumGrade;
use keyrack_core::{Env, Org, Slug};

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
    /// Every key that `keyrack.yml` declares for an env.
    Repo {
        /// `--env`; `None` only where `keyrack.yml` has no env of its own.
        env: Option<Env>,
    },
}

/// One key to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its slug.
    pub slug: Slug,
    /// The least its entry demands.
    pub minimum: MinimumGrade,
    /// The variable that makes it optional when set.
    pub optional_if_has: Option<String>,
    /// There is a `keyrack.yml`, and it does not declare the key.
    pub undeclared: bool,
}

/// The keys of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order asked: that of `keyrack.yml` for a whole repository.
    pub asked: Vec<Asked>,
    /// Whether a single key was asked for rather than a repository's.
    pub single: bool,
    /// The org of `keyrack.yml`, if there is one.
    pub manifest_org: Option<String>,
}

impl Plan {
    /// Exactly these keys, asked for one by one, with no demand on them.
    pub fn of_slugs(slugs: impl IntoIterator<Item = Slug>, manifest_org: Option<String>) -> Self {
        let asked = slugs.into_iter().map(|slug| Asked {
            slug,
            minimum: MinimumGrade::default(),
            optional_if_has: None,
            undeclared: false,
        });
        Plan { asked: asked.collect(), single: false, manifest_org }
    }
}
