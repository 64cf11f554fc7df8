//! `list`: the keys of the host manifest, unlocked or not.

use std::collections::BTreeMap;

use keyrack_core::host_manifest::HostEntry;
use keyrack_core::{Error, Slug};
use keyrack_vaults::manifest_file;

use crate::context::OpContext;

/// The keys of an owner.
#[derive(Clone, Debug)]
pub struct KeyList {
    /// Entries by slug.
    pub hosts: BTreeMap<Slug, HostEntry>,
    /// Entries that cannot be understood, a problem each. They are kept.
    pub faults: Vec<Error>,
}

/// Lists the keys of the owner's host manifest.
///
/// # Errors
/// [`keyrack_core::ErrorCode::HostManifestMissing`], and what keeps it from being opened.
pub fn list(ctx: &OpContext<'_>) -> Result<KeyList, Error> {
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    let manifest = manifest_file::load_existing(&racks, &mut identities)?;
    let faults = manifest.faults();
    Ok(KeyList { hosts: manifest.hosts, faults })
}
