//! Finds the `mech` of a credential blob: a JSON object whose top level has a string field of that name.
//!
//! Such a blob is what a mechanism works from (a GitHub App's private key, for one) and must not be handed out raw. The scanner walks the bytes
//! and keeps nothing but the mechanism's word. Where a text is not quite JSON it errs towards having found one.

use super::invisible::trim_start;
use crate::mechanism::Mechanism;

/// The longest word that is taken for a mechanism's.
const MAX_WORD: usize = 64;

/// The mechanism that a value names, if it is a JSON object with a string field `mech`. A word that could be no mechanism's name, and so might be
/// a secret, is given as the empty one.
pub fn blob_mech(value: &[u8]) -> Option<Mechanism> {
    let mut scan = Scan { rest: trim_start(value) };
    let mut found = None;
    scan.take(b'{')?;
    while scan.field(&mut found).is_some() {}
    found
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn blank(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Walks over one field and what parts it from the next. `None` at the end of the object, and where the text stops being JSON.
    fn field(&mut self, found: &mut Option<Mechanism>) -> Option<()> {
        self.blank();
        self.take(b'"')?;
        let mut name = Word::default();
        self.string(Some(&mut name))?;
        self.blank();
        self.take(b':')?;
        self.blank();
        if name.is("mech") && self.rest.first() == Some(&b'"') {
            self.take(b'"')?;
            let mut word = Word::default();
            let ended = self.string(Some(&mut word));
            *found = Some(Mechanism::parse(word.plain()));
            ended?;
        } else {
            self.skip()?;
        }
        self.blank();
        self.take(b',')
    }

    /// Walks to behind the closing quote, telling `word` each character (RFC 8259, section 7).
    fn string(&mut self, mut word: Option<&mut Word>) -> Option<()> {
        let mut tell = |byte| {
            if let Some(word) = &mut word {
                word.push(byte);
            }
        };
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'u' => {
                        let mut unit = 0_u32;
                        for _ in 0..4 {
                            unit = unit * 16 + char::from(self.next()?).to_digit(16)?;
                        }
                        // Everything that matters here is ASCII; half a surrogate pair, say, is just not that.
                        tell(u8::try_from(unit).unwrap_or(0xff));
                    }
                    // The other escapes stand for characters that no name or word here has.
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => tell(0xff),
                    _ => return None,
                },
                byte => tell(byte),
            }
        }
    }

    /// Walks over a value, keeping nothing of it.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.rest.first()? {
                b'"' => {
                    self.take(b'"')?;
                    self.string(None)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => return Some(()),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.next();
        }
    }
}

/// The first bytes of a string, in place: nothing is allocated for one that is no mechanism's word.
struct Word {
    bytes: [u8; MAX_WORD],
    len: usize,
}

impl Default for Word {
    fn default() -> Self {
        Word { bytes: [0; MAX_WORD], len: 0 }
    }
}

impl Word {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    fn is(&self, name: &str) -> bool {
        self.bytes.get(..self.len) == Some(name.as_bytes())
    }

    /// The word, if it could be a mechanism's.
    fn plain(&self) -> &str {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        match self.bytes.get(..self.len) {
            Some(word) if word.iter().all(plain) => std::str::from_utf8(word).unwrap_or(""),
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn found() {
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
            // not JSON, but too near to one to be handed out
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
    fn not_found() {
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
        fn agrees_with_a_json_parser(value in json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), escaped(&value)] {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value.clone());
                prop_assert_eq!(blob_mech(text.as_bytes()).is_some(), oracle(&value).is_some(), "{}", text);
            }
        }

        #[test]
        fn misses_nothing_a_json_parser_finds(
            text in "\\{ ?(\"(mech|m|\\\\u006dech|[a-z\\\\\"]{0,3})\" ?: ?(\"[a-zé\\\\\"n]{0,4}\"|1|null|\\[\\]|\\{\\}),? ?){0,4}\\}"
        ) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) && oracle(&value).is_some() {
                prop_assert!(blob_mech(text.as_bytes()).is_some(), "{}", text);
            }
        }

        #[test]
        fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            blob_mech(&bytes);
            let mut object = b"{\"mech\":\"".to_vec();
            object.extend(&bytes);
            prop_assert!(blob_mech(&object).is_some() || bytes.contains(&b'\\'));
        }
    }
}
