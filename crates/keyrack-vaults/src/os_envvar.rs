//! Vault os.envvar: the variable of the caller's environment that has the key's name. Read-only.

use std::os::unix::ffi::OsStringExt as _;

use keyrack_core::{Error, VaultId};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::mech;
use crate::vault::{ResolvedSecret, Vault, VaultContext, VaultEntry};

/// Vault os.envvar.
#[derive(Clone, Copy, Debug)]
pub struct OsEnvvar;

impl Vault for OsEnvvar {
    fn id(&self) -> VaultId {
        VaultId::OsEnvvar
    }

    fn get(
        &self,
        entry: VaultEntry<'_>,
        context: &mut VaultContext<'_, '_>,
    ) -> Result<Option<ResolvedSecret>, Error> {
        let Some(value) = (context.env)(entry.slug.name()) else { return Ok(None) };
        mech::resolve(entry.slug, &VaultId::OsEnvvar, entry.mech, Zeroizing::new(value.into_vec())).map(Some)
    }

    fn check_set(&self, entry: VaultEntry<'_>, _: &VaultContext<'_, '_>) -> Result<(), Error> {
        Err(read_only(entry.slug))
    }

    fn set(
        &self,
        entry: VaultEntry<'_>,
        _: &[u8],
        _: &mut VaultContext<'_, '_>,
    ) -> Result<Option<Value>, Error> {
        Err(read_only(entry.slug))
    }

    fn del(&self, entry: VaultEntry<'_>, _: &mut VaultContext<'_, '_>) -> Result<bool, Error> {
        Err(read_only(entry.slug))
    }

    fn has(&self, entry: VaultEntry<'_>, context: &VaultContext<'_, '_>) -> bool {
        (context.env)(entry.slug.name()).is_some()
    }
}

pub use keyrack_core::set_rule::read_only;
