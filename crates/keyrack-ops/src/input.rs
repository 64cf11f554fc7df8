//! Values as users type them, interpreted the same way by every operation.

use keyrack_core::{Org, Slug};

/// Returns `true` if the key and org that were typed can only mean a key of the machine.
pub(crate) fn is_machine_key(key: &str, org: Option<&str>) -> bool {
    org == Some(Org::MACHINE) || (Slug::looks_full(key) && key.starts_with("@all."))
}
