//! Rejections of `set` and their order, its results, and `del` after an interruption.

use std::fs;

use keyrack_core::{ErrorCode, Invocation, Mechanism, VaultId};
use keyrack_ops::del::{DelRequest, del};
use keyrack_ops::list::list;
use keyrack_ops::set::{SetRequest, set};

use crate::fake_prompts::{FakePrompts, World};

fn ask(key: &str) -> SetRequest {
    SetRequest {
        key: key.to_owned(),
        vault: Some("os.secure".to_owned()),
        mech: Some("PERMANENT_VIA_REPLICA".to_owned()),
        env: Some("test".to_owned()),
        ..SetRequest::default()
    }
}

fn with_secret(secret: &[u8]) -> FakePrompts {
    FakePrompts { secret: Some(secret.to_vec()), ..FakePrompts::default() }
}

#[test]
fn set_rejects_bad_requests_before_any_prompt() {
    let world = World::with_rack(
        "org: acme\nenv.test:\n  - key: STRONG\n    grade: encrypted\nenv.prep: &x\n  - P\n",
    );
    world.with(&mut with_secret(b"v"), |ctx| set(ctx, &ask("HELD"))).unwrap();
    let before = world.snapshot();
    let other = |change: fn(&mut SetRequest)| {
        let mut ask = ask("K");
        change(&mut ask);
        ask
    };
    for (what, ask, code) in [
        ("no vault", other(|ask| ask.vault = Some("os.keyring".into())), ErrorCode::BadVault),
        (
            "a vault of another version",
            other(|ask| ask.vault = Some("aws.params".into())),
            ErrorCode::VaultUnsupported,
        ),
        (
            "a vault that is read only",
            other(|ask| ask.vault = Some("os.envvar".into())),
            ErrorCode::VaultReadOnly,
        ),
        ("no mechanism", other(|ask| ask.mech = Some("X".into())), ErrorCode::BadMech),
        (
            "not of this vault",
            other(|ask| ask.mech = Some("EPHEMERAL_VIA_SESSION".into())),
            ErrorCode::BadMech,
        ),
        ("no env", other(|ask| ask.env = Some("dev".into())), ErrorCode::BadEnv),
        ("an env that cannot be told", other(|ask| ask.env = None), ErrorCode::EnvRequired),
        ("no org", other(|ask| ask.org = Some("a.b".into())), ErrorCode::BadOrg),
        ("another org", other(|ask| ask.org = Some("other".into())), ErrorCode::OrgMismatch),
        ("no name", other(|ask| ask.key = "a b".into()), ErrorCode::BadKeyName),
        ("another slug's org", other(|ask| ask.key = "other.test.K".into()), ErrorCode::OrgMismatch),
        ("another slug's env", other(|ask| ask.key = "acme.prod.K".into()), ErrorCode::EnvConflict),
        ("no duration", other(|ask| ask.max_duration = Some("1d".into())), ErrorCode::BadDuration),
        ("nothing of a duration", other(|ask| ask.max_duration = Some("0h".into())), ErrorCode::BadDuration),
        ("a name for nothing", other(|ask| ask.exid = Some("x".into())), ErrorCode::Usage),
        ("no such manifest", other(|ask| ask.at = Some("no.yml".into())), ErrorCode::NoManifest),
        ("a manifest elsewhere", other(|ask| ask.at = Some("../k.yml".into())), ErrorCode::Usage),
        (
            "a weaker vault",
            other(|ask| (ask.key, ask.vault) = ("HELD".into(), Some("os.direct".into()))),
            ErrorCode::GradeDegraded,
        ),
        (
            "below its demand",
            other(|ask| (ask.key, ask.vault) = ("STRONG".into(), Some("os.direct".into()))),
            ErrorCode::BelowDeclared,
        ),
        ("an odd section", other(|ask| ask.env = Some("prep".into())), ErrorCode::ManifestInvalid),
        ("a mechanism that is not confirmed", other(|ask| ask.mech = None), ErrorCode::MechRequired),
    ] {
        let mut person = with_secret(b"v");
        let refused = world.with(&mut person, |ctx| set(ctx, &ask)).err();
        assert_eq!(refused.map(|error| error.code), Some(code), "{what}");
        assert!(!person.asked.contains(&"secret"), "{what}: {:?}", person.asked);
    }
    assert_eq!(world.snapshot(), before, "no refusal has changed anything");
}

#[test]
fn set_rejects_an_org_that_cannot_be_stored() {
    let world = World::with_rack("org: Acme\nenv.test: []\n");
    let mut person = with_secret(b"v");
    let refused = world.with(&mut person, |ctx| set(ctx, &ask("K"))).unwrap_err();
    assert_eq!(refused.code, ErrorCode::BadOrg);
    assert!(person.asked.is_empty());
}

#[test]
fn set_rejects_bad_secrets_without_changes() {
    let world = World::with_rack("org: acme\nenv.test: []\n");
    let before = world.snapshot();
    let large = vec![b'x'; keyrack_ops::MAX_SECRET + 1];
    for (secret, code) in [
        (&b""[..], ErrorCode::EmptySecret),
        (b" ghp_0123", ErrorCode::LongLivedToken),
        (b"AKIA0123", ErrorCode::LongLivedToken),
        (b"{\"mech\":\"EPHEMERAL_VIA_GITHUB_APP\"}", ErrorCode::MechMismatch),
        (&large, ErrorCode::SecretTooLarge),
    ] {
        let refused = world.with(&mut with_secret(secret), |ctx| set(ctx, &ask("K"))).unwrap_err();
        assert_eq!(refused.code, code);
        let shown = format!("{refused:?}");
        assert!(!shown.contains("0123") && shown.len() < 1000, "no part of it is shown: {shown}");
    }
    assert_eq!(world.snapshot(), before);
}

#[test]
fn set_confirms_a_permanent_key() {
    let world = World::with_rack("org: acme\nenv.test: []\n");
    let unnamed = SetRequest { mech: None, ..ask("K") };
    let mut person = FakePrompts { yes: Some(false), ..with_secret(b"v") };
    let refused = world.with(&mut person, |ctx| set(ctx, &unnamed)).unwrap_err();
    assert_eq!((refused.code, &person.asked[..]), (ErrorCode::MechRequired, &["confirm"][..]));
    let mut person = FakePrompts { yes: Some(true), ..with_secret(b"v") };
    let done = world.with(&mut person, |ctx| set(ctx, &unnamed)).unwrap();
    assert_eq!((done.host.mech, &person.asked[..]), (Mechanism::Replica, &["confirm", "secret"][..]));
}

#[test]
fn second_set_keeps_created_at_and_declaration() {
    let world = World::with_rack("org: acme\nenv.test: []\n");
    let first = world.with(&mut with_secret(b"1"), |ctx| set(ctx, &ask("K"))).unwrap();
    assert!(first.declared);
    // A marker that got lost is made again, and a new limit is heeded.
    for entry in fs::read_dir(world.rack().join("inventory/owner=default")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let limited = SetRequest { max_duration: Some("1h".into()), ..ask("K") };
    let second = world.with(&mut with_secret(b"2"), |ctx| set(ctx, &limited)).unwrap();
    assert!(!second.declared);
    assert_eq!(second.host.created_at, first.host.created_at);
    assert_eq!(second.host.max_duration.as_deref(), Some("1h"));
    assert_eq!(fs::read_dir(world.rack().join("inventory/owner=default")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(world.manifest()).unwrap(), "org: acme\nenv.test:\n  - K\n");
}

#[test]
fn set_stores_a_key_that_cannot_be_declared() {
    let world = World::with_rack("org: acme\nenv.test: []\n");
    struct Meddler<'w>(&'w World);
    impl keyrack_ops::Prompts for Meddler<'_> {
        fn is_interactive(&self) -> bool {
            true
        }
        fn secret(
            &mut self,
            _: &keyrack_core::Slug,
        ) -> Result<zeroize::Zeroizing<Vec<u8>>, keyrack_core::Error> {
            // Between plan and commit another program makes the file one that cannot be edited.
            fs::write(self.0.manifest(), "org: acme\nenv.test: &x []\n").unwrap();
            Ok(zeroize::Zeroizing::new(b"v".to_vec()))
        }
        fn passphrase(
            &mut self,
            _: &std::path::Path,
            _: bool,
        ) -> Result<zeroize::Zeroizing<String>, keyrack_core::Error> {
            unreachable!("the key has none")
        }
        fn confirm(&mut self, _: &str, _: &str) -> Result<bool, keyrack_core::Error> {
            unreachable!("the mechanism is named")
        }
        fn choose(
            &mut self,
            _: &str,
            _: &[String],
            _: Option<usize>,
            _: &str,
        ) -> Result<usize, keyrack_core::Error> {
            unreachable!("the mechanism is named")
        }
    }
    let done = world.with_prompts(&mut Meddler(&world), |ctx| set(ctx, &ask("K"))).unwrap();
    assert!(!done.declared);
    assert!(
        done.notices.iter().any(|notice| notice.contains("not declared") && notice.contains("`- K`")),
        "{done:?}"
    );
    let listed = world.with(&mut FakePrompts::default(), list).unwrap();
    assert_eq!(listed.hosts.values().next().unwrap().vault, VaultId::OsSecure);
}

#[test]
fn del_completes_an_interrupted_set_or_del() {
    let world = World::with_rack("org: acme\nenv.test: []\n");
    world.with(&mut with_secret(b"v"), |ctx| set(ctx, &ask("K"))).unwrap();
    // As a set leaves it that was killed between the vault and the manifest.
    let manifest = world.rack().join("keyrack.host.age");
    let with_key = fs::read(&manifest).unwrap();
    let wanted = DelRequest { key: "acme.test.K".into(), ..DelRequest::default() };
    assert!(world.with(&mut FakePrompts::default(), |ctx| del(ctx, &wanted)).unwrap().found);
    let without_key = fs::read(&manifest).unwrap();
    world.with(&mut with_secret(b"v"), |ctx| set(ctx, &ask("K"))).unwrap();
    fs::write(&manifest, without_key).unwrap();
    let done = world.with(&mut FakePrompts::default(), |ctx| del(ctx, &wanted)).unwrap();
    assert!(done.found && done.undeclared, "{done:?}");
    let left: Vec<_> = world
        .snapshot()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension().is_some_and(|ext| ext == "age" || ext == "stocked"))
        .collect();
    assert_eq!(left, std::slice::from_ref(&manifest));
    // As a `del` leaves it that was killed between the vault and the manifest: the entry is left,
    // the file is gone.
    fs::write(&manifest, with_key).unwrap();
    assert!(world.with(&mut FakePrompts::default(), |ctx| del(ctx, &wanted)).unwrap().found);
    assert!(!world.with(&mut FakePrompts::default(), |ctx| del(ctx, &wanted)).unwrap().found);
}

#[test]
fn set_prompts_for_what_is_missing() {
    let world = World::with_rack("org: acme\nenv.test:\n  - OLD\nenv.prod:\n  - OLD\n");
    let ask = SetRequest { key: "NEW".to_owned(), ..SetRequest::default() };
    // Prompts for the env, the vault, the confirmation of a permanent key, and the secret.
    let mut person = FakePrompts { secret: Some(b"s".to_vec()), yes: Some(true), ..FakePrompts::default() };
    person.choices = vec!["", "prod"];
    let done = world.with(&mut person, |ctx| set(ctx, &ask)).unwrap();
    assert_eq!(person.asked, ["choose", "choose", "confirm", "secret"]);
    assert_eq!((done.host.slug.as_str(), done.host.vault.as_str()), ("acme.prod.NEW", "os.secure"));

    // Without prompts: the missing flags are reported in the order they are needed, and nothing is
    // changed.
    let before = world.snapshot();
    for (env, code, fix) in [
        (None, ErrorCode::EnvRequired, None),
        (
            Some("test"),
            ErrorCode::Usage,
            Some("keyrack set --env test --key OTHER --vault os.secure --mech PERMANENT_VIA_REPLICA"),
        ),
    ] {
        let ask = SetRequest { key: "OTHER".to_owned(), env: env.map(str::to_owned), ..ask.clone() };
        let error = world.with(&mut FakePrompts::default(), |ctx| set(ctx, &ask)).unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        if let Some(fix) = fix {
            assert_eq!(error.fix.unwrap().render(Invocation::default()), fix);
        }
    }
    assert_eq!(world.snapshot(), before);
}
