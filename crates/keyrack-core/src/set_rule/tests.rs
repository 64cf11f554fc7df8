//! The set rule, one row per case.

use super::*;
use crate::fix::Invocation;
use crate::grade::MinimumGrade;
use crate::host_manifest::HostManifest;
use Mechanism::{AwsSso, GithubApp, Reference, Replica, Session};
use VaultId::{AwsConfig, OnePassword, OsDaemon, OsDirect, OsEnvvar, OsSecure};

fn slug() -> Slug {
    Slug::parse("acme.test.K").unwrap()
}

fn entry(vault: VaultId, mech: Mechanism) -> HostEntry {
    let mut manifest = HostManifest::default();
    let new = NewHostEntry { vault, mech, exid: None, meta: None, max_duration: None };
    manifest.put(&slug(), new, 0);
    manifest.hosts.remove(&slug()).unwrap()
}

fn input<'a>(slug: &'a Slug, owner: &'a Owner, vault: &'a VaultId, mech: &'a Mechanism) -> SetInput<'a> {
    SetInput { slug, owner, vault, mech, exid: None, max_duration: None, current: None, declared: None }
}

fn rendered(error: Error) -> Option<String> {
    error.fix.map(|fix| fix.render(Invocation::default()))
}

#[test]
fn plan_rejects_weaker_grade() {
    let (slug, owner) = (slug(), "ehmpath".parse().unwrap());
    let unknown = (VaultId::Other("x".into()), Mechanism::Other("y".into()));
    for (current, (vault, mech), is_rejected) in [
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
        (Some((OsSecure, Replica)), unknown.clone(), true),
        (Some(unknown), (OsDirect, Replica), false),
    ] {
        let current = current.map(|(vault, mech)| entry(vault, mech));
        let set = SetInput { current: current.as_ref(), ..input(&slug, &owner, &vault, &mech) };
        let result = set.plan();
        assert_eq!(result.is_err(), is_rejected, "{current:?} to {vault} {mech}");
        if let Err(error) = result {
            assert_eq!(error.code, ErrorCode::GradeDegraded);
            assert!(error.message.contains(&current.unwrap().grade().to_string()), "{error}");
            assert!(error.message.contains(&Grade::of(&vault, &mech).to_string()), "{error}");
            assert_eq!(rendered(error).unwrap(), "keyrack del --owner ehmpath --env test --key K");
        }
    }
}

#[test]
fn plan_rejects_grade_below_declaration() {
    let (slug, owner) = (slug(), Owner::DEFAULT);
    let spec = KeySpec {
        slug: slug.clone(),
        env: crate::env::Env::Test,
        grade: MinimumGrade::parse("encrypted").unwrap(),
        optional_if_has: None,
        fault: None,
    };
    let faulty = KeySpec { fault: Some(Error::new(ErrorCode::ManifestInvalid, "line 4")), ..spec.clone() };
    for (vault, spec, expected) in [
        (OsSecure, &spec, None),
        (OsDirect, &spec, Some(ErrorCode::BelowDeclared)),
        (OsDirect, &faulty, Some(ErrorCode::ManifestInvalid)),
        (OsSecure, &faulty, None),
    ] {
        let declared = Some(Declaration { spec, path: ".agent/keyrack.yml" });
        let set = SetInput { declared, ..input(&slug, &owner, &vault, &Replica) };
        assert_eq!(set.plan().err().map(|error| error.code), expected, "{vault} {spec:?}");
    }
}

#[test]
fn plan_rejects_read_only_vault() {
    let (slug, owner) = (slug(), Owner::DEFAULT);
    let error = input(&slug, &owner, &OsEnvvar, &Replica).plan().unwrap_err();
    assert_eq!(error.code, ErrorCode::VaultReadOnly);
}

#[test]
fn plan_describes_what_to_write() {
    let (slug, owner) = (slug(), Owner::DEFAULT);
    let current = entry(OsDirect, Replica);
    let set = SetInput {
        current: Some(&current),
        max_duration: Some("1h"),
        ..input(&slug, &owner, &OsSecure, &Replica)
    };
    let plan = set.plan().unwrap();
    assert_eq!(plan.grade().to_string(), "encrypted,permanent");
    assert_eq!(plan.old_vault(), Some(&OsDirect));
    let new = plan.new_entry(Some(serde_json::json!({ "a": 1 })));
    assert_eq!((new.vault, new.mech, new.exid), (OsSecure, Replica, None));
    assert_eq!((new.meta, new.max_duration), (Some(serde_json::json!({ "a": 1 })), Some("1h".to_owned())));
    let same = SetInput { vault: &OsDirect, ..set };
    assert_eq!(same.plan().unwrap().old_vault(), None);
}

#[test]
fn permanent_mechanism_is_never_assumed() {
    for (vault, expected) in [
        (OsSecure, MechChoice::Confirm(Replica)),
        (OsDirect, MechChoice::Confirm(Replica)),
        (OsDaemon, MechChoice::Use(Session)),
    ] {
        assert_eq!(choose_mechanism(&vault, None), Ok(expected), "{vault}");
    }
    for vault in VaultId::ALL {
        let assumed = choose_mechanism(&vault, None);
        let is_permanent = matches!(&assumed, Ok(MechChoice::Use(mech)) if !mech.is_ephemeral());
        assert!(!is_permanent, "{vault}: {assumed:?}");
        for mech in Mechanism::ALL {
            let is_supported = vault.mechanisms().contains(&mech) && matches!(mech, Replica | Session);
            match choose_mechanism(&vault, Some(&mech)) {
                Ok(choice) => {
                    assert_eq!(choice, MechChoice::Use(mech));
                    assert!(is_supported, "{vault}");
                }
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::BadMech);
                    assert!(!is_supported, "{vault}");
                }
            }
        }
    }
    let unknown = VaultId::Other("os.keyring".into());
    for named in [None, Some(&Replica)] {
        assert_eq!(choose_mechanism(&unknown, named).unwrap_err().code, ErrorCode::BadMech);
    }
}

#[test]
fn mech_required_names_the_command() {
    for (vault, fix) in [
        (OsSecure, "keyrack set --env test --key K --vault os.secure --mech PERMANENT_VIA_REPLICA"),
        (OsDirect, "keyrack set --env test --key K --vault os.direct --mech PERMANENT_VIA_REPLICA"),
    ] {
        for error in [
            mech_required(&slug(), &Owner::DEFAULT, &vault),
            permanent_declined(&slug(), &Owner::DEFAULT, &vault, &Replica),
        ] {
            assert_eq!(error.code, ErrorCode::MechRequired);
            assert_eq!(rendered(error).as_deref(), Some(fix));
        }
    }
    assert_eq!(mech_flag(&OsSecure), "--mech PERMANENT_VIA_REPLICA");
}

#[test]
fn unknown_names_are_rejected_with_a_suggestion() {
    let vault = parse_vault("os.secur").unwrap_err();
    assert_eq!((vault.code, vault.hint.as_deref()), (ErrorCode::BadVault, Some("did you mean os.secure?")));
    assert_eq!(parse_vault("1password"), Ok(OnePassword));
    for (typed, start) in [
        ("PERMANENT_VIA_REPLIKA", "unknown mechanism: for os.secure it must be PERMANENT_VIA_REPLICA"),
        ("EPHEMERAL_VIA_GITHUB_APP", "this version of keyrack does not support EPHEMERAL_VIA_GITHUB_APP: "),
        ("EPHEMERAL_VIA_AWS_SSO", "os.secure does not support EPHEMERAL_VIA_AWS_SSO: "),
    ] {
        let error = parse_mechanism(&OsSecure, typed).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadMech);
        assert!(error.message.starts_with(start), "{error}");
    }
    assert_eq!(check_exid(&OsSecure, Some("x")).unwrap_err().code, ErrorCode::Usage);
    assert_eq!(check_exid(&OsSecure, None), Ok(()));
}

#[test]
fn secret_is_checked_before_it_is_stored() {
    const APP: &[u8] =
        br#"{"appId":"1","installationId":"2","privateKey":"x","mech":"EPHEMERAL_VIA_GITHUB_APP"}"#;
    let (slug, owner) = (slug(), Owner::DEFAULT);
    let plan = input(&slug, &owner, &OsSecure, &Replica).plan().unwrap();
    let large = vec![b'x'; MAX_SECRET + 1];
    for (secret, expected) in [
        (&b"hunter2"[..], None),
        (&large[1..], None),
        (b"", Some(ErrorCode::EmptySecret)),
        (b" \n", Some(ErrorCode::EmptySecret)),
        (&large, Some(ErrorCode::SecretTooLarge)),
        (APP, Some(ErrorCode::MechMismatch)),
        (b"ghp_Zq7Zq7Zq7Zq7", Some(ErrorCode::LongLivedToken)),
    ] {
        for allow_dangerous in [false, true] {
            let found = plan.check_secret(secret, allow_dangerous).err();
            let expected =
                expected.clone().filter(|code| !(allow_dangerous && *code == ErrorCode::LongLivedToken));
            assert!(found.iter().all(|error| !error.message.contains("Zq7")), "{found:?}");
            assert_eq!(found.map(|error| error.code), expected, "{:?}", secret.get(..20));
        }
    }
    assert_eq!(plan.irregularities(b"hunter2"), None);
    let notice = "the secret for acme.test.K ends with a newline; it was stored as given";
    assert_eq!(plan.irregularities(b"hunter2\n").as_deref(), Some(notice));
}
