//! `credential_process` of the AWS tools ("Sourcing credentials with an external process", AWS SDKs
//! and Tools Reference Guide): JSON on stdout.

use keyrack_core::{Error, ErrorCode, timestamp};
use zeroize::Zeroizing;

use super::{CredentialKey, first_end};
use keyrack_json::{JsonWriter, Member, Object, RawValue, ValueKind};

/// Member names of a key that holds the credentials as JSON: the name in the protocol first, then
/// those that other tools write.
const ACCESS_KEY_ID: [&str; 4] = ["AccessKeyId", "accessKeyId", "aws_access_key_id", "AWS_ACCESS_KEY_ID"];
const SECRET_ACCESS_KEY: [&str; 4] =
    ["SecretAccessKey", "secretAccessKey", "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"];
const SESSION_TOKEN: [&str; 4] = ["SessionToken", "sessionToken", "aws_session_token", "AWS_SESSION_TOKEN"];
const EXPIRATION: [&str; 2] = ["Expiration", "expiration"];

/// Composes the reply from two or three keys.
///
/// # Errors
/// [`keyrack_core::ErrorCode::Usage`] for a value that is not text.
pub fn of_keys(
    id: &CredentialKey,
    secret: &CredentialKey,
    session: Option<&CredentialKey>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (id_text, secret_text) = (id.text()?, secret.text()?);
    let session_text = session.map(CredentialKey::text).transpose()?;
    let all: Vec<&CredentialKey> = [Some(id), Some(secret), session].into_iter().flatten().collect();
    Ok(compose(first_end(&all), |json| {
        json.member("AccessKeyId", id_text);
        json.member("SecretAccessKey", secret_text);
        if let Some(text) = session_text {
            json.member("SessionToken", text);
        }
    }))
}

/// Composes the reply from one key that holds a JSON object, as the AWS tools write it.
///
/// # Errors
/// [`ErrorCode::Usage`] for a value that is not such an object, or whose expiration is not a time;
/// [`ErrorCode::CredentialExpired`] for an expiration in the past.
pub fn of_object(key: &CredentialKey, now_ms: i64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let found =
        Object::parse(key.secret.expose()).map_err(|_| key.unfit("its value is not a JSON object"))?.members;
    let text = |names: &[&str]| found.iter().find(|member| names.contains(&&*member.name)).filter(is_text);
    let (Some(id), Some(secret)) = (text(&ACCESS_KEY_ID), text(&SECRET_ACCESS_KEY)) else {
        return Err(key.unfit("its value has no AccessKeyId and SecretAccessKey"));
    };
    let own = expiration(key, &found)?;
    if let Some(ms) = own.filter(|ms| *ms <= now_ms) {
        let message = format!("the credentials in {} expired at {}", key.slug, timestamp::format_ms(ms));
        let error = Error::new(ErrorCode::CredentialExpired, message).of(&key.slug);
        return Err(match &key.replace {
            Some(fix) => error.fix(fix.clone()),
            None => error.hint(format!("put new credentials into the variable {}", key.slug.name())),
        });
    }
    Ok(compose([first_end(&[key]), own].into_iter().flatten().min(), |json| {
        // Copied verbatim, with quotes and escapes.
        for (name, member) in [
            ("AccessKeyId", Some(id)),
            ("SecretAccessKey", Some(secret)),
            ("SessionToken", text(&SESSION_TOKEN)),
        ] {
            if let Some(member) = member {
                json.name(name);
                json.raw(member.value.text().as_bytes());
            }
        }
    }))
}

/// Expiration in the members, the earliest if there are several. `null` counts as absent.
fn expiration(key: &CredentialKey, members: &[Member<'_>]) -> Result<Option<i64>, Error> {
    let mut earliest: Option<i64> = None;
    let named = members.iter().filter(|member| EXPIRATION.contains(&&*member.name));
    for member in named.filter(|member| member.value.kind() != ValueKind::Null) {
        let ms = time(member.value).ok_or_else(|| {
            key.unfit(&format!("its {} is not a time", member.name))
                .hint("it must be a string such as \"2026-01-31T12:00:00Z\" (RFC 3339)")
        })?;
        earliest = Some(earliest.map_or(ms, |other| other.min(ms)));
    }
    Ok(earliest)
}

fn time(value: RawValue<'_>) -> Option<i64> {
    let text = value.string()?.ok()?.to_wiped();
    timestamp::parse_ms(std::str::from_utf8(&text).ok()?)
}

fn is_text(member: &&Member<'_>) -> bool {
    member.value.kind() == ValueKind::String && member.value.text().len() > 2
}

fn compose(ends: Option<i64>, credentials: impl FnOnce(&mut JsonWriter)) -> Zeroizing<Vec<u8>> {
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.name("Version");
        json.plain("1");
        credentials(json);
        if let Some(ms) = ends {
            json.member("Expiration", &timestamp::format_ms(ms));
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
    fn aws_reply_from_two_or_three_keys() {
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

    const NOW: i64 = 1_000_000_000_000;

    fn with_expiration(members: &str) -> String {
        format!(r#"{{"AccessKeyId": "ASIA1", "SecretAccessKey": "hunter2"{members}}}"#)
    }

    #[test]
    fn aws_rejects_expired_credentials() {
        for members in [
            r#", "Expiration": "2001-09-09T01:46:40Z""#,
            r#", "Expiration": "2001-09-09T01:46:39.999Z""#,
            r#", "expiration": "1999-01-01T00:00:00+02:00""#,
            r#", "Expiration": "2030-01-01T00:00:00Z", "expiration": "2000-01-01T00:00:00Z""#,
            r#", "Expiration": "2030-01-01T00:00:00Z", "Expiration": "2000-01-01T00:00:00Z""#,
            r#", "Expiration": "2000-01-01T00:00:00\u002B00:00""#,
        ] {
            let object = with_expiration(members);
            // However long keyrack would hold the key.
            for ends in [None, Some(NOW + 3_600_000)] {
                let mut key = held("K", object.as_bytes(), ends);
                let error = of_object(&key, NOW).unwrap_err();
                assert_eq!(error.code, ErrorCode::CredentialExpired, "{members}");
                assert!(error.message.starts_with("the credentials in acme.test.K expired at "), "{error}");
                assert!(error.fix.is_some() && !format!("{error:?}").contains("hunter2"));
                key.replace = None;
                let error = of_object(&key, NOW).unwrap_err();
                assert_eq!(error.hint.unwrap(), "put new credentials into the variable K");
            }
        }
    }

    #[test]
    fn aws_rejects_an_expiration_that_is_not_a_time() {
        for date in [
            "\"never\"",
            "\"\"",
            "\"tomorrow\"",
            "\"2030-01-01\"",
            "\"2030-13-01T00:00:00Z\"",
            "1893456000",
            "true",
            "{}",
            "[]",
            "\"1893456000\"",
            "\"2030-01-01T00:00:00\"",
            "\"\\ud800\"",
        ] {
            for member in ["Expiration", "expiration"] {
                let object = with_expiration(&format!(", \"{member}\": {date}"));
                for ends in [None, Some(NOW + 3_600_000)] {
                    let error = of_object(&held("K", object.as_bytes(), ends), NOW).unwrap_err();
                    let message = format!("cannot use acme.test.K: its {member} is not a time");
                    assert_eq!((error.code, error.message), (ErrorCode::Usage, message), "{date}");
                }
            }
        }
    }

    #[test]
    fn aws_reply_has_the_earliest_expiration() {
        for (date, ends, expiration) in [
            ("\"2030-01-01T00:00:00Z\"", None, Some("2030-01-01T00:00:00.000Z")),
            ("\"2030-01-01T01:00:00+01:00\"", None, Some("2030-01-01T00:00:00.000Z")),
            ("\"2030-01-01T00:00:00\\u002b00:00\"", None, Some("2030-01-01T00:00:00.000Z")),
            ("\"2001-09-09T01:46:40.001Z\"", None, Some("2001-09-09T01:46:40.001Z")),
            ("\"2030-01-01T00:00:00Z\"", Some(NOW + 1), Some("2001-09-09T01:46:40.001Z")),
            ("null", None, None),
            ("null", Some(NOW + 1), Some("2001-09-09T01:46:40.001Z")),
        ] {
            let object = with_expiration(&format!(", \"Expiration\": {date}"));
            let answer = read(&of_object(&held("K", object.as_bytes(), ends), NOW).unwrap());
            assert_eq!(answer["Expiration"].as_str(), expiration, "{date}");
        }
    }

    #[test]
    fn aws_reply_from_one_json_object() {
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
                r#"{"accessKeyId": "A", "secretAccessKey": "s", "sessionToken": null, "expiration": null}"#,
                Some(1000),
                json!({ "Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "1970-01-01T00:00:01.000Z" }),
            ),
        ] {
            assert_eq!(read(&of_object(&held("K", object.as_bytes(), ends), 0).unwrap()), answer, "{object}");
        }
        for bad in [
            "",
            "AKIA",
            "[]",
            "{}",
            r#"{"AccessKeyId": "hunter2"}"#,
            r#"{"AccessKeyId": 1, "SecretAccessKey": "hunter2"}"#,
        ] {
            let error = of_object(&held("K", bad.as_bytes(), None), 0).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
}
