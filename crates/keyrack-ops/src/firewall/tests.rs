//! Inputs, outputs, and a reader that parses them as the runner does.

use std::path::Path;

use keyrack_client::Environment;
use keyrack_client::source::{SourceMode, sort};
use keyrack_core::Slug;
use keyrack_testkit::github_runner::Step;
use proptest::prelude::*;

use super::github::{EnvFile, blocks, blocks_with, is_masked, is_set_by_runner, masks, unfit_reason};
use super::*;

const MANIFEST: &str =
    "org: acme\nenv.test:\n  - A\n  - B\n  - key: C\n    is-optional-if-has: HAVE\n  - STRONG: encrypted\n";

/// A repository in a directory of its own, and a caller in it with these variables.
fn context(dir: &Path, manifest: &str, variables: &[(&str, &str)]) -> Context {
    std::fs::create_dir_all(dir.join(".git")).unwrap();
    std::fs::create_dir_all(dir.join(".agent")).unwrap();
    std::fs::write(dir.join(".agent/keyrack.yml"), manifest).unwrap();
    let env: Environment = variables.iter().copied().collect();
    Context::new(dir, env)
}

fn answers(outcome: &GetOutcome) -> Vec<(String, Option<String>)> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let one = |answer: &KeyOutcome| {
        (
            format!("{} {}", answer.attempt.slug().name(), answer.attempt.status()),
            answer.secret.as_ref().map(text),
        )
    };
    outcome.keys.iter().map(one).collect()
}

#[test]
fn origin_and_destination_parse() {
    for (text, from) in [
        ("json(env://SECRETS)", Some(Origin::Variable("SECRETS".into()))),
        ("json(stdin://*)", Some(Origin::Stdin)),
        ("json(env://)", None),
        ("json(stdin://)", None),
        ("json(file://x)", None),
        ("env://SECRETS", None),
        ("json(env:SECRETS)", None),
        ("{\"A\":\"hunter2\"}", None),
        ("", None),
    ] {
        let read = text.parse::<Origin>();
        if let Err(error) = &read {
            assert!(!format!("{error:?}").contains("hunter2") && error.exit() == 2);
        }
        assert_eq!(read.ok(), from, "{text}");
    }
    for (text, into) in [
        ("json", Some(Destination::Json)),
        ("github.actions", Some(Destination::GithubActions)),
        ("github", None),
    ] {
        assert_eq!(text.parse::<Destination>().ok(), into, "{text}");
    }
}

#[test]
fn screen_reads_only_declared_keys() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap();
    let blob = r#"{"A":"{\"mech\":\"EPHEMERAL_VIA_GITHUB_APP\",\"key\":\"hunter2\"}","B":"x"}"#;
    for (variables, secrets, into, expected) in [
        // The JSON wins over the environment; an empty secret counts as absent, and undeclared ones
        // are ignored.
        (
            &[("A", "ambient"), ("B", "ambient")][..],
            r#"{"A":"given","B":"","PATH":"/evil","NODE_OPTIONS":1}"#,
            Destination::GithubActions,
            &[
                ("A granted", Some("given")),
                ("B granted", Some("ambient")),
                ("C absent", None),
                ("STRONG absent", None),
            ][..],
        ),
        (
            &[],
            r#"{"A":"a","STRONG":"s","HAVE":"x"}"#,
            Destination::Json,
            &[
                ("A granted", Some("a")),
                ("B absent", None),
                ("C absent", None),
                ("STRONG granted", Some("s")),
            ],
        ),
        // One that is blocked, and nothing leaves.
        (
            &[],
            r#"{"A":"a","B":"ghp_0123456789"}"#,
            Destination::Json,
            &[("A granted", None), ("B blocked", None), ("C absent", None), ("STRONG absent", None)],
        ),
        (
            &[],
            blob,
            Destination::GithubActions,
            &[("A blocked", None), ("B granted", None), ("C absent", None), ("STRONG absent", None)],
        ),
        (
            &[("KEYRACK_STRICT_ENV", "1")],
            r#"{"A":"a","STRONG":"s"}"#,
            Destination::GithubActions,
            &[("A granted", None), ("B absent", None), ("C absent", None), ("STRONG blocked", None)],
        ),
        (
            &[],
            r#"{"A":"a\u0000b"}"#,
            Destination::GithubActions,
            &[("A blocked", None), ("B absent", None), ("C absent", None), ("STRONG absent", None)],
        ),
    ] {
        let variables: Vec<(&str, &str)> =
            variables.iter().copied().chain([("HOME", home), ("XDG_RUNTIME_DIR", home)]).collect();
        let ctx = context(dir.path(), MANIFEST, &variables);
        set_private(dir.path());
        let outcome = screen(&ctx, Env::Test, secrets.as_bytes(), into).unwrap();
        let expected: Vec<_> =
            expected.iter().map(|(s, v)| ((*s).to_owned(), v.map(str::to_owned))).collect();
        assert_eq!(answers(&outcome), expected, "{secrets}");
        let shown = format!("{outcome:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("0123456789"), "{shown}");
        let waived = outcome.keys.iter().any(|answer| answer.waived);
        assert_eq!(waived, secrets.contains("HAVE"), "{secrets}");
    }
}

fn set_private(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn screen_blocks_a_github_app_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path(), "org: acme\nenv.test:\n  - A\n", &[]);
    let secrets = br#"{"A":"{\"mech\":\"GITHUB_APP\",\"privateKey\":\"hunter2\"}"}"#;
    let outcome = screen(&ctx, Env::Test, secrets, Destination::GithubActions).unwrap();
    let Attempt::Blocked { reasons, fix, .. } = &outcome.keys[0].attempt else { panic!("{outcome:?}") };
    assert_eq!(reasons.len(), 2);
    assert!(
        reasons[1].starts_with("this version of keyrack does not support EPHEMERAL_VIA_GITHUB_APP"),
        "{reasons:?}"
    );
    assert_eq!(*fix, None, "no command fixes it");
    let note = outcome.keys[0].note.as_ref().unwrap();
    assert!(note.contains("actions/create-github-app-token") && note.ends_with("into A"), "{note}");
}

#[test]
fn screen_works_where_no_daemon_can_run() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap();
    for variables in
        [&[][..], &[("HOME", home), ("XDG_RUNTIME_DIR", "/nonexistent")], &[("HOME", "/nonexistent")]]
    {
        let ctx = context(dir.path(), MANIFEST, variables);
        let outcome = screen(&ctx, Env::Test, br#"{"A":"a"}"#, Destination::GithubActions).unwrap();
        assert_eq!(
            answers(&outcome)[..2],
            [("A granted".to_owned(), Some("a".to_owned())), ("B absent".to_owned(), None)]
        );
    }
}

#[test]
fn screen_fails_on_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path(), MANIFEST, &[]);
    for (env, secrets, code) in [
        (Env::Test, "hunter2", ErrorCode::Usage),
        (Env::Test, r#"{"A":["hunter2"]}"#, ErrorCode::Usage),
        (Env::Test, r#"{"A":"x","A":"hunter2"}"#, ErrorCode::Usage),
        (Env::Sudo, "{}", ErrorCode::SudoNeedsKey),
    ] {
        let error = screen(&ctx, env, secrets.as_bytes(), Destination::Json).unwrap_err();
        assert_eq!((&error.code, error.exit()), (&code, 2), "{secrets}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    let ctx = Context::new(nowhere.path(), Environment::default());
    assert_eq!(screen(&ctx, Env::Test, b"{}", Destination::Json).unwrap_err().code, ErrorCode::NoManifest);
}

#[test]
fn screen_blocks_names_that_control_programs() {
    for (name, blocked, own) in [
        ("API_KEY", false, false),
        ("PATH", true, false),
        ("Path", true, false),
        ("NODE_OPTIONS", true, false),
        ("node_options", true, false),
        ("LD_PRELOAD", true, false),
        ("DYLD_INSERT_LIBRARIES", true, false),
        ("BASH_ENV", true, false),
        ("GITHUB_TOKEN", false, false),
        ("GITHUB_SHA", false, true),
        ("github_env", false, true),
        ("RUNNER_TEMP", false, true),
        ("OLD_LD_X", false, false),
    ] {
        assert_eq!(unfit_reason(name, b"x").is_some(), blocked, "{name}");
        assert_eq!(is_set_by_runner(name), own, "{name}");
    }
    assert!(unfit_reason("A", b"a\0b").is_some() && unfit_reason("A", b"\xff").is_some());
    assert!(unfit_reason("A", "é\r\n\u{85}".as_bytes()).is_none());
}

/// Keys as the firewall lets them through.
fn exports(values: &[(&str, &[u8])]) -> Vec<keyrack_client::source::Export> {
    let answers = values.iter().map(|(name, value)| {
        let slug = Slug::new("acme", Env::Test, name).unwrap();
        let source = keyrack_core::GrantSource {
            vault: keyrack_core::VaultId::OsEnvvar,
            mech: keyrack_core::Mechanism::Replica,
        };
        let grade = keyrack_core::Grade::of(&source.vault, &source.mech);
        let grant = keyrack_core::Grant { slug, grade, source, expires_at_ms: None };
        KeyOutcome {
            attempt: Attempt::Granted { grant, below_declared: false },
            secret: Some(Secret::copy_of(value)),
            note: None,
            waived: false,
        }
    });
    let outcome = GetOutcome {
        keys: answers.collect(),
        single: false,
        legacy_daemon: false,
        daemon_error: None,
        manifest_faults: Vec::new(),
    };
    sort(outcome, SourceMode::Lenient).unwrap().exports
}

#[test]
fn masks_and_blocks_hold_every_line() {
    let all = exports(&[("A", b"once"), ("B", b"100%0A\r\n\n  twice \n"), ("C", b"::stop-commands::x")]);
    assert_eq!(
        String::from_utf8_lossy(&masks(&all)),
        "::add-mask::once\n::add-mask::100%250A\n::add-mask::  twice \n::add-mask::twice\n::add-mask::::stop-commands::x\n"
    );
    let mut counter = 0;
    let text = blocks_with(&all[..1], || {
        counter += 1;
        Ok([counter; 16])
    });
    let delimiter = format!("keyrack_{}", "01".repeat(16));
    assert_eq!(String::from_utf8_lossy(&text.unwrap()), format!("\nA<<{delimiter}\nonce\n{delimiter}\n"));
    assert!(blocks(&[]).unwrap().is_empty());
    assert_ne!(blocks(&all).unwrap(), blocks(&all).unwrap(), "the delimiters are random");
}

#[test]
fn masks_cover_json_members_and_skip_short_texts() {
    for (value, masked) in [
        ("abc", &[][..]),
        ("abcd", &["abcd"]),
        ("{\n  \"user\": \"joe\"\n}", &["  \"user\": \"joe\"", "\"user\": \"joe\""]),
        (
            "{\n\"AccessKeyId\":\n\"ASIA12345678\"\n,\"pin\":\n\"1234\"}",
            &["\"AccessKeyId\":", "\"ASIA12345678\"", ",\"pin\":", "\"1234\"}", "ASIA12345678", "1234"],
        ),
        (
            r#"{"key":"-----BEGIN\nabcdefgh\nab\n-----END","n":1}"#,
            &[r#"{"key":"-----BEGIN\nabcdefgh\nab\n-----END","n":1}"#, "-----BEGIN", "abcdefgh", "-----END"],
        ),
        ("one\nab\ntwo2", &["two2"]),
        ("ab\ncd", &[]),
        // The same text is masked once.
        (r#"["12345678","12345678"]"#, &[r#"["12345678","12345678"]"#, "12345678"]),
    ] {
        let all = exports(&[("A", value.as_bytes())]);
        let step = Step::read(&masks(&all), b"").unwrap();
        // The runner takes a text of one line as a line and as a whole.
        let mut told = step.masks.clone();
        told.dedup();
        assert_eq!(told, masked, "{value}");
        assert_eq!(is_masked(value.as_bytes()), !masked.is_empty(), "{value}");
    }
    let all = exports(&[("A", br#"{"AccessKeyId":"ASIA12345678","SecretAccessKey":"s3cret/+key"}"#)]);
    let step = Step::read(&masks(&all), b"").unwrap();
    assert_eq!(step.masked("id ASIA12345678 key {s3cret/+key}"), "id *** key {***}");
}

#[test]
fn delimiter_in_the_value_is_drawn_again() {
    let taken = format!("x\nkeyrack_{}\nEVIL=1", "07".repeat(16));
    let all = exports(&[("A", taken.as_bytes())]);
    let mut given = [[7; 16], [7; 16], [8; 16]].into_iter();
    let text = blocks_with(&all, || Ok(given.next().unwrap())).unwrap();
    assert_eq!(given.next(), None);
    let step = Step::read(b"", &text).unwrap();
    assert_eq!(step.variables, [("A".to_owned(), taken)]);
}

#[test]
fn env_file_append_ends_an_open_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("env");
    std::fs::write(&path, "LEFT=open").unwrap();
    let all = exports(&[("A", b"x\nEVIL=1")]);
    EnvFile::open(&path).unwrap().append(&blocks(&all).unwrap()).unwrap();
    let step = Step::read(b"", &std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((step.variable("LEFT"), step.variable("A")), (Some("open"), Some("x\nEVIL=1")));
    assert_eq!(step.variables.len(), 2);
}

#[test]
fn env_file_rejects_files_it_cannot_append_to() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("env"), "").unwrap();
    std::os::unix::fs::symlink(at("env"), at("link")).unwrap();
    for (name, code) in
        [("no/dir", ErrorCode::Usage), ("link", ErrorCode::FileUnsafe), (".", ErrorCode::FileUnsafe)]
    {
        let error = EnvFile::open(&at(name)).err().unwrap();
        assert_eq!((error.code.clone(), error.exit()), (code, 2), "{error}");
    }
    EnvFile::open(&at("missing")).unwrap().append(b"A=1\n").unwrap();
    assert_eq!(std::fs::read(at("missing")).unwrap(), b"A=1\n", "a missing file is made");
}

/// Values with everything a runner reads something into.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "\n",
            "\r",
            "\r\n",
            "::",
            "::add-mask::",
            "::set-env name=X::y",
            "%",
            "%25",
            "%0A",
            "<<",
            "=",
            " ",
            "\t",
            "EOF",
            "keyrack_",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "***",
            "##[add-mask]",
            "\u{a0}",
            "a",
            "B=1",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 1..8)
        .prop_map(|pieces| pieces.concat().replace('\0', ""))
        .prop_filter("an empty value is none", |value| !value.is_empty())
}

proptest! {
    #[test]
    fn runner_reads_values_and_masks_every_line(values in prop::collection::vec(value(), 1..5), before in prop::sample::select(vec!["", "X=y", "X=y\n", "X<<E\nv\nE\n"])) {
        let names = ["A", "B_2", "c-d", "e.f", "_"];
        let given: Vec<(&str, &[u8])> = names.into_iter().zip(values.iter().map(String::as_bytes)).collect();
        let all = exports(&given);
        let file = [before.as_bytes(), &blocks(&all).unwrap()].concat();
        let step = Step::read(&masks(&all), &file).unwrap();
        let set: Vec<_> = step.variables.iter().filter(|(name, _)| name != "X").cloned().collect();
        let expected: Vec<_> = given.iter().map(|(name, _)| (*name).to_owned()).zip(values.iter().cloned()).collect();
        prop_assert_eq!(set, expected, "exactly these, whatever is in them");
        prop_assert!(step.notices.is_empty());
        prop_assert!(step.log.iter().all(String::is_empty), "nothing is told but masks: {:?}", step.log);
        for line in values.iter().flat_map(|value| value.split(['\r', '\n'])) {
            let shown = line.trim();
            if shown.len() >= keyrack_mask::MIN {
                prop_assert!(step.masks.iter().any(|mask| mask == line), "{line:?} is masked");
                prop_assert!(step.masks.iter().any(|mask| mask == shown), "{shown:?} is masked");
            }
        }
    }
}
