//! Values as users type them, parsed and checked the same way by every operation.

use keyrack_core::{Error, ErrorCode, Org, Slug, Ttl};

/// Returns `true` if the key and org that were typed can only mean a key of the machine.
pub(crate) fn is_machine_key(key: &str, org: Option<&str>) -> bool {
    org == Some(Org::MACHINE) || (Slug::looks_full(key) && key.starts_with("@all."))
}

/// Parses a TTL, which must be above zero.
pub(crate) fn parse_nonzero_ttl(text: &str) -> Result<Ttl, Error> {
    match text.parse::<Ttl>()? {
        Ttl(0) => Err(Error::new(ErrorCode::BadDuration, "the duration must be above zero")),
        ttl => Ok(ttl),
    }
}
