//! `PERMANENT_VIA_REPLICA` and `PERMANENT_VIA_REFERENCE`: the stored bytes are the secret, and it
//! does not expire.

use keyrack_core::Mechanism;
use zeroize::Zeroizing;

use super::ResolvedSecret;

pub(super) fn resolve(source: Zeroizing<Vec<u8>>, mech: Mechanism) -> ResolvedSecret {
    ResolvedSecret { secret: source, mech, credential_expires_at_ms: None, newer_meta: None }
}
