//! Legacy replies: encoded by this daemon, and parsed from a TypeScript daemon.

use keyrack_wire::legacy::*;
use keyrack_wire::{EncodeError, SecretBytes, WipedBuffer};
use serde_json::{Value, json};

use crate::support::{Tight, encoded};

fn item<'a, S>(slug: &'a str, secret: S) -> GetItem<'a, S, NoExtras> {
    GetItem {
        slug,
        protection: "encrypted",
        duration: "permanent",
        vault: "os.secure",
        mech: "PERMANENT_VIA_REPLICA",
        env: "test",
        org: "acme",
        expires_at: "2026-01-01T09:00:00Z",
        secret,
        extras: NoExtras,
    }
}

fn slugs_of(reply: &[u8]) -> Vec<String> {
    let reply: Value = serde_json::from_slice(reply).unwrap();
    assert_eq!(reply["success"], true);
    let keys = reply["data"]["keys"].as_array().unwrap();
    keys.iter().map(|key| key["slug"].as_str().unwrap().to_owned()).collect()
}

struct Erased;

impl SecretBytes for Erased {
    fn with<R>(&self, _: impl FnOnce(&[u8]) -> R) -> Option<R> {
        None
    }
}

#[test]
fn get_reply_omits_keys_that_json_cannot_carry() {
    let secrets: [&[u8]; 5] = [b"\xff", b"first", b"\xed\xa0\x80", "é\0".as_bytes(), b"tail\xe2\x82"];
    let slugs = ["a", "b", "c", "d", "e"];
    for (count, expected) in [(1, vec![]), (2, vec!["b"]), (3, vec!["b"]), (5, vec!["b", "d"])] {
        let mut writer = WipedBuffer::new(10_000);
        let items = slugs.iter().zip(secrets).take(count).map(|(slug, secret)| item(slug, secret));
        let omitted = encode_get_reply(&mut writer, items).unwrap();
        assert_eq!(slugs_of(writer.as_slice()), expected);
        let omitted: Vec<&str> = omitted.iter().map(|index| slugs[*index]).collect();
        let rest: Vec<&str> =
            slugs[..count].iter().copied().filter(|slug| !expected.contains(slug)).collect();
        assert_eq!(omitted, rest);
    }
    let mut writer = WipedBuffer::new(10_000);
    assert_eq!(encode_get_reply(&mut writer, [item("a", Erased)]), Ok(vec![0]));
    assert_eq!(writer.as_slice(), br#"{"success":true,"data":{"keys":[]}}"#);
    // Fields that this crate did not pack are not written into a reply.
    let odd = GetItem { extras: &b"\"x\":1"[..], ..item_with("a", &b"s"[..]) };
    assert_eq!(encode_get_reply(&mut WipedBuffer::new(1000), [odd]), Ok(vec![0]));
}

fn item_with<'a>(slug: &'a str, secret: &'a [u8]) -> GetItem<'a, &'a [u8], &'a [u8]> {
    let GetItem { protection, duration, vault, mech, env, org, expires_at, .. } = item(slug, secret);
    GetItem { slug, protection, duration, vault, mech, env, org, expires_at, secret, extras: &[] }
}

#[test]
fn reply_over_its_limit_is_an_error() {
    let secret = vec![b'x'; 1 << 20];
    let fits = encoded(|writer| encode_get_reply(writer, (0..7).map(|_| item("a", &secret[..]))));
    assert!(fits.len() > 7 << 20);
    // A quote takes two bytes, so half as many do not fit.
    let quotes = vec![b'"'; 1 << 20];
    for (count, secret) in [(8, &secret), (4, &quotes)] {
        let mut writer = WipedBuffer::new(32 << 20);
        let outcome = encode_get_reply(&mut writer, (0..count).map(|_| item("a", &secret[..])));
        assert_eq!(outcome, Err(EncodeError::TooLarge { limit: MAX_REPLY }));
        assert!(writer.as_slice().len() <= MAX_REPLY);
    }
    let long = "x".repeat(MAX_REPLY);
    let too_large = Err(EncodeError::TooLarge { limit: MAX_REPLY });
    assert_eq!(encode_error(&mut WipedBuffer::new(32 << 20), &long), too_large);
    assert_eq!(encode_unlock_reply(&mut WipedBuffer::new(32 << 20), [&long[..]]), too_large);
}

#[test]
fn full_writer_is_an_error_at_every_byte() {
    let packed = {
        let grant = r#"{"slug":"a","a":1,"key":{"secret":"s","b":2,"grade":{"protection":"p","duration":"d","c":3}},"source":{"vault":"v","mech":"m","d":4},"env":"e","org":"o"}"#;
        let message = format!(r#"{{"command":"UNLOCK","payload":{{"keys":[{grant}]}}}}"#);
        let Ok(Request::Unlock(grants)) = Request::parse(message.as_bytes()) else { panic!() };
        let mut packed = WipedBuffer::new(1000);
        grants[0].extras.pack(&mut packed).unwrap();
        packed.as_slice().to_vec()
    };
    let items = || [item_with("a.test.K", b"s\"\n"), GetItem { extras: &packed[..], ..item_with("b", b"") }];
    let whole = encoded(|writer| encode_get_reply(writer, items()));
    for limit in 0..whole.len() {
        let mut writer = Tight { bytes: Vec::new(), limit };
        assert_eq!(encode_get_reply(&mut writer, items()), Err(EncodeError::Full), "{limit}");
        assert!(whole.starts_with(&writer.bytes));
    }
    assert_eq!(encode_get_reply(&mut Tight { bytes: Vec::new(), limit: whole.len() }, items()), Ok(vec![]));
    let reply: Value = serde_json::from_slice(&whole).unwrap();
    let second = &reply["data"]["keys"][1];
    assert_eq!((&second["a"], &second["key"]["b"]), (&json!(1), &json!(2)));
    assert_eq!((&second["key"]["grade"]["c"], &second["source"]["d"]), (&json!(3), &json!(4)));
}

#[test]
fn other_replies_agree_with_serde_json() {
    let odd = "a\"\\\n\u{1f511}";
    let unlock = encoded(|writer| encode_unlock_reply(writer, [odd, "b"]));
    assert_eq!(oracle(&unlock), json!({"success": true, "data": {"unlocked": [odd, "b"]}}));
    let relock = encoded(|writer| encode_relock_reply(writer, []));
    assert_eq!(oracle(&relock), json!({"success": true, "data": {"relocked": []}}));
    let error = encoded(|writer| encode_error(writer, odd));
    assert_eq!(oracle(&error), json!({"success": false, "error": odd}));
    let key = StatusItem { slug: odd, env: odd, org: odd, expires_at: odd, ttl_left_ms: u64::MAX };
    let status = encoded(|writer| encode_status_reply(writer, odd, [key]));
    let key = json!({"slug": odd, "env": odd, "org": odd, "expiresAt": odd, "ttlLeftMs": u64::MAX});
    assert_eq!(oracle(&status), json!({"success": true, "data": {"homeHash": odd, "keys": [key]}}));
}

fn oracle(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn malformed_key_does_not_hide_the_others() {
    let good = r#"{"slug":"a.test.K","key":{"secret":"s\u00e9","grade":{"protection":"p","duration":"d"}},"source":{"vault":"v","mech":"m"},"env":"test","org":"a"}"#;
    let immortal = good.replace("\"org\"", "\"expiresAt\":1767258000000,\"org\"");
    let halved = good.replace("s\\u00e9", "hunter2\\ud83d");
    let reply = format!(
        r#"{{"success":true,"data":{{"keys":[null,{good},{immortal},{halved},{{}},{good}],"x":1}},"y":2}}"#
    );
    let Ok(Reply::Ok(data)) = parse_get_reply(reply.as_bytes()) else { panic!() };
    assert_eq!(data.keys.len(), 2);
    let mut out = [0; 8];
    let len = data.keys[1].secret.unescape_into(&mut out).unwrap();
    assert_eq!(&out[..len], "sé".as_bytes());
    let malformed: Vec<String> = data.malformed.iter().map(ToString::to_string).collect();
    assert_eq!(
        malformed,
        [
            "data.keys[0] must be an object",
            "data.keys[2].expiresAt (a.test.K) must be a string",
            "data.keys[3].key.secret (a.test.K) holds a lone surrogate",
            "data.keys[4].slug is missing",
        ]
    );

    let status = r#"{"success":true,"data":{"homeHash":"83db27ef","keys":[
        {"slug":"a","env":"e","org":"o","expiresAt":null,"ttlLeftMs":null},
        {"slug":"b","env":"e","org":"o"},
        {"slug":"c","env":"e","org":"o","expiresAt":"t","ttlLeftMs":-1},
        {"slug":"d","env":"e","org":"o","expiresAt":7,"ttlLeftMs":1},
        {"slug":"e","env":"e","org":"o","expiresAt":"t","ttlLeftMs":"1"},
        7,
        {"slug":"f","env":"e","org":"o","expiresAt":"t","ttlLeftMs":12}]}}"#;
    let Ok(Reply::Ok(data)) = parse_status_reply(status.as_bytes()) else { panic!() };
    let keys: Vec<(&str, Option<&str>, Option<u64>)> =
        data.keys.iter().map(|key| (&*key.slug, key.expires_at.as_deref(), key.ttl_left_ms)).collect();
    assert_eq!(keys, [("a", None, None), ("b", None, None), ("f", Some("t"), Some(12))]);
    let malformed: Vec<String> = data.malformed.iter().map(ToString::to_string).collect();
    assert_eq!(
        malformed,
        [
            "data.keys[2].ttlLeftMs must be whole milliseconds",
            "data.keys[3].expiresAt must be a string",
            "data.keys[4].ttlLeftMs must be whole milliseconds",
            "data.keys[5] must be an object",
        ]
    );
}

#[test]
fn malformed_reply_is_an_error_without_its_content() {
    for (reply, expected) in [
        ("", "the message is not valid JSON at byte 0: unexpected end"),
        ("null", "the message is not a JSON object"),
        ("{}", "success is missing"),
        (r#"{"success":1}"#, "success must be true or false"),
        (r#"{"success":"hunter2"}"#, "success must be true or false"),
        (r#"{"success":true}"#, "data is missing"),
        (r#"{"success":true,"data":null}"#, "data must be an object"),
        (r#"{"success":true,"data":{}}"#, "data.keys is missing"),
        (r#"{"success":true,"data":{"keys":{"hunter2":1}}}"#, "data.keys must be an array"),
        (
            r#"{"success":true,"data":{"keys":["hunter2"#,
            "the message is not valid JSON at byte 40: unexpected end",
        ),
        (r#"{"success":false}"#, "error is missing"),
        (r#"{"success":false,"error":null}"#, "error must be a string"),
        (r#"{"success":true,"success":false,"data":{}}"#, "success is given twice"),
    ] {
        let error = parse_get_reply(reply.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{reply}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    let many = format!(r#"{{"success":true,"data":{{"keys":[{}7]}}}}"#, "7,".repeat(MAX_ITEMS));
    let error = parse_get_reply(many.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "data.keys has more than 4096 elements");
    let error = parse_relock_reply(br#"{"success":true,"data":{"relocked":[7]}}"#).unwrap_err();
    assert_eq!(error.to_string(), "data.relocked[0] must be a string");
    let error = parse_status_reply(br#"{"success":true,"data":{"keys":[]}}"#).unwrap_err();
    assert_eq!(error.to_string(), "data.homeHash is missing");
}

#[test]
fn error_reply_is_parsed_as_refused() {
    let long = "x".repeat(100_000);
    let reply = encoded(|writer| encode_error(writer, &long));
    assert_eq!(parse_relock_reply(&reply), Ok(Reply::Refused(long)));
    assert!(is_session_mismatch(
        "BadRequestError: session mismatch: caller is in a different login session\n\n{}"
    ));
    assert!(!is_session_mismatch("unknown command: X"));
}

#[test]
fn scanner_finds_the_end_of_a_reply() {
    let reply = encoded(|writer| encode_get_reply(writer, [item("a", "é}\\\"{".as_bytes())]));
    let mut scanner = Scanner::for_request();
    for end in 0..reply.len() {
        assert_eq!(scanner.advance(&reply[..end]), Progress::More);
    }
    assert_eq!(scanner.advance(&reply), Progress::Complete { end: reply.len() });
}
