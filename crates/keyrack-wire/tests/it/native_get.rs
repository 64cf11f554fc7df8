//! Replies to a native get: limits, the rest that does not fit, and agreement with serde.

use std::borrow::Cow;

use keyrack_wire::native::*;
use keyrack_wire::{EncodeError, MAX_NAME, MAX_SECRET, SecretBytes, WipedBuffer};
use proptest::prelude::*;

use crate::support::{Tight, encoded, frame, grade, source};

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

/// Requests the rest until there is none, as a client does.
fn get_until_complete(slugs: &[String], secret: impl Fn(&str) -> Vec<u8>) -> (Vec<(String, Vec<u8>)>, usize) {
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
fn get_reply_names_the_rest_that_does_not_fit() {
    for (count, secret_len) in
        [(1, MAX_SECRET), (3, MAX_SECRET), (2, MAX_SECRET / 2), (150, 30_000), (190, 10), (500, 0)]
    {
        let slugs: Vec<String> = (0..count).map(|n| format!("acme.test.K{n}")).collect();
        let secret = |slug: &str| slug.bytes().cycle().take(secret_len).collect::<Vec<u8>>();
        let (got, frames) = get_until_complete(&slugs, secret);
        let expected: Vec<(String, Vec<u8>)> =
            slugs.iter().map(|slug| (slug.clone(), secret(slug))).collect();
        assert!(got == expected, "{count} keys of {secret_len} bytes in {frames} frames");
        let at_least = (count * secret_len).div_ceil(MAX_LENGTH);
        assert!(frames >= at_least, "{frames} frames for {count} keys of {secret_len} bytes");
    }
}

#[test]
fn one_key_of_the_greatest_size_fits_one_reply() {
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
fn get_reply_that_cannot_fit_is_an_error() {
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
fn long_requested_slug_does_not_omit_its_key() {
    // The requested env is long and the stored one short: the slug alone would not fit in `rest`.
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
fn erased_secret_is_never_encoded() {
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
fn full_writer_is_an_error_at_every_byte() {
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

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z@]{1,8}\\.(test|all)\\.[A-Z_]{1,12}", any::<String>()]
}

proptest! {
    /// The hand-written header is the one that serde writes.
    #[test]
    fn get_reply_agrees_with_serde(
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

    /// A get reply of keys of any size is within its limits, in order, and names every key once.
    #[test]
    fn get_reply_names_every_key_once(
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
}
