//! The metadata of a key that both protocols carry: names only, never a secret, and never judged here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How a key is protected and how long it lives. The names are open: newer peers may know more of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade<'a> {
    /// `reference`, `encrypted`, `plaintext`.
    #[serde(borrow)]
    pub protection: Cow<'a, str>,
    /// `transient`, `ephemeral`, `permanent`.
    #[serde(borrow)]
    pub duration: Cow<'a, str>,
}

/// Where a key came from. The names are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source<'a> {
    /// The vault, such as `os.secure`.
    #[serde(borrow)]
    pub vault: Cow<'a, str>,
    /// The mechanism, such as `PERMANENT_VIA_REFERENCE`.
    #[serde(borrow)]
    pub mech: Cow<'a, str>,
}
