//! Asks and what they mean, one row each. The manifest of most is: org `acme`, `env.test: [T,
//! MANY]`, `env.prod: [P, MANY]`, `env.all: [A, a.b]`.

use proptest::prelude::*;

use super::*;
use crate::env::Env;
use crate::error::ErrorCode;
use crate::fix::Invocation;
use crate::owner::Owner;
use crate::repo_manifest::{MANIFEST_PATH, ManifestFile, RawManifest, RepoManifest, YamlNode, load_manifest};
use crate::slug::Slug;

fn manifest(json: &str) -> RepoManifest {
    let root = serde_json::from_str(json).unwrap();
    load_manifest(&RawManifest { path: MANIFEST_PATH.into(), root }, |_| Ok(None)).unwrap()
}

fn acme() -> RepoManifest {
    manifest(
        r#"{"org":"acme","env.test":["T","MANY"],"env.prod":["P","MANY"],"env.all":["A","a.b",{"key":"O"}],
            "env.prep":["O"]}"#,
    )
}

struct Row<'a> {
    key: &'a str,
    env: Option<&'a str>,
    org: Option<&'a str>,
}

fn row<'a>(key: &'a str, env: &'a str, org: &'a str) -> Row<'a> {
    let given = |text: &'a str| (!text.is_empty()).then_some(text);
    Row { key, env: given(env), org: given(org) }
}

fn query<'a>(row: &Row<'a>, manifest: Option<&'a RepoManifest>, owner: &'a Owner) -> KeyQuery<'a> {
    KeyQuery { key: Some(row.key), env: row.env, org: row.org, owner, manifest }
}

/// `Ok(slug)`, or `Err(code)`.
type Meant<'a> = Result<&'a str, ErrorCode>;

fn check(verbs: &[Operation], manifest: Option<&RepoManifest>, table: &[(&str, &str, &str, Meant<'_>)]) {
    for (key, env, org, meant) in table {
        for operation in verbs {
            let row = row(key, env, org);
            let got = resolve_key(&query(&row, manifest, &Owner::DEFAULT), *operation);
            let got = got.map(|slug| slug.to_string()).map_err(|error| error.code);
            let at = format!("{} --key {key} --env {env} --org {org}", operation.as_str());
            assert_eq!(got.as_deref(), meant.as_deref(), "{at}");
        }
    }
}

const ALL: [Operation; 6] =
    [Operation::Get, Operation::Source, Operation::Unlock, Operation::Relock, Operation::Set, Operation::Del];
const READ: [Operation; 4] = [Operation::Get, Operation::Source, Operation::Unlock, Operation::Relock];

#[test]
fn resolve_key_with_manifest_is_the_same_for_every_operation() {
    use ErrorCode as E;
    check(
        &ALL,
        Some(&acme()),
        &[
            // bare, with an env
            ("T", "test", "", Ok("acme.test.T")),
            ("T", "test", "@this", Ok("acme.test.T")),
            ("T", "test", "acme", Ok("acme.test.T")),
            ("UNDECLARED", "camp", "", Ok("acme.camp.UNDECLARED")),
            ("S", "sudo", "", Ok("acme.sudo.S")),
            ("A", "all", "", Ok("acme.all.A")),
            ("T", "test", "@all", Ok("@all.test.T")),
            ("S", "sudo", "@all", Ok("@all.sudo.S")),
            ("T", "test", "other", Err(E::OrgMismatch)),
            ("T", "tset", "", Err(E::BadEnv)),
            ("T", "Test", "", Err(E::BadEnv)),
            ("T", "dev", "@all", Err(E::BadEnv)),
            ("T", "test", "@else", Err(E::BadOrg)),
            ("T", "test", "a.b", Err(E::BadOrg)),
            // bare, without one
            ("T", "", "", Ok("acme.test.T")),
            ("P", "", "acme", Ok("acme.prod.P")),
            ("A", "", "", Ok("acme.all.A")),
            ("O", "", "", Ok("acme.all.O")),
            ("a.b", "", "", Ok("acme.all.a.b")),
            ("MANY", "", "", Err(E::AmbiguousKey)),
            ("T", "", "other", Err(E::OrgMismatch)),
            // names
            ("", "test", "", Err(E::BadKeyName)),
            ("a b", "test", "", Err(E::BadKeyName)),
            ("$(x)", "test", "", Err(E::BadKeyName)),
            ("a\nb", "test", "", Err(E::BadKeyName)),
            ("acme.dev.K", "test", "", Ok("acme.test.acme.dev.K")),
            // full
            ("acme.test.T", "", "", Ok("acme.test.T")),
            ("acme.test.T", "test", "acme", Ok("acme.test.T")),
            ("acme.prod.ANY.dots", "", "", Ok("acme.prod.ANY.dots")),
            ("@this.test.T", "", "", Ok("acme.test.T")),
            ("@this.test.T", "test", "acme", Ok("acme.test.T")),
            ("@all.test.T", "", "", Ok("@all.test.T")),
            ("@all.test.T", "test", "@all", Ok("@all.test.T")),
            ("acme.sudo.S", "", "", Ok("acme.sudo.S")),
            ("acme.sudo.S", "sudo", "", Ok("acme.sudo.S")),
            ("@all.sudo.S", "sudo", "", Ok("@all.sudo.S")),
            // a full slug bypasses no rule
            ("other.test.T", "", "", Err(E::OrgMismatch)),
            ("other.test.T", "", "other", Err(E::OrgMismatch)),
            ("other.prod.T", "", "@all", Err(E::OrgMismatch)),
            ("acme.prod.T", "", "@all", Err(E::OrgMismatch)),
            ("@all.prod.T", "", "acme", Err(E::OrgMismatch)),
            ("@this.prod.T", "", "@all", Err(E::OrgMismatch)),
            ("acme.prod.T", "test", "", Err(E::EnvConflict)),
            ("acme.prod.T", "sudo", "", Err(E::EnvConflict)),
            ("@all.sudo.S", "test", "", Err(E::EnvConflict)),
            ("@all.sudo.S", "all", "", Err(E::EnvConflict)),
            ("acme.sudo.S", "test", "", Err(E::EnvConflict)),
            ("acme.test.T", "all", "", Err(E::EnvConflict)),
            ("acme.test.T", "tset", "", Err(E::BadEnv)),
            ("@else.test.T", "", "", Err(E::BadOrg)),
            ("acme.test.T\u{1b}", "", "", Err(E::BadSlug)),
        ],
    );
}

#[test]
fn resolve_key_of_undeclared_name_depends_on_the_operation() {
    use ErrorCode as E;
    let acme = acme();
    check(
        &READ,
        Some(&acme),
        &[("NEW", "", "", Err(E::KeyNotFound)), ("NEW", "", "@all", Ok("@all.all.NEW"))],
    );
    check(
        &[Operation::Set],
        Some(&acme),
        &[("NEW", "", "", Err(E::EnvRequired)), ("NEW", "", "@all", Err(E::EnvRequired))],
    );
    check(
        &[Operation::Del],
        Some(&acme),
        &[("NEW", "", "", Ok("acme.all.NEW")), ("NEW", "", "@all", Ok("@all.all.NEW"))],
    );
}

#[test]
fn resolve_key_without_manifest_needs_an_org() {
    use ErrorCode as E;
    let everyone = [
        ("T", "", "", Err(E::NoManifest)),
        ("T", "test", "", Err(E::NoManifest)),
        ("S", "sudo", "", Err(E::NoManifest)),
        ("@this.test.T", "", "", Err(E::NoManifest)),
        ("T", "test", "@all", Ok("@all.test.T")),
        ("S", "sudo", "@all", Ok("@all.sudo.S")),
        ("@all.test.T", "", "", Ok("@all.test.T")),
        ("acme.test.T", "prod", "", Err(E::EnvConflict)),
        ("acme.test.T", "", "@all", Err(E::OrgMismatch)),
        ("acme.test.T", "", "other", Err(E::OrgMismatch)),
        ("T", "tset", "", Err(E::BadEnv)),
    ];
    check(&ALL, None, &everyone);
    check(
        &READ,
        None,
        &[
            ("acme.test.T", "", "", Ok("acme.test.T")),
            ("acme.test.T", "test", "acme", Ok("acme.test.T")),
            ("acme.sudo.T", "", "", Ok("acme.sudo.T")),
            ("T", "", "acme", Ok("acme.all.T")),
            ("T", "test", "acme", Ok("acme.test.T")),
            ("T", "", "@all", Ok("@all.all.T")),
        ],
    );
    check(
        &[Operation::Set, Operation::Del],
        None,
        &[
            ("acme.test.T", "", "", Err(E::NoManifest)),
            ("T", "test", "acme", Err(E::NoManifest)),
            ("T", "test", "@this", Err(E::NoManifest)),
        ],
    );
}

#[test]
fn resolve_anywhere_accepts_a_full_slug_without_manifest() {
    use ErrorCode as E;
    for (key, env, org, set, del) in [
        ("acme.test.K", "", "", Ok("acme.test.K"), Ok("acme.test.K")),
        ("acme.sudo.K", "sudo", "acme", Ok("acme.sudo.K"), Ok("acme.sudo.K")),
        ("@all.test.K", "", "", Ok("@all.test.K"), Ok("@all.test.K")),
        ("acme.test.K", "prod", "", Err(E::EnvConflict), Err(E::EnvConflict)),
        ("acme.test.K", "", "other", Err(E::OrgMismatch), Err(E::OrgMismatch)),
        ("Acme.test.K", "", "", Err(E::BadOrg), Ok("Acme.test.K")),
        ("acme.test.a b", "", "", Err(E::BadKeyName), Ok("acme.test.a b")),
        ("@this.test.K", "", "", Err(E::NoManifest), Err(E::NoManifest)),
        ("K", "test", "", Err(E::NoManifest), Err(E::NoManifest)),
        ("K", "test", "acme", Err(E::NoManifest), Err(E::NoManifest)),
    ] {
        for (operation, meant) in [(Operation::Set, set), (Operation::Del, del)] {
            let row = row(key, env, org);
            let got = resolve_anywhere(&query(&row, None, &Owner::DEFAULT), operation);
            let got = got.map(|slug| slug.to_string()).map_err(|error| error.code);
            assert_eq!(got.as_deref(), meant.as_deref(), "{} {key} {env} {org}", operation.as_str());
        }
    }
    let acme = acme();
    let other = row("other.test.K", "", "");
    let refused = resolve_anywhere(&query(&other, Some(&acme), &Owner::DEFAULT), Operation::Set).unwrap_err();
    assert_eq!(refused.code, E::OrgMismatch, "a manifest has its say");
}

#[test]
fn set_resolves_only_to_storable_slugs() {
    let capital = manifest(r#"{"org":"Acme","env.test":["T"]}"#);
    check(&READ, Some(&capital), &[("T", "", "", Ok("Acme.test.T"))]);
    check(
        &[Operation::Set],
        Some(&capital),
        &[
            ("T", "", "", Err(ErrorCode::BadOrg)),
            ("@this.test.T", "", "", Err(ErrorCode::BadOrg)),
            ("T", "test", "@all", Ok("@all.test.T")),
        ],
    );
    check(&[Operation::Set], Some(&acme()), &[("acme.test.a b", "", "", Err(ErrorCode::BadKeyName))]);
    check(&READ, Some(&acme()), &[("2FA_é@x/y", "test", "", Ok("acme.test.2FA_é@x/y"))]);
    check(&[Operation::Set], Some(&acme()), &[("2FA", "test", "", Err(ErrorCode::BadKeyName))]);
    check(&[Operation::Del], Some(&acme()), &[("2FA", "test", "", Ok("acme.test.2FA"))]);
    check(&[Operation::Get], Some(&acme()), &[("acme.test.a b", "", "", Ok("acme.test.a b"))]);
}

#[test]
fn errors_name_a_fix_or_hint() {
    let acme = acme();
    let owner: Owner = "ehmpath".parse().unwrap();
    for (operation, key, env, org, fix) in [
        (Operation::Get, "MANY", "", "", Some("keyrack get --owner ehmpath --env test --key MANY")),
        (Operation::Source, "MANY", "", "acme", Some("keyrack source --owner ehmpath --env test --key MANY")),
        (Operation::Set, "MANY", "", "", None),
        (
            Operation::Unlock,
            "@all.sudo.S",
            "test",
            "",
            Some("keyrack unlock --owner ehmpath --env sudo --key @all.sudo.S"),
        ),
        (Operation::Get, "other.test.T", "", "", None),
        (Operation::Get, "NEW", "", "", None),
    ] {
        let row = row(key, env, org);
        let error = resolve_key(&query(&row, Some(&acme), &owner), operation).unwrap_err();
        let rendered = error.fix.as_ref().map(|fix| fix.render(Invocation::default()));
        assert_eq!(rendered.as_deref(), fix, "{key}");
        assert!(fix.is_some() || error.hint.is_some(), "{error:?}");
        assert_eq!(error.exit(), 2);
    }
    // and the way out of the ambiguous one is one
    check(&[Operation::Get], Some(&acme), &[("MANY", "test", "", Ok("acme.test.MANY"))]);
    let no_key = KeyQuery { key: None, env: None, org: None, owner: &owner, manifest: Some(&acme) };
    assert_eq!(resolve_key(&no_key, Operation::Get).unwrap_err().code, ErrorCode::Usage);
}

#[test]
fn repo_keys_lists_the_keys_of_an_env() {
    let acme = acme();
    let no_env = manifest(r#"{"org":"acme"}"#);
    let owner = Owner::DEFAULT;
    let keys = |env, manifest| {
        let asked = KeyQuery { key: None, env, org: None, owner: &owner, manifest };
        repo_keys(&asked)
            .map(|(env, keys)| (env, keys.iter().map(|key| key.slug.as_str()).collect::<Vec<_>>().join(" ")))
            .map_err(|error| error.code)
    };
    let test = "acme.test.A acme.test.a.b acme.test.O acme.test.T acme.test.MANY";
    for (env, manifest, expected) in [
        (Some("test"), Some(&acme), Ok((Env::Test, test.to_owned()))),
        (Some("camp"), Some(&acme), Ok((Env::Camp, String::new()))),
        (None, Some(&no_env), Ok((Env::All, String::new()))),
        (None, Some(&acme), Err(ErrorCode::EnvRequired)),
        (Some("sudo"), Some(&acme), Err(ErrorCode::SudoNeedsKey)),
        (Some("tset"), Some(&acme), Err(ErrorCode::BadEnv)),
        (Some("test"), None, Err(ErrorCode::NoManifest)),
        (Some("sudo"), None, Err(ErrorCode::SudoNeedsKey)),
    ] {
        assert_eq!(keys(env, manifest), expected, "{env:?}");
    }
    let (_, all) = keys(Some("all"), Some(&acme)).unwrap();
    assert_eq!(all.split(' ').count(), acme.keys().len(), "all means every env");
}

#[test]
fn unlock_slugs_resolves_keys_and_envs() {
    use ErrorCode as E;
    let acme = acme();
    let hosts: Vec<Slug> = [
        "acme.test.T",
        "acme.sudo.S",
        "@all.sudo.S",
        "@all.sudo.BOX",
        "@all.test.BOX",
        "@all.test.T",
        "@all.prod.BOX",
        "@all.all.EVERY",
        "other.test.X",
        "acme.test.UNDECLARED",
        "@all.dev.OLD",
    ]
    .iter()
    .map(|text| Slug::parse_stored(text).unwrap())
    .collect();
    let owner = Owner::DEFAULT;
    let some = Some(&acme);
    type Case<'a> = (&'a str, &'a str, &'a str, Option<&'a RepoManifest>, Result<&'a str, ErrorCode>);
    let table: &[Case<'_>] = &[
        // a key of the repository
        ("T", "test", "", some, Ok("acme.test.T @all.test.T")),
        ("T", "", "", some, Ok("acme.test.T @all.test.T")),
        ("T", "", "acme", some, Ok("acme.test.T")),
        ("T", "test", "@all", some, Ok("@all.test.T")),
        ("P", "prod", "", some, Ok("acme.prod.P")),
        ("A", "", "", some, Ok("acme.all.A")),
        ("A", "prod", "", some, Ok("acme.prod.A")),
        ("O", "all", "", some, Ok("acme.all.O acme.test.O acme.prod.O acme.prep.O")),
        ("MANY", "", "", some, Err(E::AmbiguousKey)),
        ("UNDECLARED", "test", "", some, Err(E::KeyNotFound)),
        ("UNDECLARED", "", "", some, Err(E::KeyNotFound)),
        ("T", "prod", "", some, Err(E::KeyNotFound)),
        ("T", "tset", "", some, Err(E::BadEnv)),
        ("T", "test", "other", some, Err(E::OrgMismatch)),
        // of the machine
        ("BOX", "test", "", some, Ok("@all.test.BOX")),
        ("BOX", "test", "", None, Ok("@all.test.BOX")),
        ("BOX", "test", "@all", None, Ok("@all.test.BOX")),
        ("BOX", "camp", "", None, Err(E::KeyNotFound)),
        ("BOX", "", "", None, Err(E::EnvRequired)),
        ("T", "test", "acme", None, Ok("acme.test.T")),
        // sudo: only asked for as such, both orgs' if both are set
        ("S", "sudo", "", some, Ok("acme.sudo.S @all.sudo.S")),
        ("S", "sudo", "acme", some, Ok("acme.sudo.S")),
        ("S", "sudo", "@all", some, Ok("@all.sudo.S")),
        ("S", "sudo", "", None, Ok("@all.sudo.S")),
        ("BOX", "sudo", "", some, Ok("@all.sudo.BOX")),
        ("T", "sudo", "", some, Err(E::KeyNotFound)),
        ("S", "test", "", some, Err(E::KeyNotFound)),
        ("S", "all", "", some, Err(E::KeyNotFound)),
        ("S", "", "", some, Err(E::KeyNotFound)),
        ("", "sudo", "", some, Err(E::SudoNeedsKey)),
        ("", "sudo", "", None, Err(E::SudoNeedsKey)),
        // full slugs
        ("acme.test.T", "", "", some, Ok("acme.test.T")),
        ("@this.prod.P", "prod", "", some, Ok("acme.prod.P")),
        ("acme.sudo.S", "", "", some, Ok("acme.sudo.S")),
        ("@all.sudo.S", "", "", some, Ok("@all.sudo.S")),
        ("@all.test.BOX", "", "", some, Ok("@all.test.BOX")),
        ("@all.sudo.S", "test", "", some, Err(E::EnvConflict)),
        ("acme.prod.P", "sudo", "", some, Err(E::EnvConflict)),
        ("acme.prod.P", "test", "", some, Err(E::EnvConflict)),
        ("acme.test.UNDECLARED", "test", "", some, Err(E::KeyNotFound)),
        ("acme.all.T", "", "", some, Err(E::KeyNotFound)),
        ("other.test.X", "test", "", some, Err(E::OrgMismatch)),
        ("other.test.X", "test", "@all", some, Err(E::OrgMismatch)),
        ("other.test.X", "", "", None, Ok("other.test.X")),
        // all
        (
            "",
            "test",
            "",
            some,
            Ok("acme.test.A acme.test.a.b acme.test.O acme.test.T acme.test.MANY @all.test.BOX @all.test.T"),
        ),
        ("", "test", "@all", some, Ok("@all.test.BOX @all.test.T")),
        ("", "prep", "acme", some, Ok("acme.prep.A acme.prep.a.b acme.prep.O")),
        ("", "test", "", None, Ok("@all.test.BOX @all.test.T")),
        ("", "all", "", None, Ok("@all.all.EVERY")),
        ("", "", "", some, Err(E::EnvRequired)),
        ("", "", "", None, Err(E::EnvRequired)),
        ("", "tset", "", some, Err(E::BadEnv)),
        ("", "test", "other", some, Err(E::OrgMismatch)),
        ("", "test", "acme", None, Err(E::NoManifest)),
    ];
    for (key, env, org, manifest, meant) in table {
        let row = row(key, env, org);
        let mut asked = query(&row, *manifest, &owner);
        asked.key = asked.key.filter(|key| !key.is_empty());
        let got = unlock_slugs(&asked, &hosts)
            .map(|slugs| slugs.iter().map(Slug::as_str).collect::<Vec<_>>().join(" "))
            .map_err(|error| error.code);
        assert_eq!(
            got.as_deref(),
            meant.as_deref(),
            "--key {key} --env {env} --org {org}, manifest {}",
            manifest.is_some()
        );
        // nothing but an ask for sudo ever means a sudo key
        if let Ok(slugs) = got {
            let sudo = slugs.contains(".sudo.");
            assert_eq!(sudo, *env == "sudo" || key.contains(".sudo."), "{slugs}");
        }
    }
}

#[test]
fn env_is_required_if_an_extended_file_declares_one() {
    let root: YamlNode = serde_json::from_str(r#"{"org":"acme","extends":["role.yml"]}"#).unwrap();
    let extending = |role: &str| {
        let role: YamlNode = serde_json::from_str(role).unwrap();
        let root = RawManifest { path: MANIFEST_PATH.into(), root: root.clone() };
        let role = |path: &str| ManifestFile::Content(RawManifest { path: path.into(), root: role.clone() });
        load_manifest(&root, |path| Ok(Some(role(path)))).unwrap()
    };
    let whole = |manifest: &RepoManifest, env| {
        let query = KeyQuery { key: None, env, org: None, owner: &Owner::DEFAULT, manifest: Some(manifest) };
        let read = repo_keys(&query).map(|(env, keys)| (env, keys.len()));
        let unlocked = unlock_slugs(&query, []).map(|slugs| slugs.len());
        assert_eq!(read.as_ref().map(|(_, count)| *count), unlocked.as_ref().copied());
        read
    };
    let two = extending(r#"{"org":"role","env.test":["T"],"env.prod":["P","Q"]}"#);
    let error = whole(&two, None).unwrap_err();
    assert_eq!(error.code, ErrorCode::EnvRequired);
    assert!(error.message.ends_with("keyrack.yml declares test, prod"), "{error}");
    assert_eq!(whole(&two, Some("prod")), Ok((Env::Prod, 2)));
    assert_eq!(whole(&two, Some("all")), Ok((Env::All, 3)));
    let none = extending(r#"{"org":"role"}"#);
    assert_eq!(whole(&none, None), Ok((Env::All, 0)));
}

#[test]
fn relock_slugs_covers_what_unlock_opens() {
    use ErrorCode as E;
    let acme = acme();
    let owner = Owner::DEFAULT;
    let some = Some(&acme);
    for (key, env, org, manifest, meant) in [
        ("T", "", "", some, Ok("acme.test.T acme.all.T @all.test.T @all.all.T")),
        ("T", "test", "acme", some, Ok("acme.test.T acme.all.T")),
        ("T", "test", "@all", some, Ok("@all.test.T @all.all.T")),
        ("A", "", "", some, Ok("acme.all.A @all.all.A")),
        ("a.b", "", "", some, Ok("acme.all.a.b @all.all.a.b")),
        ("S", "sudo", "", some, Ok("acme.sudo.S @all.sudo.S")),
        ("T", "test", "", None, Ok("@all.test.T @all.all.T")),
        ("T", "", "", None, Ok("@all.all.T")),
        ("MANY", "", "", some, Err(E::AmbiguousKey)),
        ("NEW", "", "", some, Err(E::KeyNotFound)),
        ("T", "tset", "", some, Err(E::BadEnv)),
        ("a b", "test", "", some, Err(E::BadKeyName)),
        ("", "", "", some, Err(E::BadKeyName)),
        // to end a key is always allowed
        ("acme.test.T", "", "", some, Ok("acme.test.T")),
        ("other.prod.X", "", "", some, Ok("other.prod.X")),
        ("@all.sudo.S", "", "", None, Ok("@all.sudo.S")),
        ("@this.test.T", "", "", some, Ok("acme.test.T")),
        ("acme.dev.OLD", "", "", some, Ok("acme.dev.OLD")),
        ("@this.test.T", "", "", None, Err(E::NoManifest)),
        ("acme.test.T", "prod", "", some, Err(E::EnvConflict)),
    ] {
        let row = row(key, env, org);
        let got = relock_slugs(&query(&row, manifest, &owner))
            .map(|slugs| slugs.iter().map(Slug::as_str).collect::<Vec<_>>().join(" "))
            .map_err(|error| error.code);
        assert_eq!(got.as_deref(), meant.as_deref(), "--key {key} --env {env} --org {org}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is typed: the slug is of the manifest's org or the machine's, of the env that was
    /// asked for, and `sudo` only if that was.
    #[test]
    fn no_query_bypasses_org_env_or_sudo(
        key in "(acme|other|@all|@this|a)?\\.?(test|prod|sudo|all|dev)?\\.?(T|P|S|A|MANY|x\\.y)?\\.?",
        env in prop::option::of("test|prod|sudo|all|camp|dev"),
        org in prop::option::of("acme|other|@all|@this|@else"),
        declared in any::<bool>(),
    ) {
        let acme = acme();
        let manifest = declared.then_some(&acme);
        let owner = Owner::DEFAULT;
        let query = KeyQuery { key: Some(&key), env: env.as_deref(), org: org.as_deref(), owner: &owner, manifest };
        let hosts: Vec<Slug> = ["acme.sudo.S", "@all.sudo.S", "other.sudo.S", "@all.test.T", "other.prod.P"]
            .iter().map(|text| Slug::parse(text).unwrap()).collect();
        let one = ALL.map(|operation| resolve_key(&query, operation).ok()).into_iter().flatten();
        let many = unlock_slugs(&query, &hosts).unwrap_or_default();
        for slug in one.chain(many) {
            let of_machine = slug.is_machine() && (org.as_deref() == Some("@all") || org.as_deref() != Some("acme"));
            let of_org = match (org.as_deref(), declared) {
                (Some("@all"), _) => slug.is_machine(),
                (_, true) => slug.org() == "acme" || of_machine,
                (Some("acme" | "other"), false) => Some(slug.org()) == org.as_deref(),
                (_, false) => key.starts_with(slug.org()) || of_machine,
            };
            prop_assert!(of_org, "{:?} gave {}", query, slug);
            prop_assert!(env.as_deref().is_none_or(|env| slug.env() == env || env == "all" && declared), "{:?} gave {}", query, slug);
            let asked_for_sudo = env.as_deref() == Some("sudo") || (env.is_none() && key.contains(".sudo."));
            prop_assert!(!slug.is_sudo() || asked_for_sudo, "{:?} gave {}", query, slug);
        }
    }
}
