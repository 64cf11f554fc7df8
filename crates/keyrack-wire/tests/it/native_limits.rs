//! Limits of native requests, and of the replies to unlock, status and relock.

use std::borrow::Cow;

use keyrack_wire::native::*;
use keyrack_wire::{EncodeError, MAX_NAME, MAX_SECRET, WipedBuffer};

use crate::support::{encoded, frame, grade, source};

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
fn unlock_batch_is_split_into_requests_that_fit() {
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
fn get_batch_is_split_into_requests_that_fit() {
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
fn encode_rejects_ranges_that_do_not_match_the_secrets() {
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
fn status_page_holds_what_fits_and_sets_more() {
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
fn unlock_reply_keeps_every_result_with_long_texts() {
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

/// The most keys of one request have a reply with a code for each.
#[test]
fn largest_unlock_request_has_a_reply() {
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
fn relock_reply_counts_slugs_that_do_not_fit() {
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
