//! `EPHEMERAL_VIA_SESSION`: the secret is for one login session. The daemon's deadlines expire it,
//! not the credential.

use keyrack_core::Mechanism;
use zeroize::Zeroizing;

use super::ResolvedSecret;

pub(super) fn resolve(source: Zeroizing<Vec<u8>>) -> ResolvedSecret {
    ResolvedSecret {
        secret: source,
        mech: Mechanism::Session,
        credential_expires_at_ms: None,
        newer_meta: None,
    }
}
