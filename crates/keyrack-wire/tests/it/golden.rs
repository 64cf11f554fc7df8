//! Recorded messages, one file for each kind, written by hand and not by this crate. Each is
//! decoded, compared and encoded again to the same bytes. A file without a case, or a case without
//! a file, is a failure.

use std::collections::BTreeMap;
use std::path::Path;

use keyrack_wire::legacy::{self, ExtraText};
use keyrack_wire::native::*;
use keyrack_wire::{Relock, SecretBytes, WipedBuffer};

use crate::support::{encoded, frame, grade, source};

/// Decodes a reply, checks it, and encodes it again.
macro_rules! reply {
    ($bytes:expr, $body:ty, $check:expr) => {{
        let frame = frame($bytes);
        let reply: Reply<'_, $body> = decode_reply(&frame).unwrap();
        assert_eq!(reply_id(&frame), Ok(reply.id));
        let body = reply.outcome.unwrap();
        let check: fn(&$body) = $check;
        check(&body);
        encoded(|writer| encode_reply(writer, reply.id, &body))
    }};
}

type Check = fn(&[u8]) -> Vec<u8>;

const CASES: &[(&str, Check)] = &[
    ("native.request.hello.bin", |bytes| {
        request(bytes, &[], |op| {
            let Op::Hello(hello) = op else { panic!("{op:?}") };
            assert_eq!(
                (hello.proto, hello.min_proto, &*hello.version, &*hello.build),
                (1, 1, "0.1.0", "abc1234")
            );
        })
    }),
    ("native.request.get.bin", |bytes| {
        request(bytes, &[], |op| {
            let Op::Get(get) = op else { panic!("{op:?}") };
            assert_eq!(get.slugs, ["acme.test.API_KEY", "acme.test.naïve"]);
            assert!(
                matches!(get.slugs[0], std::borrow::Cow::Borrowed(_)),
                "names are borrowed from the header"
            );
        })
    }),
    ("native.request.unlock.bin", native_unlock_request),
    ("native.request.unlock-life.bin", |bytes| {
        request(bytes, &[b"s3\"\n\0"], |op| {
            let Op::Unlock(unlock) = op else { panic!("{op:?}") };
            let [key] = &unlock.keys[..] else { panic!("{unlock:?}") };
            assert_eq!((key.ttl_ms, key.life_ms), (1000, Some(32_400_000)));
            assert_eq!(key.life_by.as_deref(), Some("default"));
        })
    }),
    ("native.request.status.bin", |bytes| {
        request(bytes, &[], |op| assert_eq!(*op, Op::Status(Status { after: None, limit: None })))
    }),
    ("native.request.status-page.bin", |bytes| {
        request(bytes, &[], |op| {
            assert_eq!(*op, Op::Status(Status { after: Some(u64::MAX), limit: Some(50) }));
        })
    }),
    ("native.request.relock-slugs.bin", |bytes| {
        request(bytes, &[], |op| assert_eq!(*op, Op::Relock(Relock::Slugs(vec!["acme.test.API_KEY".into()]))))
    }),
    ("native.request.relock-none.bin", |bytes| {
        request(bytes, &[], |op| assert_eq!(*op, Op::Relock(Relock::Slugs(vec![]))))
    }),
    ("native.request.relock-env.bin", |bytes| {
        request(bytes, &[], |op| assert_eq!(*op, Op::Relock(Relock::Env("test".into()))))
    }),
    ("native.request.relock-all.bin", |bytes| {
        request(bytes, &[], |op| assert_eq!(*op, Op::Relock(Relock::All)))
    }),
    ("native.request.ping.bin", |bytes| request(bytes, &[], |op| assert_eq!(*op, Op::Ping))),
    ("native.request.shutdown.bin", |bytes| request(bytes, &[], |op| assert_eq!(*op, Op::Shutdown))),
    ("native.reply.hello.bin", |bytes| {
        reply!(bytes, HelloOk<'_>, |hello: &HelloOk<'_>| {
            assert_eq!((hello.proto, hello.min_proto, hello.pid), (1, 1, 4242));
            assert_eq!((&*hello.version, &*hello.build), ("0.1.0", "abc1234"));
            assert_eq!(hello.boot_id, "0b9a6f2e-0d1c-4c5e-9d39-0d8f6f1f1a11");
            assert_eq!((&*hello.boundary, &*hello.memory), ("session", "locked"));
            check_hardening(&hello.hardening);
        })
    }),
    ("native.reply.get.bin", native_get_reply),
    ("native.reply.get-none.bin", |bytes| {
        let reply: Reply<'_, GetOk<'_>> = decode_reply(&frame(bytes)).unwrap();
        assert_eq!(reply.outcome, Ok(GetOk { keys: vec![], rest: vec![] }));
        encoded(|writer| encode_get_reply::<&[u8]>(writer, reply.id, &[]))
    }),
    ("native.reply.unlock.bin", |bytes| {
        reply!(bytes, UnlockOk<'_>, |unlock: &UnlockOk<'_>| {
            let [kept, empty, full] = &unlock.results[..] else { panic!("{unlock:?}") };
            let granted = UnlockGranted { ttl_ms: 32_400_000, expires_at: "2026-01-01T09:00:00.123Z".into() };
            assert_eq!((&*kept.slug, &kept.outcome), ("acme.test.API_KEY", &Ok(granted)));
            let error = empty.outcome.as_ref().unwrap_err();
            assert_eq!((&*error.code, &*error.message), ("empty_secret", "the secret is empty"));
            assert_eq!(error.slug.as_deref(), Some("acme.prod.EMPTY"));
            assert_eq!(error.fix.as_deref(), Some("keyrack set --key EMPTY --env prod"));
            let error = full.outcome.as_ref().unwrap_err();
            assert_eq!((&*error.code, &error.slug, &error.fix), ("memory_full", &None, &None));
        })
    }),
    ("native.reply.status.bin", |bytes| {
        reply!(bytes, StatusOk<'_>, |status: &StatusOk<'_>| {
            let [key] = &status.keys[..] else { panic!("{status:?}") };
            assert_eq!((&*key.slug, &*key.env, &*key.org), ("acme.test.API_KEY", "test", "acme"));
            assert_eq!(key.grade, grade("encrypted", "permanent"));
            assert_eq!(key.source, source("os.secure", "PERMANENT_VIA_REPLICA"));
            assert_eq!((&*key.expires_at, key.ttl_ms), ("2026-01-01T09:00:00.123Z", 1000));
            assert_eq!((&*key.ends_by, key.n), ("boot", 7));
            assert_eq!((key.life_ms, key.life_by.as_deref()), (None, None));
            assert!(status.more);
            assert_eq!(
                (&*status.home_hash, &*status.memory, &*status.boundary),
                ("83db27ef", "secret", "user")
            );
            assert_eq!(status.counts, Counts { keys: 2, bytes: 99 });
            check_hardening(&status.hardening);
        })
    }),
    ("native.reply.status-life.bin", |bytes| {
        reply!(bytes, StatusOk<'_>, |status: &StatusOk<'_>| {
            let [key] = &status.keys[..] else { panic!("{status:?}") };
            assert_eq!((key.life_ms, key.life_by.as_deref()), (Some(32_400_000), Some("max_duration")));
        })
    }),
    ("native.reply.relock.bin", |bytes| {
        reply!(bytes, RelockOk<'_>, |relock: &RelockOk<'_>| {
            assert_eq!(
                (&relock.relocked[..], relock.unnamed),
                (&["acme.test.API_KEY".into(), "@all.sudo.ROOT".into()][..], 0)
            );
        })
    }),
    ("native.reply.relock-unnamed.bin", |bytes| {
        reply!(bytes, RelockOk<'_>, |relock: &RelockOk<'_>| assert_eq!(
            (relock.relocked.len(), relock.unnamed),
            (1, 12)
        ))
    }),
    ("native.reply.nothing.bin", |bytes| {
        reply!(bytes, NothingOk, |nothing: &NothingOk| assert_eq!(*nothing, NothingOk {}))
    }),
    ("native.reply.error.bin", |bytes| error(bytes, 10, "unknown_op", "unknown op: lease", None, None)),
    ("native.reply.error-full.bin", |bytes| {
        let fix = "keyrack unlock --env test --key K";
        error(bytes, 0, "locked", "the key is locked", Some("acme.test.K"), Some(fix))
    }),
    // This crate does not encode an UNLOCK request, so the file is encoded as the reply to a GET of
    // the same keys, which is recorded too.
    ("legacy.request.unlock.json", |bytes| {
        let Ok(legacy::Request::Unlock(grants)) = legacy::Request::parse(bytes) else { panic!() };
        check_grants(&grants);
        let request = String::from_utf8(legacy_get_reply(&grants)).unwrap();
        let keys = request.strip_prefix("{\"success\":true,\"data\":").unwrap().strip_suffix('}').unwrap();
        format!("{{\"command\":\"UNLOCK\",\"payload\":{keys}}}").into_bytes()
    }),
    ("legacy.request.get.json", |bytes| {
        let Ok(legacy::Request::Get(get)) = legacy::Request::parse(bytes) else { panic!() };
        assert_eq!(get.slugs, ["acme.test.API_KEY", "acme.test.na\"ïve"]);
        assert_eq!((&get.org, &get.env), (&None, &None));
        encoded(|writer| legacy::encode_get_request(writer, &get))
    }),
    ("legacy.request.get-filtered.json", |bytes| {
        let Ok(legacy::Request::Get(get)) = legacy::Request::parse(bytes) else { panic!() };
        assert_eq!(
            (get.slugs.len(), get.org.as_deref(), get.env.as_deref()),
            (0, Some("acme"), Some("test"))
        );
        encoded(|writer| legacy::encode_get_request(writer, &get))
    }),
    ("legacy.request.status.json", |bytes| {
        assert!(matches!(legacy::Request::parse(bytes), Ok(legacy::Request::Status)));
        encoded(legacy::encode_status_request)
    }),
    ("legacy.request.relock-slugs.json", |bytes| {
        legacy_relock(bytes, &Relock::Slugs(vec!["acme.test.API_KEY".into()]))
    }),
    ("legacy.request.relock-env.json", |bytes| legacy_relock(bytes, &Relock::Env("sudo".into()))),
    ("legacy.request.relock-all.json", |bytes| legacy_relock(bytes, &Relock::All)),
    ("legacy.reply.unlock.json", |_| {
        encoded(|writer| legacy::encode_unlock_reply(writer, ["acme.all.API_KEY", "acme.test.TRICKY"]))
    }),
    ("legacy.reply.get.json", |bytes| {
        let Ok(legacy::Reply::Ok(data)) = legacy::parse_get_reply(bytes) else { panic!() };
        assert_eq!(data.malformed, []);
        check_grants(&data.keys);
        legacy_get_reply(&data.keys)
    }),
    ("legacy.reply.get-none.json", |bytes| {
        let Ok(legacy::Reply::Ok(data)) = legacy::parse_get_reply(bytes) else { panic!() };
        assert_eq!((data.keys.len(), data.malformed.len()), (0, 0));
        legacy_get_reply(&data.keys)
    }),
    ("legacy.reply.status.json", |bytes| {
        let Ok(legacy::Reply::Ok(data)) = legacy::parse_status_reply(bytes) else { panic!() };
        assert_eq!((&*data.home_hash, data.malformed.len()), ("83db27ef", 0));
        let [first, second] = &data.keys[..] else { panic!("{data:?}") };
        assert_eq!((&*first.slug, &*first.env, &*first.org), ("acme.all.API_KEY", "all", "acme"));
        assert_eq!(first.expires_at.as_deref(), Some("2026-01-01T09:00:00.123Z"));
        assert_eq!((first.ttl_left_ms, second.ttl_left_ms), (Some(32_400_000), Some(0)));
        let items = data.keys.iter().map(|key| legacy::StatusItem {
            slug: &key.slug,
            env: &key.env,
            org: &key.org,
            expires_at: key.expires_at.as_deref().unwrap(),
            ttl_left_ms: key.ttl_left_ms.unwrap(),
        });
        encoded(|writer| legacy::encode_status_reply(writer, &data.home_hash, items))
    }),
    ("legacy.reply.relock.json", |bytes| legacy_relocked(bytes, &["@all.sudo.ROOT"])),
    ("legacy.reply.relock-none.json", |bytes| legacy_relocked(bytes, &[])),
    ("legacy.reply.error.json", |bytes| {
        let Ok(legacy::Reply::Refused(text)) = legacy::parse_get_reply(bytes) else { panic!() };
        assert!(
            text.starts_with("BadRequestError: session mismatch: ") && text.ends_with("\"callerPid\": 1\n}")
        );
        assert!(legacy::is_session_mismatch(&text));
        encoded(|writer| legacy::encode_error(writer, &text))
    }),
];

#[test]
fn golden_messages_round_trip() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    let mut names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), names, "files and cases");
    for (name, check) in CASES {
        let expected = &files[*name];
        let got = check(expected);
        assert!(
            got == *expected,
            "{name}\n     got: {}\nexpected: {}",
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(expected)
        );
    }
}

fn request(bytes: &[u8], secrets: &[&[u8]], check: fn(&Op<'_>)) -> Vec<u8> {
    let request = Request::decode(&frame(bytes)).unwrap();
    check(&request.op);
    encoded(|writer| request.encode_with(writer, secrets))
}

fn native_unlock_request(bytes: &[u8]) -> Vec<u8> {
    let frame = frame(bytes);
    let decoded = Request::decode(&frame).unwrap();
    let Op::Unlock(unlock) = &decoded.op else { panic!("{decoded:?}") };
    let secrets: Vec<&[u8]> = unlock.keys.iter().map(|key| frame.secret(key.secret).unwrap()).collect();
    assert_eq!(secrets, [&b"s3\"\n\0"[..], b"", b"\xff\xfe\0\x80"]);
    let [first, _, last] = &unlock.keys[..] else { panic!("{unlock:?}") };
    assert_eq!((&*first.slug, first.ttl_ms), ("acme.test.API_KEY", 32_400_000));
    assert_eq!(first.grade, grade("encrypted", "permanent"));
    assert_eq!(first.source, source("os.secure", "PERMANENT_VIA_REPLICA"));
    assert_eq!(first.credential_expires_at, None);
    assert_eq!(last.credential_expires_at.as_deref(), Some("2026-01-01T09:00:00Z"));

    let items: Vec<UnlockItem<'_, &[u8]>> = unlock
        .keys
        .iter()
        .zip(&secrets)
        .map(|(key, secret)| UnlockItem {
            slug: &key.slug,
            grade: key.grade.clone(),
            source: key.source.clone(),
            ttl_ms: key.ttl_ms,
            credential_expires_at: key.credential_expires_at.as_deref(),
            life_ms: key.life_ms,
            life_by: key.life_by.as_deref(),
            secret: *secret,
        })
        .collect();
    assert_eq!(encoded(|writer| encode_unlock(writer, decoded.id, &items)), bytes);
    encoded(|writer| decoded.encode_with(writer, &secrets))
}

fn native_get_reply(bytes: &[u8]) -> Vec<u8> {
    let frame = frame(bytes);
    let reply: Reply<'_, GetOk<'_>> = decode_reply(&frame).unwrap();
    let ok = reply.outcome.unwrap();
    let [first, second] = &ok.keys[..] else { panic!("{ok:?}") };
    assert_eq!(frame.secret(first.secret), Some(&b"s3cret"[..]));
    assert_eq!(frame.secret(second.secret), Some(&b"\0\xff\""[..]));
    assert_eq!((&*first.slug, &*first.env, &*first.org), ("acme.all.API_KEY", "all", "acme"));
    assert_eq!(second.grade, grade("reference", "ephemeral"));
    assert_eq!(second.source, source("aws.config", "EPHEMERAL_VIA_AWS_SSO"));
    assert_eq!(
        (&*second.slug, &*second.expires_at, second.ttl_ms),
        ("acme.test.naïve", "2026-01-01T09:00:00Z", 0)
    );
    let items: Vec<GetItem<'_, &[u8]>> = ok
        .keys
        .iter()
        .map(|key| GetItem {
            asked: "not needed when all fit",
            slug: &key.slug,
            protection: &key.grade.protection,
            duration: &key.grade.duration,
            vault: &key.source.vault,
            mech: &key.source.mech,
            env: &key.env,
            org: &key.org,
            expires_at: &key.expires_at,
            ttl_ms: key.ttl_ms,
            secret: frame.secret(key.secret).unwrap(),
        })
        .collect();
    encoded(|writer| encode_get_reply(writer, reply.id, &items))
}

fn check_hardening(list: &[Hardening<'_>]) {
    let [dumpable, landlock] = list else { panic!("{list:?}") };
    assert_eq!((&*dumpable.name, dumpable.on, &dumpable.detail), ("not_dumpable", true, &None));
    assert_eq!((landlock.on, landlock.detail.as_deref()), (false, Some("the kernel has none")));
}

fn error(bytes: &[u8], id: u64, code: &str, message: &str, slug: Option<&str>, fix: Option<&str>) -> Vec<u8> {
    let reply: Reply<'_, GetOk<'_>> = decode_reply(&frame(bytes)).unwrap();
    let body = reply.outcome.unwrap_err();
    assert_eq!((reply.id, &*body.code, &*body.message), (id, code, message));
    assert_eq!((body.slug.as_deref(), body.fix.as_deref()), (slug, fix));
    encoded(|writer| encode_error(writer, reply.id, &body))
}

fn legacy_relock(bytes: &[u8], expected: &Relock<'_>) -> Vec<u8> {
    let Ok(legacy::Request::Relock(relock)) = legacy::Request::parse(bytes) else { panic!() };
    assert_eq!(relock, *expected);
    encoded(|writer| legacy::encode_relock_request(writer, &relock))
}

fn legacy_relocked(bytes: &[u8], expected: &[&str]) -> Vec<u8> {
    let Ok(legacy::Reply::Ok(slugs)) = legacy::parse_relock_reply(bytes) else { panic!() };
    assert_eq!(slugs, expected);
    encoded(|writer| legacy::encode_relock_reply(writer, slugs.iter().map(AsRef::as_ref)))
}

/// The two grants of the recorded messages.
fn check_grants(grants: &[legacy::Grant<'_>]) {
    let [plain, tricky] = grants else { panic!("{grants:?}") };
    assert_eq!((&*plain.slug, &*plain.env, &*plain.org), ("acme.all.API_KEY", "all", "acme"));
    assert_eq!(plain.grade, grade("encrypted", "permanent"));
    assert_eq!(plain.source, source("os.secure", "PERMANENT_VIA_REPLICA"));
    assert_eq!(plain.expires_at.as_deref(), Some("2026-01-01T09:00:00.123Z"));
    assert!(plain.extras.is_empty() && !tricky.extras.is_empty());
    assert_eq!(secret(plain), b"s3");
    assert_eq!(secret(tricky), "é\u{1f511}\"\\/\n\t\u{8}\u{1}\u{7f}".as_bytes());
}

fn secret(grant: &legacy::Grant<'_>) -> Vec<u8> {
    let mut out = vec![0; grant.secret.len()];
    grant.secret.unescape_into(&mut out).unwrap();
    out
}

/// Returns the daemon's reply for these grants: secrets unescaped and escaped again, unknown fields
/// packed and unpacked.
fn legacy_get_reply(grants: &[legacy::Grant<'_>]) -> Vec<u8> {
    let items = grants.iter().map(|grant| {
        let mut packed = WipedBuffer::new(1000);
        grant.extras.pack(&mut packed).unwrap();
        assert_eq!(packed.as_slice().len(), grant.extras.packed_len());
        assert!(ExtraText::unpack(packed.as_slice()).is_some());
        legacy::GetItem {
            slug: &grant.slug,
            protection: &grant.grade.protection,
            duration: &grant.grade.duration,
            vault: &grant.source.vault,
            mech: &grant.source.mech,
            env: &grant.env,
            org: &grant.org,
            expires_at: grant.expires_at.as_deref().unwrap(),
            secret: Owned(secret(grant)),
            extras: packed.into_inner(),
        }
    });
    encoded(|writer| {
        assert_eq!(legacy::encode_get_reply(writer, items)?, [0; 0], "none is left out");
        Ok(())
    })
}

struct Owned(Vec<u8>);

impl SecretBytes for Owned {
    fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Some(read(&self.0))
    }
}
