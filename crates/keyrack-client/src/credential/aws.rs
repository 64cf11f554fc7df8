//! The AWS tools' `credential_process` ("Sourcing credentials with an external process", AWS SDKs and Tools Reference Guide): JSON on stdout.

use keyrack_core::{Problem, iso};
use zeroize::Zeroizing;

use super::{Held, first_end};
use crate::json_members::{Member, members};
use crate::render::json::JsonWriter;

/// The members of a key that holds all of it as JSON, by their names here and those that others write them under.
const ACCESS_KEY_ID: [&str; 4] = ["AccessKeyId", "accessKeyId", "aws_access_key_id", "AWS_ACCESS_KEY_ID"];
const SECRET_ACCESS_KEY: [&str; 4] =
    ["SecretAccessKey", "secretAccessKey", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"];
const SESSION_TOKEN: [&str; 4] = ["SessionToken", "sessionToken", "aws_session_token", "AWS_SESSION_TOKEN"];
const EXPIRATION: [&str; 2] = ["Expiration", "expiration"];

/// The answer of two or three keys.
///
/// # Errors
/// [`keyrack_core::ErrorCode::Usage`] for a value that is no text.
pub fn of_keys(id: &Held, secret: &Held, session: Option<&Held>) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (id_text, secret_text) = (id.text()?, secret.text()?);
    let session_text = session.map(Held::text).transpose()?;
    let all: Vec<&Held> = [Some(id), Some(secret), session].into_iter().flatten().collect();
    Ok(compose(first_end(&all), |json| {
        json.member("AccessKeyId", id_text);
        json.member("SecretAccessKey", secret_text);
        if let Some(text) = session_text {
            json.member("SessionToken", text);
        }
    }))
}

/// The answer of one key that holds all of it: a JSON object as the AWS tools write it.
///
/// # Errors
/// [`keyrack_core::ErrorCode::Usage`] for a value that is no such object.
pub fn of_object(key: &Held) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let found = members(key.secret.expose()).map_err(|_| key.unfit("it is no JSON object"))?;
    let text =
        |names: &[&str]| found.iter().find(|member| names.contains(&member.name.as_str())).filter(is_text);
    let (Some(id), Some(secret)) = (text(&ACCESS_KEY_ID), text(&SECRET_ACCESS_KEY)) else {
        return Err(key.unfit("it has no AccessKeyId and SecretAccessKey"));
    };
    // Its own end, where it has one that can be read.
    let own = text(&EXPIRATION).and_then(|member| std::str::from_utf8(member.value).ok());
    let own = own.and_then(|text| iso::parse_ms(text.trim_matches('"')));
    Ok(compose([first_end(&[key]), own].into_iter().flatten().min(), |json| {
        // As they stand, quotes and escapes included.
        for (name, member) in [
            ("AccessKeyId", Some(id)),
            ("SecretAccessKey", Some(secret)),
            ("SessionToken", text(&SESSION_TOKEN)),
        ] {
            if let Some(member) = member {
                json.name(name);
                json.raw(member.value);
            }
        }
    }))
}

fn is_text(member: &&Member<'_>) -> bool {
    member.value.starts_with(b"\"") && member.value.len() > 2
}

fn compose(ends: Option<i64>, credentials: impl FnOnce(&mut JsonWriter)) -> Zeroizing<Vec<u8>> {
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.name("Version");
        json.plain("1");
        credentials(json);
        if let Some(ms) = ends {
            json.member("Expiration", &iso::format_ms(ms));
        }
    });
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::held;
    use super::*;

    fn read(made: &[u8]) -> Value {
        serde_json::from_slice(made).unwrap()
    }

    #[test]
    fn of_two_or_three_keys() {
        let (id, secret) = (held("I", b"AKIA", Some(2000)), held("S", b"a/b+\"c", None));
        assert_eq!(
            read(&of_keys(&id, &secret, None).unwrap()),
            json!({ "Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "a/b+\"c", "Expiration": "1970-01-01T00:00:02.000Z" })
        );
        let session = held("T", b"tok", Some(1000));
        let value = read(&of_keys(&id, &secret, Some(&session)).unwrap());
        assert_eq!(
            (&value["SessionToken"], &value["Expiration"]),
            (&json!("tok"), &json!("1970-01-01T00:00:01.000Z"))
        );
        assert!(of_keys(&id, &held("S", b"\xff", None), None).is_err());
    }

    #[test]
    fn of_one_object() {
        for (object, ends, answer) in [
            (
                r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s\"\u00e9", "SessionToken": "t", "Expiration": "1970-01-01T00:00:03Z"}"#,
                Some(5000),
                json!({ "Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s\"é", "SessionToken": "t", "Expiration": "1970-01-01T00:00:03.000Z" }),
            ),
            (
                r#" {"aws_access_key_id": "A", "aws_secret_access_key": "s", "more": [1]} "#,
                None,
                json!({ "Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s" }),
            ),
            (
                r#"{"accessKeyId": "A", "secretAccessKey": "s", "sessionToken": null, "expiration": "never"}"#,
                Some(1000),
                json!({ "Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "1970-01-01T00:00:01.000Z" }),
            ),
        ] {
            assert_eq!(read(&of_object(&held("K", object.as_bytes(), ends)).unwrap()), answer, "{object}");
        }
        for bad in [
            "",
            "AKIA",
            "[]",
            "{}",
            r#"{"AccessKeyId": "hunter2"}"#,
            r#"{"AccessKeyId": 1, "SecretAccessKey": "hunter2"}"#,
        ] {
            let problem = of_object(&held("K", bad.as_bytes(), None)).unwrap_err();
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem}");
        }
    }
}
