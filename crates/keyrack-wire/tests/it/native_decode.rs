//! Decoding native messages: the errors of malformed requests and replies.

use keyrack_wire::native::*;
use keyrack_wire::{MAX_NAME, MAX_SECRET};
use proptest::prelude::*;

use crate::support::{encoded, frame, raw_frame};

fn request_of(header: &str, secrets: &[u8]) -> Result<String, RequestError> {
    let bytes = raw_frame(header, secrets);
    Request::decode(&frame(&bytes)).map(|request| format!("{} {}", request.id, request.op.name()))
}

/// Returns the id and the op of a request, or the id and the code of its error.
fn summary_of(header: &str, secrets: &[u8]) -> String {
    match request_of(header, secrets) {
        Ok(request) => request,
        Err(error) => format!("{} {}", error.id(), error.code()),
    }
}

/// Returns `header` once for each object in it, with that object as an array of its fields in
/// order, which serde's derive accepts too.
fn with_arrays(header: &str) -> Vec<String> {
    let mut texts = Vec::new();
    // Positions of strings, and of brackets and separators outside of strings.
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
fn with_arrays_replaces_each_object() {
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
fn decode_rejects_arrays_in_place_of_objects() {
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
fn decode_request_gives_id_and_error_code() {
    for (header, expected) in [
        (r#"{"id":1,"op":"ping"}"#, "1 ping"),
        (r#"{"op":"ping","id":1}"#, "1 ping"),
        ("{\"id\":1,\n \"op\":\"ping\"} ", "1 ping"),
        (r#"{"id":1,"op":"p\u0069ng"}"#, "1 ping"),
        (r#"{"id":18446744073709551615,"op":"ping"}"#, "18446744073709551615 ping"),
        // Not a request.
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
        // Fields given twice.
        (r#"{"id":1,"id":2,"op":"ping"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"ping","op":"shutdown"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"ping","o\u0070":"shutdown"}"#, "0 bad_frame"),
        (r#"{"id":1,"op":"get","slugs":["a"],"slugs":["b"]}"#, "1 bad_request"),
        (r#"{"id":1,"op":"relock","env":"a","env":"b"}"#, "1 bad_request"),
        (r#"{"id":1,"op":"get","slugs":[],"x":1,"x":2}"#, "1 get"),
        // Unknown fields are ignored.
        (r#"{"id":1,"op":"ping","slugs":7,"x":{"y":[1,null]}}"#, "1 ping"),
        // Unknown ops, with any fields.
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
        assert_eq!(summary_of(header, b""), expected, "{header}");
    }
    let bomb = format!("{{\"id\":1,\"op\":\"ping\",\"x\":{}", "[".repeat(60_000));
    assert_eq!(summary_of(&bomb, b""), "0 bad_frame");
    assert_eq!(request_of("{\"id\":1,\"op\":\"\u{7f}\"}", b""), Ok("1 \u{7f}".to_owned()));
    let mut not_utf8 = raw_frame(r#"{"id":1,"op":"X"}"#, b"");
    let at = not_utf8.iter().position(|b| *b == b'X').unwrap();
    not_utf8[at] = 0xFF;
    assert!(Request::decode(&frame(&not_utf8)).is_err());
}

#[test]
fn decode_rejects_secret_bytes_without_a_range() {
    for op in
        ["hello\",\"proto\":1,\"min_proto\":1,\"version\":\"\",\"build\":\"", "ping", "shutdown", "status"]
    {
        assert_eq!(summary_of(&format!(r#"{{"id":1,"op":"{op}"}}"#), b"x"), "0 bad_frame", "{op}");
    }
    assert_eq!(summary_of(r#"{"id":1,"op":"get","slugs":[]}"#, b"x"), "0 bad_frame");
    assert_eq!(summary_of(r#"{"id":1,"op":"relock","all":true}"#, b"x"), "0 bad_frame");
    assert_eq!(summary_of(r#"{"id":1,"op":"unlock","keys":[]}"#, b"x"), "0 bad_frame");
    // An op of a later version may carry secret bytes.
    assert_eq!(summary_of(r#"{"id":1,"op":"lease"}"#, b"x"), "1 lease");
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
fn decode_rejects_ranges_that_do_not_tile_the_secrets() {
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
        // Not the numbers of a range.
        (vec![("-1", "3")], b"abc", "1 bad_request"),
        (vec![("0", "3.0")], b"abc", "1 bad_request"),
        (vec![("0", "18446744073709551616")], b"abc", "1 bad_request"),
        (vec![("0", "\"3\"")], b"abc", "1 bad_request"),
    ] {
        assert_eq!(summary_of(&unlock_header(&spans), secrets), expected, "{spans:?}");
    }
}

#[test]
fn decode_errors_quote_nothing_of_the_header() {
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
fn decode_rejects_names_that_would_not_fit_a_reply() {
    let long = "x".repeat(MAX_NAME + 1);
    for part in ["a.test.K", "\"p\"", "\"d\"", "\"v\"", "\"m\""] {
        let header = unlock_header(&[("0", "1"), ("1", "2")]);
        let long = if part.starts_with('"') { format!("\"{long}\"") } else { long.clone() };
        let bytes = raw_frame(&header.replacen(part, &long, 1), b"abc");
        let error = Request::decode(&frame(&bytes)).unwrap_err();
        let kind = RequestErrorKind::NameTooLong { index: 0 };
        assert_eq!(error, RequestError::BadRequest { id: 1, op: "unlock", kind }, "{part}");
    }
    let fits = raw_frame(&unlock_header(&[("0", &MAX_SECRET.to_string())]), &vec![0; MAX_SECRET]);
    assert!(Request::decode(&frame(&fits)).is_ok());
    let len = MAX_SECRET + 1;
    let long = raw_frame(&unlock_header(&[("0", "0"), ("0", &len.to_string())]), &vec![0; len]);
    let error = Request::decode(&frame(&long)).unwrap_err();
    assert_eq!((error.id(), error.code()), (1, "secret_too_large"));
}

#[test]
fn decode_reply_gives_result_or_error() {
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

#[test]
fn decode_reads_consecutive_frames() {
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

proptest! {
    #[test]
    fn decode_does_not_panic_on_any_header(
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
