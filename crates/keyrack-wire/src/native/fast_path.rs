//! Fast path for the headers of a get in the exact form that this crate's encoders write: one pass,
//! no allocation but the lists. Any other form, however valid, goes through serde. The fast path is
//! never more lenient than serde, and reads the same values.
//!
//! Benchmark row "GET, native, persistent, Rust client".

use std::borrow::Cow;

use super::frame::Span;
use super::get::{Get, GetKey, GetOk};
use crate::names::{Grade, Source};
use keyrack_json::plain_ascii;

/// Most slugs of a request on the fast path.
const MAX_SLUGS: usize = 8;

/// Reads `{"id":N,"op":"get","slugs":["…"]}`.
pub(super) fn get(header: &[u8]) -> Option<(u64, Get<'_>)> {
    let mut cursor = Cursor(header);
    cursor.skip(b"{\"id\":")?;
    let id = cursor.number()?;
    cursor.skip(b",\"op\":\"get\",\"slugs\":[")?;
    let mut slugs = Vec::with_capacity(1);
    loop {
        slugs.push(cursor.text(b"\"")?);
        if cursor.skip(b",").is_none() {
            break;
        }
        if slugs.len() == MAX_SLUGS {
            return None;
        }
    }
    cursor.skip(b"]}")?;
    cursor.end()?;
    Some((id, Get { slugs }))
}

/// Reads `{"id":N,"ok":{"keys":[{…}],"rest":[]}}` with one key.
pub(super) fn get_ok(header: &[u8]) -> Option<(u64, GetOk<'_>)> {
    let mut cursor = Cursor(header);
    cursor.skip(b"{\"id\":")?;
    let id = cursor.number()?;
    let key = GetKey {
        slug: cursor.text(b",\"ok\":{\"keys\":[{\"slug\":\"")?,
        grade: Grade {
            protection: cursor.text(b",\"grade\":{\"protection\":\"")?,
            duration: cursor.text(b",\"duration\":\"")?,
        },
        source: Source {
            vault: cursor.text(b"},\"source\":{\"vault\":\"")?,
            mech: cursor.text(b",\"mech\":\"")?,
        },
        env: cursor.text(b"},\"env\":\"")?,
        org: cursor.text(b",\"org\":\"")?,
        expires_at: cursor.text(b",\"expires_at\":\"")?,
        ttl_ms: cursor.number_after(b",\"ttl_ms\":")?,
        secret: Span {
            offset: cursor.number_after(b",\"secret\":{\"offset\":")?,
            len: cursor.number_after(b",\"len\":")?,
        },
    };
    cursor.skip(b"}}],\"rest\":[]}}")?;
    cursor.end()?;
    Some((id, GetOk { keys: vec![key], rest: Vec::new() }))
}

/// The unread rest of a header.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// Reads a decimal without sign or leading zeros, of too few digits to overflow.
    fn number(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at(digits);
        if !(1..=19).contains(&digits) || (digits > 1 && number[0] == b'0') {
            return None;
        }
        self.0 = rest;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    }

    fn number_after(&mut self, expected: &[u8]) -> Option<u64> {
        self.skip(expected)?;
        self.number()
    }

    /// Reads the ASCII between `opening`, which ends in a quote, and the next quote, if nothing in
    /// it is escaped.
    fn text(&mut self, opening: &[u8]) -> Option<Cow<'a, str>> {
        self.skip(opening)?;
        let (text, rest) = self.0.split_at(plain_ascii(self.0)?);
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok().map(Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_serde<'a, T: serde::Deserialize<'a>>(header: &'a [u8]) -> Option<T> {
        serde_json::from_slice(header).ok()
    }

    #[derive(serde::Deserialize)]
    struct Reply<'a> {
        id: u64,
        #[serde(borrow)]
        ok: GetOk<'a>,
    }

    #[derive(serde::Deserialize)]
    struct Head {
        id: u64,
        op: String,
    }

    const REQUEST: &str = r#"{"id":42,"op":"get","slugs":["acme.test.API_KEY","a.all.B"]}"#;
    const REPLY: &str = concat!(
        r#"{"id":7,"ok":{"keys":[{"slug":"acme.test.API_KEY","grade":{"protection":"encrypted","duration":"permanent"},"#,
        r#""source":{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"},"env":"test","org":"acme","#,
        r#""expires_at":"2026-01-01T09:00:00.123Z","ttl_ms":600000,"secret":{"offset":0,"len":6}}],"rest":[]}}"#
    );

    #[track_caller]
    fn agree(header: &[u8]) {
        if let Some((id, get)) = get(header) {
            let head: Head = by_serde(header).expect("serde reads it");
            assert_eq!((head.id, head.op.as_str(), Some(&get)), (id, "get", by_serde(header).as_ref()));
        }
        if let Some((id, ok)) = get_ok(header) {
            let reply: Reply<'_> = by_serde(header).expect("serde reads it");
            assert_eq!((reply.id, reply.ok), (id, ok));
        }
    }

    #[test]
    fn fast_path_reads_the_forms_of_the_encoders() {
        assert_eq!(get(REQUEST.as_bytes()).expect("our own form").1.slugs.len(), 2);
        assert_eq!(get_ok(REPLY.as_bytes()).expect("our own form").1.keys[0].secret.len, 6);
        agree(REQUEST.as_bytes());
        agree(REPLY.as_bytes());
    }

    #[test]
    fn fast_path_leaves_other_forms_to_serde() {
        for other in [
            "",
            "{}",
            r#"{"id":042,"op":"get","slugs":["a"]}"#,
            r#"{"id":-1,"op":"get","slugs":["a"]}"#,
            r#"{"id":18446744073709551615,"op":"get","slugs":["a"]}"#,
            r#"{"id":1,"op":"get","slugs":[]}"#,
            r#"{"id":1,"op":"get","slugs":["a",]}"#,
            r#"{"id":1,"op":"get","slugs":["a\"b"]}"#,
            r#"{"id":1,"op":"get","slugs":["a\\b"]}"#,
            r#"{"id":1,"op":"get","slugs":["a\u0062"]}"#,
            &REPLY.replace("API_KEY", "API\\u005fKEY"),
            r#"{"id":1,"op":"get","slugs":["é"]}"#,
            r#"{"id":1,"op":"get","slugs":["a"]} "#,
            r#"{"op":"get","id":1,"slugs":["a"]}"#,
            r#"{"id":1,"op":"get","slugs":["a"],"slugs":["b"]}"#,
        ] {
            assert!(get(other.as_bytes()).is_none(), "{other}");
            assert!(get_ok(other.as_bytes()).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn fast_path_agrees_with_serde(
            reply: bool,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 0..4),
        ) {
            let mut header = if reply { REPLY } else { REQUEST }.as_bytes().to_vec();
            for (at, byte, kind) in edits {
                let at = at.index(header.len());
                match kind {
                    0 => header[at] = byte,
                    1 => header.insert(at, byte),
                    _ => drop(header.remove(at)),
                }
                if header.is_empty() {
                    break;
                }
            }
            agree(&header);
        }
    }
}
