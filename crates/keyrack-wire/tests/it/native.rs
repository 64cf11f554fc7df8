//! The native protocol at its edges: what is refused and how, what does not fit and what becomes of it.

use std::borrow::Cow;

use keyrack_wire::native::*;
use keyrack_wire::{EncodeError, MAX_NAME, MAX_SECRET, SecretBytes, WipedBuffer};
use proptest::prelude::*;

use crate::support::{Tight, encoded, frame, grade, raw_frame, source};

fn request_of(header: &str, secrets: &[u8]) -> Result<String, RequestError> {
    let bytes = raw_frame(header, secrets);
    Request::decode(&frame(&bytes)).map(|request| format!("{} {}", request.id, request.op.name()))
}

/// What became of a request, shortly.
fn outcome_of(header: &str, secrets: &[u8]) -> String {
    match request_of(header, secrets) {
        Ok(request) => request,
        Err(error) => format!("{} {}", error.id(), error.code()),
    }
}

/// `header` once for each object in it, with that object as the array of its fields in order: what serde's derive would read as well.
fn with_arrays(header: &str) -> Vec<String> {
    let mut texts = Vec::new();
    // Where each text begins and each bracket stands, outside of texts.
    let (mut marks, mut within, mut escaped) = (Vec::new(), None, false);
    for (at, c) in header.char_indices() {
        match (within, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(start), '"') => {
                marks.push((start, '"', at + 1));
                within = None;
            }
            (Some(_), _) => {}
            (None, '"') => within = Some(at),
            (None, _) if "{}[]:,".contains(c) => marks.push((at, c, at + 1)),
            (None, _) => {}
        }
    }
    for (first, (start, _, _)) in marks.iter().enumerate().filter(|(_, (_, c, _))| *c == '{') {
        let (mut text, mut depth, mut copied) = (header[..*start].to_owned(), 0, *start);
        for (index, (at, c, end)) in marks.iter().enumerate().skip(first) {
            match (c, depth) {
                ('{', 0) => {
                    text.push('[');
                    copied = *end;
                }
                ('"', 1) if marks[index + 1].1 == ':' => {
                    text.push_str(&header[copied..*at]);
                    copied = marks[index + 1].2;
                }
                ('}', 1) => {
                    text.push_str(&header[copied..*at]);
                    text.push(']');
                    text.push_str(&header[*end..]);
                    break;
                }
                _ => {}
            }
            depth += match c {
                '{' | '[' => 1,
                '}' | ']' => -1,
                _ => 0,
            };
        }
        texts.push(text);
    }
    texts
}

#[test]
fn an_object_is_made_an_array() {
    let header = r#"{"id":1,"k":[{"a\"{":{"x":0},"b":"}"}],"e":{}}"#;
    assert_eq!(
        with_arrays(header),
        [
            r#"[1,[{"a\"{":{"x":0},"b":"}"}],{}]"#,
            r#"{"id":1,"k":[[{"x":0},"}"]],"e":{}}"#,
            r#"{"id":1,"k":[{"a\"{":[0],"b":"}"}],"e":{}}"#,
            r#"{"id":1,"k":[{"a\"{":{"x":0},"b":"}"}],"e":[]}"#,
        ]
    );
}

#[test]
fn no_object_may_be_an_array_of_its_fields() {
    type Judge = fn(&Frame<'_>) -> Option<String>;
    fn reply<'a, T: ReplyBody<'a>>(frame: &Frame<'a>) -> Option<String> {
        decode_reply::<T>(frame).err().map(|error| error.code().to_owned())
    }
    let judges: [(&str, usize, Judge); 7] = [
        ("request.unlock", 13, |frame| {
            Request::decode(frame).err().map(|error| format!("{} {}", error.id(), error.code()))
        }),
        ("reply.hello", 4, |frame| reply::<HelloOk<'_>>(frame)),
        ("reply.get", 10, |frame| reply::<GetOk<'_>>(frame)),
        ("reply.unlock", 7, |frame| reply::<UnlockOk<'_>>(frame)),
        ("reply.status", 8, |frame| reply::<StatusOk<'_>>(frame)),
        ("reply.nothing", 2, |frame| reply::<NothingOk>(frame)),
        ("reply.error-full", 2, |frame| reply::<NothingOk>(frame)),
    ];
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, objects, judge) in judges {
        let bytes = std::fs::read(golden.join(format!("native.{name}.bin"))).unwrap();
        let recorded = frame(&bytes);
        assert_eq!(judge(&recorded), None, "{name}");
        let headers = with_arrays(std::str::from_utf8(recorded.header).unwrap());
        assert_eq!(headers.len(), objects, "{name}");
        for (index, header) in headers.iter().enumerate() {
            let expected = match (name, index) {
                ("request.unlock", 0) => "0 bad_frame",
                ("request.unlock", _) => "3 bad_request",
                _ => "bad_frame",
            };
            let changed = raw_frame(header, recorded.secrets);
            assert_eq!(judge(&frame(&changed)).as_deref(), Some(expected), "{name}: {header}");
        }
    }
}

#[test]
fn requests_are_judged_by_the_table() {
    for (header, expected) in [
        (r#"{"id":1,"op":"ping"}"#, "1 ping"),
        (r#"{"op":"ping","id":1}"#, "1 ping"),
        ("{\"id\":1,\n \"op\":\"ping\"} ", "1 ping"),
        (r#"{"id":1,"op":"p\u0069ng"}"#, "1 ping"),
        (r#"{"id":18446744073709551615,"op":"ping"}"#, "18446744073709551615 ping"),
        // No request at all.
        ("x", "0 bad_frame"),
        ("null", "0 bad_frame"),
        ("[]", "0 bad_frame"),
        ("\"ping\"", "0 bad_frame"),
        ("{}", "0 bad_frame"),
        ("{\"id\":1}", "0 bad_frame"),
        (r#"{"op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"ping""#, "0 bad_frame"),
        (r#"{"id":1,"op":"ping"}{}"#, "0 bad_frame"),
        (r#"{"id":-1,"op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":1.5,"op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":"1","op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":18446744073709551616,"op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":7}"#, "0 bad_frame"),
        (r#"{"id":1,"op":null}"#, "0 bad_frame"),
        // Doubled fields.
        (r#"{"id":1,"id":2,"op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"ping","op":"shutdown"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"ping","o\u0070":"shutdown"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"get","slugs":["a"],"slugs":["b"]}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","env":"a","env":"b"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":[],"x":1,"x":2}"#, "1 get"),
        // Unknown fields are passed over, whatever they hold.
        (r#"{"id":1,"op":"ping","slugs":7,"x":{"y":[1,null]}}"#, "1 ping"),
        // Unknown ops are known to be unknown, whatever their fields are.
        (r#"{"id":1,"op":"lease","slugs":7,"keys":"all","ttl_ms":[]}"#, "1 lease"),
        (r#"{"id":1,"op":"PING"}"#, "1 PING"),
        (r#"{"id":1,"op":""}"#, "1 "),
        // Known ops with wrong fields.
        (r#"{"id":1,"op":"hello"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"","build":""}"#, "1 hello"),
        (
            r#"{"id":1,"op":"hello","proto":4294967296,"min_proto":1,"version":"","build":""}"#,
            "1 bad_request",
        ),
        (r#"{"id":1,"op":"get"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":null}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":"a"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":[1]}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":["\ud83d"]}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":[]}"#, "1 get"),
        (r#"{"id":1,"op":"unlock"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"unlock","keys":[]}"#, "1 unlock"),
        (r#"{"id":1,"op":"unlock","keys":[{}]}"#, "1 bad_request"),
        (r#"{"id":1,"op":"status","after":-1}"#, "1 bad_request"),
        (r#"{"id":1,"op":"status","limit":4294967296}"#, "1 bad_request"),
        (r#"{"id":1,"op":"status","after":null,"limit":null}"#, "1 status"),
        (r#"{"id":1,"op":"relock"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","all":false}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","all":true,"env":"test"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","slugs":[],"all":true}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","slugs":["a"],"env":"test"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","slugs":null,"all":true}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","slugs":[]}"#, "1 relock"),
    ] {
        assert_eq!(outcome_of(header, b""), expected, "{header}");
    }
    let bomb = format!("{{\"id\":1,\"op\":\"ping\",\"x\":{}", "[".repeat(60_000));
    assert_eq!(outcome_of(&bomb, b""), "0 bad_frame");
    assert_eq!(request_of("{\"id\":1,\"op\":\"\u{7f}\"}", b""), Ok("1 \u{7f}".to_owned()));
    let mut not_utf8 = raw_frame(r#"{"id":1,"op":"X"}"#, b"");
    let at = not_utf8.iter().position(|b| *b == b'X').unwrap();
    not_utf8[at] = 0xFF;
    assert!(Request::decode(&frame(&not_utf8)).is_err());
}

#[test]
fn secret_bytes_without_a_range_are_a_bad_frame() {
    for op in
        ["hello\",\"proto\":1,\"min_proto\":1,\"version\":\"\",\"build\":\"", "ping", "shutdown", "status"]
    {
        assert_eq!(outcome_of(&format!(r#"{{"id":1,"op":"{op}"}}"#), b"x"), "0 bad_frame", "{op}");
    }
    assert_eq!(outcome_of(r#"{"id":1,"op":"get","slugs":[]}"#, b"x"), "0 bad_frame");
    assert_eq!(outcome_of(r#"{"id":1,"op":"relock","all":true}"#, b"x"), "0 bad_frame");
    assert_eq!(outcome_of(r#"{"id":1,"op":"unlock","keys":[]}"#, b"x"), "0 bad_frame");
    // A later version's op may carry some; where, only that version knows.
    assert_eq!(outcome_of(r#"{"id":1,"op":"lease"}"#, b"x"), "1 lease");
}

fn unlock_header(spans: &[(&str, &str)]) -> String {
    let keys: Vec<String> = spans
        .iter()
        .map(|(offset, len)| {
            format!(
                r#"{{"slug":"a.test.K","grade":{{"protection":"p","duration":"d"}},"source":{{"vault":"v","mech":"m"}},"ttl_ms":1,"secret":{{"offset":{offset},"len":{len}}}}}"#
            )
        })
        .collect();
    format!(r#"{{"id":1,"op":"unlock","keys":[{}]}}"#, keys.join(","))
}

#[test]
fn ranges_that_do_not_tile_the_secrets_are_a_bad_frame() {
    let max = "18446744073709551615";
    for (spans, secrets, expected) in [
        (vec![("0", "3")], &b"abc"[..], "1 unlock"),
        (vec![("0", "1"), ("1", "2")], b"abc", "1 unlock"),
        (vec![("0", "0"), ("0", "3")], b"abc", "1 unlock"),
        (vec![("0", "2")], b"abc", "0 bad_frame"),
        (vec![("0", "4")], b"abc", "0 bad_frame"),
        (vec![("1", "2")], b"abc", "0 bad_frame"),
        (vec![("0", "1"), ("2", "1")], b"abc", "0 bad_frame"),
        (vec![("0", "2"), ("1", "2")], b"abc", "0 bad_frame"),
        (vec![("1", "2"), ("0", "1")], b"abc", "0 bad_frame"),
        (vec![("0", "3"), ("0", "3")], b"abc", "0 bad_frame"),
        (vec![("0", max)], b"abc", "0 bad_frame"),
        (vec![(max, "3")], b"abc", "0 bad_frame"),
        (vec![("0", max), (max, "4")], b"abc", "0 bad_frame"),
        // No numbers a range can have.
        (vec![("-1", "3")], b"abc", "1 bad_request"),
        (vec![("0", "3.0")], b"abc", "1 bad_request"),
        (vec![("0", "18446744073709551616")], b"abc", "1 bad_request"),
        (vec![("0", "\"3\"")], b"abc", "1 bad_request"),
    ] {
        assert_eq!(outcome_of(&unlock_header(&spans), secrets), expected, "{spans:?}");
    }
}

#[test]
fn errors_quote_nothing_of_the_header() {
    let header = unlock_header(&[("\"hunter2\"", "3")]);
    for (header, secrets) in [
        (header.as_str(), "abc"),
        (r#"{"id":"hunter2"}"#, ""),
        (r#"{"id":1,"op":"get","slugs":{"hunter2":1}}"#, ""),
    ] {
        let error = request_of(header, secrets.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn what_would_not_fit_a_reply_is_refused_by_name() {
    let long = "x".repeat(MAX_NAME + 1);
    for part in ["a.test.K", "\"p\"", "\"d\"", "\"v\"", "\"m\""] {
        let header = unlock_header(&[("0", "1"), ("1", "2")]);
        let long = if part.starts_with('"') { format!("\"{long}\"") } else { long.clone() };
        let bytes = raw_frame(&header.replacen(part, &long, 1), b"abc");
        let error = Request::decode(&frame(&bytes)).unwrap_err();
        let fault = RequestErrorKind::NameTooLong { index: 0 };
        assert_eq!(error, RequestError::BadRequest { id: 1, op: "unlock", fault }, "{part}");
    }
    let fits = raw_frame(&unlock_header(&[("0", &MAX_SECRET.to_string())]), &vec![0; MAX_SECRET]);
    assert!(Request::decode(&frame(&fits)).is_ok());
    let len = MAX_SECRET + 1;
    let long = raw_frame(&unlock_header(&[("0", "0"), ("0", &len.to_string())]), &vec![0; len]);
    let error = Request::decode(&frame(&long)).unwrap_err();
    assert_eq!((error.id(), error.code()), (1, "secret_too_large"));
}

#[test]
fn replies_are_judged_by_the_table() {
    let key = r#"{"slug":"a","grade":{"protection":"p","duration":"d"},"source":{"vault":"v","mech":"m"},"env":"e","org":"o","expires_at":"t","ttl_ms":1,"secret":{"offset":0,"len":3}}"#;
    for (header, secrets, good) in [
        (format!(r#"{{"id":1,"ok":{{"keys":[{key}],"rest":[]}}}}"#), &b"abc"[..], true),
        (format!(r#"{{"id":1,"ok":{{"keys":[{key}]}}}}"#), b"abc", true),
        (format!(r#"{{"id":1,"ok":{{"keys":[{key}],"new":1}},"new":2}}"#), b"abc", true),
        (format!(r#"{{"id":1,"ok":{{"keys":[{key}]}}}}"#), b"ab", false),
        (format!(r#"{{"id":1,"ok":{{"keys":[{key}]}}}}"#), b"abcd", false),
        (format!(r#"{{"id":1,"ok":{{"keys":[{key},{key}]}}}}"#), b"abc", false),
        (r#"{"id":1,"ok":{"keys":[]}}"#.to_owned(), b"", true),
        (r#"{"id":1,"ok":{"keys":[]}}"#.to_owned(), b"x", false),
        (r#"{"id":1,"ok":{}}"#.to_owned(), b"", false),
        (r#"{"id":1,"ok":null}"#.to_owned(), b"", false),
        (r#"{"id":1}"#.to_owned(), b"", false),
        (r#"{"ok":{"keys":[]}}"#.to_owned(), b"", false),
        (r#"{"id":1,"error":{"code":"c","message":"m"}}"#.to_owned(), b"", true),
        (r#"{"id":1,"error":{"code":"c","message":"m","new":1}}"#.to_owned(), b"", true),
        (r#"{"id":1,"error":{"code":"c","message":"m"}}"#.to_owned(), b"x", false),
        (r#"{"id":1,"error":{"code":"c"}}"#.to_owned(), b"", false),
        (r#"{"id":1,"ok":{"keys":[]},"error":{"code":"c","message":"m"}}"#.to_owned(), b"", false),
    ] {
        let bytes = raw_frame(&header, secrets);
        let reply: Result<Reply<'_, GetOk<'_>>, _> = decode_reply(&frame(&bytes));
        assert_eq!(reply.is_ok(), good, "{header}");
    }
    for (result, good) in [
        (r#"{"slug":"a","ok":true,"ttl_ms":1,"expires_at":"t"}"#, true),
        (r#"{"slug":"a","ok":false,"error":{"code":"c","message":"m"}}"#, true),
        (r#"{"slug":"a","ok":true}"#, false),
        (r#"{"slug":"a","ok":false}"#, false),
        (r#"{"slug":"a","ok":true,"ttl_ms":1,"expires_at":"t","error":{"code":"c","message":"m"}}"#, false),
    ] {
        let bytes = raw_frame(&format!(r#"{{"id":1,"ok":{{"results":[{result}]}}}}"#), b"");
        let reply: Result<Reply<'_, UnlockOk<'_>>, _> = decode_reply(&frame(&bytes));
        assert_eq!(reply.is_ok(), good, "{result}");
    }
}

fn item<'a, S>(slug: &'a str, secret: S) -> GetItem<'a, S> {
    GetItem {
        asked: slug,
        slug,
        protection: "encrypted",
        duration: "permanent",
        vault: "os.secure",
        mech: "PERMANENT_VIA_REPLICA",
        env: "test",
        org: "acme",
        expires_at: "2026-01-01T09:00:00.123Z",
        ttl_ms: 32_400_000,
        secret,
    }
}

fn get_ok(bytes: &[u8]) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    let frame = frame(bytes);
    let reply: Reply<'_, GetOk<'_>> = decode_reply(&frame).unwrap();
    let ok = reply.outcome.unwrap();
    let keys = ok
        .keys
        .iter()
        .map(|key| (key.slug.to_string(), frame.secret(key.secret).unwrap().to_vec()))
        .collect();
    (keys, ok.rest.into_iter().map(Cow::into_owned).collect())
}

/// Asks again for the rest until there is none, as a client does.
fn ask_until_done(slugs: &[String], secret: impl Fn(&str) -> Vec<u8>) -> (Vec<(String, Vec<u8>)>, usize) {
    let mut asked = slugs.to_vec();
    let mut got = Vec::new();
    let mut frames = 0;
    while frames < 1000 {
        let secrets: Vec<Vec<u8>> = asked.iter().map(|slug| secret(slug)).collect();
        let items: Vec<GetItem<'_, &[u8]>> =
            asked.iter().zip(&secrets).map(|(slug, secret)| item(slug, &secret[..])).collect();
        let bytes = encoded(|writer| encode_get_reply(writer, 1, &items));
        let (keys, rest) = get_ok(&bytes);
        assert!(!keys.is_empty(), "every frame brings a key");
        got.extend(keys);
        frames += 1;
        if rest.is_empty() {
            return (got, frames);
        }
        asked = rest;
    }
    panic!("no end");
}

#[test]
fn keys_that_do_not_fit_one_frame_come_in_the_next() {
    for (count, secret_len) in
        [(1, MAX_SECRET), (3, MAX_SECRET), (2, MAX_SECRET / 2), (150, 30_000), (190, 10), (500, 0)]
    {
        let slugs: Vec<String> = (0..count).map(|n| format!("acme.test.K{n}")).collect();
        let secret = |slug: &str| slug.bytes().cycle().take(secret_len).collect::<Vec<u8>>();
        let (got, frames) = ask_until_done(&slugs, secret);
        let expected: Vec<(String, Vec<u8>)> =
            slugs.iter().map(|slug| (slug.clone(), secret(slug))).collect();
        assert!(got == expected, "{count} keys of {secret_len} bytes in {frames} frames");
        let at_least = (count * secret_len).div_ceil(MAX_LENGTH);
        assert!(frames >= at_least, "{frames} frames for {count} keys of {secret_len} bytes");
    }
}

#[test]
fn one_key_fits_one_reply_whatever_its_names_and_secret_are() {
    let name = "\u{1}".repeat(MAX_NAME);
    let worst = GetItem {
        asked: &name,
        slug: &name,
        protection: &name,
        duration: &name,
        vault: &name,
        mech: &name,
        env: &name,
        org: &name,
        expires_at: &name,
        ttl_ms: u64::MAX,
        secret: &vec![0xFF_u8; MAX_SECRET][..],
    };
    let (keys, rest) = get_ok(&encoded(|writer| encode_get_reply(writer, u64::MAX, &[worst])));
    assert_eq!((keys.len(), keys[0].1.len(), rest.len()), (1, MAX_SECRET, 0));
}

#[test]
fn a_get_reply_that_can_never_fit_is_an_error() {
    let mut writer = WipedBuffer::new(4 << 20);
    let secret = vec![0; MAX_LENGTH];
    let outcome = encode_get_reply(&mut writer, 1, &[item("a.test.K", &secret[..])]);
    assert_eq!(outcome, Err(EncodeError::TooLarge { limit: MAX_LENGTH }));
    let long = "x".repeat(MAX_HEADER);
    let outcome = encode_get_reply(&mut writer, 1, &[item(&long, &b"s"[..])]);
    assert_eq!(outcome, Err(EncodeError::TooLarge { limit: MAX_HEADER }));
    assert_eq!(writer.as_slice(), b"", "nothing is put");
}

#[test]
fn a_long_ask_does_not_keep_back_what_fits_without_it() {
    // Asked by a long env, answered by a short one: in `rest` the ask alone would not fit.
    let long = format!("a.{}.K", "x".repeat(MAX_HEADER - 200));
    let items = [item("a.test.K", &b"1"[..]), GetItem { asked: &long, ..item("a.all.K", &b"2"[..]) }];
    let (keys, rest) = get_ok(&encoded(|writer| encode_get_reply(writer, 1, &items)));
    assert_eq!((keys.len(), rest.len()), (2, 0));
}

struct Erased;

impl SecretBytes for Erased {
    fn with<R>(&self, _: impl FnOnce(&[u8]) -> R) -> Option<R> {
        None
    }
}

#[test]
fn an_erased_secret_is_never_composed() {
    let mut writer = WipedBuffer::new(1000);
    assert_eq!(encode_get_reply(&mut writer, 1, &[item("a.test.K", Erased)]), Err(EncodeError::Gone));
    assert_eq!(writer.as_slice(), b"");
    let unlock = UnlockItem {
        slug: "a.test.K",
        grade: grade("p", "d"),
        source: source("v", "m"),
        ttl_ms: 1,
        credential_expires_at: None,
        life_ms: None,
        life_by: None,
        secret: Erased,
    };
    assert_eq!(encode_unlock(&mut writer, 1, &[unlock]), Err(EncodeError::Gone));
    assert_eq!(writer.as_slice(), b"");
}

#[test]
fn a_full_sink_is_an_error_at_every_byte() {
    let items = [item("a.test.K", &b"s3cret"[..]), item("b.test.K", &b""[..])];
    let whole = encoded(|writer| encode_get_reply(writer, 1, &items));
    for limit in 0..whole.len() {
        let mut writer = Tight { bytes: Vec::new(), limit };
        assert_eq!(encode_get_reply(&mut writer, 1, &items), Err(EncodeError::Full), "{limit}");
        assert!(whole.starts_with(&writer.bytes));
    }
    let mut writer = Tight { bytes: Vec::new(), limit: whole.len() };
    assert_eq!(encode_get_reply(&mut writer, 1, &items), Ok(2));
}

fn unlock_item<'a>(slug: &'a str, secret: &'a [u8]) -> UnlockItem<'a, &'a [u8]> {
    UnlockItem {
        slug,
        grade: grade("encrypted", "permanent"),
        source: source("os.secure", "PERMANENT_VIA_REPLICA"),
        ttl_ms: u64::MAX,
        credential_expires_at: Some("2026-01-01T09:00:00.123Z"),
        life_ms: None,
        life_by: None,
        secret,
    }
}

#[test]
fn a_batch_is_cut_into_requests_that_fit() {
    for (count, len) in [(0, 0), (1, 0), (1, MAX_SECRET), (3, MAX_SECRET / 2 + 1), (1000, 1), (100, 50_000)] {
        let slugs: Vec<String> = (0..count).map(|n| format!("acme.test.K\n{n}")).collect();
        let secret = vec![7_u8; len];
        let items: Vec<_> = slugs.iter().map(|slug| unlock_item(slug, &secret)).collect();
        let mut left = &items[..];
        let mut sent = 0;
        while !left.is_empty() {
            let fits = unlock_keys_that_fit(left);
            assert!(fits > 0, "{count} keys of {len} bytes: stuck at {sent}");
            let (batch, behind) = left.split_at(fits);
            let bytes = encoded(|writer| encode_unlock(writer, u64::MAX, batch));
            let frame = frame(&bytes);
            let request = Request::decode(&frame).unwrap();
            let Op::Unlock(unlock) = request.op else { panic!() };
            for key in &unlock.keys {
                assert_eq!((&*key.slug, frame.secret(key.secret)), (slugs[sent].as_str(), Some(&secret[..])));
                sent += 1;
            }
            left = behind;
        }
        assert_eq!(sent, count);
    }
    let (long, name) = (vec![0; MAX_SECRET + 1], "x".repeat(MAX_NAME + 1));
    for never in [unlock_item("a.test.K", &long), unlock_item(&name, b"s")] {
        let items = [unlock_item("a.test.FIRST", b"s"), never];
        assert_eq!(unlock_keys_that_fit(&items), 1);
        assert_eq!(unlock_keys_that_fit(&items[1..]), 0);
        let mut writer = WipedBuffer::new(4 << 20);
        assert!(matches!(encode_unlock(&mut writer, 1, &items[1..]), Err(EncodeError::TooLarge { .. })));
        assert_eq!(writer.as_slice().len(), 0);
    }
}

#[test]
fn asks_are_cut_into_requests_that_fit() {
    let slugs: Vec<String> = (0..20_000).map(|n| format!("acme.test.\"K{n}")).collect();
    let slugs: Vec<&str> = slugs.iter().map(String::as_str).collect();
    let mut left = &slugs[..];
    while !left.is_empty() {
        let fits = get_slugs_that_fit(left);
        assert!(fits > 0);
        let (batch, behind) = left.split_at(fits);
        let get = Get { slugs: batch.iter().map(|slug| Cow::Borrowed(*slug)).collect() };
        let bytes = encoded(|writer| Request { id: u64::MAX, op: Op::Get(get.clone()) }.encode(writer));
        assert_eq!(Request::decode(&frame(&bytes)).unwrap().op, Op::Get(get));
        if behind.len() >= 5 {
            let more = Get {
                slugs: left[..left.len().min(fits + 5)].iter().map(|slug| Cow::Borrowed(*slug)).collect(),
            };
            let outcome = Request { id: u64::MAX, op: Op::Get(more) }.encode(&mut WipedBuffer::new(1 << 20));
            assert_eq!(outcome, Err(EncodeError::TooLarge { limit: MAX_HEADER }), "no more would fit");
        }
        left = behind;
    }
    assert_eq!(get_slugs_that_fit(&[&"x".repeat(MAX_HEADER)]), 0);
}

#[test]
fn ranges_that_do_not_match_the_secrets_are_not_composed() {
    let key = |offset, len| UnlockKey {
        slug: "a.test.K".into(),
        grade: grade("p", "d"),
        source: source("v", "m"),
        ttl_ms: 1,
        credential_expires_at: None,
        life_ms: None,
        life_by: None,
        secret: Span { offset, len },
    };
    let secrets = [&b"abc"[..]];
    for keys in [vec![], vec![key(0, 2)], vec![key(1, 3)], vec![key(0, 3), key(3, 0)], vec![key(0, u64::MAX)]]
    {
        let request = Request { id: 1, op: Op::Unlock(Unlock { keys }) };
        let mut writer = WipedBuffer::new(1000);
        assert_eq!(request.encode_with(&mut writer, &secrets), Err(EncodeError::Ranges), "{request:?}");
        assert_eq!(writer.as_slice(), b"");
    }
    let ping = Request { id: 1, op: Op::Ping };
    assert_eq!(ping.encode_with(&mut WipedBuffer::new(1000), &secrets), Err(EncodeError::Ranges));
}

fn status_page(count: u64) -> StatusOk<'static> {
    let key = |n: u64| StatusKey {
        slug: format!("acme.test.KEY_{n}").into(),
        env: "test".into(),
        org: "acme".into(),
        grade: grade("encrypted", "permanent"),
        source: source("os.secure", "PERMANENT_VIA_REPLICA"),
        expires_at: "2026-01-01T09:00:00.123Z".into(),
        ttl_ms: 1,
        ends_by: "boot".into(),
        life_ms: None,
        life_by: None,
        n,
    };
    StatusOk {
        keys: (1..=count).map(key).collect(),
        more: false,
        home_hash: "83db27ef".into(),
        memory: "locked".into(),
        boundary: "session".into(),
        namespaces: Some("pid and user".into()),
        hardening: vec![],
        counts: Counts { keys: count, bytes: 1 },
    }
}

#[test]
fn a_status_page_holds_what_fits_and_says_that_there_is_more() {
    for (count, more) in [(0, false), (1, true), (10, false), (5000, false), (5000, true)] {
        let mut page = status_page(count);
        page.more = more;
        let bytes = encoded(|writer| encode_status_reply(writer, 7, page.clone()));
        let frame = frame(&bytes);
        let ok = decode_reply::<StatusOk<'_>>(&frame).unwrap().outcome.unwrap();
        assert!(page.keys.starts_with(&ok.keys));
        let cut = ok.keys.len() < page.keys.len();
        assert_eq!(ok.more, more || cut);
        assert_eq!(cut, count > 1000, "{} of {count} keys", ok.keys.len());
        if cut {
            assert!(frame.header.len() > MAX_HEADER - 500, "a page is filled: {}", frame.header.len());
        }
    }
    let mut page = status_page(1);
    page.keys[0].slug = "x".repeat(MAX_HEADER).into();
    let outcome = encode_status_reply(&mut WipedBuffer::new(1 << 20), 1, page);
    assert_eq!(outcome, Err(EncodeError::TooLarge { limit: MAX_HEADER }));
}

#[test]
fn an_unlock_reply_keeps_every_result_however_long_its_texts_are() {
    let results = |count: usize, text: usize| UnlockOk {
        results: (0..count)
            .map(|n| UnlockResult {
                slug: format!("acme.test.KEY_{n}").into(),
                outcome: Err(ErrorBody {
                    code: "grade_degraded".into(),
                    message: "m".repeat(text).into(),
                    slug: None,
                    fix: Some("f".repeat(text).into()),
                }),
            })
            .collect(),
    };
    for (count, text, has_message, has_fix) in
        [(1, 100, true, true), (400, 30, true, true), (400, 60, true, false), (400, 5000, false, false)]
    {
        let bytes = encoded(|writer| encode_unlock_reply(writer, 1, results(count, text)));
        let frame = frame(&bytes);
        let ok = decode_reply::<UnlockOk<'_>>(&frame).unwrap().outcome.unwrap();
        assert_eq!(ok.results.len(), count);
        for (n, result) in ok.results.iter().enumerate() {
            assert_eq!(result.slug, format!("acme.test.KEY_{n}"));
            let error = result.outcome.as_ref().unwrap_err();
            assert_eq!(error.code, "grade_degraded");
            assert_eq!(
                (!error.message.is_empty(), error.fix.is_some()),
                (has_message, has_fix),
                "{count} {text}"
            );
        }
    }
    let outcome = encode_unlock_reply(&mut WipedBuffer::new(1 << 20), 1, results(5000, 1));
    assert_eq!(outcome, Err(EncodeError::TooLarge { limit: MAX_HEADER }));
}

/// The most keys one request can hold are answered, each with its code.
#[test]
fn the_fullest_unlock_request_can_be_answered() {
    let empty = UnlockItem {
        slug: "",
        grade: grade("", ""),
        source: source("", ""),
        ttl_ms: 1,
        credential_expires_at: None,
        life_ms: None,
        life_by: None,
        secret: &b""[..],
    };
    let many =
        |count| (0..count).map(|_| UnlockItem { grade: grade("", ""), source: source("", ""), ..empty });
    let count = (1..1000).rev().find(|count| {
        let items: Vec<_> = many(*count).collect();
        encode_unlock(&mut WipedBuffer::new(1 << 20), 1, &items).is_ok()
    });
    let count = count.unwrap();
    let refused = || UnlockResult {
        slug: "".into(),
        outcome: Err(ErrorBody {
            code: "duration_above_ceiling".into(),
            message: "x".repeat(200).into(),
            slug: Some("".into()),
            fix: Some("x".repeat(200).into()),
        }),
    };
    let bytes = encoded(|writer| {
        encode_unlock_reply(writer, u64::MAX, UnlockOk { results: (0..count).map(|_| refused()).collect() })
    });
    let ok = decode_reply::<UnlockOk<'_>>(&frame(&bytes)).unwrap().outcome.unwrap();
    assert_eq!(ok.results.len(), count);
    assert!(count > 400, "{count}");
}

#[test]
fn a_relock_reply_counts_what_it_cannot_name() {
    for (count, cut) in [(0, false), (3, false), (10_000, true)] {
        let slugs: Vec<String> = (0..count).map(|n| format!("acme.test.KEY_{n}")).collect();
        let slugs: Vec<&str> = slugs.iter().map(String::as_str).collect();
        let bytes = encoded(|writer| encode_relock_reply(writer, 1, &slugs));
        let frame = frame(&bytes);
        let ok = decode_reply::<RelockOk<'_>>(&frame).unwrap().outcome.unwrap();
        assert_eq!(ok.relocked, slugs[..ok.relocked.len()]);
        assert_eq!(ok.relocked.len() + usize::try_from(ok.unnamed).unwrap(), slugs.len());
        assert_eq!(ok.unnamed > 0, cut);
    }
}

#[test]
fn frames_follow_one_another_in_one_buffer() {
    let hello = Hello { proto: 1, min_proto: 1, version: "0.1.0".into(), build: "b".into() };
    let requests = [
        Request { id: 1, op: Op::Hello(hello) },
        Request { id: 2, op: Op::Get(Get { slugs: vec!["a.test.K".into()] }) },
        Request { id: 3, op: Op::Ping },
    ];
    let bytes = encoded(|writer| requests.iter().try_for_each(|request| request.encode(writer)));
    let mut at = 0;
    for request in &requests {
        let Ok(Decoded::Frame(frame)) = decode(&bytes[at..]) else { panic!() };
        assert_eq!(Request::decode(&frame).as_ref(), Ok(request));
        at += frame.consumed;
    }
    assert_eq!(at, bytes.len());
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z@]{1,8}\\.(test|all)\\.[A-Z_]{1,12}", any::<String>()]
}

proptest! {
    /// The header that is written by hand is the one serde would write.
    #[test]
    fn a_get_reply_is_what_serde_would_write(
        id in any::<u64>(),
        keys in prop::collection::vec((name(), name(), name(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let items: Vec<GetItem<'_, &[u8]>> = keys.iter().map(|(slug, vault, env, ttl_ms, secret)| GetItem {
            vault, env, ttl_ms: *ttl_ms, ..item(slug, &secret[..])
        }).collect();
        let bytes = encoded(|writer| encode_get_reply(writer, id, &items));
        let mut offset = 0_u64;
        let expected = GetOk {
            keys: keys.iter().map(|(slug, vault, env, ttl_ms, secret)| {
                let len = u64::try_from(secret.len()).unwrap();
                let span = Span { offset, len };
                offset += len;
                GetKey {
                    slug: slug.into(),
                    grade: grade("encrypted", "permanent"),
                    source: source(vault, "PERMANENT_VIA_REPLICA"),
                    env: env.into(),
                    org: "acme".into(),
                    expires_at: "2026-01-01T09:00:00.123Z".into(),
                    ttl_ms: *ttl_ms,
                    secret: span,
                }
            }).collect(),
            rest: vec![],
        };
        let header = format!("{{\"id\":{id},\"ok\":{}}}", serde_json::to_string(&expected).unwrap());
        let frame = frame(&bytes);
        prop_assert_eq!(std::str::from_utf8(frame.header).unwrap(), header);
        prop_assert_eq!(decode_reply(&frame), Ok(Reply { id, outcome: Ok(expected) }));
        prop_assert_eq!(frame.secrets, keys.iter().flat_map(|key| key.4.clone()).collect::<Vec<u8>>());
    }

    /// However the sizes fall, a get reply is within its limits, in order, and names every key once.
    #[test]
    fn a_get_reply_names_every_key_once(
        keys in prop::collection::vec((1_usize..8000, 0_usize..400_000), 1..12),
    ) {
        let slugs: Vec<String> = keys.iter().enumerate().map(|(n, (len, _))| format!("{n}{}", "\"".repeat(*len / 2))).collect();
        let secret = vec![b'x'; 400_000];
        let items: Vec<GetItem<'_, &[u8]>> =
            slugs.iter().zip(&keys).map(|(slug, (_, len))| item(slug, &secret[..*len])).collect();
        let mut writer = WipedBuffer::new(2 << 20);
        match encode_get_reply(&mut writer, 1, &items) {
            Ok(count) => {
                prop_assert!(count > 0);
                let (got, rest) = get_ok(writer.as_slice());
                prop_assert_eq!(got.len(), count);
                let named: Vec<String> = got.iter().map(|(slug, _)| slug.clone()).chain(rest).collect();
                prop_assert_eq!(named, slugs);
                for ((_, secret), (_, len)) in got.iter().zip(&keys) {
                    prop_assert_eq!(secret.len(), *len);
                }
            }
            Err(error) => {
                prop_assert_eq!(error, EncodeError::TooLarge { limit: MAX_HEADER });
                let total: usize = slugs.iter().map(|slug| slug.len() * 2).sum();
                prop_assert!(total + 400 > MAX_HEADER, "{} would fit", total);
            }
        }
    }

    #[test]
    fn any_header_is_no_panic(
        header in prop_oneof![
            prop::collection::vec(any::<u8>(), 1..100),
            "\\{\"id\":1,\"op\":\"(get|unlock|relock|status|hello)\",\"(slugs|keys|all|env)\":[\\[\\]{}\",:a-z0-9]{0,40}\\}".prop_map(String::into_bytes),
        ],
        secrets in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let frame = Frame { header: &header, secrets: &secrets, consumed: 0 };
        if let Ok(Request { op: Op::Unlock(unlock), .. }) = Request::decode(&frame) {
            prop_assert!(unlock.keys.iter().all(|key| frame.secret(key.secret).is_some()));
        }
        let reply: Result<Reply<'_, GetOk<'_>>, _> = decode_reply(&frame);
        if let Ok(Reply { outcome: Ok(ok), .. }) = reply {
            prop_assert!(ok.keys.iter().all(|key| frame.secret(key.secret).is_some()));
        }
    }
}
