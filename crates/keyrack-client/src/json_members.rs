//! The members of a JSON object, found without taking its values apart: a value may hold a secret, so it stays a slice of the caller's
//! bytes and no string of it is ever unescaped or copied. Names are.
//!
//! Strict (RFC 8259), bounded in depth, linear in time.

use std::borrow::Cow;

/// Deeper nesting than this is taken for no JSON of ours.
const DEPTH: usize = 64;

/// One member of an object.
#[derive(PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, unescaped.
    pub name: String,
    /// Its value as it stands.
    pub value: &'a [u8],
}

/// The bytes are no JSON object. Says nothing of what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

/// The members of the object that `bytes` are, in order. A name that stands twice comes twice.
pub fn members(bytes: &[u8]) -> Result<Vec<Member<'_>>, NotAnObject> {
    let mut scanner = Scanner { bytes, at: 0 };
    let mut found = Vec::new();
    scanner.space();
    scanner.object(DEPTH, |name, value| found.push((name, value)))?;
    scanner.space();
    if scanner.at != bytes.len() || std::str::from_utf8(bytes).is_err() {
        return Err(NotAnObject);
    }
    let read = |(name, value): (&'_ [u8], _)| Ok(Member { name: unescape(name)?.into_owned(), value });
    found.into_iter().map(read).collect()
}

fn unescape(inner: &[u8]) -> Result<Cow<'_, str>, NotAnObject> {
    if !inner.contains(&b'\\') {
        return std::str::from_utf8(inner).map(Cow::Borrowed).map_err(|_| NotAnObject);
    }
    let mut quoted = Vec::with_capacity(inner.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(inner);
    quoted.push(b'"');
    serde_json::from_slice::<String>(&quoted).map(Cow::Owned).map_err(|_| NotAnObject)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Result<(), NotAnObject> {
        if self.peek() != Some(byte) {
            return Err(NotAnObject);
        }
        self.at += 1;
        Ok(())
    }

    fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Result<(), NotAnObject> {
        let depth = depth.checked_sub(1).ok_or(NotAnObject)?;
        self.eat(b'{')?;
        self.space();
        if self.eat(b'}').is_ok() {
            return Ok(());
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.eat(b':')?;
            let value = self.value(depth)?;
            member(name, value);
            if self.eat(b',').is_err() {
                return self.eat(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), NotAnObject> {
        let depth = depth.checked_sub(1).ok_or(NotAnObject)?;
        self.eat(b'[')?;
        self.space();
        if self.eat(b']').is_ok() {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if self.eat(b',').is_err() {
                return self.eat(b']');
            }
        }
    }

    /// A value with the space around it; returns it without.
    fn value(&mut self, depth: usize) -> Result<&'a [u8], NotAnObject> {
        self.space();
        let start = self.at;
        match self.peek().ok_or(NotAnObject)? {
            b'{' => self.object(depth, |_, _| {})?,
            b'[' => self.array(depth)?,
            b'"' => {
                self.string()?;
            }
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.word()?,
        }
        let value = &self.bytes[start..self.at];
        self.space();
        Ok(value)
    }

    /// What stands between the quotes, still escaped.
    fn string(&mut self) -> Result<&'a [u8], NotAnObject> {
        self.eat(b'"')?;
        let start = self.at;
        loop {
            match self.peek().ok_or(NotAnObject)? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    match self.peek().ok_or(NotAnObject)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                        b'u' => {
                            let digits = self.bytes.get(self.at + 1..self.at + 5).ok_or(NotAnObject)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return Err(NotAnObject);
                            }
                            self.at += 5;
                        }
                        _ => return Err(NotAnObject),
                    }
                }
                0..=0x1f => return Err(NotAnObject),
                _ => self.at += 1,
            }
        }
        let inner = &self.bytes[start..self.at];
        self.at += 1;
        Ok(inner)
    }

    fn digits(&mut self) -> Result<(), NotAnObject> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(NotAnObject) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), NotAnObject> {
        let _ = self.eat(b'-');
        if self.eat(b'0').is_err() {
            self.digits()?;
        }
        if self.eat(b'.').is_ok() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), NotAnObject> {
        for word in [&b"true"[..], b"false", b"null"] {
            if self.bytes[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err(NotAnObject)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Option<Vec<String>> {
        members(text.as_bytes()).ok().map(|members| members.into_iter().map(|member| member.name).collect())
    }

    #[test]
    fn top_level_names_only() {
        for (text, expected) in [
            ("{}", vec![]),
            (" { } \n", vec![]),
            (r#"{"a":1,"b":{"c":2},"d":["e",{"f":3}]}"#, vec!["a", "b", "d"]),
            (r#"{"a":"\"b\":","c":"}"}"#, vec!["a", "c"]),
            (r#"{"m\u0065ch":"x","mech":"y"}"#, vec!["mech", "mech"]),
            (r#"{"":-0.5e+3,"t":true,"f":false,"n":null}"#, vec!["", "t", "f", "n"]),
        ] {
            assert_eq!(names(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "x",
            "[]",
            "\"a\"",
            "1",
            "null",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":1}x",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":nul}",
            "{\"a\":'b'}",
            "{a:1}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":1}{\"b\":2}",
        ] {
            assert_eq!(names(text), None, "{text:?}");
        }
        let deep = format!("{}{}{}", "{\"a\":".repeat(100), "1", "}".repeat(100));
        assert_eq!(names(&deep), None);
        assert!(members(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn values_stay_as_they_stand() {
        let found = members(br#"{"a": "x\ny" , "b":[1, 2]}"#).unwrap();
        assert_eq!(found[0].value, br#""x\ny""#);
        assert_eq!(found[1].value, b"[1, 2]");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_whole_parser(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            match value.as_object() {
                Some(object) => {
                    let found = members(&text).unwrap();
                    prop_assert_eq!(found.len(), object.len());
                    for member in found {
                        let inner: serde_json::Value = serde_json::from_slice(member.value).unwrap();
                        prop_assert_eq!(&object[&member.name], &inner);
                    }
                }
                None => prop_assert!(members(&text).is_err()),
            }
        }

        #[test]
        fn accepts_nothing_a_whole_parser_refuses(bytes in prop::collection::vec(prop::sample::select(br#"{}[]",:\u0a1e-.tfn "#.to_vec()), 0..40)) {
            if members(&bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).is_ok());
            }
        }
    }
}
