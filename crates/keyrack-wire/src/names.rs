//! Names that both protocols carry, of keys and of their metadata: never a secret. The caller
//! validates them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Protection and duration of a key. The names are open: newer peers may know more of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade<'a> {
    /// `reference`, `encrypted` or `plaintext`.
    #[serde(borrow)]
    pub protection: Cow<'a, str>,
    /// `transient`, `ephemeral` or `permanent`.
    #[serde(borrow)]
    pub duration: Cow<'a, str>,
}

/// Vault and mechanism that a key came from. The names are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source<'a> {
    /// Vault, such as `os.secure`.
    #[serde(borrow)]
    pub vault: Cow<'a, str>,
    /// Mechanism, such as `PERMANENT_VIA_REFERENCE`.
    #[serde(borrow)]
    pub mech: Cow<'a, str>,
}

/// Keys to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relock<'a> {
    /// These slugs. An empty list erases nothing.
    Slugs(Vec<Cow<'a, str>>),
    /// Every key of this env.
    Env(Cow<'a, str>),
    /// Every key.
    All,
}
