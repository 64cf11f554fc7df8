//! The repository's manifest, `.agent/keyrack.yml`: which keys a repository needs, and how strong they must be.
//!
//! A tree that somebody else read from YAML goes in ([`RawManifest`]), what the keys mean comes out ([`RepoManifest`]). A file whose shape is wrong is an
//! error; a key that is wrong is a fault beside the others, which go on.
//!
//! Must never: open a file, leave the repository by a path, or take a demand it cannot read for no demand.

mod entry;
mod load;
mod node;
mod path;
#[cfg(test)]
mod tests;

pub use load::{MAX_FILES, MAX_KEYS, ManifestFile, load_manifest};
pub use node::{YamlChild, YamlNode, YamlValue};
pub use path::contained;

use std::collections::HashMap;

use crate::attempt::Attempt;
use crate::env::Env;
use crate::error::Error;
use crate::grade::{DurationGrade, MinimumGrade, Protection};
use crate::slug::Slug;
use crate::suggest::closest;

/// Where the manifest stands below the repository's root.
pub const MANIFEST_PATH: &str = ".agent/keyrack.yml";

/// A manifest file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// Its path below the repository's root; messages name it so.
    pub path: String,
    /// Its content.
    pub root: YamlNode,
}

/// A repository's manifest with everything it extends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepoManifest {
    /// The org of every key in it.
    pub org: String,
    /// The files it extends, directly or not, in the order they are named; each once.
    pub extends: Vec<String>,
    /// The envs that the root file itself declares, without `all`, in file order.
    pub envs: Vec<Env>,
    /// The same of it and every file it extends: its own first, then theirs in the order they are named.
    pub all_envs: Vec<Env>,
    /// What is wrong with single sections and keys. The keys that could be read are there nonetheless.
    pub faults: Vec<Error>,
    keys: Vec<KeySpec>,
    index: HashMap<Slug, usize>,
}

/// One key that a repository declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Its slug.
    pub slug: Slug,
    /// Its env.
    pub env: Env,
    /// The least grade that will do. Where the demand could not be read it is [`UNREADABLE`], which no vault meets, and `fault` says why.
    pub grade: MinimumGrade,
    /// The environment variable whose presence excuses the absence of this key.
    pub optional_if_has: Option<String>,
    /// What is wrong with its grade, if anything.
    pub fault: Option<Error>,
}

/// The demand of a key whose real demand cannot be read.
pub const UNREADABLE: MinimumGrade =
    MinimumGrade { protection: Some(Protection::Reference), duration: Some(DurationGrade::Transient) };

impl RepoManifest {
    /// The declared keys: those of extended files first, each section after the other, every slug once.
    pub fn keys(&self) -> &[KeySpec] {
        &self.keys
    }

    /// The declaration of a slug.
    pub fn spec(&self, slug: &Slug) -> Option<&KeySpec> {
        self.index.get(slug).map(|at| &self.keys[*at])
    }

    /// The envs in which a name is declared, in the order of the keys.
    pub fn envs_of(&self, name: &str) -> Vec<Env> {
        let mut envs = Vec::new();
        for key in self.keys.iter().filter(|key| key.slug.name() == name) {
            if !envs.contains(&key.env) {
                envs.push(key.env);
            }
        }
        envs
    }

    /// The declared key that an undeclared slug is most likely a slip of: in the same env if that name is declared there, else in the first
    /// that declares it. None for what no manifest declares: a key of the machine, or of `sudo`.
    pub fn meant_by(&self, slug: &Slug) -> Option<Slug> {
        if slug.is_machine() || slug.is_sudo() || self.spec(slug).is_some() {
            return None;
        }
        let name = closest(slug.name(), self.keys.iter().map(|key| key.slug.name()))?;
        let mut meant = self.keys.iter().map(|key| &key.slug).filter(|key| key.name() == name);
        let same = meant.clone().find(|key| key.env() == slug.env());
        same.or_else(|| meant.next()).cloned()
    }

    /// The keys that an ask for a whole env means: those of that env; for `all` every key of every env.
    pub fn keys_for(&self, env: Env) -> impl Iterator<Item = &KeySpec> {
        self.keys.iter().filter(move |key| env == Env::All || key.env == env)
    }

    /// Adds a key. One of the same slug is overwritten where it stands.
    fn put(&mut self, key: KeySpec) {
        match self.index.get(&key.slug) {
            Some(at) => self.keys[*at] = key,
            None => {
                self.index.insert(key.slug.clone(), self.keys.len());
                self.keys.push(key);
            }
        }
    }
}

impl KeySpec {
    /// Its slug under another org.
    fn slug_in(&self, org: &str) -> Result<Slug, Error> {
        Ok(Slug::new(org, self.env, self.slug.name())?)
    }

    /// The same key under another org.
    fn in_org(&self, org: &str) -> Result<Self, Error> {
        let slug = self.slug_in(org)?;
        let fault = self.fault.clone().map(|fault| fault.of(&slug));
        Ok(KeySpec { slug, fault, ..self.clone() })
    }

    /// Whether what came of asking for this key excuses itself: it is absent, and the variable that may stand in is there. `has` says whether an
    /// environment variable is set and not empty.
    pub fn waives(&self, attempt: &Attempt, has: impl FnOnce(&str) -> bool) -> bool {
        matches!(attempt, Attempt::Absent { .. }) && self.optional_if_has.as_deref().is_some_and(has)
    }
}
