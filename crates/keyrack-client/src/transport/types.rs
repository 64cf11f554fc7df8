//! Data that a session carries, in the domain's types: keys in both directions, and reports of the
//! daemon about its keys and itself.

use std::fmt;

use keyrack_core::peer::Boundary;
use keyrack_core::{Env, Error, Grade, Grant, GrantSource, GrantedTtl, Slug, Ttl};

use crate::secret::Secret;

/// Reply to `hello`: the daemon's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloInfo {
    /// Protocol version that both sides speak.
    pub proto: u32,
    /// Release of the daemon.
    pub version: String,
    /// Build of the daemon.
    pub build: String,
    /// Boot id of the kernel.
    pub boot_id: String,
    /// Pid of the daemon, for messages only.
    pub pid: u32,
    /// The weaker of two boundaries: the one that the daemon reports, and the one that we see.
    pub boundary: Boundary,
    /// Namespaces that its callers may be in (see [`keyrack_core::peer::EnforcedNamespaces`]).
    /// `None` for an older daemon, which does not check them.
    pub namespaces: Option<String>,
    /// Kind of memory that holds the secrets: `secret`, `locked`, `unlocked`.
    pub memory: String,
    /// Hardening, as the daemon read it back from the kernel.
    pub hardening: Vec<HardeningReport>,
}

/// Report about one hardening measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardeningReport {
    /// Name of the measure.
    pub name: String,
    /// `true` if the kernel reports it as active.
    pub on: bool,
    /// The reason that it is off, or a detail.
    pub detail: Option<String>,
}

/// A key that the daemon returned.
#[derive(Debug)]
pub struct GrantedKey {
    /// Metadata of the key.
    pub grant: Grant,
    /// Secret of the key.
    pub secret: Secret,
    /// Remaining TTL at the time of the reply. `None` for a key of a TypeScript daemon that does
    /// not expire.
    pub remaining: Option<Ttl>,
}

/// A key to give to the daemon.
pub struct KeyToUnlock<'a> {
    /// Slug that the key is stored under.
    pub slug: &'a Slug,
    /// Actual grade.
    pub grade: Grade,
    /// Vault and mechanism that it came from.
    pub source: &'a GrantSource,
    /// Requested TTL. The daemon refuses one above the ceiling.
    pub ttl: Ttl,
    /// TTL that `status` reports as granted: the original one for a key that is carried over, and
    /// what limited it.
    pub granted: GrantedTtl,
    /// Time at which the credential itself expires, in milliseconds since the Unix epoch.
    pub credential_expires_at_ms: Option<i64>,
    /// Secret of the key.
    pub secret: &'a [u8],
}

impl fmt::Debug for KeyToUnlock<'_> {
    /// Shows everything but the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyToUnlock")
            .field("slug", &self.slug)
            .field("grade", &self.grade)
            .field("source", &self.source)
            .field("ttl", &self.ttl)
            .field("granted", &self.granted)
            .field("credential_expires_at_ms", &self.credential_expires_at_ms)
            .finish_non_exhaustive()
    }
}

/// Result of unlocking one key.
#[derive(Debug)]
pub struct UnlockOutcome {
    /// Slug of the request.
    pub slug: Slug,
    /// The key as the daemon keeps it, or the reason that it was refused.
    pub outcome: Result<UnlockedKey, Error>,
}

/// TTL of a key that the daemon keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlockedKey {
    /// TTL.
    pub ttl: Ttl,
    /// Expiry by the wall clock, in milliseconds since the Unix epoch.
    pub expires_at_ms: i64,
}

/// Status of a daemon and its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonStatus {
    /// Keys, in the order in which they were unlocked.
    pub keys: Vec<KeyStatus>,
    /// Hash of the home directory that the daemon serves.
    pub home_hash: String,
    /// Report of the daemon about itself. `None` for a TypeScript daemon.
    pub health: Option<DaemonHealth>,
}

/// Report of a daemon about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonHealth {
    /// Boundary by which the daemon can tell callers apart.
    pub boundary: Boundary,
    /// Kind of memory that holds the secrets: `secret`, `locked`, `unlocked`.
    pub memory: String,
    /// Hardening, as the daemon read it back from the kernel.
    pub hardening: Vec<HardeningReport>,
    /// Total size of all secrets.
    pub bytes: u64,
}

/// Status of one unlocked key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Slug.
    pub slug: Slug,
    /// Grade. `None` from a TypeScript daemon.
    pub grade: Option<Grade>,
    /// Vault and mechanism. `None` from a TypeScript daemon.
    pub source: Option<GrantSource>,
    /// Expiry in milliseconds since the Unix epoch. `None` for a key of a TypeScript daemon that
    /// does not expire.
    pub expires_at_ms: Option<i64>,
    /// Remaining TTL.
    pub remaining: Option<Ttl>,
    /// TTL at unlock and what limited it, as far as the daemon reports it.
    pub granted: GrantedTtl,
    /// `true` if the deadline on the boot clock, which counts suspend, comes before the one on the
    /// wall clock.
    pub expires_by_boot_clock: bool,
}

/// Keys to relock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelockTarget {
    /// Exactly these slugs.
    Slugs(Vec<Slug>),
    /// Every key of this env.
    Env(Env),
    /// Every key.
    All,
}

/// Keys that were erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relocked {
    /// Slugs of the erased keys.
    pub slugs: Vec<Slug>,
    /// Number of erased keys that the reply had no room to name.
    pub unnamed: u64,
}
