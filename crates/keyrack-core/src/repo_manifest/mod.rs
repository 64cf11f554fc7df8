//! Manifest of a repository, `.agent/keyrack.yml`: the keys it needs, and their minimum grades.
//!
//! The input is a tree that the caller read from YAML ([`RawManifest`]), the output its keys
//! ([`RepoManifest`]). A malformed file is an error. A malformed key is a fault, and does not
//! affect the others.
//!
//! Invariants: it opens no file, no path leaves the repository, and an unreadable minimum never
//! counts as none.

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

use crate::env::Env;
use crate::error::Error;
use crate::grade::{DurationGrade, MinimumGrade, Protection};
use crate::slug::Slug;
use crate::suggest::closest;

/// Path of the manifest, relative to the repository's root.
pub const MANIFEST_PATH: &str = ".agent/keyrack.yml";

/// Content of a manifest file, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// Path relative to the repository's root, for messages.
    pub path: String,
    /// Top level of the file.
    pub root: YamlNode,
}

/// Manifest of a repository, with everything it extends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepoManifest {
    /// Org of every key in it.
    pub org: String,
    /// Files that it extends, directly or not, each once, in the order in which they are named.
    pub extends: Vec<String>,
    /// Envs that the root file declares, without `all`, in file order.
    pub envs: Vec<Env>,
    /// Envs of the root file, then those of the files it extends, in the order in which they are
    /// named.
    pub all_envs: Vec<Env>,
    /// Faults of single sections and keys. Readable keys are in the manifest nonetheless.
    pub faults: Vec<Error>,
    keys: Vec<KeySpec>,
    index: HashMap<Slug, usize>,
}

/// Key that a repository declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Slug of the key.
    pub slug: Slug,
    /// Env of the key.
    pub env: Env,
    /// Minimum grade. If it cannot be read, it is [`UNREADABLE`], which no vault meets, and `fault`
    /// is the reason.
    pub grade: MinimumGrade,
    /// Environment variable whose presence excuses the absence of this key.
    pub optional_if_has: Option<String>,
    /// Fault of its grade, if any.
    pub fault: Option<Error>,
}

/// Minimum of a key whose minimum cannot be read.
pub const UNREADABLE: MinimumGrade =
    MinimumGrade { protection: Some(Protection::Reference), duration: Some(DurationGrade::Transient) };

impl RepoManifest {
    /// Declared keys, every slug once: those of extended files first, section by section.
    pub fn keys(&self) -> &[KeySpec] {
        &self.keys
    }

    /// Declaration of a slug.
    pub fn spec(&self, slug: &Slug) -> Option<&KeySpec> {
        self.index.get(slug).map(|at| &self.keys[*at])
    }

    /// Envs that declare a name, in the order of the keys.
    pub fn envs_of(&self, name: &str) -> Vec<Env> {
        let mut envs = Vec::new();
        for key in self.keys.iter().filter(|key| key.slug.name() == name) {
            if !envs.contains(&key.env) {
                envs.push(key.env);
            }
        }
        envs
    }

    /// Returns the declared key that an undeclared slug most likely stands for: in the same env if
    /// the suggested name is declared there, else in the first env that declares it. `None` for
    /// keys that no manifest declares: those of the machine and of `sudo`.
    pub fn meant_by(&self, slug: &Slug) -> Option<Slug> {
        if slug.is_machine() || slug.is_sudo() || self.spec(slug).is_some() {
            return None;
        }
        let name = closest(slug.name(), self.keys.iter().map(|key| key.slug.name()))?;
        let mut meant = self.keys.iter().map(|key| &key.slug).filter(|key| key.name() == name);
        let same = meant.clone().find(|key| key.env() == slug.env());
        same.or_else(|| meant.next()).cloned()
    }

    /// Keys of an env. For `all`: every key of every env.
    pub fn keys_for(&self, env: Env) -> impl Iterator<Item = &KeySpec> {
        self.keys.iter().filter(move |key| env == Env::All || key.env == env)
    }

    /// Adds a key, or overwrites one of the same slug in its position.
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
    /// Slug under another org.
    fn slug_in(&self, org: &str) -> Result<Slug, Error> {
        Ok(Slug::new(org, self.env, self.slug.name())?)
    }

    /// Key under another org.
    fn in_org(&self, org: &str) -> Result<Self, Error> {
        let slug = self.slug_in(org)?;
        let fault = self.fault.clone().map(|fault| fault.of(&slug));
        Ok(KeySpec { slug, fault, ..self.clone() })
    }
}
