//! Mechanisms: from what a vault stores to the secret that is handed out.
//!
//! The stored mechanism and the one that the value names must agree. A key with an unknown one is
//! rejected, and does not affect others. Nothing here reads a vault or uses a network.

mod replica;
mod resolved_secret;
mod session;

use keyrack_core::display::clean;
use keyrack_core::{Error, ErrorCode, Mechanism, Slug, VaultId, firewall};
use zeroize::Zeroizing;

pub use resolved_secret::ResolvedSecret;

/// Resolves what `vault` stores for `slug` to its secret. `stored` is the mechanism of the host
/// manifest. For a vault without one, which passes `None`, the value decides.
///
/// # Errors
/// [`ErrorCode::MechMismatch`] if both name a mechanism and differ; [`ErrorCode::BadMech`] if this
/// version does not support it.
pub(crate) fn resolve(
    slug: &Slug,
    vault: &VaultId,
    stored: Option<&Mechanism>,
    source: Zeroizing<Vec<u8>>,
) -> Result<ResolvedSecret, Error> {
    let named = firewall::blob_mech(&source);
    let mech = match (stored, named) {
        (Some(stored), Some(named)) if named != Mechanism::Replica && *stored != named => {
            return Err(Error::new(
                ErrorCode::MechMismatch,
                format!("the host manifest says {slug} is {stored}, and the value in {vault} says {named}"),
            )
            .of(slug)
            .hint("set the key again, with the mechanism that is meant"));
        }
        (Some(stored), _) => stored.clone(),
        (None, Some(named)) => named,
        (None, None) => Mechanism::Replica,
    };
    match mech {
        Mechanism::Replica | Mechanism::Reference => Ok(replica::resolve(source, mech)),
        Mechanism::Session => Ok(session::resolve(source)),
        other => Err(unsupported(slug, &other)),
    }
}

/// Checks that `vault` and this version support `mech`.
///
/// # Errors
/// [`ErrorCode::BadMech`], with the supported ones.
pub(crate) fn check(slug: &Slug, vault: &VaultId, mech: &Mechanism) -> Result<(), Error> {
    if !vault.mechanisms().contains(mech) {
        let known: Vec<_> = vault.mechanisms().iter().map(Mechanism::as_str).collect();
        return Err(Error::new(
            ErrorCode::BadMech,
            format!("{vault} does not take {mech}; it takes {}", known.join(", ")),
        )
        .of(slug));
    }
    match mech {
        Mechanism::Replica | Mechanism::Reference | Mechanism::Session => Ok(()),
        other => Err(unsupported(slug, other)),
    }
}

fn unsupported(slug: &Slug, mech: &Mechanism) -> Error {
    let message = match mech {
        Mechanism::Other(text) => {
            let shown: String = clean(text).chars().take(48).collect();
            format!("{slug} has the mechanism {shown:?}, which this version of keyrack does not know")
        }
        known => format!("{slug} has the mechanism {known}, which this version of keyrack does not support"),
    };
    Error::new(ErrorCode::BadMech, message).of(slug)
}

#[cfg(test)]
mod tests;
