//! The headers of a get as our own composers write them: read in one walk, byte for byte. A header in any other form, however right, is
//! none of these and goes through serde. Never more lenient than serde: what is read here, serde reads as the same.

use std::borrow::Cow;

use super::frame::Span;
use super::reply::{GetKey, GetOk};
use super::request::Get;
use crate::names::{Grade, Source};
use keyrack_json::plain_ascii;

/// The most slugs of a request that is read here.
const MOST: usize = 8;

/// Reads `{"id":N,"op":"get","slugs":["…"]}`.
pub(super) fn get(header: &[u8]) -> Option<(u64, Get<'_>)> {
    let mut left = Cursor(header);
    left.skip(b"{\"id\":")?;
    let id = left.number()?;
    left.skip(b",\"op\":\"get\",\"slugs\":[")?;
    let mut slugs = Vec::with_capacity(1);
    loop {
        slugs.push(left.text(b"\"")?);
        if left.skip(b",").is_none() {
            break;
        }
        if slugs.len() == MOST {
            return None;
        }
    }
    left.skip(b"]}")?;
    left.end()?;
    Some((id, Get { slugs }))
}

/// Reads `{"id":N,"ok":{"keys":[{…}],"rest":[]}}` with one key.
pub(super) fn get_ok(header: &[u8]) -> Option<(u64, GetOk<'_>)> {
    let mut left = Cursor(header);
    left.skip(b"{\"id\":")?;
    let id = left.number()?;
    let key = GetKey {
        slug: left.text(b",\"ok\":{\"keys\":[{\"slug\":\"")?,
        grade: Grade {
            protection: left.text(b",\"grade\":{\"protection\":\"")?,
            duration: left.text(b",\"duration\":\"")?,
        },
        source: Source {
            vault: left.text(b"},\"source\":{\"vault\":\"")?,
            mech: left.text(b",\"mech\":\"")?,
        },
        env: left.text(b"},\"env\":\"")?,
        org: left.text(b",\"org\":\"")?,
        expires_at: left.text(b",\"expires_at\":\"")?,
        ttl_ms: left.number_behind(b",\"ttl_ms\":")?,
        secret: Span {
            offset: left.number_behind(b",\"secret\":{\"offset\":")?,
            len: left.number_behind(b",\"len\":")?,
        },
    };
    left.skip(b"}}],\"rest\":[]}}")?;
    left.end()?;
    Some((id, GetOk { keys: vec![key], rest: Vec::new() }))
}

/// What of a header is not read yet.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// A decimal without sign or leading zeros, of fewer digits than could overflow.
    fn number(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, left) = self.0.split_at(digits);
        if !(1..=19).contains(&digits) || (digits > 1 && number[0] == b'0') {
            return None;
        }
        self.0 = left;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    }

    fn number_behind(&mut self, expected: &[u8]) -> Option<u64> {
        self.skip(expected)?;
        self.number()
    }

    /// The ASCII between `opening`, which ends in a quote, and the next quote, if nothing in it is escaped.
    fn text(&mut self, opening: &[u8]) -> Option<Cow<'a, str>> {
        self.skip(opening)?;
        let (text, left) = self.0.split_at(plain_ascii(self.0)?);
        self.0 = left.strip_prefix(b"\"")?;
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
    fn our_own_forms_are_read() {
        assert_eq!(get(REQUEST.as_bytes()).expect("our own form").1.slugs.len(), 2);
        assert_eq!(get_ok(REPLY.as_bytes()).expect("our own form").1.keys[0].secret.len, 6);
        agree(REQUEST.as_bytes());
        agree(REPLY.as_bytes());
    }

    #[test]
    fn other_forms_are_left_to_serde() {
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
        fn whatever_is_read_serde_reads_as_the_same(
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
