//! `PERMANENT_VIA_REPLICA` and `PERMANENT_VIA_REFERENCE`: what the vault yields is the secret, byte for byte, and it does not end by itself.

use keyrack_core::Mechanism;
use zeroize::Zeroizing;

use super::Material;

pub(super) fn deliver(source: Zeroizing<Vec<u8>>, mech: Mechanism) -> Material {
    Material { secret: source, mech, credential_expires_at_ms: None, newer_meta: None }
}
