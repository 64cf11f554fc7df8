//! What goes over a session, in the domain's terms: keys in and out, what is held, what a daemon says of itself.

use std::fmt;

use keyrack_core::peer::Boundary;
use keyrack_core::{Env, Error, Grade, Grant, GrantSource, GrantedTtl, Slug, Ttl};

use crate::secret::Secret;

/// What a daemon said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloInfo {
    /// The protocol version both speak.
    pub proto: u32,
    /// Its release.
    pub version: String,
    /// Its build.
    pub build: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Its pid, for people.
    pub pid: u32,
    /// How far it tells callers apart: its own word and what we see of it, the weaker of the two.
    pub boundary: Boundary,
    /// Namespaces that its callers may be in (see [`keyrack_core::peer::EnforcedNamespaces`]). `None` for an
    /// older daemon, which does not check them.
    pub namespaces: Option<String>,
    /// What its secrets lie in: `secret`, `locked`, `unlocked`.
    pub memory: String,
    /// Its hardening, read back.
    pub hardening: Vec<HardeningMeasure>,
}

/// One measure of hardening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardeningMeasure {
    /// Which.
    pub name: String,
    /// Whether the kernel says it is on.
    pub on: bool,
    /// Why not, or what more there is to say.
    pub detail: Option<String>,
}

/// A key the daemon handed out.
#[derive(Debug)]
pub struct GrantedKey {
    /// What is known of it.
    pub grant: Grant,
    /// Its bytes.
    pub secret: Secret,
    /// What is left of its life when the daemon answered; `None` for a key of a TypeScript daemon that does not end.
    pub left: Option<Ttl>,
}

/// A key to give to the daemon.
pub struct KeyToUnlock<'a> {
    /// Its true slug.
    pub slug: &'a Slug,
    /// Its real grade.
    pub grade: Grade,
    /// Where it came from.
    pub source: &'a GrantSource,
    /// The life asked for. Above the ceiling the daemon refuses.
    pub ttl: Ttl,
    /// What its status is to tell of the life it was given: the whole of it, if it was given earlier, and why it is not longer.
    pub given: GrantedTtl,
    /// When the credential itself ends, in milliseconds since the Unix epoch.
    pub credential_expires_at_ms: Option<i64>,
    /// Its bytes.
    pub secret: &'a [u8],
}

impl fmt::Debug for KeyToUnlock<'_> {
    /// All but the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyToUnlock")
            .field("slug", &self.slug)
            .field("grade", &self.grade)
            .field("source", &self.source)
            .field("life", &self.ttl)
            .field("given", &self.given)
            .field("credential_expires_at_ms", &self.credential_expires_at_ms)
            .finish_non_exhaustive()
    }
}

/// What the daemon made of one key.
#[derive(Debug)]
pub struct UnlockOutcome {
    /// The slug that was given.
    pub slug: Slug,
    /// Kept, or why not.
    pub outcome: Result<UnlockedKey, Error>,
}

/// How long a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlockedKey {
    /// Its life.
    pub ttl: Ttl,
    /// When it ends by the wall clock, in milliseconds since the Unix epoch.
    pub expires_at_ms: i64,
}

/// What a daemon holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonStatus {
    /// The keys, in the order they were kept.
    pub keys: Vec<KeyStatus>,
    /// Hash of the home directory it serves.
    pub home_hash: String,
    /// What it says of itself; `None` for a TypeScript daemon.
    pub health: Option<DaemonHealth>,
}

/// The condition a daemon is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonHealth {
    /// How far it tells callers apart.
    pub boundary: Boundary,
    /// What its secrets lie in: `secret`, `locked`, `unlocked`.
    pub memory: String,
    /// Its hardening, read back.
    pub hardening: Vec<HardeningMeasure>,
    /// Bytes of all secrets it holds.
    pub bytes: u64,
}

/// One held key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its slug.
    pub slug: Slug,
    /// Its grade; a TypeScript daemon does not tell.
    pub grade: Option<Grade>,
    /// Where it came from; a TypeScript daemon does not tell.
    pub source: Option<GrantSource>,
    /// When it ends, in milliseconds since the Unix epoch; `None` for a key of a TypeScript daemon that does not.
    pub expires_at_ms: Option<i64>,
    /// What is left of its life.
    pub left: Option<Ttl>,
    /// The life it was given, as far as the daemon tells.
    pub given: GrantedTtl,
    /// Whether the clock that counts suspend ends it before the wall clock does.
    pub ends_by_boot: bool,
}

/// Which keys to relock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelockScope {
    /// These slugs, exactly.
    Slugs(Vec<Slug>),
    /// Every key of this env.
    Env(Env),
    /// Every key.
    All,
}

/// The keys that were erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relocked {
    /// Their slugs.
    pub slugs: Vec<Slug>,
    /// How many more there were than the daemon could name.
    pub unnamed: u64,
}
