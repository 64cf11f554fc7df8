//! Legacy requests: valid forms, errors, limits, and agreement with serde_json.

use keyrack_wire::legacy::*;
use keyrack_wire::{MAX_NAME, MAX_SECRET, Relock, StringError, WipedBuffer};
use proptest::prelude::*;
use serde_json::{Value, json};

const GRANT: &str = r#"{"slug":"acme.test.K","key":{"secret":"hunter2","grade":{"protection":"encrypted","duration":"permanent"}},"source":{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"},"env":"test","org":"acme","expiresAt":"2026-01-01T09:00:00Z"}"#;

fn unlock_of(grant: &str) -> String {
    format!(r#"{{"command":"UNLOCK","payload":{{"keys":[{grant}]}}}}"#)
}

/// Returns the error text for a rejected request. It never holds the secret.
#[track_caller]
fn refused(message: &[u8]) -> String {
    match Request::parse(message) {
        Ok(request) => panic!("taken: {request:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(!format!("{text}{error:?}").contains("hunter2"), "{text}");
            text
        }
    }
}

/// The one grant of an unlock request.
#[track_caller]
fn granted(message: &str) -> Grant<'_> {
    match Request::parse(message.as_bytes()) {
        Ok(Request::Unlock(mut grants)) if grants.len() == 1 => grants.remove(0),
        other => panic!("{other:?}"),
    }
}

fn secret(grant: &Grant<'_>) -> Vec<u8> {
    let mut out = vec![0; grant.secret.len()];
    assert_eq!(grant.secret.unescape_into(&mut out), Ok(out.len()));
    out
}

#[test]
fn malformed_requests_are_rejected_with_reasons() {
    for (message, expected) in [
        ("null", "the message is not a JSON object"),
        ("[]", "the message is not a JSON object"),
        ("\"GET\"", "the message is not a JSON object"),
        ("7", "the message is not a JSON object"),
        ("", "the message is not valid JSON at byte 0: unexpected end"),
        ("{", "the message is not valid JSON at byte 1: unexpected end"),
        ("{}{}", "the message is not valid JSON at byte 2: unexpected character"),
        ("{'a':1}", "the message is not valid JSON at byte 1: unexpected character"),
        (
            "{\"a\":\"\n\"}",
            "the message is not valid JSON at byte 6: an unescaped control character or quote",
        ),
        ("{\"a\":\"\\x\"}", "the message is not valid JSON at byte 6: an unknown escape"),
        ("{}", "command is missing"),
        (r#"{"command":7,"payload":{}}"#, "command must be a string"),
        (r#"{"command":null,"payload":{}}"#, "command must be a string"),
        (r#"{"command":"GET"}"#, "payload is missing"),
        (r#"{"command":"UNLOCK"}"#, "payload is missing"),
        (r#"{"command":"RELOCK"}"#, "payload is missing"),
        (r#"{"command":"GET","payload":null}"#, "payload must be an object"),
        (r#"{"command":"STATUS","payload":null}"#, "payload must be an object"),
        (r#"{"command":"RELOCK","payload":null}"#, "payload must be an object"),
        (r#"{"command":"RELOCK","payload":[]}"#, "payload must be an object"),
        (r#"{"command":"NOPE","payload":{}}"#, "unknown command: NOPE"),
        (r#"{"command":"NOPE"}"#, "unknown command: NOPE"),
        (r#"{"command":"get","payload":{}}"#, "unknown command: get"),
        (r#"{"command":"","payload":{}}"#, "unknown command: "),
        (
            r#"{"command":"\u001b[31mX\u0007\u202e\n","payload":{}}"#,
            "unknown command: \\u{1b}[31mX\\u{7}\\u{202e}\\n",
        ),
        (r#"{"command":"GET","command":"RELOCK","payload":{}}"#, "command is given twice"),
        (r#"{"command":"GET","c\u006fmmand":"RELOCK","payload":{}}"#, "command is given twice"),
        (r#"{"command":"RELOCK","payload":{"env":"a"},"payload":{}}"#, "payload is given twice"),
        (r#"{"command":"GET","payload":{}}"#, "payload.slugs is missing"),
        (r#"{"command":"GET","payload":{"slugs":null}}"#, "payload.slugs must be an array"),
        (r#"{"command":"GET","payload":{"slugs":"a.test.K"}}"#, "payload.slugs must be an array"),
        (r#"{"command":"GET","payload":{"slugs":["a",7]}}"#, "payload.slugs[1] must be a string"),
        (r#"{"command":"GET","payload":{"slugs":[null]}}"#, "payload.slugs[0] must be a string"),
        (r#"{"command":"GET","payload":{"slugs":["\ud83d"]}}"#, "payload.slugs[0] holds a lone surrogate"),
        (r#"{"command":"GET","payload":{"slugs":[],"org":null}}"#, "payload.org must be a string"),
        (r#"{"command":"GET","payload":{"slugs":[],"env":7}}"#, "payload.env must be a string"),
        (r#"{"command":"GET","payload":{"slugs":["a"],"slugs":["b"]}}"#, "payload.slugs is given twice"),
        (r#"{"command":"RELOCK","payload":{"slugs":null}}"#, "payload.slugs must be an array"),
        (r#"{"command":"RELOCK","payload":{"slugs":{}}}"#, "payload.slugs must be an array"),
        (r#"{"command":"RELOCK","payload":{"env":null}}"#, "payload.env must be a string"),
        (r#"{"command":"RELOCK","payload":{"env":""}}"#, "payload.env must not be empty"),
        (r#"{"command":"RELOCK","payload":{"slugs":[],"env":""}}"#, "payload.env must not be empty"),
        (r#"{"command":"UNLOCK","payload":{}}"#, "payload.keys is missing"),
        (r#"{"command":"UNLOCK","payload":{"keys":{}}}"#, "payload.keys must be an array"),
        (r#"{"command":"UNLOCK","payload":{"keys":[7]}}"#, "payload.keys[0] must be an object"),
        (r#"{"command":"UNLOCK","payload":{"keys":[null]}}"#, "payload.keys[0] must be an object"),
        (r#"{"command":"UNLOCK","payload":{"keys":[{}]}}"#, "payload.keys[0].slug is missing"),
    ] {
        assert_eq!(refused(message.as_bytes()), expected, "{message}");
    }
    let not_utf8 = b"{\"command\":\"GET\",\"payload\":{\"slugs\":[\"\xff\"]}}";
    assert_eq!(refused(not_utf8), "the message is not valid JSON at byte 38: text that is not UTF-8");
    let long = format!(r#"{{"command":"{}","payload":{{}}}}"#, "é".repeat(100));
    assert_eq!(refused(long.as_bytes()), format!("unknown command: {}", "é".repeat(64)));
    let longer = format!(r#"{{"command":"{}","payload":{{}}}}"#, "x".repeat(MAX_NAME + 1));
    assert_eq!(refused(longer.as_bytes()), "command is longer than 1024 bytes");
    let bomb = format!(r#"{{"command":"GET","payload":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(refused(bomb.as_bytes()), "the message nests deeper than 64 levels");
    let slugs = |count: usize| {
        format!(r#"{{"command":"GET","payload":{{"slugs":[{}]}}}}"#, vec!["\"a\""; count].join(","))
    };
    assert!(Request::parse(slugs(MAX_ITEMS).as_bytes()).is_ok());
    assert_eq!(refused(slugs(MAX_ITEMS + 1).as_bytes()), "payload.slugs has more than 4096 elements");
    assert_eq!(
        refused(unlock_of(&vec![GRANT; MAX_ITEMS + 1].join(",")).as_bytes()),
        "payload.keys has more than 4096 elements"
    );
}

#[test]
fn malformed_grants_are_rejected_by_field_and_key() {
    for (from, to, expected) in [
        (r#""slug":"acme.test.K""#, r#""slug":7"#, "payload.keys[0].slug must be a string"),
        (r#""slug":"acme.test.K","#, "", "payload.keys[0].slug is missing"),
        (r#""slug":"#, r#""slug":"x","slug":"#, "payload.keys[0].slug is given twice"),
        (r#""slug":"#, r#""slug":"x","s\u006cug":"#, "payload.keys[0].slug is given twice"),
        (r#""key":{"#, r#""key":7,"x":{"#, "payload.keys[0].key (acme.test.K) must be an object"),
        (r#""key":{"#, r#""key_":{"#, "payload.keys[0].key (acme.test.K) is missing"),
        (r#""key":{"#, r#""key":{},"key":{"#, "payload.keys[0].key is given twice"),
        (r#""hunter2""#, "7", "payload.keys[0].key.secret (acme.test.K) must be a string"),
        (r#""hunter2""#, "null", "payload.keys[0].key.secret (acme.test.K) must be a string"),
        (
            r#""hunter2""#,
            r#"{"hunter2":"hunter2"}"#,
            "payload.keys[0].key.secret (acme.test.K) must be a string",
        ),
        (r#""secret":"hunter2","#, "", "payload.keys[0].key.secret (acme.test.K) is missing"),
        (
            r#""secret":"#,
            r#""secret":"a","secret":"#,
            "payload.keys[0].key.secret (acme.test.K) is given twice",
        ),
        ("hunter2", r"hunter2\ud83d", "payload.keys[0].key.secret (acme.test.K) holds a lone surrogate"),
        ("hunter2", r"\udd11hunter2", "payload.keys[0].key.secret (acme.test.K) holds a lone surrogate"),
        (
            r#""grade":{"#,
            r#""grade":null,"x":{"#,
            "payload.keys[0].key.grade (acme.test.K) must be an object",
        ),
        (r#""grade":{"#, r#""grades":{"#, "payload.keys[0].key.grade (acme.test.K) is missing"),
        (r#""encrypted""#, "null", "payload.keys[0].key.grade.protection (acme.test.K) must be a string"),
        (r#","duration":"permanent""#, "", "payload.keys[0].key.grade.duration (acme.test.K) is missing"),
        (r#""source":{"#, r#""source":[],"x":{"#, "payload.keys[0].source (acme.test.K) must be an object"),
        (r#""os.secure""#, "true", "payload.keys[0].source.vault (acme.test.K) must be a string"),
        (r#","mech":"PERMANENT_VIA_REPLICA""#, "", "payload.keys[0].source.mech (acme.test.K) is missing"),
        (r#""env":"test","#, "", "payload.keys[0].env (acme.test.K) is missing"),
        (r#""env":"test""#, r#""env":null"#, "payload.keys[0].env (acme.test.K) must be a string"),
        (r#""org":"acme","#, "", "payload.keys[0].org (acme.test.K) is missing"),
        (
            r#""2026-01-01T09:00:00Z""#,
            "1767258000000",
            "payload.keys[0].expiresAt (acme.test.K) must be a string",
        ),
        (r#""2026-01-01T09:00:00Z""#, "null", "payload.keys[0].expiresAt (acme.test.K) must be a string"),
        (r#""expiresAt":"#, r#""expiresAt":"2099","expiresAt":"#, "payload.keys[0].expiresAt is given twice"),
        (r#""org":"acme""#, r#""org":"acme","x":1,"x":2"#, "payload.keys[0].<name> is given twice"),
        (r#""org":"acme""#, r#""org":"acme","x":1,"\u0078":2"#, "payload.keys[0].<name> is given twice"),
        (r#""org":"acme""#, r#""org":"acme","\ud83d":1"#, "payload.keys[0].<name> holds a lone surrogate"),
        (
            r#""vault":"#,
            r#""x":1,"x":2,"vault":"#,
            "payload.keys[0].source.<name> (acme.test.K) is given twice",
        ),
    ] {
        assert!(GRANT.contains(from), "{from}");
        let message = unlock_of(&GRANT.replacen(from, to, 1));
        assert_eq!(refused(message.as_bytes()), expected, "{to}");
    }
    // One invalid grant rejects all of them, and is named by its index.
    let message = unlock_of(&[GRANT, &GRANT.replace("\"acme\"", "7")].join(","));
    assert_eq!(refused(message.as_bytes()), "payload.keys[1].org (acme.test.K) must be a string");
    // A slug is escaped before it is shown.
    let message = unlock_of(&GRANT.replace("acme.test.K", "a\\u001b[31m.test.K\\n").replace("\"acme\"", "7"));
    assert_eq!(refused(message.as_bytes()), "payload.keys[0].org (a\\u{1b}[31m.test.K\\n) must be a string");
}

#[test]
fn grants_over_a_limit_are_rejected() {
    let long = "x".repeat(MAX_NAME + 1);
    for (from, field) in [
        ("acme.test.K", "slug"),
        ("encrypted", "key.grade.protection (acme.test.K)"),
        ("permanent", "key.grade.duration (acme.test.K)"),
        ("os.secure", "source.vault (acme.test.K)"),
        ("PERMANENT_VIA_REPLICA", "source.mech (acme.test.K)"),
        ("\"test\"", "env (acme.test.K)"),
        ("\"acme\"", "org (acme.test.K)"),
        ("2026-01-01T09:00:00Z", "expiresAt (acme.test.K)"),
    ] {
        let quoted = format!("\"{long}\"");
        let to = if from.starts_with('"') { &quoted } else { &long };
        let expected = format!("payload.keys[0].{field} is longer than 1024 bytes");
        assert_eq!(refused(unlock_of(&GRANT.replacen(from, to, 1)).as_bytes()), expected);
    }
    // The limit is on the unescaped name.
    let spelled = unlock_of(&GRANT.replacen("acme.test.K", &"\\u0078".repeat(MAX_NAME), 1));
    assert_eq!(granted(&spelled).slug, "x".repeat(MAX_NAME));

    let fits = unlock_of(&GRANT.replace("hunter2", &"x".repeat(MAX_SECRET)));
    assert_eq!(granted(&fits).secret.len(), MAX_SECRET);
    let message = unlock_of(&GRANT.replace("hunter2", &"x".repeat(MAX_SECRET + 1)));
    let error = Request::parse(message.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "secret_too_large");
    assert!(error.to_string().ends_with("key.secret (acme.test.K) is longer than 983036 bytes"), "{error}");

    let more = |count: usize| -> String { (0..count).map(|n| format!("\"x{n}\":0,")).collect() };
    for (object, at) in [
        (r#""slug":"#, "payload.keys[0]"),
        (r#""secret":"#, "payload.keys[0].key (acme.test.K)"),
        (r#""protection":"#, "payload.keys[0].key.grade (acme.test.K)"),
        (r#""vault":"#, "payload.keys[0].source (acme.test.K)"),
    ] {
        let with = |count| unlock_of(&GRANT.replacen(object, &format!("{}{object}", more(count)), 1));
        assert!(!granted(&with(MAX_UNKNOWN_FIELDS)).extras.is_empty());
        let expected = format!("{at} has more than 64 unknown fields");
        assert_eq!(refused(with(MAX_UNKNOWN_FIELDS + 1).as_bytes()), expected);
    }
}

#[test]
fn relock_without_slugs_and_env_means_all() {
    for (payload, expected) in [
        ("{}", Relock::All),
        (r#"{"other":1}"#, Relock::All),
        (r#"{"slugs":[]}"#, Relock::Slugs(vec![])),
        (r#"{"slugs":["a.test.K","b"]}"#, Relock::Slugs(vec!["a.test.K".into(), "b".into()])),
        (r#"{"slugs":["a"],"env":"test"}"#, Relock::Slugs(vec!["a".into()])),
        (r#"{"slugs":[],"env":"test"}"#, Relock::Slugs(vec![])),
        (r#"{"env":"sudo"}"#, Relock::Env("sudo".into())),
        (r#"{"\u0065nv":"s\u0075do"}"#, Relock::Env("sudo".into())),
    ] {
        let message = format!(r#"{{"command":"RELOCK","payload":{payload}}}"#);
        let Ok(Request::Relock(relock)) = Request::parse(message.as_bytes()) else { panic!("{payload}") };
        assert_eq!(relock, expected, "{payload}");
    }
}

#[test]
fn relock_request_rejects_empty_lists() {
    let mut writer = WipedBuffer::new(1000);
    for relock in [Relock::Slugs(vec![]), Relock::Env("".into())] {
        assert_eq!(encode_relock_request(&mut writer, &relock), Err(keyrack_wire::EncodeError::Empty));
        assert_eq!(writer.as_slice(), b"");
    }
    encode_relock_request(&mut writer, &Relock::All).unwrap();
    assert_eq!(writer.as_slice(), br#"{"command":"RELOCK","payload":{}}"#);
}

#[test]
fn status_payload_is_optional() {
    for message in [
        r#"{"command":"STATUS"}"#,
        r#"{"command":"STATUS","payload":{}}"#,
        r#"{"payload":{"x":1},"command":"STATUS","y":null}"#,
        " \r\n\t{ \"command\" : \"STATUS\" , \"payload\" : { } } \n",
        r#"{"\u0063ommand":"\u0053TATUS","\ud83d":1}"#,
    ] {
        assert!(matches!(Request::parse(message.as_bytes()), Ok(Request::Status)), "{message}");
    }
}

#[test]
fn grant_fields_may_be_reordered_and_escaped() {
    let message = unlock_of(
        r#" { "org" : "acme" , "expiresAt" : "2099" , "source" : { "mech" : "M" , "vault" : "V" } ,
            "\u006bey" : { "grade" : { "duration" : "D" , "protection" : "P" } , "secret" : "\u0068unter\u0032\ud83d\udd11\u0000" } ,
            "env" : "te\u0073t" , "slug" : "acme.t\u0065st.K\n" } "#,
    );
    let grant = granted(&message);
    assert_eq!(grant.slug, "acme.test.K\n");
    assert_eq!((&*grant.env, &*grant.org, grant.expires_at.as_deref()), ("test", "acme", Some("2099")));
    assert_eq!((&*grant.grade.protection, &*grant.grade.duration), ("P", "D"));
    assert_eq!((&*grant.source.vault, &*grant.source.mech), ("V", "M"));
    assert_eq!(secret(&grant), "hunter2\u{1f511}\0".as_bytes());
    assert_eq!(grant.secret.raw(), br"\u0068unter\u0032\ud83d\udd11\u0000");
    assert!(grant.extras.is_empty());
    assert_eq!(grant.extras.packed_len(), 0);

    let message = unlock_of(&GRANT.replace(r#","expiresAt":"2026-01-01T09:00:00Z""#, ""));
    assert_eq!(granted(&message).expires_at, None);
    let message = unlock_of(&GRANT.replace("hunter2", ""));
    assert!(granted(&message).secret.is_empty());
}

#[test]
fn secret_is_a_slice_of_the_request_and_not_shown() {
    let message = unlock_of(&GRANT.replacen('{', r#"{"token":"hunter2","#, 1));
    let grant = granted(&message);
    assert!(message.as_bytes().as_ptr_range().contains(&grant.secret.raw().as_ptr()));
    let shown = format!("{grant:?}");
    assert!(!shown.contains("hunter2") && shown.contains("acme.test.K"), "{shown}");
    let mut packed = WipedBuffer::new(1000);
    grant.extras.pack(&mut packed).unwrap();
    let text = ExtraText::unpack(packed.as_slice()).unwrap();
    assert!(!format!("{text:?}").contains("hunter2"));
    let request = Request::parse(message.as_bytes()).unwrap();
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[test]
fn unpack_rejects_other_bytes() {
    let message = unlock_of(&GRANT.replacen('{', r#"{"a":1,"b":[2],"#, 1));
    let mut packed = WipedBuffer::new(1000);
    granted(&message).extras.pack(&mut packed).unwrap();
    let packed = packed.as_slice().to_vec();
    assert_eq!(packed.len(), granted(&message).extras.packed_len());
    assert!(ExtraText::unpack(&packed).is_some() && ExtraText::unpack(&[]).is_some());
    for end in 1..packed.len() {
        assert!(ExtraText::unpack(&packed[..end]).is_none(), "{end}");
    }
    assert!(ExtraText::unpack(&[&packed[..], b"x"].concat()).is_none());
    assert!(ExtraText::unpack(&[0xFF; 64]).is_none());
    assert_eq!(
        granted(&message).extras.pack(&mut WipedBuffer::new(packed.len() - 1)),
        Err(keyrack_wire::CapacityError)
    );
}

/// Feeds a message to a scanner in two reads, split at every byte, and byte by byte. Every way
/// finds the same request.
#[test]
fn request_split_at_every_byte_parses_the_same() {
    let secret = "é\u{1f511}\\\"}]{[ \u{7f}\u{10ffff}";
    let escaped = serde_json::to_string(&secret.repeat(3)).unwrap();
    let message =
        format!(" \n{} \r\n", unlock_of(&GRANT.replace("\"hunter2\"", &escaped).replace("acme", "acmé")));
    let message = message.as_bytes();
    let end = message.len() - 3;
    for split in 0..=message.len() {
        let mut page = vec![0xEE_u8; message.len()];
        let mut scanner = Scanner::for_request();
        page[..split].copy_from_slice(&message[..split]);
        let first = scanner.advance(&page[..split]);
        let expected = if split >= end { Progress::Complete { end } } else { Progress::More };
        assert_eq!(first, expected, "{split}");
        page[split..].copy_from_slice(&message[split..]);
        assert_eq!(scanner.advance(&page), Progress::Complete { end }, "{split}");
        let Ok(Request::Unlock(grants)) = Request::parse(&page[..end]) else { panic!("{split}") };
        assert_eq!(self::secret(&grants[0]), secret.repeat(3).as_bytes(), "{split}");
        assert_eq!(grants[0].slug, "acmé.test.K");
    }
}

fn extra_fields() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!({"nested": ["é", {"deep": true}]})),
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ];
    prop::collection::hash_map("[a-z\\u{0}-\\u{1f}\"\\\\é]{0,6}x", value, 0..4)
        .prop_map(|map| map.into_iter().collect())
}

prop_compose! {
    fn any_grant()(
        texts in prop::array::uniform9(any::<String>()),
        has_end in any::<bool>(),
        extras in prop::array::uniform4(extra_fields()),
    ) -> Value {
        let [slug, secret, protection, duration, vault, mech, env, org, end] = texts;
        let mut grant = json!({
            "slug": slug, "key": {"secret": secret, "grade": {"protection": protection, "duration": duration}},
            "source": {"vault": vault, "mech": mech}, "env": env, "org": org,
        });
        if has_end {
            grant["expiresAt"] = end.into();
        }
        let [top, key, grade, source] = extras;
        grant.as_object_mut().unwrap().extend(top);
        grant["key"].as_object_mut().unwrap().extend(key);
        grant["key"]["grade"].as_object_mut().unwrap().extend(grade);
        grant["source"].as_object_mut().unwrap().extend(source);
        grant
    }
}

proptest! {
    /// serde_json reads the same grants from an UNLOCK and from the reply to a GET, with their
    /// unknown fields.
    #[test]
    fn any_grant_round_trips(mut grants in prop::collection::vec(any_grant(), 0..4), pretty in any::<bool>()) {
        let message = json!({"command": "UNLOCK", "payload": {"keys": grants}});
        let message = if pretty { serde_json::to_string_pretty(&message) } else { serde_json::to_string(&message) }.unwrap();
        prop_assert_eq!(
            Scanner::for_request().advance(message.as_bytes()),
            Progress::Complete { end: message.len() }
        );
        let Ok(Request::Unlock(parsed)) = Request::parse(message.as_bytes()) else { panic!("{message}") };
        let kept: Vec<(Vec<u8>, Vec<u8>)> = parsed.iter().map(|grant| {
            let mut packed = WipedBuffer::new(1 << 20);
            grant.extras.pack(&mut packed).unwrap();
            (secret(grant), packed.as_slice().to_vec())
        }).collect();
        let items = parsed.iter().zip(&kept).map(|(grant, (secret, packed))| GetItem {
            slug: &grant.slug,
            protection: &grant.grade.protection,
            duration: &grant.grade.duration,
            vault: &grant.source.vault,
            mech: &grant.source.mech,
            env: &grant.env,
            org: &grant.org,
            expires_at: grant.expires_at.as_deref().unwrap_or("the ceiling"),
            secret: &secret[..],
            extras: &packed[..],
        });
        let mut writer = WipedBuffer::new(1 << 20);
        prop_assert_eq!(encode_get_reply(&mut writer, items), Ok(vec![]));
        for grant in &mut grants {
            grant.as_object_mut().unwrap().entry("expiresAt").or_insert("the ceiling".into());
        }
        let reply: Value = serde_json::from_slice(writer.as_slice()).unwrap();
        prop_assert_eq!(&reply, &json!({"success": true, "data": {"keys": grants}}));
        // And a client of this crate reads it back too.
        let Ok(Reply::Ok(data)) = parse_get_reply(writer.as_slice()) else { panic!("{reply}") };
        prop_assert_eq!(data.malformed, vec![]);
        for (grant, (kept, _)) in data.keys.iter().zip(&kept) {
            prop_assert_eq!(&secret(grant), kept);
        }
    }

    #[test]
    fn any_get_request_round_trips(
        slugs in prop::collection::vec(any::<String>(), 0..5),
        org in prop::option::of(any::<String>()),
        env in prop::option::of(any::<String>()),
    ) {
        let get = Get {
            slugs: slugs.iter().map(Into::into).collect(),
            org: org.as_deref().map(Into::into),
            env: env.as_deref().map(Into::into),
        };
        let mut writer = WipedBuffer::new(1 << 20);
        encode_get_request(&mut writer, &get).unwrap();
        let mut expected = json!({"command": "GET", "payload": {"slugs": slugs}});
        for (name, value) in [("org", &org), ("env", &env)] {
            if let Some(value) = value {
                expected["payload"][name] = value.as_str().into();
            }
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(writer.as_slice()).unwrap(), expected);
        let Ok(Request::Get(parsed)) = Request::parse(writer.as_slice()) else { panic!() };
        prop_assert_eq!(parsed, get);
    }

    /// A damaged request is accepted, or rejected with a text that holds no secret.
    #[test]
    fn damaged_request_does_not_panic_or_quote_the_secret(at in any::<prop::sample::Index>(), len in 0_usize..4, with in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut message = unlock_of(GRANT).into_bytes();
        let at = at.index(message.len());
        let end = (at + len).min(message.len());
        message.splice(at..end, with);
        let _ = Scanner::for_request().advance(&message);
        if let Err(error) = Request::parse(&message) {
            prop_assert!(!format!("{error} {error:?}").contains("hunter"), "{}", error);
        }
        let _ = parse_get_reply(&message);
        let _ = parse_status_reply(&message);
        let _ = parse_relock_reply(&message);
    }

    #[test]
    fn parse_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Scanner::for_request().advance(&bytes);
        let _ = Request::parse(&bytes);
        let _ = parse_get_reply(&bytes);
        let _ = ExtraText::unpack(&bytes);
    }
}

#[test]
fn lone_surrogate_has_an_error_of_its_own() {
    let message = unlock_of(&GRANT.replace("hunter2", r"\ud83d"));
    let error = Request::parse(message.as_bytes()).map(|_| ()).unwrap_err();
    let LegacyError::Field { error, .. } = &error else { panic!("{error}") };
    assert_eq!(*error, FieldError::String(StringError::LoneSurrogate));
}
