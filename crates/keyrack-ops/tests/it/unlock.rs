//! Outcome of each key of an unlock, before anything is sent.

use std::fs;

use keyrack_core::{Error, ErrorCode, Slug};
use keyrack_ops::set::{SetRequest, set};
use keyrack_ops::unlock::Omission;
use keyrack_ops::unlock::{OmittedKey, UnlockReport, UnlockRequest, unlock};

use crate::fake_prompts::{FakePrompts, World};

fn omitted(code: Option<ErrorCode>) -> OmittedKey {
    OmittedKey {
        slug: Slug::parse("acme.test.K").unwrap(),
        reason: if code.is_some() { Omission::Errored } else { Omission::Absent },
        cause: code.map(|code| Error::new(code, "x")),
        fix: None,
    }
}

#[test]
fn unlock_exit_code_follows_the_omissions() {
    for (what, causes, named, exit) in [
        ("nothing to do", &[][..], false, 0),
        ("absent ones of many", &[None, None], false, 0),
        ("one that was named and is absent", &[None], true, 2),
        ("the caller's", &[Some(ErrorCode::VaultCorrupt), None], false, 2),
        ("a fault among the caller's", &[Some(ErrorCode::VaultCorrupt), Some(ErrorCode::Io)], false, 1),
        ("a fault", &[Some(ErrorCode::MemoryFull)], true, 1),
        (
            "left out by rule",
            &[Some(ErrorCode::LongLivedToken), Some(ErrorCode::BelowDeclared), None],
            false,
            0,
        ),
        (
            "of another version",
            &[Some(ErrorCode::VaultUnsupported), Some(ErrorCode::NotAvailable), Some(ErrorCode::Lost)],
            false,
            0,
        ),
        ("a stronger one is live", &[Some(ErrorCode::GradeDegraded)], false, 0),
        (
            "the caller's among those",
            &[Some(ErrorCode::LongLivedToken), Some(ErrorCode::BadPassphrase)],
            false,
            2,
        ),
        ("one that was named, by rule", &[Some(ErrorCode::LongLivedToken)], true, 2),
    ] {
        let omitted = causes.iter().map(|code| omitted(code.clone())).collect();
        let report = UnlockReport { omitted, ..UnlockReport::default() };
        assert_eq!(report.exit(named), exit, "{what}");
    }
}

#[test]
fn unlock_without_keys_starts_no_daemon() {
    // There is no daemon program: starting one would fail.
    let world = World::with_rack("org: acme\nenv.test: [NEVER, GONE, BROKEN, WEAK, TOKEN]\nenv.prod: []\n");
    for (key, vault, allow_dangerous) in [
        ("GONE", "os.secure", false),
        ("BROKEN", "os.secure", false),
        ("WEAK", "os.direct", false),
        ("TOKEN", "os.secure", true),
    ] {
        let secret = if key == "TOKEN" { b"ghp_0123".to_vec() } else { b"v".to_vec() };
        let mut person = FakePrompts { secret: Some(secret), ..FakePrompts::default() };
        let ask = SetRequest {
            key: key.into(),
            vault: Some(vault.into()),
            mech: Some("REPLICA".into()),
            env: Some("test".into()),
            allow_dangerous,
            ..SetRequest::default()
        };
        world.with(&mut person, |ctx| set(ctx, &ask)).unwrap();
    }
    let file = |name: &str| {
        let hash = Slug::parse(&format!("acme.test.{name}")).unwrap().hash16();
        world.rack().join(format!("vault/os.secure/owner=default/{hash}.age"))
    };
    fs::remove_file(file("GONE")).unwrap();
    fs::write(file("BROKEN"), "junk").unwrap();
    let yml = "org: acme\nenv.test:\n  - NEVER\n  - GONE\n  - BROKEN\n  - WEAK: encrypted\n  - TOKEN\nenv.prod: []\n";
    fs::write(world.manifest(), yml).unwrap();
    let ask = UnlockRequest { env: Some("test".into()), ..UnlockRequest::default() };
    let report = world.with(&mut FakePrompts::default(), |ctx| unlock(ctx, &ask)).unwrap();
    let found: Vec<_> = report
        .omitted
        .iter()
        .map(|key| (key.slug.name(), key.reason, key.cause.as_ref().map(|cause| cause.code.clone())))
        .collect();
    assert_eq!(
        found,
        [
            ("NEVER", Omission::Absent, None),
            ("GONE", Omission::Lost, None),
            ("BROKEN", Omission::Errored, Some(ErrorCode::VaultCorrupt)),
            ("WEAK", Omission::Errored, Some(ErrorCode::BelowDeclared)),
            ("TOKEN", Omission::Errored, Some(ErrorCode::LongLivedToken)),
        ]
    );
    assert!(report.unlocked.is_empty());
    assert_eq!(report.exit(false), 2);
    let has_way_out = |key: &OmittedKey| {
        key.fix.is_some()
            || key.cause.as_ref().is_some_and(|cause| cause.fix.is_some() || cause.hint.is_some())
    };
    assert!(report.omitted.iter().all(has_way_out), "{:?}", report.omitted);
    // What a vault has surely lost is not called locked any more; what is only damaged is.
    let marker = |name: &str| {
        let hash = Slug::parse(&format!("acme.test.{name}")).unwrap().hash16();
        world.rack().join(format!("inventory/owner=default/{hash}.stocked")).exists()
    };
    assert!(!marker("GONE") && marker("BROKEN"));
}

#[test]
fn unlock_rejects_bad_requests_before_opening_the_rack() {
    // There is no rack: invalid requests are rejected before it is opened.
    let world = World::new("org: acme\nenv.test: [K]\n");
    let ask = |env: Option<&str>, key: Option<&str>, duration: Option<&str>| UnlockRequest {
        env: env.map(Into::into),
        key: key.map(Into::into),
        org: None,
        duration: duration.map(Into::into),
        allow_dangerous: false,
    };
    for (ask, code) in [
        (ask(Some("tset"), None, None), ErrorCode::BadEnv),
        (ask(Some("test"), None, Some("1 h")), ErrorCode::BadDuration),
        (ask(Some("test"), None, Some("0s")), ErrorCode::BadDuration),
    ] {
        let mut person = FakePrompts::default();
        let refused = world.with(&mut person, |ctx| unlock(ctx, &ask)).unwrap_err();
        assert_eq!(refused.code, code, "{ask:?}");
        assert!(person.asked.is_empty(), "{ask:?}");
    }
}
