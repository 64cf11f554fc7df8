//! Search for the `mech` of a credential blob: a JSON object with a string member of that name.
//!
//! A mechanism makes short-lived credentials from such a blob (from a GitHub App's private key, for
//! one), so the blob itself must not be returned. A text that is not quite JSON is searched too,
//! and rather taken for a blob than not.

use keyrack_json::{LooseToken, RawValue, loose_tokens};

use crate::display::trim_invisible_start;
use crate::mechanism::Mechanism;

/// Longest name of a mechanism, in bytes.
const MAX_WORD: usize = 64;

/// Longest form of the name `mech`: each character as `\u00xx`.
const LONGEST_NAME: usize = 4 * 6;

/// Returns the mechanism that a value names, if the value is a JSON object with a string member
/// `mech`. The last one counts.
///
/// A word that cannot be the name of a mechanism, and so may be a secret, is returned as the empty
/// word.
pub fn blob_mech(value: &[u8]) -> Option<Mechanism> {
    let text = trim_invisible_start(value);
    if text.first() != Some(&b'{') {
        return None;
    }
    match RawValue::parse(text) {
        Ok(object) => mech_of_object(object),
        Err(_) => mech_of_loose_text(text),
    }
}

fn mech_of_object(object: RawValue<'_>) -> Option<Mechanism> {
    let mut found = None;
    // The text was checked, so there is no error.
    let _ = object.members(|name, value| {
        let is_mech = match name.string() {
            Some(Ok(name)) => name.raw().len() <= LONGEST_NAME && name.to_text() == "mech",
            _ => false,
        };
        if is_mech && let Some(word) = value.string() {
            found = Some(match word {
                Ok(word) => mechanism(&word.to_wiped()),
                Err(_) => mechanism(b""),
            });
        }
        Ok::<_, keyrack_json::JsonError>(())
    });
    found
}

/// Takes any string after a name `mech`, at any depth.
fn mech_of_loose_text(text: &[u8]) -> Option<Mechanism> {
    let mut found = None;
    let mut is_mech = false;
    for token in loose_tokens(text) {
        if let LooseToken::Name(word) | LooseToken::String(word) = token
            && is_mech
        {
            found = Some(mechanism(&word.to_wiped()));
        }
        is_mech = match token {
            LooseToken::Name(name) => name.raw().len() <= LONGEST_NAME && *name.to_wiped() == b"mech",
            _ => false,
        };
    }
    found
}

fn mechanism(word: &[u8]) -> Mechanism {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_word = word.len() <= MAX_WORD && word.iter().all(is_plain);
    Mechanism::parse(std::str::from_utf8(word).ok().filter(|_| is_word).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn blob_mech_finds_a_mech_at_the_top_level() {
        for (text, mech) in [
            (r#"{"mech":"EPHEMERAL_VIA_GITHUB_APP","appId":1}"#, "EPHEMERAL_VIA_GITHUB_APP"),
            (r#" { "a" : [1,{"mech":"no"}], "mech" : "GITHUB_APP" } "#, "EPHEMERAL_VIA_GITHUB_APP"),
            (r#"{"k":"-----BEGIN\n\"mech\":\"no\"","mech":"NEW.one-2"}"#, "NEW.one-2"),
            (r#"{"\u006dech":"AWS_SSO"}"#, "EPHEMERAL_VIA_AWS_SSO"),
            (r#"{"\u006D\u0065\u0063\u0068":"A\u0057S_SSO"}"#, "EPHEMERAL_VIA_AWS_SSO"),
            (r#"{"mech":"has blank"}"#, ""),
            (r#"{"mech":"é"}"#, ""),
            (r#"{"mech":"a\nb"}"#, ""),
            (r#"{"mech":""}"#, ""),
            (r#"{"mech":1,"mech":"X"}"#, "X"),
            // Not JSON, but too close to return it.
            (r#"{"mech":"X",}"#, "X"),
            (r#"{"a":{"mech":"X"}"#, "X"),
            (r#"{"mech":"X"} // "mech":"Y z""#, ""),
            (r#"{"mech":"X""#, "X"),
            (r#"{"mech":"X" oops"#, "X"),
            (r#"{"mech":"X"#, "X"),
            ("\u{feff}{\"mech\":\"X\"}", "X"),
            ("\u{a0}\u{200b}\n{\"mech\":\"X\"}", "X"),
        ] {
            assert_eq!(blob_mech(text.as_bytes()).unwrap().as_str(), mech, "{text}");
        }
        let long = format!(r#"{{"mech":"{}"}}"#, "k".repeat(MAX_WORD + 1));
        assert_eq!(blob_mech(long.as_bytes()).unwrap().as_str(), "", "too long to be a mechanism's word");
    }

    #[test]
    fn blob_mech_finds_nothing_elsewhere() {
        for text in [
            "",
            "{}",
            "mech",
            "\"mech\"",
            r#"[{"mech":"X"}]"#,
            r#"{"a":{"mech":"X"}}"#,
            r#"{"mech":1}"#,
            r#"{"mech":null}"#,
            r#"{"mech":{"mech":"X"}}"#,
            r#"{"mech":["X"]}"#,
            r#"{"Mech":"X"}"#,
            r#"{"mech ":"X"}"#,
            r#"{"mechs":"X"}"#,
            r#"{"mec":"h"}"#,
            r#"{"\u006d\u0065\u0063":"X"}"#,
            r#"{"a":"mech","b":"X"}"#,
            "{mech:\"X\"}",
            "{",
            "{\"",
            "{\"mech\"",
            "{\"mech\":",
            "{\"\\",
            "{\"\\u00",
        ] {
            assert_eq!(blob_mech(text.as_bytes()), None, "{text}");
        }
        assert_eq!(blob_mech(b"\xff{\"mech\":\"X\"}"), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            Just("mech".to_owned()),
            Just("m".to_owned()),
            "[a-z\"\\\\{}:,\\[\\]é\u{1F600}\n]{0,6}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(text.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn oracle(value: &Value) -> Option<&str> {
        value.as_object()?.get("mech")?.as_str()
    }

    /// Writes every character of strings as an escape, as JSON allows.
    fn escaped(value: &Value) -> String {
        match value {
            Value::String(text) => {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
                format!("\"{}\"", units.collect::<String>())
            }
            Value::Array(items) => format!("[{}]", items.iter().map(escaped).collect::<Vec<_>>().join(" , ")),
            Value::Object(map) => {
                let fields =
                    map.iter().map(|(k, v)| format!("{} : {}", escaped(&k.as_str().into()), escaped(v)));
                format!("{{ {} }}", fields.collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn blob_mech_agrees_with_serde_json(value in json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), escaped(&value)] {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value.clone());
                prop_assert_eq!(blob_mech(text.as_bytes()).is_some(), oracle(&value).is_some(), "{}", text);
            }
        }

        #[test]
        fn blob_mech_finds_what_serde_json_finds(
            text in "\\{ ?(\"(mech|m|\\\\u006dech|[a-z\\\\\"]{0,3})\" ?: ?(\"[a-zé\\\\\"n]{0,4}\"|1|null|\\[\\]|\\{\\}),? ?){0,4}\\}"
        ) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) && oracle(&value).is_some() {
                prop_assert!(blob_mech(text.as_bytes()).is_some(), "{}", text);
            }
        }

        #[test]
        fn blob_mech_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            blob_mech(&bytes);
            let mut object = b"{\"mech\":\"".to_vec();
            object.extend(&bytes);
            prop_assert!(blob_mech(&object).is_some() || bytes.contains(&b'\\'));
        }
    }
}
