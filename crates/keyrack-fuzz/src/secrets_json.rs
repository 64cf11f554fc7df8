//! The object of secrets of a CI job: values are those that serde_json reads; one that is given
//! twice or is not text is rejected by its name; no error quotes the text.

use std::fmt;
use std::marker::PhantomData;

use keyrack_core::Error;
use keyrack_ops::firewall::secrets_json::SecretsJson;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// Takes the JSON. Some names are requested from any.
pub fn secrets_json(data: &[u8]) {
    let theirs = serde_json::from_slice::<Members<IgnoredAny>>(data);
    let secrets = match SecretsJson::read(data) {
        Ok(secrets) => secrets,
        Err(error) => {
            assert!(error.message.starts_with("the secrets JSON is "), "it says nothing of the text");
            // serde_json does not check the bytes that it ignores.
            let is_text = std::str::from_utf8(data).is_ok();
            assert!(theirs.is_err() || !is_text || is_deep(data), "what others read is read");
            return;
        }
    };
    let names = theirs.expect("what is read is JSON to serde").0.into_iter().map(|(name, _)| name);
    let names: Vec<String> = names.collect();
    for name in names.iter().map(String::as_str).chain(["API_KEY", "", "PATH"]) {
        let read = secrets.get(name).map_err(|error| quotes_nothing(name, &error));
        match names.iter().filter(|own| *own == name).count() {
            0 => assert!(matches!(read, Ok(None)), "what is not there is none"),
            1 => {}
            _ => assert_eq!(read.err(), Some("appears twice"), "no one of them can be meant"),
        }
    }
    // serde_json rejects all values if one holds a lone surrogate or a number that is too large.
    let Ok(theirs) = serde_json::from_slice::<Members<Value>>(data) else { return };
    let once = |name: &str| names.iter().filter(|own| *own == name).count() == 1;
    for (name, value) in theirs.0.iter().filter(|(name, _)| once(name)) {
        let read = secrets.get(name);
        match value {
            Value::Null => assert!(matches!(read, Ok(None)), "null is none"),
            Value::String(text) => {
                let read = read.ok().flatten().expect("a string is read");
                assert_eq!(read.expose(), text.as_bytes(), "both readers agree");
            }
            _ => assert!(read.is_err(), "nothing else is a secret"),
        }
    }
}

/// Returns the reason that a name was rejected, and checks that the error quotes only the name.
fn quotes_nothing(name: &str, error: &Error) -> &'static str {
    let known = ["appears twice", "is not a string", "is not valid text"];
    let said = known.into_iter().find(|why| error.message == format!("{name} {why} in the secrets JSON"));
    assert!(error.hint.is_none() && error.fix.is_none());
    said.expect("a refusal quotes the name alone")
}

/// Returns `true` if the text may nest as deep as our reader's limit.
fn is_deep(data: &[u8]) -> bool {
    data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() >= 60
}

/// All members in order, also those of the same name.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
            type Value = Members<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each(PhantomData))
    }
}
