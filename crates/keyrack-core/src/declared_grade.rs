//! Check of a key's grade against the minimum that `keyrack.yml` declares for it.

use crate::error::{Error, ErrorCode};
use crate::fix::Fix;
use crate::grade::{Grade, MinimumGrade};
use crate::mechanism::Mechanism;
use crate::owner::Owner;
use crate::slug::Slug;
use crate::vault_id::VaultId;

/// Returns the sentence that says that `subject` is weaker than `minimum`. `path` is the file that
/// declares the minimum.
pub fn below_declared(subject: &str, grade: Grade, minimum: MinimumGrade, path: &str) -> String {
    format!("{subject} has grade {grade}, weaker than the minimum {minimum} that {path} declares")
}

/// Returns an error if `grade` is below `minimum`. `subject` names the key in the message, such as
/// `acme.test.K` or `acme.test.K in os.direct`; `mech` is the key's mechanism.
///
/// # Errors
/// [`ErrorCode::BelowDeclared`], with the `set` that gives the key a grade that is high enough, if
/// `os.secure` does.
pub fn check(
    subject: &str,
    slug: &Slug,
    owner: &Owner,
    (grade, mech): (Grade, &Mechanism),
    minimum: MinimumGrade,
    path: &str,
) -> Result<(), Error> {
    if minimum.is_met_by(grade) {
        return Ok(());
    }
    let message = below_declared(subject, grade, minimum, path);
    let error = Error::new(ErrorCode::BelowDeclared, message).of(slug);
    if minimum.is_met_by(Grade::of(&VaultId::OsSecure, mech)) {
        return Err(error.fix(Fix::set(owner, slug, &VaultId::OsSecure, mech)));
    }
    Err(error.hint(format!("set it with a mechanism that is strong enough, or lower the minimum in {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Invocation;

    #[test]
    fn check_rejects_a_grade_below_the_minimum() {
        let slug = Slug::parse("acme.test.K").unwrap();
        for (vault, minimum, fix) in [
            (VaultId::OsSecure, "encrypted", Ok(())),
            (
                VaultId::OsDirect,
                "encrypted",
                Err(Some("keyrack set --env test --key K --vault os.secure --mech PERMANENT_VIA_REPLICA")),
            ),
            (VaultId::OsDirect, "encrypted,ephemeral", Err(None)),
            (VaultId::OsSecure, "ephemeral", Err(None)),
        ] {
            let mech = Mechanism::Replica;
            let minimum = MinimumGrade::parse(minimum).unwrap();
            let grade = (Grade::of(&vault, &mech), &mech);
            let result = check("acme.test.K", &slug, &Owner::DEFAULT, grade, minimum, "keyrack.yml");
            let found = result.map_err(|error| {
                assert_eq!(error.code, ErrorCode::BelowDeclared);
                assert_eq!(error.fix.is_some(), error.hint.is_none());
                assert!(error.message.contains(&format!("minimum {minimum} that keyrack.yml")), "{error}");
                error.fix.map(|fix| fix.render(Invocation::default()))
            });
            assert_eq!(found, fix.map_err(|fix| fix.map(str::to_owned)), "{vault} {minimum}");
        }
    }
}
