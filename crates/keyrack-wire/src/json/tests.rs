//! The reader against serde_json as the oracle, and the strings against tables.

use proptest::prelude::*;

use super::string::first_special;
use super::*;
use crate::writer::WipedBuffer;

fn accepts(text: &str) -> bool {
    Cursor::new(text).only_value().is_ok()
}

/// Whether serde_json takes the text as JSON by its grammar, whatever its strings and numbers stand for.
fn oracle_accepts(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[test]
fn values_are_read_as_the_oracle_reads_them() {
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
fn depth_is_bounded_at_its_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(accepts(&nested(MAX_DEPTH)));
    let fault = Cursor::new(&nested(MAX_DEPTH + 1)).only_value().map(|_| ()).unwrap_err();
    assert_eq!(fault, JsonError { offset: MAX_DEPTH, kind: JsonErrorKind::TooDeep });
    // A bomb without an end costs no more than the limit.
    let fault = Cursor::new(&"{\"a\":".repeat(100_000)).only_value().map(|_| ()).unwrap_err();
    assert_eq!(fault.kind, JsonErrorKind::TooDeep);
    // What is closed is forgotten.
    assert!(accepts(&format!("[{}1]", "[[]],".repeat(1000))));
    let mixed = format!("{}{}", "[{\"a\":".repeat(32), "1".to_owned() + &"}]".repeat(32));
    assert!(accepts(&mixed));
    assert!(!accepts(&format!("[{mixed}]")));
}

#[test]
fn strings_unescape_by_the_table() {
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
        assert!(out[len..].iter().all(|b| *b == 0xAA), "{raw}: nothing behind it is touched");
        let checked = RawString::check(raw).unwrap();
        assert_eq!(checked.len(), len, "{raw}");
        assert_eq!(checked.is_empty(), len == 0, "{raw}");
        assert_eq!(checked.raw(), raw.as_bytes());
        assert_eq!(checked.to_text(), expected, "{raw}");
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
fn faulty_strings_are_refused_and_leave_nothing_behind() {
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
    for (raw, fault) in bad {
        let mut out = [0_u8; 64];
        assert_eq!(unescape_into(raw, &mut out), Err(UnescapeError::Fault(fault)), "{raw:?}");
        assert_eq!(out, [0; 64], "{raw:?}");
        if let Ok(raw) = std::str::from_utf8(raw) {
            assert_eq!(RawString::check(raw).map(|_| ()), Err(fault), "{raw:?}");
        }
    }
}

#[test]
fn every_character_up_to_u_0100_escapes_as_the_oracle_does() {
    for c in '\0'..='\u{100}' {
        let text = c.to_string();
        let expected = serde_json::to_string(&text).unwrap();
        let mut writer = WipedBuffer::new(100);
        escape_into(&mut writer, text.as_bytes()).unwrap();
        assert_eq!(writer.as_slice(), &expected.as_bytes()[1..expected.len() - 1], "{c:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_not_escaped() {
    for bytes in [&b"\xff"[..], b"abc\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        assert_eq!(escape_len(bytes), Err(NotUtf8));
        let mut writer = WipedBuffer::new(100);
        assert_eq!(escape_into(&mut writer, bytes), Err(EscapeError::NotUtf8));
        assert_eq!(writer.as_slice(), b"", "nothing is put");
    }
    assert_eq!(escape_into(&mut WipedBuffer::new(3), b"abcd"), Err(EscapeError::Full));
}

#[test]
fn a_raw_string_shows_no_content() {
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

/// Rebuilds a value through the reader, so that what it hands out is compared and not only whether it does.
fn rebuild(raw: Raw<'_>) -> serde_json::Value {
    match raw.kind {
        Kind::Object => {
            let mut map = serde_json::Map::new();
            raw.members(|name, value| {
                map.insert(name.string().unwrap().unwrap().to_text().into_owned(), rebuild(value));
                Ok::<_, JsonError>(())
            })
            .unwrap()
            .unwrap();
            map.into()
        }
        Kind::Array => {
            let mut list = Vec::new();
            raw.elements(|value| {
                list.push(rebuild(value));
                Ok::<_, JsonError>(())
            })
            .unwrap()
            .unwrap();
            list.into()
        }
        Kind::String => raw.string().unwrap().unwrap().to_text().into_owned().into(),
        Kind::Bool => raw.boolean().unwrap().into(),
        Kind::Number | Kind::Null => serde_json::from_str(raw.text).unwrap(),
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_as_the_oracle_judges_it(text in json_like()) {
        prop_assert_eq!(accepts(&text), oracle_accepts(&text));
    }

    #[test]
    fn any_value_is_read_back(value in json_value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        // Read once more by the oracle, for it does not read every float back as it wrote it.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(rebuild(Cursor::new(&text).only_value().unwrap()), value);
    }

    #[test]
    fn any_text_escapes_as_the_oracle_does_and_back(text in any::<String>()) {
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
    fn any_string_unescapes_as_the_oracle_does(pieces in prop::collection::vec(prop::sample::select(vec![
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
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut out = [0; 64];
        let unescaped = unescape_into(&bytes, &mut out);
        prop_assert_eq!(escape_len(&bytes).is_ok(), std::str::from_utf8(&bytes).is_ok());
        if let Ok(len) = unescaped { prop_assert!(len <= bytes.len()); }
    }
}

#[test]
fn the_first_special_byte_is_found_wherever_it_stands() {
    for len in 0..=40 {
        for at in 0..len {
            for byte in 0..=255_u8 {
                for after in [b' ', 0, b'"', b'~', 0xff] {
                    let mut bytes = vec![b'!'; len];
                    bytes[at] = byte;
                    bytes[at + 1..].fill(after);
                    let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
                    assert_eq!(first_special(&bytes, 0), bytes.iter().position(special));
                    assert_eq!(plain_ascii(&bytes), bytes.iter().position(|b| special(b) || *b >= 0x80));
                }
            }
        }
    }
}
