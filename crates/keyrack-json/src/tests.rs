//! The reader against serde_json as the oracle, and the strings against tables.

use proptest::prelude::*;

use super::*;

fn accepts(text: &str) -> bool {
    RawValue::parse(text.as_bytes()).is_ok()
}

/// Returns `true` if serde_json accepts the text by its grammar, with any strings and numbers.
fn oracle_accepts(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[test]
fn parser_accepts_what_serde_json_accepts() {
    for text in [
        "",
        " ",
        "{}",
        "[]",
        " { } ",
        "[ ]",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "null",
        "nul",
        "nulll",
        "true",
        "false",
        "truefalse",
        "tru e",
        "0",
        "-0",
        "00",
        "01",
        "-",
        "1.",
        ".5",
        "1.5",
        "1e5",
        "1E+5",
        "1e-5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "-1",
        "1 2",
        "\"",
        "\"\"",
        "\"a",
        "\"a\"b",
        "\"\\\"",
        "\"\\",
        "\"\\u",
        "\"\\u12",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\\x\"",
        "\"\\/\"",
        "\"\\b\\f\\n\\r\\t\\\\\"",
        "\"\n\"",
        "\"\t\"",
        "\"\u{7f}\"",
        "\"\\u0000\"",
        "[1]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,2]",
        "[[],[]]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"b\":2}",
        "{\"a\":1]",
        "[1}",
        "{\"a\":[1}}",
        "[{\"a\":1]]",
        "[{\"a\":1]}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1}}",
        "{\"a\":{\"b\":[1,{}]}}",
        "\u{feff}{}",
        "{}\u{a0}",
        "{\"a\":1}\0",
        "[\u{b}]",
        "[\u{c}1]",
        "é",
        "\"é\"",
        "{\"é\":\"\u{10ffff}\"}",
        "'a'",
        "//",
        "[1,/*c*/2]",
        "{\"a\" : 1 , \"b\" : [ 1 , 2 ] }",
        "\r\n\t {\r\n\t }\r\n\t ",
    ] {
        assert_eq!(accepts(text), oracle_accepts(text), "{text:?}");
    }
}

#[test]
fn parser_rejects_nesting_over_the_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(accepts(&nested(MAX_DEPTH)));
    let error = RawValue::parse(nested(MAX_DEPTH + 1).as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(error, JsonError { offset: MAX_DEPTH, kind: JsonErrorKind::TooDeep });
    // A bomb without an end costs no more than the limit.
    let error = RawValue::parse("{\"a\":".repeat(100_000).as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, JsonErrorKind::TooDeep);
    // What is closed is forgotten.
    assert!(accepts(&format!("[{}1]", "[[]],".repeat(1000))));
    let mixed = format!("{}{}", "[{\"a\":".repeat(32), "1".to_owned() + &"}]".repeat(32));
    assert!(accepts(&mixed));
    assert!(!accepts(&format!("[{mixed}]")));
}

#[test]
fn unescape_follows_rfc_8259() {
    let ok = [
        ("", ""),
        ("abc", "abc"),
        ("é\u{1f511}", "é\u{1f511}"),
        (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r"\u0041\u00e9\u20AC\u20ac", "Aé€€"),
        (r"\u0000", "\0"),
        (r"\ud83d\udd11", "\u{1f511}"),
        (r"\uD800\uDC00\udbff\udfff", "\u{10000}\u{10ffff}"),
        (r"\ud7ff\ue000", "\u{d7ff}\u{e000}"),
        (r"a\\u0041", "a\\u0041"),
        (r"x\ud83d\udd11y", "x\u{1f511}y"),
    ];
    for (raw, expected) in ok {
        let mut out = [0xAA_u8; 64];
        let len = unescape_into(raw.as_bytes(), &mut out).unwrap();
        assert_eq!(&out[..len], expected.as_bytes(), "{raw}");
        assert!(out[len..].iter().all(|b| *b == 0xAA), "{raw}: nothing after it is touched");
        let checked = RawString::check(raw).unwrap();
        assert_eq!(checked.len(), len, "{raw}");
        assert_eq!(checked.is_empty(), len == 0, "{raw}");
        assert_eq!(checked.raw(), raw.as_bytes());
        assert_eq!(checked.to_text(), expected, "{raw}");
        assert_eq!(checked.to_wiped().as_slice(), expected.as_bytes(), "{raw}");
        let mut exact = vec![0; len];
        assert_eq!(checked.unescape_into(&mut exact), Ok(len));
        assert_eq!(exact, expected.as_bytes());
        if len > 0 {
            let mut short = vec![0xAA; len - 1];
            assert_eq!(checked.unescape_into(&mut short), Err(UnescapeError::TooSmall));
            assert!(short.iter().all(|b| *b == 0xAA), "{raw}: a short buffer is not written");
            assert_eq!(unescape_into(raw.as_bytes(), &mut short), Err(UnescapeError::TooSmall));
            assert!(!short.starts_with(&expected.as_bytes()[..1]), "{raw}: what was written is zeroed");
        }
    }
}

#[test]
fn unescape_rejects_malformed_strings_and_zeroes_the_buffer() {
    use StringError::{BadEscape, LoneSurrogate, NotUtf8, Unescaped};
    let bad: [(&[u8], StringError); 21] = [
        (b"secret\\ud83d", LoneSurrogate),
        (b"secret\\udd11", LoneSurrogate),
        (b"secret\\ud83dx", LoneSurrogate),
        (b"secret\\ud83d\\n", LoneSurrogate),
        (b"secret\\ud83d\\u0041", LoneSurrogate),
        (b"secret\\ud83d\\ud83d\\udd11", LoneSurrogate),
        (b"secret\\udd11\\ud83d", LoneSurrogate),
        (b"secret\\ud83d\\u", BadEscape),
        (b"secret\\ud83d\\uzzzz", BadEscape),
        (b"secret\\", BadEscape),
        (b"secret\\u", BadEscape),
        (b"secret\\u004", BadEscape),
        (b"secret\\u00g0", BadEscape),
        (b"secret\\u+041", BadEscape),
        (b"secret\\x41", BadEscape),
        (b"secret\\'", BadEscape),
        (b"secret\n", Unescaped),
        (b"secret\x00", Unescaped),
        (b"secret\"", Unescaped),
        (b"secret\xff", NotUtf8),
        (b"secret\xed\xa0\x80", NotUtf8),
    ];
    for (raw, error) in bad {
        let mut out = [0_u8; 64];
        assert_eq!(unescape_into(raw, &mut out), Err(UnescapeError::Invalid(error)), "{raw:?}");
        assert_eq!(out, [0; 64], "{raw:?}");
        if let Ok(raw) = std::str::from_utf8(raw) {
            assert_eq!(RawString::check(raw).map(|_| ()), Err(error), "{raw:?}");
        }
    }
}

#[test]
fn escape_matches_serde_json_up_to_u0100() {
    for c in '\0'..='\u{100}' {
        let text = c.to_string();
        let expected = serde_json::to_string(&text).unwrap();
        let mut writer = WipedBuffer::new(100);
        escape_into(&mut writer, text.as_bytes()).unwrap();
        assert_eq!(writer.as_slice(), &expected.as_bytes()[1..expected.len() - 1], "{c:?}");
    }
}

#[test]
fn escape_rejects_bytes_that_are_not_utf8() {
    for bytes in [&b"\xff"[..], b"abc\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        assert_eq!(escape_len(bytes).map_err(drop), Err(()));
        let mut writer = WipedBuffer::new(100);
        assert_eq!(escape_into(&mut writer, bytes), Err(EscapeError::NotUtf8));
        assert_eq!(writer.as_slice(), b"", "nothing is put");
    }
    assert_eq!(escape_into(&mut WipedBuffer::new(3), b"abcd"), Err(EscapeError::Full));
}

#[test]
fn debug_of_raw_string_shows_no_content() {
    let raw = RawString::check("hunter2").unwrap();
    assert_eq!(format!("{raw:?}"), "RawString(7 bytes)");
}

/// Text dense in what matters to a JSON reader.
fn json_like() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\\\",
        "\\\"",
        "\\u",
        "\\u0041",
        "\\ud83d",
        "\\udd11",
        "\\n",
        "a",
        "é",
        "\u{1f511}",
        " ",
        "\n",
        "\t",
        "\0",
        "1",
        "-",
        ".",
        "0",
        "e",
        "+",
        "true",
        "false",
        "null",
        "\"a\"",
        "\"a\":",
        "{}",
        "[]",
        "[1]",
        "{\"a\":1}",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::num::f64::NORMAL.prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Rebuilds a value through the reader, so that what it hands out is compared and not only whether
/// it does.
fn rebuild(raw: RawValue<'_>) -> serde_json::Value {
    match raw.kind() {
        ValueKind::Object => {
            let mut map = serde_json::Map::new();
            raw.members(|name, value| {
                map.insert(name.string().unwrap().unwrap().to_text().into_owned(), rebuild(value));
                Ok::<_, JsonError>(())
            })
            .unwrap()
            .unwrap();
            map.into()
        }
        ValueKind::Array => {
            let mut list = Vec::new();
            raw.elements(|value| {
                list.push(rebuild(value));
                Ok::<_, JsonError>(())
            })
            .unwrap()
            .unwrap();
            list.into()
        }
        ValueKind::String => raw.string().unwrap().unwrap().to_text().into_owned().into(),
        ValueKind::Bool => raw.boolean().unwrap().into(),
        ValueKind::Number | ValueKind::Null => serde_json::from_str(raw.text()).unwrap(),
    }
}

proptest! {
    #[test]
    fn parser_agrees_with_serde_json_on_any_text(text in json_like()) {
        prop_assert_eq!(accepts(&text), oracle_accepts(&text));
    }

    #[test]
    fn parser_reads_back_any_value(value in json_value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        // Read once more by the oracle, for it does not read every float back as it wrote it.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(rebuild(RawValue::parse(text.as_bytes()).unwrap()), value);
    }

    #[test]
    fn escape_and_unescape_round_trip_any_text(text in any::<String>()) {
        let expected = serde_json::to_string(&text).unwrap();
        let inside = &expected.as_bytes()[1..expected.len() - 1];
        let mut writer = WipedBuffer::new(1 << 20);
        escape_into(&mut writer, text.as_bytes()).unwrap();
        prop_assert_eq!(writer.as_slice(), inside);
        prop_assert_eq!(escape_len(text.as_bytes()), Ok(inside.len()));
        let mut out = vec![0; text.len()];
        prop_assert_eq!(unescape_into(inside, &mut out), Ok(text.len()));
        prop_assert_eq!(out, text.as_bytes());
    }

    #[test]
    fn unescape_agrees_with_serde_json(pieces in prop::collection::vec(prop::sample::select(vec![
        "a", "é", "\u{1f511}", "\\n", "\\u0000", "\\u00e9", "\\ud83d\\udd11", "\\ud83d", "\\udd11", "\\uDBFF", "\\/", "\\\\",
        "\\x", "\\", "\"", "\u{1f}",
    ]), 0..12)) {
        let raw = pieces.concat();
        let quoted = format!("\"{raw}\"");
        let mut out = vec![0; raw.len()];
        let ours = unescape_into(raw.as_bytes(), &mut out);
        match serde_json::from_str::<String>(&quoted) {
            Ok(expected) => {
                prop_assert_eq!(ours, Ok(expected.len()));
                prop_assert_eq!(&out[..expected.len()], expected.as_bytes());
            }
            Err(_) => {
                prop_assert!(ours.is_err());
                prop_assert!(out.iter().all(|b| *b == 0));
            }
        }
    }

    #[test]
    fn unescape_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut out = [0; 64];
        let unescaped = unescape_into(&bytes, &mut out);
        prop_assert_eq!(escape_len(&bytes).is_ok(), std::str::from_utf8(&bytes).is_ok());
        if let Ok(len) = unescaped { prop_assert!(len <= bytes.len()); }
    }
}

/// Returns the strings and numbers of a value as the loose tokens must be.
fn expected_tokens(raw: RawValue<'_>, out: &mut Vec<String>) {
    match raw.kind() {
        ValueKind::Object => {
            let outcome = raw.members(|name, value| {
                out.push(format!("name {}", name.string().unwrap().unwrap().to_text()));
                expected_tokens(value, out);
                Ok::<_, JsonError>(())
            });
            outcome.unwrap().unwrap();
        }
        ValueKind::Array => {
            let outcome = raw.elements(|value| {
                expected_tokens(value, out);
                Ok::<_, JsonError>(())
            });
            outcome.unwrap().unwrap();
        }
        ValueKind::String => out.push(format!("string {}", raw.string().unwrap().unwrap().to_text())),
        ValueKind::Number => out.push(format!("number {}", raw.text().trim_start_matches('-'))),
        ValueKind::Bool | ValueKind::Null => {}
    }
}

fn loose(text: &[u8]) -> Vec<String> {
    let text_of = |string: LooseString<'_>| String::from_utf8_lossy(&string.to_wiped()).into_owned();
    loose_tokens(text)
        .filter_map(|token| match token {
            LooseToken::Name(name) => Some(format!("name {}", text_of(name))),
            LooseToken::String(string) => Some(format!("string {}", text_of(string))),
            LooseToken::Number(number) => Some(format!("number {}", String::from_utf8_lossy(number))),
            LooseToken::Open | LooseToken::Close | LooseToken::Comma => None,
        })
        .collect()
}

#[test]
fn loose_tokens_find_every_string_of_a_text_that_is_not_json() {
    for (text, expected) in [
        ("", &[][..]),
        ("plain text", &[]),
        (
            r#"{"a": "b", // "c"
            d: 'e', "f" : 1.5e+3,}"#,
            &["name a", "string b", "string c", "name f", "number 1.5e+3"],
        ),
        (r#""a" "b":"c"#, &["string a", "name b", "string c"]),
        (r#"{"a\"}"#, &["string a\"}"]),
        (r#"{"\"#, &["string \\"]),
        (
            r#""\ud83d\udd11\ud83d" "\udd11x" "\q\u12""#,
            &["string \u{1f511}", "string \u{fffd}x", "string qu12"],
        ),
        ("]}", &[]),
    ] {
        assert_eq!(loose(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn object_gives_names_values_and_spans() {
    let text = r#" {"a": "x\ny" , "\u0061":[1, 2], "b":{"c":3}} "#;
    let object = Object::parse(text.as_bytes()).unwrap();
    let found: Vec<_> = object.members.iter().map(|m| (&*m.name, m.value.text(), &text[m.span()])).collect();
    assert_eq!(
        found,
        [
            ("a", r#""x\ny""#, r#""a": "x\ny""#),
            ("a", "[1, 2]", r#""\u0061":[1, 2]"#),
            ("b", r#"{"c":3}"#, r#""b":{"c":3}"#),
        ]
    );
    assert_eq!(&text[object.inner_span()], text.trim().trim_matches(['{', '}']).to_owned() + "}");
    assert_eq!(object.get("a").unwrap().value.text(), "[1, 2]", "the last one counts");
    assert!(object.get("c").is_none());
    let inner = Object::new(object.get("b").unwrap().value).unwrap();
    assert_eq!(&text[inner.members[0].span()], r#""c":3"#, "spans are those of the whole text");
    for (other, offset, kind) in [
        ("[]", 0, JsonErrorKind::NotAnObject),
        (" 1", 1, JsonErrorKind::NotAnObject),
        (r#"{"\ud800":1}"#, 1, JsonErrorKind::String(StringError::LoneSurrogate)),
        ("{", 1, JsonErrorKind::Truncated),
    ] {
        assert_eq!(Object::parse(other.as_bytes()).unwrap_err(), JsonError { offset, kind }, "{other}");
    }
}

#[test]
fn parser_says_where_bytes_are_not_utf8() {
    let kind = JsonErrorKind::String(StringError::NotUtf8);
    assert_eq!(RawValue::parse(b"{\"a\":\"\xff\"}").unwrap_err(), JsonError { offset: 6, kind });
}

fn write(writer: &mut JsonWriter, value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => writer.object(|writer| {
            for (name, value) in map {
                writer.name(name);
                write(writer, value);
            }
        }),
        serde_json::Value::Array(list) => writer.array(|writer| {
            for value in list {
                writer.element();
                write(writer, value);
            }
        }),
        serde_json::Value::String(text) => writer.text(text),
        other => writer.plain(&other.to_string()),
    }
}

#[test]
fn writer_writes_nothing_of_a_secret_that_is_not_utf8() {
    let mut writer = JsonWriter::new();
    assert!(writer.secret(b"\xff").is_err());
    assert_eq!(writer.into_bytes().as_slice(), b"");
}

proptest! {
    #[test]
    fn loose_tokens_of_json_are_its_strings_and_numbers(value in json_value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut expected = Vec::new();
        expected_tokens(RawValue::parse(text.as_bytes()).unwrap(), &mut expected);
        prop_assert_eq!(loose(text.as_bytes()), expected);
    }

    #[test]
    fn loose_tokens_do_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        loose(&bytes);
    }

    #[test]
    fn writer_matches_pretty_serde_json(value in json_value()) {
        let mut writer = JsonWriter::new();
        write(&mut writer, &value);
        prop_assert_eq!(
            String::from_utf8(writer.into_bytes().to_vec()).unwrap(),
            serde_json::to_string_pretty(&value).unwrap()
        );
    }

    #[test]
    fn object_agrees_with_serde_json(value in json_value()) {
        let text = serde_json::to_vec(&value).unwrap();
        match serde_json::from_slice::<serde_json::Value>(&text).unwrap().as_object() {
            Some(theirs) => {
                let ours = Object::parse(&text).unwrap();
                prop_assert_eq!(ours.members.len(), theirs.len());
                for member in &ours.members {
                    let value: serde_json::Value = serde_json::from_str(member.value.text()).unwrap();
                    prop_assert_eq!(&theirs[&*member.name], &value);
                }
            }
            None => prop_assert!(Object::parse(&text).is_err()),
        }
    }
}
