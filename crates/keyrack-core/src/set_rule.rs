//! What a `set` may do: not put a key where it is weaker than it was, and not assume that a key may be permanent.

use crate::error::{Error, ErrorCode};
use crate::fix::Fix;
use crate::grade::Grade;
use crate::mechanism::Mechanism;
use crate::owner::Owner;
use crate::slug::Slug;
use crate::vault_id::VaultId;

/// Refuses to set a key into a vault or mechanism that is weaker, on either axis, than the one it has. `held` is where it rests now, if anywhere.
/// Fails with [`ErrorCode::GradeDegraded`], both grades and the way out named.
pub fn check_set(
    slug: &Slug,
    owner: &Owner,
    held: Option<(&VaultId, &Mechanism)>,
    offered: (&VaultId, &Mechanism),
) -> Result<(), Error> {
    let Some((vault, mech)) = held else { return Ok(()) };
    let (held, to) = (Grade::of(vault, mech), Grade::of(offered.0, offered.1));
    if !to.is_weaker_than(held) {
        return Ok(());
    }
    let message = format!(
        "{slug} rests in {vault} with grade {held}; in {} it would have grade {to}, and a grade never degrades",
        offered.0
    );
    Err(Error::new(ErrorCode::GradeDegraded, message)
        .of(slug)
        .fix(Fix::del(owner, slug))
        .hint("to weaken it knowingly, delete the key first and set it anew"))
}

/// How the mechanism of a `set` is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MechChoice<'a> {
    /// This one.
    Use(Mechanism),
    /// A person at the terminal has to choose; if there is one only, to confirm it.
    AskAmong(&'a [Mechanism]),
    /// None can be had.
    Refuse(Error),
}

/// Finds the mechanism for a key in a vault that has the mechanisms `supported`. One that is permanent is named or confirmed, never assumed; one that ends by
/// itself is taken where it is the only one.
///
/// Refuses with [`ErrorCode::BadMech`] one that the vault does not have, and with [`ErrorCode::MechRequired`] where there is nobody to ask.
pub fn choose_mech<'a>(
    vault: &VaultId,
    supported: &'a [Mechanism],
    named: Option<&Mechanism>,
    terminal: bool,
) -> MechChoice<'a> {
    let words: Vec<&str> = supported.iter().map(Mechanism::as_str).collect();
    let words = words.join(", ");
    match (named, supported) {
        (Some(mech), _) if supported.contains(mech) => MechChoice::Use(mech.clone()),
        (Some(_), _) => {
            let message = format!("{vault} has no such mechanism: it has {words}");
            MechChoice::Refuse(Error::new(ErrorCode::BadMech, message))
        }
        (None, []) => {
            let message = format!("{vault} has no mechanism that this version of keyrack knows");
            MechChoice::Refuse(Error::new(ErrorCode::BadMech, message))
        }
        (None, [only]) if only.is_ephemeral() => MechChoice::Use(only.clone()),
        (None, _) if terminal => MechChoice::AskAmong(supported),
        (None, _) => {
            let message = format!(
                "the mechanism must be named, and there is no terminal to ask at: --mech {}",
                words.replace(", ", " or --mech ")
            );
            MechChoice::Refuse(
                Error::new(ErrorCode::MechRequired, message).hint("a permanent key is an explicit choice"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Invocation;
    use Mechanism::{AwsSso, GithubApp, Reference, Replica, Session};

    #[test]
    fn a_set_never_weakens() {
        let slug = Slug::parse("acme.test.K").unwrap();
        let owner: Owner = "ehmpath".parse().unwrap();
        use VaultId::{AwsConfig, OnePassword, OsDaemon, OsDirect, OsSecure};
        let strange = (VaultId::Other("x".into()), Mechanism::Other("y".into()));
        for (held, offered, refused) in [
            (None, (OsDirect, Replica), false),
            (Some((OsSecure, Replica)), (OsSecure, Replica), false),
            (Some((OsSecure, Replica)), (OnePassword, Reference), false),
            (Some((OsSecure, Replica)), (OsDirect, Replica), true),
            (Some((OsDirect, Replica)), (OsSecure, Replica), false),
            (Some((OsSecure, GithubApp)), (OsSecure, Replica), true),
            (Some((OsSecure, Replica)), (OsSecure, GithubApp), false),
            (Some((OsDaemon, Session)), (OsSecure, Replica), true),
            (Some((OsDaemon, Session)), (AwsConfig, AwsSso), true),
            (Some((AwsConfig, AwsSso)), (OsDaemon, Session), true),
            (Some((OsSecure, Replica)), (OsDaemon, Session), false),
            (Some((OsSecure, Replica)), strange.clone(), true),
            (Some(strange), (OsDirect, Replica), false),
        ] {
            let held_refs = held.as_ref().map(|(vault, mech)| (vault, mech));
            let result = check_set(&slug, &owner, held_refs, (&offered.0, &offered.1));
            assert_eq!(result.is_err(), refused, "{held:?} to {offered:?}");
            if let Err(error) = result {
                let (held, to) = (held.unwrap(), offered);
                assert_eq!(error.code, ErrorCode::GradeDegraded);
                assert!(error.message.contains(&Grade::of(&held.0, &held.1).to_string()));
                assert!(error.message.contains(&Grade::of(&to.0, &to.1).to_string()));
                assert_eq!(
                    error.fix.unwrap().render(Invocation::default()),
                    "keyrack del --owner ehmpath --env test --key K"
                );
            }
        }
    }

    #[test]
    fn a_permanent_mechanism_is_never_assumed() {
        for vault in VaultId::ALL {
            let supported = vault.mechanisms();
            for terminal in [true, false] {
                for mech in Mechanism::ALL {
                    let choice = choose_mech(&vault, supported, Some(&mech), terminal);
                    match (supported.contains(&mech), choice) {
                        (true, MechChoice::Use(used)) => assert_eq!(used, mech),
                        (false, MechChoice::Refuse(error)) => assert_eq!(error.code, ErrorCode::BadMech),
                        (_, other) => panic!("{vault} {mech}: {other:?}"),
                    }
                }
                match (supported, terminal, choose_mech(&vault, supported, None, terminal)) {
                    ([only], _, MechChoice::Use(used)) => {
                        assert!(used == *only && used.is_ephemeral(), "{vault}: {used}");
                    }
                    (_, true, MechChoice::AskAmong(among)) => assert_eq!(among, supported),
                    (_, false, MechChoice::Refuse(error)) => {
                        assert_eq!(error.code, ErrorCode::MechRequired);
                        assert!(supported.iter().all(|mech| error.message.contains(mech.as_str())));
                    }
                    (_, _, other) => panic!("{vault}, terminal {terminal}: {other:?}"),
                }
            }
        }
        let unknown = VaultId::Other("os.keyring".into());
        for named in [None, Some(&Replica)] {
            let choice = choose_mech(&unknown, unknown.mechanisms(), named, true);
            assert!(matches!(choice, MechChoice::Refuse(error) if error.code == ErrorCode::BadMech));
        }
    }

    #[test]
    fn what_is_assumed_where() {
        for (vault, assumed) in [
            (VaultId::OsDaemon, Some(Session)),
            (VaultId::AwsConfig, Some(AwsSso)),
            (VaultId::OsDirect, None),
            (VaultId::OsSecure, None),
            (VaultId::OnePassword, None),
        ] {
            let used = match choose_mech(&vault, vault.mechanisms(), None, true) {
                MechChoice::Use(mech) => Some(mech),
                _ => None,
            };
            assert_eq!(used, assumed, "{vault}");
        }
    }
}
