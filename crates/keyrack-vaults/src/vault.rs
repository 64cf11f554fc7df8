//! What a vault is to the rest of keyrack: get, set and del of one key, blocking, one key at a time.
//!
//! A vault never talks to the daemon and never asks a person for a secret; whether a set can work is checked before one is asked for.

use std::ffi::OsString;

use keyrack_core::host_manifest::{HostEntry, Recipient};
use keyrack_core::{Error, Mechanism, Slug, VaultId};
use serde_json::Value;

use crate::identity::Identities;
use keyrack_core::layout::RackPaths;

pub use crate::mech::ResolvedSecret;

/// What is known of a key before its vault is asked.
#[derive(Clone, Copy, Debug)]
pub struct VaultEntry<'a> {
    /// Which key.
    pub slug: &'a Slug,
    /// Its mechanism, where the host manifest or the caller names one.
    pub mech: Option<&'a Mechanism>,
    /// The vault's own name for it: a reference, a profile, a parameter.
    pub exid: Option<&'a str>,
    /// Its entry in the host manifest, where there is one.
    pub host: Option<&'a HostEntry>,
}

impl<'a> VaultEntry<'a> {
    /// A key of which only the slug is known.
    pub fn new(slug: &'a Slug) -> Self {
        VaultEntry { slug, mech: None, exid: None, host: None }
    }

    /// A key as the host manifest knows it.
    pub fn of(slug: &'a Slug, host: &'a HostEntry) -> Self {
        VaultEntry { slug, mech: Some(&host.mech), exid: host.exid.as_deref(), host: Some(host) }
    }

    /// The same with a mechanism named.
    #[must_use]
    pub fn with_mech(self, mech: &'a Mechanism) -> Self {
        VaultEntry { mech: Some(mech), ..self }
    }

    /// The `meta` of its entry, if the entry is of `vault`: that of another vault means nothing to
    /// this one.
    pub(crate) fn meta(&self, vault: &VaultId) -> Option<&'a Value> {
        self.host.filter(|host| host.vault == *vault)?.meta.as_ref()
    }
}

/// What vaults work with. Everything outside is in here: no vault reads the environment, a clock, or a terminal.
pub struct VaultContext<'a, 'p> {
    /// Where the owner's files are.
    pub racks: &'a RackPaths,
    /// The keys that open them, with whoever can be asked for a passphrase.
    pub identities: &'a mut Identities<'p>,
    /// The recipients of the host manifest: whom new files are encrypted to. Empty where there is no manifest.
    pub recipients: &'a [Recipient],
    /// The caller's environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl std::fmt::Debug for VaultContext<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("racks", self.racks).finish_non_exhaustive()
    }
}

/// A place where keys rest.
pub trait Vault: Sync {
    /// Which one.
    fn id(&self) -> VaultId;

    /// The key's secret. `None` when the vault does not have it.
    ///
    /// # Errors
    /// What keeps this key from being had. It never stands for the others.
    fn get(
        &self,
        entry: VaultEntry<'_>,
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<ResolvedSecret>, Error>;

    /// Whether a set of this key would work, as far as can be told without the secret: to be called before one is asked for.
    ///
    /// # Errors
    /// Those [`Vault::set`] would fail with.
    fn check_set(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> Result<(), Error>;

    /// Stores the secret, replacing what was there; it was read back and verified when this
    /// returns, or what was there is untouched. Returns the `meta` that the entry of the host
    /// manifest gets. The entry's mechanism must be named. To be called with the owner's lock held
    /// and the recipients read under it ([`crate::manifest_file::LockedManifest`]), or a change of
    /// the recipients could come between.
    ///
    /// # Errors
    /// What kept it from being stored.
    fn set(
        &self,
        entry: VaultEntry<'_>,
        secret: &[u8],
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<Value>, Error>;

    /// Removes the key. `Ok(false)` when the vault did not have it.
    ///
    /// # Errors
    /// What kept it from being removed.
    fn del(&self, entry: VaultEntry<'_>, context: &mut VaultContext<'_, '_>) -> Result<bool, Error>;

    /// Whether something is stored for this key, without opening it. For vaults on this machine.
    fn has(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> bool;
}
