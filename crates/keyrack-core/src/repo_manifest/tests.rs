//! Manifests, written as JSON here: the tree is the same whatever it was read from.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::fix::Fix;
use crate::grade::Grade;
use crate::mechanism::Mechanism;
use crate::vault_id::VaultId;

fn raw(path: &str, json: &str) -> RawManifest {
    RawManifest { path: path.into(), root: serde_json::from_str(json).unwrap() }
}

fn content(path: &str, json: &str) -> ManifestFile {
    ManifestFile::Content(raw(path, json))
}

/// Hydrates `files[0]`, with the others below the root.
fn load(files: &[(&str, &str)]) -> Result<RepoManifest, Error> {
    let (path, json) = files[0];
    load_manifest(&raw(path, json), |asked| {
        Ok(files.iter().find(|(path, _)| *path == asked).map(|(path, json)| content(path, json)))
    })
}

fn one(json: &str) -> Result<RepoManifest, Error> {
    load(&[(MANIFEST_PATH, json)])
}

fn slugs(manifest: &RepoManifest) -> Vec<&str> {
    manifest.keys().iter().map(|key| key.slug.as_str()).collect()
}

fn messages(manifest: &RepoManifest) -> Vec<&str> {
    manifest.faults.iter().map(|fault| fault.message.as_str()).collect()
}

#[test]
fn sections_expand_in_file_order() {
    let manifest = one(r#"{"org":"acme","env.prod":["P","BOTH"],"env.all":["A","BOTH"],"env.test":null,
        "env.prep":[{"A":"encrypted"}],"x-other":{"env.test":[1]},"env":1}"#)
    .unwrap();
    assert_eq!(
        slugs(&manifest),
        [
            "acme.all.A",
            "acme.all.BOTH",
            "acme.prod.A",
            "acme.prod.BOTH",
            "acme.prod.P",
            "acme.test.A",
            "acme.test.BOTH",
            "acme.prep.A",
            "acme.prep.BOTH",
        ]
    );
    assert_eq!(manifest.envs, [Env::Prod, Env::Test, Env::Prep]);
    assert_eq!(manifest.org, "acme");
    assert!(manifest.faults.is_empty());
    let grade = |slug: &str| manifest.spec(&Slug::parse(slug).unwrap()).unwrap().grade.to_string();
    assert_eq!(grade("acme.prep.A"), "encrypted", "the section's own entry wins");
    assert_eq!(grade("acme.test.A"), "");
    assert_eq!(manifest.envs_of("A"), [Env::All, Env::Prod, Env::Test, Env::Prep]);
    assert_eq!(manifest.envs_of("P"), [Env::Prod]);
    assert!(manifest.envs_of("NONE").is_empty());
    assert_eq!(manifest.keys_for(Env::Test).count(), 2);
    assert_eq!(manifest.keys_for(Env::All).count(), 9);
    assert_eq!(manifest.keys_for(Env::Camp).count(), 0);
}

#[test]
fn entry_is_read_in_three_forms() {
    let manifest = one(r#"{"org":"acme","env.test":["BARE",{"SHORT":"ephemeral"},{"NULL":null},{"EMPTY":""},
        {"key":"RECORD","grade":" encrypted , ephemeral ","is-optional-if-has":"AWS_ACCESS_KEY_ID","later":[1]},
        {"key":"PLAIN"},{"key":"ephemeral"}]}"#)
    .unwrap();
    assert!(manifest.faults.is_empty(), "{:?}", manifest.faults);
    let read: Vec<_> = manifest
        .keys()
        .iter()
        .map(|key| (key.slug.name(), key.grade.to_string(), key.optional_if_has.as_deref()))
        .collect();
    let grade = |text: &str| text.to_owned();
    assert_eq!(
        read,
        [
            ("BARE", grade(""), None),
            ("SHORT", grade("ephemeral"), None),
            ("NULL", grade(""), None),
            ("EMPTY", grade(""), None),
            ("RECORD", grade("encrypted,ephemeral"), Some("AWS_ACCESS_KEY_ID")),
            ("PLAIN", grade(""), None),
            ("ephemeral", grade(""), None),
        ]
    );
}

#[test]
fn bad_entry_does_not_affect_others() {
    for (entry, fault, left) in [
        ("null", "entry 2 is nothing", 2),
        ("7", "entry 2 is a number", 2),
        ("true", "entry 2 is a boolean", 2),
        ("[\"X\"]", "entry 2 is a list", 2),
        ("{}", "entry 2 is empty", 2),
        ("\"\"", "entry 2: invalid key name", 2),
        ("\"a b\"", "entry 2: invalid key name", 2),
        ("\"$(rm)\"", "entry 2: invalid key name", 2),
        ("\"A=B\"", "entry 2: invalid key name", 2),
        (r#"{"key":7}"#, "entry 2: `key` must be the name", 2),
        (r#"{"key":null,"grade":"encrypted"}"#, "entry 2: `key` must be the name", 2),
        (
            r#"{"K":"ephemeral","is-optional-if-has":"X"}"#,
            "K: \"is-optional-if-has\" is not understood here",
            3,
        ),
        (r#"{"K":"encrypted,secure"}"#, "K: \"secure\" is not a grade", 3),
        (r#"{"K":1}"#, "K: its grade is a number", 3),
        (r#"{"K":["encrypted"]}"#, "K: its grade is a list", 3),
        (r#"{"key":"K","grade":true}"#, "K: its grade is a boolean", 3),
        (r#"{"key":"K","is-optional-if-has":[]}"#, "K: `is-optional-if-has` must be the name", 3),
        (r#"{"key":"K","is-optional-if-has":""}"#, "K: `is-optional-if-has` must be the name", 3),
    ] {
        let manifest = one(&format!(r#"{{"org":"acme","env.test":["FIRST",{entry},"LAST"]}}"#)).unwrap();
        assert_eq!(manifest.faults.len(), 1, "{entry}: {:?}", manifest.faults);
        let Error { code, message, .. } = &manifest.faults[0];
        assert_eq!(*code, ErrorCode::ManifestInvalid);
        assert!(message.starts_with(".agent/keyrack.yml: env.test: "), "{message}");
        assert!(message.contains(fault), "{entry}: {message}");
        assert_eq!(manifest.keys().len(), left, "{entry}");
        assert_eq!(slugs(&manifest).first(), Some(&"acme.test.FIRST"));
        assert_eq!(slugs(&manifest).last(), Some(&"acme.test.LAST"));
    }
}

#[test]
fn unreadable_minimum_is_met_by_no_grade() {
    let manifest = one(r#"{"org":"acme","env.test":[{"K":"encrypted,secure"},{"L":{}},"M"],
        "env.all":[{"A":7}]}"#)
    .unwrap();
    let spec = |slug: &str| manifest.spec(&Slug::parse(slug).unwrap()).unwrap();
    for slug in ["acme.test.K", "acme.test.L", "acme.test.A", "acme.all.A"] {
        assert_eq!(spec(slug).grade, UNREADABLE);
        let fault = spec(slug).fault.as_ref().unwrap();
        assert_eq!(fault.slug.as_ref().unwrap().as_str(), slug);
    }
    assert!(spec("acme.test.M").fault.is_none());
    for vault in VaultId::ALL {
        for mech in Mechanism::ALL {
            assert!(!UNREADABLE.is_met_by(Grade::of(&vault, &mech)), "{vault} {mech}");
        }
    }
    assert_eq!(manifest.faults.len(), 3, "each is told once: {:?}", manifest.faults);
}

#[test]
fn bad_section_does_not_affect_others() {
    for (section, fault) in [
        (r#""env.dev":["K"]"#, "env.dev: invalid env: must"),
        (r#""env.":["K"]"#, "env.: invalid env: must"),
        (r#""env.Test":["K"]"#, "env.Test: invalid env"),
        (r#""env.sudo":["K"]"#, "env.sudo: sudo keys are never declared"),
        (r#""env.prod":"K""#, "env.prod: it must be a list of keys, not a string"),
        (r#""env.prod":{"K":null}"#, "env.prod: it must be a list of keys, not a mapping"),
        (r#""env.prod":7"#, "env.prod: it must be a list of keys, not a number"),
    ] {
        let manifest = one(&format!(r#"{{"org":"acme",{section},"env.test":["T"]}}"#)).unwrap();
        assert_eq!(messages(&manifest).len(), 1, "{section}");
        assert!(messages(&manifest)[0].contains(fault), "{section}: {:?}", messages(&manifest));
        assert_eq!(slugs(&manifest), ["acme.test.T"]);
    }
}

#[test]
fn malformed_file_is_an_error() {
    for (json, fault) in [
        ("null", "holds nothing, not a mapping"),
        ("[]", "holds a list, not a mapping"),
        ("\"org: acme\"", "holds a string"),
        ("{}", "org: it is missing"),
        (r#"{"org":null}"#, "org: it must be a string, not nothing"),
        (r#"{"org":7}"#, "org: it must be a string, not a number"),
        (r#"{"org":""}"#, "org: invalid org"),
        (r#"{"org":"a.b"}"#, "org: invalid org"),
        (r#"{"org":"@all"}"#, "org: it must be a plain name"),
        (r#"{"org":"acme","keys":[]}"#, "keys: a flat list of keys is not understood"),
        (r#"{"org":"acme","keys":null,"env.test":[]}"#, "keys: a flat list"),
        (r#"{"org":"acme","env.all":["K"]}"#, "env.all: it needs another env section"),
        (r#"{"org":"acme","env.all":null}"#, "env.all: it needs another env section"),
        (r#"{"org":"acme","extends":"x.yml"}"#, "extends: it must be a list of paths, not a string"),
        (r#"{"org":"acme","extends":[7]}"#, "extends: every entry must be a path, not a number"),
    ] {
        let error = one(json).unwrap_err();
        assert_eq!(error.code, ErrorCode::ManifestInvalid, "{json}");
        assert!(error.message.starts_with(".agent/keyrack.yml: "), "{}", error.message);
        assert!(error.message.contains(fault), "{json}: {}", error.message);
    }
    for json in [r#"{"org":"acme"}"#, r#"{"org":"Acme","extends":null}"#, r#"{"org":"acme","extends":[]}"#] {
        assert!(one(json).unwrap().keys().is_empty());
    }
}

#[test]
fn errors_name_known_lines() {
    let text = |line, text: &str| YamlNode { line, value: YamlValue::Text(text.into()) };
    let root = YamlNode {
        line: 1,
        value: YamlValue::Map(vec![
            ("org".into(), text(1, "acme")),
            (
                "env.test".into(),
                YamlNode { line: 2, value: YamlValue::List(vec![text(3, "OK"), text(4, "a b")]) },
            ),
        ]),
    };
    let manifest = load_manifest(&RawManifest { path: MANIFEST_PATH.into(), root }, |_| Ok(None)).unwrap();
    assert!(manifest.faults[0].message.starts_with(".agent/keyrack.yml:4: env.test: entry 2: "));
}

#[test]
fn root_wins_and_sets_the_org() {
    let manifest = load(&[
        (
            MANIFEST_PATH,
            r#"{"org":"root","extends":["a.yml","./b.yml"],"env.test":[{"ROOT":"ephemeral"},"OWN"],"env.all":["EVERY"]}"#,
        ),
        (
            "a.yml",
            r#"{"org":"other","env.test":["A",{"AB":"encrypted"},{"ROOT":"plaintext"}],"env.camp":["C"]}"#,
        ),
        ("b.yml", r#"{"org":"third","env.test":["B",{"AB":"reference"}],"env.all":["BALL"]}"#),
    ])
    .unwrap();
    assert_eq!(
        slugs(&manifest),
        [
            "root.test.A",
            "root.test.AB",
            "root.test.ROOT",
            "root.camp.C",
            "root.all.BALL",
            "root.test.BALL",
            "root.test.B",
            "root.all.EVERY",
            "root.test.EVERY",
            "root.test.OWN",
        ]
    );
    let grade = |slug: &str| manifest.spec(&Slug::parse(slug).unwrap()).unwrap().grade.to_string();
    assert_eq!(grade("root.test.AB"), "reference", "the later one wins");
    assert_eq!(grade("root.test.ROOT"), "ephemeral", "the root wins");
    assert_eq!(manifest.envs, [Env::Test], "envs are the root file's");
    assert_eq!(manifest.all_envs, [Env::Test, Env::Camp], "all of them are everybody's");
    assert_eq!(manifest.extends, ["a.yml", "b.yml"]);
}

#[test]
fn root_without_sections_has_the_envs_of_extended_files() {
    let manifest = load(&[
        (MANIFEST_PATH, r#"{"org":"acme","extends":["a.yml","b.yml"]}"#),
        ("a.yml", r#"{"org":"a","extends":["c.yml"],"env.prod":[],"env.all":["A"]}"#),
        ("b.yml", r#"{"org":"b","env.test":["B"],"env.prod":["B"]}"#),
        ("c.yml", r#"{"org":"c","env.camp":["C"],"env.sudo":["S"]}"#),
    ])
    .unwrap();
    assert_eq!(manifest.envs, []);
    assert_eq!(manifest.all_envs, [Env::Prod, Env::Camp, Env::Test]);
    let none = load(&[(MANIFEST_PATH, r#"{"org":"acme","extends":["a.yml"]}"#), ("a.yml", r#"{"org":"a"}"#)]);
    assert_eq!(none.unwrap().all_envs, []);
}

#[test]
fn diamond_is_read_once() {
    let reads = RefCell::new(Vec::new());
    let files = [
        ("l.yml", r#"{"org":"l","extends":["base.yml"],"env.test":["L"]}"#),
        ("r.yml", r#"{"org":"r","extends":["base.yml","base.yml"],"env.test":["R"]}"#),
        ("base.yml", r#"{"org":"b","env.test":["BASE",7]}"#),
    ];
    let root = raw(MANIFEST_PATH, r#"{"org":"acme","extends":["l.yml","r.yml","l.yml"]}"#);
    let manifest = load_manifest(&root, |asked| {
        reads.borrow_mut().push(asked.to_owned());
        Ok(files.iter().find(|(path, _)| *path == asked).map(|(path, json)| content(path, json)))
    })
    .unwrap();
    assert_eq!(*reads.borrow(), ["l.yml", "base.yml", "r.yml"]);
    assert_eq!(manifest.extends, ["l.yml", "base.yml", "r.yml"]);
    assert_eq!(slugs(&manifest), ["acme.test.BASE", "acme.test.L", "acme.test.R"]);
    assert_eq!(messages(&manifest).len(), 1, "a fault is told once");
    assert!(messages(&manifest)[0].starts_with("base.yml: env.test: entry 2"));
}

#[test]
fn extends_rejects_cycles_and_outside_paths() {
    for (files, fault) in [
        (
            vec![(MANIFEST_PATH, r#"{"org":"a","extends":[".agent/keyrack.yml"]}"#)],
            ".agent/keyrack.yml: extends: the files extend one another in a circle: .agent/keyrack.yml -> .agent/keyrack.yml",
        ),
        (
            vec![
                (MANIFEST_PATH, r#"{"org":"a","extends":["b.yml"]}"#),
                ("b.yml", r#"{"org":"a","extends":["c.yml"]}"#),
                ("c.yml", r#"{"org":"a","extends":["./x/../b.yml"]}"#),
            ],
            "c.yml: extends: the files extend one another in a circle: b.yml -> c.yml -> b.yml",
        ),
        (
            vec![(MANIFEST_PATH, r#"{"org":"a","extends":["gone.yml"]}"#)],
            ".agent/keyrack.yml: extends: gone.yml is not there",
        ),
        (
            vec![(MANIFEST_PATH, r#"{"org":"a","extends":["../out.yml"]}"#)],
            "extends: \"../out.yml\" must be a path inside",
        ),
        (
            vec![(MANIFEST_PATH, r#"{"org":"a","extends":["/etc/passwd"]}"#)],
            "extends: \"/etc/passwd\" must be a path inside",
        ),
        (
            vec![
                (MANIFEST_PATH, r#"{"org":"a","extends":["b.yml"]}"#),
                ("b.yml", r#"{"org":"a","keys":[]}"#),
            ],
            "b.yml: keys: ",
        ),
    ] {
        let error = load(&files).unwrap_err();
        assert_eq!(error.code, ErrorCode::ManifestInvalid);
        assert!(error.message.contains(fault), "{}", error.message);
    }
    // a link that gives one file ever new names comes to an end
    let mut calls = 0;
    let root = raw(MANIFEST_PATH, r#"{"org":"a","extends":["x/k.yml"]}"#);
    let error = load_manifest(&root, |path| {
        calls += 1;
        Ok(Some(content(path, &format!(r#"{{"org":"a","extends":["x/{path}"]}}"#))))
    })
    .unwrap_err();
    assert!(error.message.contains("more than 32 files"), "{}", error.message);
    assert_eq!(calls, 31);
    // the reader's own problem comes through
    let unreadable = Error::new(ErrorCode::Io, "cannot read").fix(Fix::Text("look".into()));
    let root = raw(MANIFEST_PATH, r#"{"org":"a","extends":["x.yml"]}"#);
    assert_eq!(load_manifest(&root, |_| Err(unreadable.clone())).unwrap_err(), unreadable);
}

fn node() -> impl Strategy<Value = YamlNode> {
    let text = prop_oneof![
        Just("org".to_owned()),
        Just("extends".to_owned()),
        Just("env.test".to_owned()),
        Just("env.all".to_owned()),
        Just("key".to_owned()),
        Just("grade".to_owned()),
        Just("encrypted".to_owned()),
        "[A-Z]{1,3}",
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(YamlValue::Null),
        Just(YamlValue::Bool),
        Just(YamlValue::Number),
        text.clone().prop_map(YamlValue::Text)
    ];
    let plain = |value| YamlNode { line: 0, value };
    leaf.prop_map(plain).prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(YamlValue::List),
            prop::collection::vec((text.clone(), inner), 0..6).prop_map(YamlValue::Map),
        ]
        .prop_map(plain)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any tree is a manifest or an error; entries are keys or faults, and no other entry suffers.
    #[test]
    fn load_does_not_panic_on_any_tree(root in node(), entries in prop::collection::vec(node(), 0..6)) {
        let file = |root| RawManifest { path: MANIFEST_PATH.into(), root };
        if let Err(error) = load_manifest(&file(root.clone()), |_| Ok(Some(ManifestFile::Content(file(root.clone()))))) {
            prop_assert_eq!(error.code, ErrorCode::ManifestInvalid);
        }
        let text = |text: &str| YamlNode { line: 0, value: YamlValue::Text(text.into()) };
        let good = || [text("FIRST_GOOD"), text("LAST_GOOD")];
        let [first, last] = good();
        let list = [vec![first], entries, vec![last]].concat();
        let fields = vec![
            ("org".to_owned(), text("acme")),
            ("env.test".to_owned(), YamlNode { line: 0, value: YamlValue::List(list) }),
        ];
        let manifest = load_manifest(&file(YamlNode { line: 0, value: YamlValue::Map(fields) }), |_| Ok(None)).unwrap();
        for key in good() {
            let slug = format!("acme.test.{}", key.text().unwrap());
            prop_assert!(manifest.spec(&Slug::parse(&slug).unwrap()).is_some());
        }
        prop_assert!(manifest.keys().iter().all(|key| key.env == Env::Test && key.slug.org() == "acme"));
    }
}

/// The keys of a file and of those it extends, in the order they are declared, as often as the
/// files are named: by each name the place it first has, and the demand that comes last.
fn expanded(files: &[Vec<usize>], at: usize, found: &mut Vec<(String, usize)>) {
    files[at].iter().for_each(|child| expanded(files, *child, found));
    for name in [format!("OWN{at}"), format!("SHARED{}", at % 2)] {
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, by)) => *by = at,
            None => found.push((name, at)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Files that extend others in any way without a circle mean what they mean written out.
    #[test]
    fn extends_equals_the_keys_written_out(
        files in prop::collection::vec(prop::collection::vec(0_usize..8, 0..4), 1..8)
    ) {
        let count = files.len();
        // Each extends only later files.
        let files: Vec<Vec<usize>> = files
            .into_iter()
            .enumerate()
            .map(|(at, extends)| extends.into_iter().filter(|child| *child > at && *child < count).collect())
            .collect();
        // Who declared a key last is told by the variable that excuses it.
        let json = |at: usize| {
            let extends: Vec<_> = files[at].iter().map(|child| format!("\"{child}\"")).collect();
            let key = |name: &str| format!(r#"{{"key":"{name}","is-optional-if-has":"V{at}"}}"#);
            let keys = [key(&format!("OWN{at}")), key(&format!("SHARED{}", at % 2))].join(",");
            format!(r#"{{"org":"o{at}","extends":[{}],"env.test":[{keys}]}}"#, extends.join(","))
        };
        let manifest = load_manifest(&raw("0", &json(0)), |path| Ok(Some(content(path, &json(path.parse().unwrap()))))).unwrap();
        let mut expected = Vec::new();
        expanded(&files, 0, &mut expected);
        let found: Vec<_> = manifest
            .keys()
            .iter()
            .map(|key| (key.slug.name().to_owned(), key.optional_if_has.as_deref().unwrap()[1..].parse().unwrap()))
            .collect();
        prop_assert_eq!(found, expected);
        prop_assert!(manifest.keys().iter().all(|key| key.slug.org() == "o0"));
    }
}

#[test]
fn limits_count_all_files_together() {
    let chain = |files: usize, keys: usize| {
        let list = vec!["K"; keys]
            .iter()
            .enumerate()
            .map(|(at, _)| format!("\"K{at}\""))
            .collect::<Vec<_>>()
            .join(",");
        let extends = (1..files).map(|at| format!("\"{at}.yml\"")).collect::<Vec<_>>().join(",");
        let mut reads = 1;
        let root = raw(MANIFEST_PATH, &format!(r#"{{"org":"a","extends":[{extends}],"env.test":[{list}]}}"#));
        let made = load_manifest(&root, |path| {
            reads += 1;
            Ok(Some(content(path, &format!(r#"{{"org":"a","env.test":[{list}]}}"#))))
        });
        (made.map(|manifest| manifest.keys().len()), reads)
    };
    assert_eq!(chain(64, 1), (Ok(1), 64));
    assert_eq!(chain(10, 1000), (Ok(1000), 10));
    for (files, keys, reads, says) in [
        (65, 1, 65, "more than 64 files"),
        (900, 1, 65, "more than 64 files"),
        (11, 1000, 11, "more than 10000 keys"),
        (1, 10_001, 1, "more than 10000 keys"),
        (64, 10_000, 3, "more than 10000 keys"),
    ] {
        let (made, read) = chain(files, keys);
        let error = made.unwrap_err();
        assert_eq!(error.code, ErrorCode::ManifestInvalid);
        assert!(error.message.contains(says) && read <= reads, "{files} {keys}: {read} {error}");
    }
}

#[test]
fn mutually_extended_files_are_merged_once() {
    // Each of 32 files extends all later ones: written out, two thousand million files would be
    // merged.
    let json = |at: usize| {
        let extends = (at + 1..=31).map(|child| format!("\"{child}\"")).collect::<Vec<_>>().join(",");
        let keys = (0..300).map(|key| format!("\"K{at}_{key}\"")).collect::<Vec<_>>().join(",");
        format!(r#"{{"org":"a","extends":[{extends}],"env.test":[{keys}]}}"#)
    };
    let manifest =
        load_manifest(&raw("0", &json(0)), |path| Ok(Some(content(path, &json(path.parse().unwrap())))))
            .unwrap();
    assert_eq!(manifest.keys().len(), 32 * 300);
}

#[test]
fn links_to_one_file_are_read_once() {
    let role = r#"{"org":"role","env.test":["R",7]}"#;
    let root =
        raw(MANIFEST_PATH, r#"{"org":"acme","extends":["a.yml","b.yml","c.yml","b.yml"],"env.test":["K"]}"#);
    let mut asked = Vec::new();
    let manifest = load_manifest(&root, |path| {
        asked.push(path.to_owned());
        Ok(Some(if path == "a.yml" { content(path, role) } else { ManifestFile::Same("a.yml".into()) }))
    })
    .unwrap();
    assert_eq!(asked, ["a.yml", "b.yml", "c.yml"]);
    assert_eq!(manifest.extends, ["a.yml"]);
    assert_eq!(slugs(&manifest), ["acme.test.R", "acme.test.K"]);
    assert_eq!(manifest.faults.len(), 1, "told once");
    // The root by another name is a circle.
    let error = load_manifest(&root, |_| Ok(Some(ManifestFile::Same(MANIFEST_PATH.into())))).unwrap_err();
    assert!(error.message.contains("in a circle: .agent/keyrack.yml -> .agent/keyrack.yml"), "{error}");
}

#[test]
fn names_in_errors_are_shortened() {
    let long = "x".repeat(1 << 20);
    for json in [
        format!(r#"{{"org":"{long}","env.test":[]}}"#),
        format!(r#"{{"org":"a","extends":["{long}"],"env.test":[]}}"#),
        format!(r#"{{"org":"a","extends":["../{long}"],"env.test":[]}}"#),
        format!(r#"{{"org":"a","env.{long}":[7]}}"#),
        format!(r#"{{"org":"a","env.test":["{long}"]}}"#),
        format!(r#"{{"org":"a","env.test":[{{"{long}":"weak"}}]}}"#),
        format!(r#"{{"org":"a","env.test":[{{"{long}":[]}}]}}"#),
        format!(r#"{{"org":"a","env.test":[{{"K":"{long}"}}]}}"#),
        format!(r#"{{"org":"a","env.test":[{{"K":null,"{long}":1}}]}}"#),
        format!(r#"{{"org":"a","env.test":[{{"key":"{long}"}}]}}"#),
        format!(r#"{{"org":"a","env.test":[{{"key":"{long}","is-optional-if-has":7}}]}}"#),
    ] {
        let faults = match one(&json) {
            Ok(manifest) => manifest.faults,
            Err(error) => vec![error],
        };
        assert!(!faults.is_empty());
        for error in faults {
            assert!(error.message.chars().count() < 600, "{error}");
            assert!(error.hint.is_none_or(|hint| hint.len() < 600));
        }
    }
    let path = "d/".repeat(1000);
    let error = load_manifest(&raw(&format!("{path}k.yml"), "[]"), |_| Ok(None)).unwrap_err();
    assert!(error.message.len() < 400, "{error}");
}

#[test]
fn every_error_is_on_one_line() {
    let manifest = one(r#"{"org":"acme","env.test":[{"K\nL\u2028M\u0085N":"weak"}],"env.\rx":[]}"#).unwrap();
    assert_eq!(manifest.faults.len(), 3, "{:?}", manifest.faults);
    for Error { message, .. } in &manifest.faults {
        assert!(!message.chars().any(|c| c.is_control() || c == '\u{2028}'), "{message:?}");
    }
    assert!(manifest.faults[0].message.contains("K L M N: \"weak\" is not a grade"), "{:?}", manifest.faults);
}
