//! JSON object of secrets that a CI system gives a job: `{"NAME": "value", …}`, as
//! `toJSON(secrets)` of GitHub Actions writes it.
//!
//! It is read in place. Only a value that is requested by name is unescaped, straight into memory
//! that is wiped; the others stay in the caller's bytes.

use keyrack_core::{Error, ErrorCode};
use keyrack_json::{Object, ValueKind};

use keyrack_client::Secret;

/// Maximum size of the text in bytes: more than all secrets of a GitHub job (300 of 48 KB each).
pub const MAX_SECRETS_JSON: usize = 16 * 1024 * 1024;

/// The secrets of one text.
pub struct SecretsJson<'a> {
    object: Object<'a>,
}

impl<'a> SecretsJson<'a> {
    /// Parses an object.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] if `text` is not an object, or is over [`MAX_SECRETS_JSON`]. The
    /// message quotes nothing of the text.
    pub fn read(text: &'a [u8]) -> Result<Self, Error> {
        if text.len() > MAX_SECRETS_JSON {
            let most = MAX_SECRETS_JSON / (1024 * 1024);
            return Err(Error::new(ErrorCode::Usage, format!("the secrets JSON is over {most} MiB")));
        }
        let object = Object::parse(text).map_err(|_| {
            Error::new(ErrorCode::Usage, "the secrets JSON is not one JSON object")
                .hint("it looks like {\"NAME\": \"value\"}: in GitHub Actions, toJSON(secrets)")
        })?;
        Ok(SecretsJson { object })
    }

    /// Returns the value of a name; `None` if it is missing or `null`.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`], naming `name`, if it appears twice, is not a string, or holds half of
    /// a surrogate pair.
    pub fn get(&self, name: &str) -> Result<Option<Secret>, Error> {
        let unfit = |why: &str| Error::new(ErrorCode::Usage, format!("{name} {why} in the secrets JSON"));
        let mut found = self.object.members.iter().filter(|member| member.name == name);
        let Some(member) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(unfit("appears twice"));
        }
        if member.value.kind() == ValueKind::Null {
            return Ok(None);
        }
        let text = member.value.string().ok_or_else(|| unfit("is not a string"))?;
        let text = text.map_err(|_| unfit("is not valid text"))?;
        Ok(Some(Secret::copy_of(&text.to_wiped())))
    }
}

impl std::fmt::Debug for SecretsJson<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretsJson({} members)", self.object.members.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, name: &str) -> Result<Option<String>, String> {
        let secrets = SecretsJson::read(text.as_bytes()).map_err(|error| error.message)?;
        let found = secrets.get(name).map_err(|error| error.message)?;
        Ok(found.map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()))
    }

    #[test]
    fn secrets_json_returns_values_by_name() {
        for (text, found) in [
            (r#"{"A":"x"}"#, Some("x")),
            (r#" {"B":1,"A":"x\ny","C":[{"A":"z"}]} "#, Some("x\ny")),
            (r#"{"A":"","B":"x"}"#, Some("")),
            (r#"{"A":"\"\\\/\b\f\n\r\té\u00e9\ud83d\udd11"}"#, Some("\"\\/\u{8}\u{c}\n\r\téé🔑")),
            (r#"{"\u0041":"x"}"#, Some("x")),
            (r#"{"A":"\u0000"}"#, Some("\0")),
            (r#"{"A":null}"#, None),
            (r#"{"a":"x","AA":"y"}"#, None),
            (r#"{"X":{"A":"x"}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(value(text, "A"), Ok(found.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn secrets_json_errors_name_the_key_and_quote_nothing() {
        for (text, message) in [
            (r#"{"A":"hunter2","A":"hunter2"}"#, "A appears twice in the secrets JSON"),
            (r#"{"A":"hunter2","\u0041":"x"}"#, "A appears twice in the secrets JSON"),
            (r#"{"A":2222}"#, "A is not a string in the secrets JSON"),
            (r#"{"A":["hunter2"]}"#, "A is not a string in the secrets JSON"),
            (r#"{"A":{"A":"hunter2"}}"#, "A is not a string in the secrets JSON"),
            (r#"{"A":"hunter2\ud800"}"#, "A is not valid text in the secrets JSON"),
            (r#"["hunter2"]"#, "the secrets JSON is not one JSON object"),
            (r#"{"A":"hunter2"} {}"#, "the secrets JSON is not one JSON object"),
            ("hunter2", "the secrets JSON is not one JSON object"),
            ("", "the secrets JSON is not one JSON object"),
            ("\u{feff}{}", "the secrets JSON is not one JSON object"),
        ] {
            assert_eq!(value(text, "A"), Err(message.to_owned()), "{text}");
        }
        let huge = vec![b' '; MAX_SECRETS_JSON + 1];
        assert_eq!(SecretsJson::read(&huge).unwrap_err().message, "the secrets JSON is over 16 MiB");
        assert_eq!(format!("{:?}", SecretsJson::read(br#"{"A":"hunter2"}"#)), "Ok(SecretsJson(1 members))");
    }

    proptest! {
        #[test]
        fn secrets_json_agrees_with_serde(values in prop::collection::btree_map("[A-C\u{e9}\"\\\\]{0,3}", any::<String>(), 0..8), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&values) } else { serde_json::to_vec(&values) }.unwrap();
            let secrets = SecretsJson::read(&text).unwrap();
            for (name, value) in &values {
                let found = secrets.get(name).unwrap().unwrap();
                prop_assert_eq!(found.expose(), value.as_bytes());
            }
            prop_assert!(secrets.get("D").unwrap().is_none());
        }
    }
}
