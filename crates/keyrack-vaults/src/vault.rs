//! Interface of a vault: get, set and delete one key, blocking.
//!
//! A vault never talks to the daemon and never prompts for a secret. The caller checks that a set
//! can work before it prompts for one.

use std::ffi::OsString;

use keyrack_core::host_manifest::{HostEntry, Recipient};
use keyrack_core::{Error, Mechanism, Slug, VaultId};
use serde_json::Value;

use crate::identity::Identities;
use keyrack_core::layout::RackPaths;

pub use crate::mech::ResolvedSecret;

/// Key for a vault, with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct VaultEntry<'a> {
    /// Slug of the key.
    pub slug: &'a Slug,
    /// Mechanism, if the host manifest or the caller names one.
    pub mech: Option<&'a Mechanism>,
    /// The vault's own name for the key: a reference, a profile, a parameter.
    pub exid: Option<&'a str>,
    /// Entry in the host manifest, if there is one.
    pub host: Option<&'a HostEntry>,
}

impl<'a> VaultEntry<'a> {
    /// Key of which only the slug is known.
    pub fn new(slug: &'a Slug) -> Self {
        VaultEntry { slug, mech: None, exid: None, host: None }
    }

    /// Key with its entry in the host manifest.
    pub fn of(slug: &'a Slug, host: &'a HostEntry) -> Self {
        VaultEntry { slug, mech: Some(&host.mech), exid: host.exid.as_deref(), host: Some(host) }
    }

    /// Sets the mechanism.
    #[must_use]
    pub fn with_mech(self, mech: &'a Mechanism) -> Self {
        VaultEntry { mech: Some(mech), ..self }
    }

    /// `meta` of its entry, if the entry is of `vault`. That of another vault means nothing here.
    pub(crate) fn meta(&self, vault: &VaultId) -> Option<&'a Value> {
        self.host.filter(|host| host.vault == *vault)?.meta.as_ref()
    }
}

/// Everything that vaults use from outside: no vault reads the environment, a clock or a terminal.
pub struct VaultContext<'a, 'p> {
    /// Paths of the owner's files.
    pub racks: &'a RackPaths,
    /// Keys that open them, with the passphrase prompt.
    pub identities: &'a mut Identities<'p>,
    /// Recipients of the host manifest, for new files. Empty if there is no manifest.
    pub recipients: &'a [Recipient],
    /// Environment of the caller.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Wall clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl std::fmt::Debug for VaultContext<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("racks", self.racks).finish_non_exhaustive()
    }
}

/// Store for keys.
pub trait Vault: Sync {
    /// Returns the vault's id.
    fn id(&self) -> VaultId;

    /// Returns the key's secret, or `None` if the vault does not have it.
    ///
    /// # Errors
    /// Those of this key. They do not affect others.
    fn get(
        &self,
        entry: VaultEntry<'_>,
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<ResolvedSecret>, Error>;

    /// Checks that a set of this key can work, as far as possible without the secret. Callers check
    /// before they prompt for it.
    ///
    /// # Errors
    /// Those of [`Vault::set`].
    fn check_set(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> Result<(), Error>;

    /// Stores the secret and replaces the old one. After `Ok` it was read back and verified, after
    /// `Err` the old one is unchanged. Returns the `meta` for the entry of the host manifest. The
    /// entry's mechanism must be set. The caller holds the owner's lock and read the recipients
    /// under it ([`crate::manifest_file::LockedManifest`]), so that they cannot change in between.
    ///
    /// # Errors
    /// Those of writing.
    fn set(
        &self,
        entry: VaultEntry<'_>,
        secret: &[u8],
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<Value>, Error>;

    /// Deletes the key. Returns `false` if the vault did not have it.
    ///
    /// # Errors
    /// Those of writing.
    fn del(&self, entry: VaultEntry<'_>, context: &mut VaultContext<'_, '_>) -> Result<bool, Error>;

    /// Returns `true` if the vault has the key. It is not decrypted. For vaults on this machine.
    fn has(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> bool;
}
