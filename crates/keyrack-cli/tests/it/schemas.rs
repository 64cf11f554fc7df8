//! Checks of the output of `--json` against the published schemas. Any release may add members, but
//! the schema must document them first, so these tests reject a member that the schema does not
//! name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

static SCHEMAS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let files = fs::read_dir(dir).expect("the schemas").map(|entry| entry.expect("an entry").path());
    files
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let name = name.strip_suffix(".schema.json").expect("nothing but schemas").to_owned();
            let schema: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
            assert!(jsonschema::draft202012::meta::is_valid(&schema), "{name} is a schema");
            assert_eq!(schema["$id"], format!("urn:keyrack:schema:{name}"));
            documented(&schema, &name);
            (name, jsonschema::draft202012::new(&closed(schema)).expect("a sound schema"))
        })
        .collect()
});

/// Asserts that the schema describes every member.
fn documented(schema: &Value, place: &str) {
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let told = ["description", "$ref", "const", "enum"].iter().any(|word| member.get(word).is_some());
        assert!(told, "{place}: {name} is not described");
        documented(member, &format!("{place}.{name}"));
    }
    for (name, schema) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
        documented(schema, &format!("{place}#{name}"));
    }
}

/// Returns the schema with additional members forbidden.
fn closed(schema: Value) -> Value {
    match schema {
        Value::Object(mut members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            members.into_iter().map(|(name, value)| (name, closed(value))).collect()
        }
        Value::Array(elements) => elements.into_iter().map(closed).collect(),
        value => value,
    }
}

/// Returns the deviations of a value from a schema, if any.
pub(crate) fn fault(name: &str, value: &Value) -> Option<String> {
    let validator = SCHEMAS.get(name)?;
    let faults: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    (!faults.is_empty()).then(|| format!("{name}: {}\n{value:#}", faults.join("; ")))
}

/// Returns the name of the schema of a command line, if the command is keyrack's and prints JSON.
fn schema_of(words: &[String]) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|word| *word != "keyrack").collect();
    let plain = |word: &&str| ["--value", "--output", "--watch", "--help"].contains(word);
    if !words.contains(&"--json") || words.iter().any(plain) {
        return None;
    }
    let name = words.windows(2).find_map(|pair| {
        let both = pair.join("-");
        let one = pair[0].to_owned();
        [both, one].into_iter().find(|name| SCHEMAS.contains_key(name))
    });
    name.or_else(|| words.last().map(|word| (*word).to_owned()).filter(|word| SCHEMAS.contains_key(word)))
}

/// Checks the output of a command line. A line of stderr that is JSON is a notice or an error. Only
/// the last line can be an error.
pub(crate) fn check(words: &[String], exit: i32, stdout: &[String], stderr: &[String]) {
    let Some(name) = schema_of(words) else { return };
    let line = words.join(" ");
    let text = stdout.join("\n");
    if !text.is_empty() {
        let value: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}:\n{text}"));
        if let Some(fault) = fault(&name, &value) {
            panic!("{line}: {fault}");
        }
    } else {
        assert_ne!(exit, 0, "{line}: an answer is missing");
    }
    for (at, said) in stderr.iter().enumerate().filter(|(_, said)| said.starts_with('{')) {
        let value: Value =
            serde_json::from_str(said).unwrap_or_else(|error| panic!("{line}: {error}:\n{said}"));
        let kind = if value.get("error").is_some() { "error" } else { "notice" };
        assert!(kind == "notice" || at + 1 == stderr.len(), "{line}: an error ends it");
        if let Some(fault) = fault(kind, &value) {
            panic!("{line}: {fault}");
        }
    }
}

#[test]
fn schema_check_finds_deviations() {
    use serde_json::json;
    for (name, value, sound) in [
        ("relock", json!({ "relocked": ["a.test.K"] }), true),
        ("relock", json!({ "relocked": ["a.test.K"], "more": 1 }), false),
        ("relock", json!({}), false),
        ("status", Value::Null, true),
        ("get", json!({ "status": "locked", "slug": "a.test.K", "message": "m" }), true),
        ("get", json!({ "status": "granted", "slug": "a.test.K" }), false),
        ("error", json!({ "error": { "code": "usage", "message": "m", "exit": 2 } }), true),
        ("error", json!({ "error": { "code": "usage", "message": "m", "exit": 3 } }), false),
    ] {
        assert_eq!(fault(name, &value).is_none(), sound, "{name} {value}");
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (line, name) in [
        ("keyrack get --key K --json", Some("get")),
        ("env -u X keyrack --owner o daemon status --json", Some("daemon-status")),
        ("keyrack --json relock", Some("relock")),
        ("keyrack get --key K --json --value", None),
        ("keyrack get --key K", None),
        ("cat --json get", None),
    ] {
        assert_eq!(schema_of(&words(line)).as_deref(), name, "{line}");
    }
}
