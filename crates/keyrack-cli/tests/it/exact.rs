//! Secrets as `set` stores them, for every kind of input, and the notices about them.

use std::fs;

use keyrack_testkit::{Need, can_run};
use serde_json::Value;

use crate::fixture::Fixture;
use crate::terminal::at_terminal;

const SET: &str = "keyrack set --key K --env test --vault os.secure --mech PERMANENT_VIA_REPLICA";
const GET: &str = "keyrack get --key K --env test --unlock --value";

/// Input on stdin, the value that is stored, and the notices that are printed.
const INPUTS: &[(&str, &str, &[&str])] = &[
    ("plain", "plain", &[]),
    ("plain\n", "plain", &[]),
    ("-----BEGIN X-----\nabc\n-----END X-----\n", "-----BEGIN X-----\nabc\n-----END X-----\n", &[]),
    ("two\nlines", "two\nlines", &[]),
    ("two\nlines\n\n", "two\nlines\n\n", &["ends with a newline"]),
    ("dos\r\n", "dos\r", &["contains a carriage return (CR)"]),
    ("dos\r\npem\r\n", "dos\r\npem\r\n", &["contains a carriage return (CR)"]),
    ("\u{feff}marked\n", "\u{feff}marked", &["begins with a byte order mark (U+FEFF)"]),
    ("zero\u{200b}width\n", "zero\u{200b}width", &["contains an invisible character (U+200B)"]),
    (" padded\t\n", " padded\t", &["begins with white space", "ends with white space"]),
];

const BLANK: &[&str] = &[" ", " \n", "\n\n", "\t\r\n", "\u{feff}\n", "\u{200b}"];

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for line in ["git init -q", "keyrack init --org acme"] {
        assert_eq!(fixture.run(line, b"").0, 0, "{line}");
    }
    fixture
}

/// Returns the value of the key, byte for byte.
fn stored(fixture: &Fixture) -> String {
    let file = fixture.home.home().join("project/value");
    let _ = fs::remove_file(&file);
    let (exit, _, stderr) = fixture.run(&format!("sh -c '{GET} > value'"), b"");
    assert_eq!(exit, 0, "{stderr:?}");
    fs::read_to_string(&file).unwrap()
}

#[test]
fn set_stores_stdin_unchanged_and_notes_irregularities() {
    let fixture = fixture();
    for (input, expected, named) in INPUTS {
        let (exit, _, stderr) = fixture.run(SET, input.as_bytes());
        assert_eq!(exit, 0, "{input:?} {stderr:?}");
        assert_eq!(&stored(&fixture), expected, "{input:?}");
        let told = stderr.join("\n");
        assert_eq!(told.contains("stored as given"), !named.is_empty(), "{input:?} {told}");
        for name in *named {
            assert!(told.contains(name), "{input:?} {told}");
        }
        assert!(!told.contains(input.trim()), "a secret is never quoted: {told}");
    }
    for blank in BLANK {
        let (exit, _, stderr) = fixture.run(SET, blank.as_bytes());
        assert_eq!(exit, 2, "{blank:?}");
        assert!(stderr.concat().contains("is blank: it holds only white space"), "{blank:?} {stderr:?}");
    }
    let (exit, _, stderr) = fixture.run(SET, b"\n");
    assert!(exit == 2 && stderr.concat().contains("is empty"), "{stderr:?}");
    assert_eq!(stored(&fixture), " padded\t", "no refusal changed it");
}

#[test]
fn set_json_notes_irregularities() {
    let fixture = fixture();
    for (input, expected, named) in INPUTS {
        let (exit, stdout, stderr) = fixture.run(&format!("{SET} --json"), input.as_bytes());
        assert_eq!(exit, 0, "{input:?} {stderr:?}");
        assert_eq!(&stored(&fixture), expected, "{input:?}");
        let answer: Value = serde_json::from_str(&stdout.join("\n")).unwrap();
        match named {
            [] => assert_eq!(answer.get("notices"), None, "{input:?}"),
            named => {
                let notice = answer["notices"][0].as_str().unwrap();
                assert!(named.iter().all(|name| notice.contains(name)), "{input:?} {notice}");
                let line: Value = serde_json::from_str(&stderr[0]).unwrap();
                assert_eq!(line["notice"], notice);
            }
        }
    }
    let (exit, _, stderr) = fixture.run(&format!("{SET} --json"), b" \n");
    let error: Value = serde_json::from_str(stderr.last().unwrap()).unwrap();
    assert_eq!((exit, error["error"]["code"].as_str()), (2, Some("empty_secret")));
}

#[test]
fn set_with_stdin_exact_stores_every_byte() {
    let fixture = fixture();
    for (input, ..) in INPUTS {
        let (exit, _, stderr) = fixture.run(&format!("{SET} --stdin-exact"), input.as_bytes());
        assert_eq!(exit, 0, "{input:?} {stderr:?}");
        assert_eq!(&stored(&fixture), input);
        let single = input.matches('\n').count() == 1 && input.ends_with('\n');
        if single {
            assert!(stderr.concat().contains("ends with a newline"), "{input:?} {stderr:?}");
        }
    }
    for blank in BLANK.iter().chain(&["\n"]) {
        let (exit, _, stderr) = fixture.run(&format!("{SET} --stdin-exact"), blank.as_bytes());
        assert!(exit == 2 && stderr.concat().contains("is blank"), "{blank:?} {stderr:?}");
    }
}

#[test]
fn set_and_fill_store_typed_secrets_unchanged() {
    let test = "set_and_fill_store_typed_secrets_unchanged";
    if !can_run(test, &[Need::Program("script"), Need::Program("stty"), Need::Program("git")]) {
        return;
    }
    let fixture = fixture();
    let manifest = fixture.home.home().join("project/.agent/keyrack.yml");
    fs::write(manifest, "org: acme\nenv.test:\n  - K\n").unwrap();
    let fill = "NO_COLOR=1 keyrack fill --env test --refresh --mech PERMANENT_VIA_REPLICA";
    let set = format!("NO_COLOR=1 {SET}");
    for (input, expected, named) in INPUTS {
        // Typed input ends at the first Enter, and the terminal treats a carriage return as Enter.
        if input.trim_end_matches('\n').contains(['\n', '\r']) {
            continue;
        }
        let typed = format!("{}\n", input.trim_end_matches('\n'));
        for line in [set.as_str(), fill] {
            let (exit, shown) = at_terminal(&fixture, line, &[("Secret for acme.test.K: ", &typed)]);
            assert_eq!(exit, 0, "{line} {input:?}: {shown}");
            assert_eq!(&stored(&fixture), expected, "{line} {input:?}");
            let told: String = shown.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(named.iter().all(|name| told.contains(name)), "{line} {input:?}: {told}");
            assert_eq!(told.contains("stored as given"), !named.is_empty(), "{line} {input:?}: {told}");
        }
    }
    for line in [set.as_str(), fill] {
        let (exit, shown) = at_terminal(&fixture, line, &[("Secret for acme.test.K: ", "  \n")]);
        assert!(exit == 2 && shown.contains("is blank"), "{line}: {shown}");
    }
}
