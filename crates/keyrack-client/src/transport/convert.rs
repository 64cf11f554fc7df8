//! Conversions between the wire's types and the domain's. The wire's names are open: an unknown
//! grade counts as the weakest.

use keyrack_core::display::clean;
use keyrack_core::{
    DurationGrade, Error, ErrorCode, Fix, Grade, Grant, GrantSource, GrantedTtl, Mechanism, Protection, Slug,
    Ttl, TtlLimit, VaultId, timestamp,
};
use keyrack_wire::native::{ErrorBody, GetKey, Hardening, StatusKey};
use keyrack_wire::{Grade as WireGrade, Source as WireSource};

use super::error::protocol_error;
use super::types::{GrantedKey, HardeningReport, KeyStatus};
use crate::sandbox;
use crate::secret::Secret;

pub(crate) fn grade_to_wire(grade: Grade) -> WireGrade<'static> {
    WireGrade { protection: grade.protection.as_str().into(), duration: grade.duration.as_str().into() }
}

pub(crate) fn grade(grade: &WireGrade<'_>) -> Grade {
    Grade {
        protection: Protection::parse(&grade.protection).unwrap_or(Protection::Plaintext),
        duration: DurationGrade::parse(&grade.duration).unwrap_or(DurationGrade::Permanent),
    }
}

pub(crate) fn source_to_wire(source: &GrantSource) -> WireSource<'_> {
    WireSource { vault: source.vault.as_str().into(), mech: source.mech.as_str().into() }
}

pub(crate) fn source(source: &WireSource<'_>) -> GrantSource {
    GrantSource { vault: VaultId::parse(&source.vault), mech: Mechanism::parse(&source.mech) }
}

pub(crate) fn slug(text: &str) -> Result<Slug, Error> {
    Slug::parse_stored(text).map_err(|_| protocol_error("invalid slug"))
}

/// Parses a time of the wire to milliseconds since the Unix epoch.
pub(crate) fn time(text: &str) -> Result<i64, Error> {
    timestamp::parse_ms(text).ok_or_else(|| protocol_error("invalid time"))
}

/// Converts a key of a native reply. `secret` is its range of the frame.
pub(crate) fn granted_key(key: &GetKey<'_>, secret: &[u8]) -> Result<GrantedKey, Error> {
    let grant = Grant {
        slug: slug(&key.slug)?,
        grade: grade(&key.grade),
        source: source(&key.source),
        expires_at_ms: Some(time(&key.expires_at)?),
    };
    Ok(GrantedKey { grant, secret: Secret::copy_of(secret), remaining: Some(Ttl(key.ttl_ms)) })
}

pub(crate) fn key_status(key: &StatusKey<'_>) -> Result<KeyStatus, Error> {
    Ok(KeyStatus {
        slug: slug(&key.slug)?,
        grade: Some(grade(&key.grade)),
        source: Some(source(&key.source)),
        expires_at_ms: Some(time(&key.expires_at)?),
        remaining: Some(Ttl(key.ttl_ms)),
        granted: GrantedTtl {
            ttl: key.life_ms.map(Ttl),
            limit: key.life_by.as_deref().and_then(TtlLimit::parse),
        },
        expires_by_boot_clock: key.ends_by == "boot",
    })
}

pub(crate) fn hardening(measure: &Hardening<'_>) -> HardeningReport {
    HardeningReport {
        name: clean(&measure.name),
        on: measure.on,
        detail: measure.detail.as_deref().map(clean),
    }
}

/// Parses an error code of the daemon. Codes of newer daemons are kept. What cannot be a code
/// becomes [`ErrorCode::Internal`], because programs get the code as it is.
pub(crate) fn error_code(text: &str) -> ErrorCode {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_word) {
        return ErrorCode::Internal;
    }
    ErrorCode::from(text)
}

/// Converts an error of the daemon. If it refuses this process's session because of a sandbox, the
/// error names the sandbox.
pub(crate) fn error(body: &ErrorBody<'_>) -> Error {
    let code = error_code(&body.code);
    if code == ErrorCode::SessionMismatch
        && let Some(sandboxed) = sandbox::detected_error()
    {
        return sandboxed;
    }
    let mut error = Error::new(code, clean(&body.message));
    if let Some(slug) = body.slug.as_deref().and_then(|slug| Slug::parse_stored(slug).ok()) {
        error = error.of(&slug);
    }
    if let Some(fix) = &body.fix {
        error = error.fix(Fix::Text(clean(fix)));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_error_codes_become_internal() {
        for (text, expected) in [
            ("memory_full", ErrorCode::MemoryFull),
            ("of_a_newer_daemon2", ErrorCode::Other("of_a_newer_daemon2".to_owned())),
            ("", ErrorCode::Internal),
            ("\u{202e}memory_full", ErrorCode::Internal),
            ("\u{9b}31m", ErrorCode::Internal),
            ("Memory full", ErrorCode::Internal),
        ] {
            assert_eq!(error_code(text), expected, "{text:?}");
        }
    }

    #[test]
    fn unknown_grades_become_the_weakest() {
        let read = |protection: &'static str, duration: &'static str| {
            grade(&WireGrade { protection: protection.into(), duration: duration.into() }).to_string()
        };
        assert_eq!(read("encrypted", "transient"), "encrypted,transient");
        assert_eq!(read("sealed", "transient"), "plaintext,transient");
        assert_eq!(read("reference", "fleeting"), "reference,permanent");
        assert_eq!(read("", ""), "plaintext,permanent");
    }

    #[test]
    fn daemon_errors_are_cleaned() {
        let body = ErrorBody {
            code: "grade_degraded".into(),
            message: "no\u{1b}[31m way".into(),
            slug: Some("a.test.K".into()),
            fix: Some("keyrack relock\n--key a.test.K".into()),
        };
        let error = error(&body);
        assert_eq!(error.code, ErrorCode::GradeDegraded);
        assert_eq!(error.slug.unwrap().as_str(), "a.test.K");
        for text in [error.message, error.fix.unwrap().render(keyrack_core::Invocation::default())] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}
