//! The JSON reader and writer: our reader and serde_json accept the same texts and find the same
//! values; the end of an object does not depend on how its bytes arrive; a string that is escaped
//! unescapes to itself; a text that is not JSON loses no string.

use keyrack_json::{
    EndScanner, JsonError, JsonErrorKind, JsonWriter, LooseToken, Object, RawValue, ValueKind, WipedBuffer,
    escape_into, escape_len, loose_tokens, unescape_into,
};
use serde_json::Value;

const LIMIT: usize = 1 << 20;

/// Takes a text, JSON or not.
pub fn json(data: &[u8]) {
    round_trip(data);
    unescape_any(data);
    let end = scan(data);
    let loose = loose(data);
    let theirs = std::str::from_utf8(data)
        .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let value = match RawValue::parse(data) {
        Ok(value) => value,
        Err(JsonError { kind: JsonErrorKind::TooDeep, .. }) => return,
        Err(error) => {
            assert!(error.offset <= data.len(), "the offset is in the text");
            assert!(!theirs, "both readers accept the same: {error}");
            return;
        }
    };
    assert!(theirs, "both readers accept the same");
    if value.kind() == ValueKind::Object {
        assert_eq!(end, Some(value.span().end), "the scanner finds the end of an object");
    }
    let mut strict = Vec::new();
    let mut writer = JsonWriter::new();
    let is_text = walk(value, &mut strict, &mut writer);
    if is_text {
        assert_eq!(loose, strict, "the loose reader finds what the strict one does");
    }
    // serde_json has no value for a lone surrogate or for a number that is too large.
    if let Ok(theirs) = serde_json::from_slice::<Value>(data) {
        assert!(is_text, "both readers find the same strings");
        let again: Value = serde_json::from_slice(&writer.into_bytes()).expect("what is written is JSON");
        assert_eq!(again, theirs, "what is written is what was read");
    }
    members(value);
}

/// Finds the end of an object, and checks that it is the same byte by byte.
fn scan(data: &[u8]) -> Option<usize> {
    let whole = EndScanner::new(LIMIT).advance(data);
    let mut scanner = EndScanner::new(LIMIT);
    let mut last = scanner.advance(&[]);
    for end in 1..=data.len() {
        last = scanner.advance(&data[..end]);
    }
    assert_eq!(last, whole, "byte by byte");
    let end = whole.ok().flatten()?;
    assert!(data[end..].iter().all(|byte| keyrack_json::is_space(*byte)), "only white space follows");
    Some(end)
}

fn loose(data: &[u8]) -> Vec<Vec<u8>> {
    let strings = loose_tokens(data).filter_map(|token| match token {
        LooseToken::Name(string) | LooseToken::String(string) => Some(string.to_wiped().to_vec()),
        _ => None,
    });
    strings.collect()
}

/// Collects every string of a value, and writes the value. Returns `false` if a string is not text.
fn walk(value: RawValue<'_>, strings: &mut Vec<Vec<u8>>, writer: &mut JsonWriter) -> bool {
    let mut is_text = true;
    match value.kind() {
        ValueKind::Object => writer.object(|writer| {
            let outcome = value.members(|name, value| {
                match name.string() {
                    Some(Ok(name)) => {
                        strings.push(name.to_wiped().to_vec());
                        writer.name(&name.to_text());
                    }
                    _ => is_text = false,
                }
                is_text &= walk(value, strings, writer);
                Ok::<_, JsonError>(())
            });
            assert_eq!(outcome, Some(Ok(())), "a value was checked when it was parsed");
        }),
        ValueKind::Array => writer.array(|writer| {
            let outcome = value.elements(|value| {
                writer.element();
                is_text &= walk(value, strings, writer);
                Ok::<_, JsonError>(())
            });
            assert_eq!(outcome, Some(Ok(())), "a value was checked when it was parsed");
        }),
        ValueKind::String => match value.string() {
            Some(Ok(text)) => {
                let unescaped = text.to_wiped();
                assert_eq!(unescaped.len(), text.len(), "the length is known");
                writer.secret(&unescaped).expect("unescaped text is UTF-8");
                strings.push(unescaped.to_vec());
            }
            _ => is_text = false,
        },
        ValueKind::Number | ValueKind::Bool | ValueKind::Null => writer.raw(value.text().as_bytes()),
    }
    is_text
}

/// The members of an object lie in it, in order.
fn members(value: RawValue<'_>) {
    let Ok(object) = Object::new(value) else { return };
    let mut at = object.inner_span().start;
    for member in &object.members {
        let span = member.span();
        assert!(at <= span.start && span.end <= object.inner_span().end, "members do not overlap");
        assert!(object.get(&member.name).is_some());
        at = span.end;
    }
}

fn round_trip(data: &[u8]) {
    let mut escaped = WipedBuffer::new(6 * data.len());
    let outcome = escape_into(&mut escaped, data);
    assert_eq!(outcome.is_ok(), std::str::from_utf8(data).is_ok(), "text is escaped, and nothing else");
    if outcome.is_ok() {
        assert_eq!(escape_len(data), Ok(escaped.as_slice().len()), "the length is known");
        let mut back = vec![0; data.len()];
        assert_eq!(unescape_into(escaped.as_slice(), &mut back), Ok(data.len()));
        assert_eq!(back, data, "what is escaped unescapes to itself");
    }
}

fn unescape_any(data: &[u8]) {
    let mut out = vec![0; data.len()];
    if unescape_into(data, &mut out).is_err() {
        assert!(out.iter().all(|byte| *byte == 0), "a failed call leaves nothing");
    }
}
