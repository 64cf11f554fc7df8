//! Between the wire's open names and the domain's. A grade word this build does not know counts as the weakest.

use keyrack_core::{
    DurationGrade, Error, ErrorCode, Fix, Grade, GrantSource, Mechanism, Protection, Slug, VaultId,
};
use keyrack_wire::native::ErrorBody;
use keyrack_wire::{Grade as WireGrade, Source as WireSource};

use crate::sandbox;
use keyrack_core::display::clean;

pub(crate) fn grade(grade: Grade) -> WireGrade<'static> {
    WireGrade { protection: grade.protection.as_str().into(), duration: grade.duration.as_str().into() }
}

pub(crate) fn source(source: &GrantSource) -> WireSource<'_> {
    WireSource { vault: source.vault.as_str().into(), mech: source.mech.as_str().into() }
}

pub(crate) fn read_grade(grade: &WireGrade<'_>) -> Grade {
    Grade {
        protection: Protection::parse(&grade.protection).unwrap_or(Protection::Plaintext),
        duration: DurationGrade::parse(&grade.duration).unwrap_or(DurationGrade::Permanent),
    }
}

pub(crate) fn read_source(source: &WireSource<'_>) -> GrantSource {
    GrantSource { vault: VaultId::parse(&source.vault), mech: Mechanism::parse(&source.mech) }
}

/// A code as the daemon says it: a newer one's survives, what could be no code does not. It is shown to programs as it is.
pub(crate) fn code(said: &str) -> ErrorCode {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if said.is_empty() || said.len() > 64 || !said.bytes().all(word) {
        return ErrorCode::Internal;
    }
    ErrorCode::from(said)
}

/// The daemon's own error, as a problem of ours.
pub(crate) fn error(body: &ErrorBody<'_>) -> Error {
    let code = code(&body.code);
    if code == ErrorCode::SessionMismatch
        && let Some(sandboxed) = sandbox::refused()
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
    fn what_could_be_no_code_is_none() {
        for (said, expected) in [
            ("memory_full", ErrorCode::MemoryFull),
            ("of_a_newer_daemon2", ErrorCode::Other("of_a_newer_daemon2".to_owned())),
            ("", ErrorCode::Internal),
            ("\u{202e}memory_full", ErrorCode::Internal),
            ("\u{9b}31m", ErrorCode::Internal),
            ("Memory full", ErrorCode::Internal),
        ] {
            assert_eq!(code(said), expected, "{said:?}");
        }
    }

    #[test]
    fn unknown_grades_are_the_weakest() {
        let read = |protection: &'static str, duration: &'static str| {
            read_grade(&WireGrade { protection: protection.into(), duration: duration.into() }).to_string()
        };
        assert_eq!(read("encrypted", "transient"), "encrypted,transient");
        assert_eq!(read("sealed", "transient"), "plaintext,transient");
        assert_eq!(read("reference", "fleeting"), "reference,permanent");
        assert_eq!(read("", ""), "plaintext,permanent");
    }

    #[test]
    fn errors_of_the_daemon_are_shown_clean() {
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
