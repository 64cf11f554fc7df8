//! Between the wire's open names and the domain's. A grade word this build does not know counts as the weakest.

use keyrack_core::{
    DurationGrade, ErrorCode, Fix, Grade, Mechanism, Problem, Protection, Slug, Source, VaultId,
};
use keyrack_wire::native::ErrorBody;
use keyrack_wire::{Grade as WireGrade, Source as WireSource};

use crate::render::text::clean;

pub(crate) fn grade(grade: Grade) -> WireGrade<'static> {
    WireGrade { protection: grade.protection.as_str().into(), duration: grade.duration.as_str().into() }
}

pub(crate) fn source(source: &Source) -> WireSource<'_> {
    WireSource { vault: source.vault.as_str().into(), mech: source.mech.as_str().into() }
}

pub(crate) fn read_grade(grade: &WireGrade<'_>) -> Grade {
    Grade {
        protection: Protection::parse(&grade.protection).unwrap_or(Protection::Plaintext),
        duration: DurationGrade::parse(&grade.duration).unwrap_or(DurationGrade::Permanent),
    }
}

pub(crate) fn read_source(source: &WireSource<'_>) -> Source {
    Source { vault: VaultId::parse(&source.vault), mech: Mechanism::parse(&source.mech) }
}

/// The daemon's own error, as a problem of ours.
pub(crate) fn problem(error: &ErrorBody<'_>) -> Problem {
    let mut problem = Problem::new(ErrorCode::from(&*error.code), clean(&error.message));
    if let Some(slug) = error.slug.as_deref().and_then(|slug| Slug::parse_stored(slug).ok()) {
        problem = problem.of(&slug);
    }
    if let Some(fix) = &error.fix {
        problem = problem.fix(Fix::Text(clean(fix)));
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let error = ErrorBody {
            code: "grade_degraded".into(),
            message: "no\u{1b}[31m way".into(),
            slug: Some("a.test.K".into()),
            fix: Some("keyrack relock\n--key a.test.K".into()),
        };
        let problem = problem(&error);
        assert_eq!(problem.code, ErrorCode::GradeDegraded);
        assert_eq!(problem.slug.unwrap().as_str(), "a.test.K");
        for text in [problem.message, problem.fix.unwrap().render(keyrack_core::Invocation::default())] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}
