//! The file of os.direct: an entry that is set reads as what was set, one that is removed is
//! absent, and every other entry stays the same for any reader.

use keyrack_vaults::fuzzing::{get, with, without};
use serde_json::Value;

/// The key that is set and removed, another one, and a value.
const SLUG: &str = "acme.test.API_KEY";
const OTHER: &str = "acme.all.B";
const SECRET: &str = "a \"secret\"\\ \u{1f511}\u{1}\n";

/// Takes the text of the file.
pub fn direct_file(data: &[u8]) {
    let other = get(data, OTHER);
    let theirs = serde_json::from_slice::<Value>(data);
    if let (Ok(Some((secret, _))), Ok(theirs)) = (&other, &theirs) {
        assert_eq!(
            theirs[OTHER]["value"].as_str().map(str::as_bytes),
            Some(&secret[..]),
            "both readers agree"
        );
    }
    let Ok(set) = with(data, SLUG, SECRET) else {
        assert!(
            !theirs.is_ok_and(|value| value.is_object() && !is_deep(&value, 0)),
            "what others read is read"
        );
        return;
    };
    assert_eq!(
        get(&set, SLUG),
        Ok(Some((SECRET.as_bytes().to_vec().into(), None))),
        "it reads as what was set"
    );
    let removed = without(&set, SLUG).expect("what was written is read");
    assert_eq!(get(&removed, SLUG), Ok(None), "a removed entry is absent");
    assert_eq!(without(data, SLUG).map(|text| get(&text, SLUG)), Ok(Ok(None)), "a removed entry is absent");
    for text in [&set, &removed] {
        assert_eq!(get(text, OTHER), other, "another entry stays");
    }
    if let Ok(Value::Object(mut expected)) = theirs {
        expected.remove(SLUG);
        assert_eq!(
            serde_json::from_slice::<Value>(&removed).ok(),
            Some(Value::Object(expected.clone())),
            "all others do"
        );
        let set: Value = serde_json::from_slice(&set).expect("what is JSON stays JSON");
        assert_eq!(set[SLUG]["value"].as_str(), Some(SECRET), "both readers agree");
        assert_eq!(set.as_object().map(serde_json::Map::len), Some(expected.len() + 1), "all others stay");
    }
}

/// Returns `true` if the value is much deeper than files in use; our reader has a limit.
fn is_deep(value: &Value, depth: usize) -> bool {
    depth > 16
        || match value {
            Value::Array(items) => items.iter().any(|item| is_deep(item, depth + 1)),
            Value::Object(fields) => fields.values().any(|field| is_deep(field, depth + 1)),
            _ => false,
        }
}
