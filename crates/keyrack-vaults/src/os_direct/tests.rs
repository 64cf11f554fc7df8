//! The scanner and the edits, without a disk.

use std::collections::BTreeMap;

use keyrack_json::JsonErrorKind;
use proptest::prelude::*;

use super::file::{DirectFile, DirectFileError, DirectFileErrorKind, first};

/// A value and its expiry.
type Got = Result<Option<(String, Option<i64>)>, DirectFileError>;

fn get(text: &str, slug: &str) -> Got {
    DirectFile::read(text.as_bytes()).and_then(|file| file.get(slug)).map(|found| {
        found.map(|found| (String::from_utf8(found.secret.to_vec()).unwrap(), found.expires_at_ms))
    })
}

fn with(text: &str, slug: &str, secret: &str) -> String {
    String::from_utf8(DirectFile::read(text.as_bytes()).unwrap().with(slug, secret).to_vec()).unwrap()
}

fn without(text: &str, slug: &str) -> String {
    String::from_utf8(DirectFile::read(text.as_bytes()).unwrap().without(slug).to_vec()).unwrap()
}

/// As the TypeScript writes it.
const FILE: &str = r#"{
  "acme.test.A": {
    "value": "one"
  },
  "acme.test.B": {
    "value": "tw\"o\n",
    "expiresAt": "2026-01-01T00:00:00.000Z"
  }
}"#;

#[test]
fn get_reads_a_file_of_the_typescript() {
    assert_eq!(get(FILE, "acme.test.A"), Ok(Some(("one".into(), None))));
    assert_eq!(get(FILE, "acme.test.B"), Ok(Some(("tw\"o\n".into(), Some(1_767_225_600_000)))));
    assert_eq!(get(FILE, "acme.test.C"), Ok(None));
    assert_eq!(get("{}", "acme.test.C"), Ok(None));
    assert_eq!(get(" { } \n", "acme.test.C"), Ok(None));
}

#[test]
fn with_writes_the_form_of_the_typescript() {
    assert_eq!(
        first("acme.test.A", "one").as_slice(),
        b"{\n  \"acme.test.A\": {\n    \"value\": \"one\"\n  }\n}"
    );
    let one = String::from_utf8(first("acme.test.A", "one").to_vec()).unwrap();
    let two = with(&one, "acme.test.B", "two");
    assert_eq!(
        two,
        "{\n  \"acme.test.A\": {\n    \"value\": \"one\"\n  },\n  \"acme.test.B\": {\n    \"value\": \"two\"\n  }\n}"
    );
}

#[test]
fn with_keeps_every_other_byte() {
    for (text, slug, secret, after) in [
        (r#"{"a":{"value":"1"},"b":{"value":"2"}}"#, "a", "x", r#"{"a":{"value":"x"},"b":{"value":"2"}}"#),
        // Other fields of the entry stay, its old end does not.
        (
            r#"{"a":{ "note" : [1, 2], "value":"1" , "expiresAt":"2026-01-01T00:00:00Z" },"b":3}"#,
            "a",
            "x",
            r#"{"a":{ "note" : [1, 2], "value":"x" },"b":3}"#,
        ),
        (r#"{"a":{"expiresAt":"2026","value":"1"}}"#, "a", "x", r#"{"a":{"value":"x"}}"#),
        // Not an entry: replaced whole.
        (r#"{ "a" : 7 , "b":{}}"#, "a", "x", "{ \"a\" : {\n    \"value\": \"x\"\n  } , \"b\":{}}"),
        // Doubled: one is left.
        (
            r#"{"a":{"value":"1"},"b":1,"a":{"value":"2"}}"#,
            "a",
            "x",
            "{\"b\":1,\n  \"a\": {\n    \"value\": \"x\"\n  }}",
        ),
    ] {
        assert_eq!(with(text, slug, secret), after, "{text}");
        assert_eq!(get(&with(text, slug, secret), slug), Ok(Some((secret.into(), None))), "{text}");
    }
}

#[test]
fn without_keeps_every_other_byte() {
    for (text, after) in [
        (r#"{"a":1}"#, "{}"),
        (r#"{ "a" : 1 }"#, "{}"),
        (r#"{ "a":1 , "b":2 }"#, r#"{ "b":2 }"#),
        (r#"{ "b":2 , "a":1 }"#, r#"{ "b":2 }"#),
        (r#"{ "b":2 , "a":1 , "c":3 }"#, r#"{ "b":2 , "c":3 }"#),
        (r#"{"a":1,"a":2,"b":3,"a":4,"c":5,"a":6,"a":7}"#, r#"{"b":3,"c":5}"#),
        (r#"{"a":1,"a":2}"#, "{}"),
        (r#"{"b":1}"#, r#"{"b":1}"#),
        ("{}", "{}"),
    ] {
        assert_eq!(without(text, "a"), after, "{text}");
    }
}

#[test]
fn read_error_gives_the_offset() {
    for (text, at) in [
        ("", 0),
        ("[]", 0),
        ("{", 1),
        ("{\"a\"", 4),
        ("{\"a\":", 5),
        ("{\"a\":1", 6),
        ("{\"a\":1,}", 7),
        ("{\"a\":1}x", 7),
        ("{\"a\":tru}", 5),
        ("{\"a\":\"x", 7),
        ("{\"a\":\"\\", 6),
        ("{\"a\":\"\n\"}", 6),
        ("\u{feff}{}", 0),
        ("{\"\\x\":1}", 2),
    ] {
        assert_eq!(get(text, "a").unwrap_err().offset, at, "{text:?}");
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    assert_eq!(get(&deep, "a").unwrap_err().kind, DirectFileErrorKind::Json(JsonErrorKind::TooDeep));
    let deeper = format!("{{\"a\":{}", "[".repeat(1_000_000));
    assert!(get(&deeper, "a").is_err());
    assert_eq!(DirectFile::read(b"{\"a\":\"\xff\"}").err().unwrap().offset, 6);
}

#[test]
fn get_ignores_other_unreadable_entries() {
    let text = r#"{"a":{"value":"\ud800"},"b":{"value":"fine"},"c":{},"d":{"value":7},"e":"x","f":{"value":"v","expiresAt":"soon"},"g":{"value":"v","expiresAt":null}}"#;
    assert_eq!(get(text, "b"), Ok(Some(("fine".into(), None))));
    assert_eq!(get(text, "g"), Ok(Some(("v".into(), None))));
    for broken in ["a", "c", "d", "e", "f"] {
        assert!(get(text, broken).is_err(), "{broken}");
    }
}

fn slugs() -> impl Strategy<Value = String> {
    prop_oneof![Just("a.b.c".to_owned()), Just("a.b.d".to_owned()), any::<String>()]
}

proptest! {
    #[test]
    fn edits_agree_with_a_map(steps in prop::collection::vec((slugs(), prop::option::of(any::<String>())), 0..12)) {
        let mut text = "{}".to_owned();
        let mut map = BTreeMap::new();
        for (slug, secret) in steps {
            match secret {
                Some(secret) => {
                    text = with(&text, &slug, &secret);
                    map.insert(slug, secret);
                }
                None => {
                    text = without(&text, &slug);
                    map.remove(&slug);
                }
            }
            for (slug, secret) in &map {
                let found = get(&text, slug).unwrap().map(|(secret, _)| secret);
                prop_assert_eq!(found.as_ref(), Some(secret));
            }
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(parsed.as_object().unwrap().len(), map.len());
        }
    }

    /// Texts that serde_json accepts are read, with the same names.
    #[test]
    fn read_agrees_with_serde_json(text in r#"[ \t\n]*\{([ab"{}\[\]:,\\u0-9 e.+-]|"a"|"value"|"x":|true){0,24}\}[ ]*"#) {
        let ours = DirectFile::read(text.as_bytes());
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
            prop_assert!(ours.is_ok(), "{text:?}: {:?}", ours.err());
            let names: std::collections::BTreeSet<_> = ours.unwrap().slugs().map(str::to_owned).collect();
            let theirs: std::collections::BTreeSet<_> = value.as_object().unwrap().keys().cloned().collect();
            prop_assert_eq!(names, theirs);
        }
    }

    #[test]
    fn get_does_not_panic_on_any_bytes(bytes: Vec<u8>) {
        if let Ok(file) = DirectFile::read(&bytes) {
            let _ = file.get("a");
        }
    }
}
