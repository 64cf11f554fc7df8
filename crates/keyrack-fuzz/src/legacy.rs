//! The legacy protocol: the end of a message does not depend on how its bytes arrive; a parsed
//! message is JSON to serde_json too, means the same, and reads the same after encoding.

use std::borrow::Cow;

use keyrack_wire::legacy::{
    self, Get, GetItem, Grant, LegacyError, MAX_REPLY, MAX_REQUEST, Progress, Request, Scanner,
    encode_get_reply, encode_get_request, encode_relock_request, parse_get_reply, parse_relock_reply,
    parse_status_reply,
};
use keyrack_wire::{Relock, WipedBuffer};
use serde_json::Value;

/// Takes a message of either side, or any other bytes.
pub fn legacy(data: &[u8]) {
    let whole = scan(data);
    let json = is_json(data);
    match whole {
        Progress::Complete { end } => {
            let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            assert!(data[end..].iter().all(blank), "only white space follows a message");
            request(&data[..end], json);
            replies(&data[..end], json);
        }
        Progress::More => assert!(!json, "a complete message is not awaited"),
        Progress::Bad(LegacyError::TooLarge { .. }) => assert!(data.len() > MAX_REQUEST, "it is too large"),
        Progress::Bad(LegacyError::TooDeep) => {}
        Progress::Bad(LegacyError::NotAnObject) => {
            assert!(
                !serde_json::from_slice::<Value>(data).is_ok_and(|value| value.is_object()),
                "it is an object"
            );
        }
        Progress::Bad(LegacyError::Trailing) => assert!(!json, "nothing follows it"),
        Progress::Bad(error) => panic!("the scanner does not check that: {error}"),
    }
}

/// Finds the end of the message, whole and byte by byte.
fn scan(data: &[u8]) -> Progress {
    let whole = Scanner::for_request().advance(data);
    let mut scanner = Scanner::for_request();
    let mut last = scanner.advance(&[]);
    for end in 1..=data.len() {
        last = scanner.advance(&data[..end]);
    }
    assert_eq!(last, whole, "byte by byte");
    for part in [2, 3, 7] {
        let mut scanner = Scanner::for_request();
        scanner.advance(&data[..data.len() / part]);
        assert_eq!(scanner.advance(data), whole, "in two");
    }
    whole
}

/// Returns `true` if the bytes are JSON by the grammar. Names given twice, lone surrogates and
/// numbers of any size pass.
fn is_json(data: &[u8]) -> bool {
    std::str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

fn is_grammar(error: &LegacyError) -> bool {
    matches!(error, LegacyError::Syntax { .. } | LegacyError::TooDeep | LegacyError::NotAnObject)
}

fn request(message: &[u8], json: bool) {
    let read = match Request::parse(message) {
        Ok(read) => read,
        Err(error) => {
            assert_eq!(is_grammar(&error), !json, "both readers find the same to be JSON: {error}");
            return;
        }
    };
    assert!(json, "what is read is JSON");
    match &read {
        Request::Get(get) => get_again(get),
        Request::Relock(relock) => relock_again(relock),
        Request::Unlock(grants) => grants_again(grants),
        Request::Status => {}
    }
    // Values that serde_json rejects (a lone surrogate, a number that is too large) are in ignored
    // fields.
    if let Ok(value) = serde_json::from_slice::<Value>(message) {
        same(&read, &value);
    }
}

fn encoded(encode: impl FnOnce(&mut WipedBuffer) -> Result<(), keyrack_wire::EncodeError>) -> Vec<u8> {
    let mut writer = WipedBuffer::new(MAX_REPLY);
    encode(&mut writer).expect("what was read is composed");
    writer.as_slice().to_vec()
}

fn get_again(get: &Get<'_>) {
    let bytes = encoded(|writer| encode_get_request(writer, get));
    match Request::parse(&bytes) {
        Ok(Request::Get(again)) => assert_eq!(again, *get, "it reads as the same again"),
        other => panic!("a get reads as a get again: {other:?}"),
    }
}

fn relock_again(relock: &Relock<'_>) {
    if matches!(relock, Relock::Slugs(slugs) if slugs.is_empty()) {
        // Not encoded: the other daemon would erase everything.
        return;
    }
    let bytes = encoded(|writer| encode_relock_request(writer, relock));
    match Request::parse(&bytes) {
        Ok(Request::Relock(again)) => assert_eq!(again, *relock, "it reads as the same again"),
        other => panic!("a relock reads as a relock again: {other:?}"),
    }
}

fn secret(grant: &Grant<'_>) -> Vec<u8> {
    let mut bytes = vec![0; grant.secret.len()];
    let length = grant.secret.unescape_into(&mut bytes).expect("the text was checked when it was parsed");
    assert_eq!(length, bytes.len(), "the length is known");
    bytes
}

fn extras(grant: &Grant<'_>) -> Vec<u8> {
    let mut writer = WipedBuffer::new(MAX_REPLY);
    grant.extras.pack(&mut writer).expect("a message's fields fit");
    assert_eq!(writer.as_slice().len(), grant.extras.packed_len(), "the length is known");
    writer.as_slice().to_vec()
}

fn grants_again(grants: &[Grant<'_>]) {
    let held: Vec<(Vec<u8>, Vec<u8>)> = grants.iter().map(|grant| (secret(grant), extras(grant))).collect();
    let items = grants.iter().zip(&held).map(|(grant, (secret, extras))| GetItem {
        slug: &grant.slug,
        protection: &grant.grade.protection,
        duration: &grant.grade.duration,
        vault: &grant.source.vault,
        mech: &grant.source.mech,
        env: &grant.env,
        org: &grant.org,
        expires_at: grant.expires_at.as_deref().unwrap_or_default(),
        secret: &secret[..],
        extras: &extras[..],
    });
    let mut omitted = Vec::new();
    let bytes = encoded(|writer| {
        omitted = encode_get_reply(writer, items)?;
        Ok(())
    });
    assert!(omitted.is_empty(), "text is carried");
    let data = match parse_get_reply(&bytes) {
        Ok(legacy::Reply::Ok(data)) => data,
        other => panic!("a get's reply reads as one: {other:?}"),
    };
    assert!(data.malformed.is_empty(), "each of them can be read");
    assert_eq!(data.keys.len(), grants.len(), "all of them come back");
    for (again, (grant, held)) in data.keys.iter().zip(grants.iter().zip(&held)) {
        assert_eq!(
            (&again.slug, &again.grade, &again.source, &again.env, &again.org),
            (&grant.slug, &grant.grade, &grant.source, &grant.env, &grant.org),
            "it reads as the same again"
        );
        assert_eq!(
            again.expires_at.as_deref().unwrap_or_default(),
            grant.expires_at.as_deref().unwrap_or_default()
        );
        assert_eq!((secret(again), extras(again)), *held, "its secret and its unknown fields too");
    }
}

/// Checks that a request means the same to serde_json.
fn same(read: &Request<'_>, value: &Value) {
    let payload = &value["payload"];
    let texts = |value: &Value| -> Vec<Cow<'static, str>> {
        let list = value.as_array().expect("a list to both readers");
        list.iter()
            .map(|text| Cow::Owned(text.as_str().expect("a text to both readers").to_owned()))
            .collect()
    };
    let text = |value: &Value| value.as_str().map(|text| Cow::Owned::<str>(text.to_owned()));
    let command = match read {
        Request::Get(get) => {
            let Get { slugs, org, env } = get;
            assert_eq!(
                (slugs, org, env),
                (&texts(&payload["slugs"]), &text(&payload["org"]), &text(&payload["env"])),
                "both readers agree"
            );
            "GET"
        }
        Request::Relock(relock) => {
            let theirs = match (payload.get("slugs"), text(&payload["env"])) {
                (Some(slugs), _) => Relock::Slugs(texts(slugs)),
                (None, Some(env)) => Relock::Env(env),
                (None, None) => Relock::All,
            };
            assert_eq!(*relock, theirs, "both readers agree");
            "RELOCK"
        }
        Request::Unlock(grants) => {
            let theirs = payload["keys"].as_array().expect("a list to both readers");
            assert_eq!(grants.len(), theirs.len(), "both readers agree");
            for (grant, theirs) in grants.iter().zip(theirs) {
                let ours = secret(grant);
                assert_eq!(
                    theirs["key"]["secret"].as_str().map(str::as_bytes),
                    Some(&ours[..]),
                    "both readers agree"
                );
                for (ours, theirs) in [
                    (&grant.slug, &theirs["slug"]),
                    (&grant.grade.protection, &theirs["key"]["grade"]["protection"]),
                    (&grant.grade.duration, &theirs["key"]["grade"]["duration"]),
                    (&grant.source.vault, &theirs["source"]["vault"]),
                    (&grant.source.mech, &theirs["source"]["mech"]),
                    (&grant.env, &theirs["env"]),
                    (&grant.org, &theirs["org"]),
                ] {
                    assert_eq!(theirs.as_str(), Some(&**ours), "both readers agree");
                }
                assert_eq!(theirs["expiresAt"].as_str(), grant.expires_at.as_deref(), "both readers agree");
            }
            "UNLOCK"
        }
        Request::Status => "STATUS",
    };
    assert_eq!(value["command"].as_str(), Some(command), "both readers agree");
}

fn replies(message: &[u8], json: bool) {
    match parse_get_reply(message) {
        Ok(legacy::Reply::Ok(data)) => {
            assert!(json, "what is read is JSON");
            for key in &data.keys {
                let (_, _) = (secret(key), extras(key));
            }
        }
        Ok(legacy::Reply::Refused(_)) => assert!(json, "what is read is JSON"),
        Err(error) => assert_eq!(is_grammar(&error), !json, "both readers find the same to be JSON: {error}"),
    }
    assert!(json || parse_status_reply(message).is_err(), "what is read is JSON");
    assert!(json || parse_relock_reply(message).is_err(), "what is read is JSON");
}
