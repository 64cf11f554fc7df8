//! Rules between the stored mechanism and the one that a value names.

use super::*;

const APP: &str = r#"{"appId":"1","installationId":"2","privateKey":"x","mech":"EPHEMERAL_VIA_GITHUB_APP"}"#;

fn slug() -> Slug {
    Slug::parse("acme.test.K").unwrap()
}

fn material(stored: Option<&Mechanism>, value: &str) -> Result<ResolvedSecret, ErrorCode> {
    resolve(&slug(), &VaultId::OsSecure, stored, Zeroizing::new(value.as_bytes().to_vec()))
        .map_err(|error| error.code)
}

#[test]
fn resolve_rejects_a_value_of_another_mechanism() {
    use Mechanism::{GithubApp, Reference, Replica, Session};
    let replica_blob = r#"{"mech":"PERMANENT_VIA_REPLICA"}"#;
    for (stored, value, expected) in [
        (None, "plain", Ok(Replica)),
        (Some(Replica), "plain", Ok(Replica)),
        (Some(Reference), "plain", Ok(Reference)),
        (Some(Session), "plain", Ok(Session)),
        // A blob that names the replica mechanism contradicts nothing.
        (Some(Session), replica_blob, Ok(Session)),
        (None, replica_blob, Ok(Replica)),
        (Some(Replica), APP, Err(ErrorCode::MechMismatch)),
        (Some(Replica), r#"{"mech":"MADE_UP"}"#, Err(ErrorCode::MechMismatch)),
        // Known and consistent, but not supported by this version.
        (None, APP, Err(ErrorCode::BadMech)),
        (Some(GithubApp), APP, Err(ErrorCode::BadMech)),
        (Some(GithubApp), "plain", Err(ErrorCode::BadMech)),
        (Some(Mechanism::Other("NEW".into())), "plain", Err(ErrorCode::BadMech)),
        (None, r#"{"mech":"MADE_UP"}"#, Err(ErrorCode::BadMech)),
    ] {
        let got = material(stored.as_ref(), value);
        if let Ok(got) = &got {
            assert_eq!(got.secret.as_slice(), value.as_bytes());
            assert_eq!(got.credential_expires_at_ms, None);
        }
        assert_eq!(got.map(|m| m.mech), expected, "{stored:?} {value}");
    }
}

#[test]
fn check_accepts_only_mechanisms_of_the_vault() {
    for (vault, mech, ok) in [
        (VaultId::OsSecure, Mechanism::Replica, true),
        (VaultId::OsSecure, Mechanism::GithubApp, false),
        (VaultId::OsSecure, Mechanism::AwsSso, false),
        (VaultId::OsDirect, Mechanism::Replica, true),
        (VaultId::OsDirect, Mechanism::GithubApp, false),
        (VaultId::OsSecure, Mechanism::Other("X".into()), false),
    ] {
        let result = check(&slug(), &vault, &mech);
        assert_eq!(result.is_ok(), ok, "{vault} {mech}");
        if let Err(error) = result {
            assert_eq!(error.code, ErrorCode::BadMech);
            assert_eq!(error.slug, Some(slug()));
        }
    }
}

#[test]
fn debug_and_errors_show_no_secret() {
    let shown = format!("{:?}", material(None, "hunter2-hunter2").unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    let error = resolve(
        &slug(),
        &VaultId::OsSecure,
        Some(&Mechanism::Replica),
        Zeroizing::new(br#"{"mech":"EPHEMERAL_VIA_GITHUB_APP","privateKey":"hunter2"}"#.to_vec()),
    )
    .unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}
