//! The dispatcher with keys and clocks of the test's own, without a socket.

use std::cell::{Cell, RefCell};

use keyrack_core::{Clock, Ttl};
use keyrack_sys::memory::{Budget, MemoryMode, ModeRequest, Pool};
use keyrack_wire::native::{
    Decoded, Frame, GetOk, Reply as Answered, StatusOk, UnlockOk, decode, decode_reply,
};

use super::handler::RequestContext;
use super::response::AfterReply;
use super::*;
use crate::daemon_info::DaemonInfo;
use crate::key_service::KeyService;
use crate::reclaim::NoReclaim;
use crate::reply::Reply;

const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000;

/// A dispatcher whose clocks are set by hand.
struct Bench {
    keys: RefCell<KeyService>,
    pool: Pool,
    info: DaemonInfo,
    now: Cell<Clock>,
}

impl Bench {
    fn new() -> Self {
        Self::with_budget(Budget::default())
    }

    fn with_budget(budget: Budget) -> Self {
        let now = Clock { boot_ns: 5_000_000_000, wall_ms: NEW_YEAR };
        let pool = Pool::new(ModeRequest::Require(MemoryMode::Unlocked), budget).unwrap();
        let keys = RefCell::new(KeyService::new(pool.clone(), now));
        Bench { keys, pool, info: DaemonInfo::example(), now: Cell::new(now) }
    }

    fn answer(&self, handle: impl FnOnce(RequestContext<'_>) -> Response) -> Response {
        let mut keys = self.keys.borrow_mut();
        let now = self.now.get();
        handle(RequestContext { keys: &mut keys, info: &self.info, reclaim: &NoReclaim, now })
    }

    fn answer_legacy(&self, request: &[u8]) -> Response {
        self.answer(|cx| legacy::answer(request, cx))
    }

    fn answer_native(&self, frame: &Frame<'_>) -> Response {
        self.answer(|cx| native::answer(frame, cx))
    }

    /// Lets time pass on both clocks.
    fn pass(&self, ms: i64) {
        let Clock { boot_ns, wall_ms } = self.now.get();
        let ns = u64::try_from(ms).unwrap() * 1_000_000;
        self.now.set(Clock { boot_ns: boot_ns + ns, wall_ms: wall_ms + ms });
    }

    /// Sets the wall clock, which no other clock follows.
    fn set_wall(&self, wall_ms: i64) {
        self.now.set(Clock { wall_ms, ..self.now.get() });
    }

    fn legacy(&self, request: &str) -> String {
        let Response { reply, then } = self.answer_legacy(request.as_bytes());
        let text = String::from_utf8(reply.bytes().to_vec()).unwrap();
        assert_eq!(then == AfterReply::Close, text.starts_with(r#"{"success":true,"#), "{text}");
        text
    }

    #[track_caller]
    fn refused(&self, request: &str, why: &str) {
        let reply = self.legacy(request);
        assert!(reply.starts_with(r#"{"success":false,"error":""#) && reply.contains(why), "{reply}");
    }

    fn unlock(&self, slug: &str, secret: &str) {
        let reply = self.legacy(&unlock(&[grant(slug, secret, "")]));
        assert_eq!(reply, format!(r#"{{"success":true,"data":{{"unlocked":["{slug}"]}}}}"#));
    }

    /// The slugs of the hits.
    fn hits(&self, slugs: &[&str]) -> Vec<String> {
        slugs_in(&self.legacy(&get(slugs)))
    }

    fn held(&self) -> Vec<String> {
        slugs_in(&self.legacy(r#"{"command":"STATUS","payload":{}}"#))
    }

    fn native(&self, header: &str, secrets: &[u8]) -> Vec<u8> {
        let bytes = frame(header, secrets);
        let Decoded::Frame(frame) = decode(&bytes).unwrap() else { panic!("a whole frame") };
        self.answer_native(&frame).reply.bytes().to_vec()
    }

    #[track_caller]
    fn native_error(&self, header: &str, secrets: &[u8], code: &str) -> String {
        let reply = self.native(header, secrets);
        let text = String::from_utf8(reply[8..].to_vec()).unwrap();
        assert!(text.contains(&format!(r#""code":"{code}""#)), "{text}");
        text
    }
}

fn frame(header: &str, secrets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + header.len() + secrets.len()).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(secrets);
    bytes
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    match decode(bytes).unwrap() {
        Decoded::Frame(frame) => frame,
        Decoded::Need(_) => panic!("the reply is a whole frame"),
    }
}

fn slugs_in(reply: &str) -> Vec<String> {
    assert!(reply.starts_with(r#"{"success":true,"#), "{reply}");
    reply.split(r#""slug":""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

fn get(slugs: &[&str]) -> String {
    let slugs: Vec<_> = slugs.iter().map(|slug| format!("\"{slug}\"")).collect();
    format!(r#"{{"command":"GET","payload":{{"slugs":[{}]}}}}"#, slugs.join(","))
}

/// A grant; `more` are further members of it, each with a comma before.
fn grant(slug: &str, secret: &str, more: &str) -> String {
    format!(
        r#"{{"slug":"{slug}","key":{{"secret":"{secret}","grade":{{"protection":"encrypted","duration":"permanent"}}}},"source":{{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"}},"env":"ignored","org":"ignored"{more}}}"#
    )
}

fn until(ms: i64) -> String {
    format!(r#","expiresAt":"{}""#, keyrack_core::timestamp::format_ms(ms))
}

fn unlock(grants: &[String]) -> String {
    format!(r#"{{"command":"UNLOCK","payload":{{"keys":[{}]}}}}"#, grants.join(","))
}

#[test]
fn legacy_get_returns_grant_as_it_was_unlocked() {
    let bench = Bench::new();
    let odd = r#"{"slug":"acme.all.A","key":{"secret":"\u00e9\n\"\\\ud83d\ude00","grade":{"protection":"plaintext","duration":"ephemeral","g":[1]},"k":null},"source":{"vault":"new.vault","mech":"NEW_MECH","s":"x"},"env":"all","org":"acme","expiresAt":"2026-01-01T00:00:01.5Z","z":{"a":{}}}"#;
    bench.legacy(&unlock(&[odd.to_owned(), grant("acme.test.B", "", "")]));
    let expected = r#"{"success":true,"data":{"keys":[{"slug":"acme.all.A","key":{"secret":"é\n\"\\😀","grade":{"protection":"plaintext","duration":"ephemeral","g":[1]},"k":null},"source":{"vault":"new.vault","mech":"NEW_MECH","s":"x"},"env":"all","org":"acme","expiresAt":"2026-01-01T00:00:01.500Z","z":{"a":{}}},{"slug":"acme.test.B","key":{"secret":"","grade":{"protection":"encrypted","duration":"permanent"}},"source":{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"},"env":"test","org":"acme","expiresAt":"2026-01-02T00:00:00.000Z"}]}}"#;
    assert_eq!(bench.legacy(&get(&["acme.prep.A", "acme.test.B", "acme.test.C", "rubbish"])), expected);
    let status = r#"{"success":true,"data":{"homeHash":"83db27ef","keys":[{"slug":"acme.all.A","env":"all","org":"acme","expiresAt":"2026-01-01T00:00:01.500Z","ttlLeftMs":1500},{"slug":"acme.test.B","env":"test","org":"acme","expiresAt":"2026-01-02T00:00:00.000Z","ttlLeftMs":86400000}]}}"#;
    assert_eq!(bench.legacy(r#"{"command":"STATUS"}"#), status);
}

#[test]
fn legacy_get_filters_by_org_and_env() {
    let bench = Bench::new();
    for slug in ["acme.test.A", "acme.all.B", "@all.test.C", "other.test.D", "acme.sudo.E"] {
        bench.unlock(slug, "s");
    }
    for (more, expected) in [
        ("", &["acme.test.A", "acme.all.B", "@all.test.C", "other.test.D", "acme.sudo.E"][..]),
        (r#","org":"acme""#, &["acme.test.A", "acme.all.B", "@all.test.C", "acme.sudo.E"]),
        (r#","env":"test""#, &["acme.test.A", "acme.all.B", "@all.test.C", "other.test.D"]),
        (r#","env":"sudo","org":"acme""#, &["acme.all.B", "acme.sudo.E"]),
        (r#","org":"nobody""#, &["@all.test.C"]),
    ] {
        let request = format!(
            r#"{{"command":"GET","payload":{{"slugs":["acme.test.A","acme.test.B","@all.test.C","other.test.D","acme.sudo.E"]{more}}}}}"#
        );
        assert_eq!(slugs_in(&bench.legacy(&request)), expected, "{more}");
    }
    // No other key answers for a sudo key.
    assert_eq!(bench.hits(&["acme.sudo.B", "acme.sudo.A"]), [""; 0]);
}

#[test]
fn relock_erases_exactly_what_it_names() {
    let bench = Bench::new();
    let fill = || {
        for slug in ["a.test.A", "a.all.B", "a.test.C", "a.odd.D"] {
            bench.unlock(slug, "s");
        }
    };
    fill();
    for (payload, relocked, left) in [
        (r#"{"slugs":[]}"#, "", 4),
        (r#"{"slugs":["a.test.B","nothing"]}"#, "", 4),
        (r#"{"slugs":["a.test.C","a.test.A","a.test.C"]}"#, r#""a.test.C","a.test.A""#, 2),
        (r#"{"slugs":["a.all.B"],"env":"test"}"#, r#""a.all.B""#, 3),
        (r#"{"env":"test"}"#, r#""a.test.A","a.test.C""#, 2),
        (r#"{"env":"odd"}"#, r#""a.odd.D""#, 3),
        (r#"{"env":"ignored"}"#, "", 4),
        (r#"{}"#, r#""a.test.A","a.all.B","a.test.C","a.odd.D""#, 0),
    ] {
        bench.legacy(r#"{"command":"RELOCK","payload":{}}"#);
        fill();
        let reply = bench.legacy(&format!(r#"{{"command":"RELOCK","payload":{payload}}}"#));
        assert_eq!(reply, format!(r#"{{"success":true,"data":{{"relocked":[{relocked}]}}}}"#), "{payload}");
        assert_eq!(bench.held().len(), left, "{payload}");
    }
    bench.refused(r#"{"command":"RELOCK","payload":{"env":""}}"#, "payload.env must not be empty");
    bench.refused(r#"{"command":"RELOCK"}"#, "payload is missing");
}

#[test]
fn legacy_unlock_stores_all_keys_or_none() {
    let bench = Bench::new();
    bench.unlock("a.test.HELD", "old");
    let good = grant("a.test.NEW", "new", "");
    let weaker = |slug: &str| grant(slug, "x", "").replace("encrypted", "plaintext");
    for (bad, why) in [
        (weaker("a.test.HELD"), "keyrack relock --key a.test.HELD"),
        (grant("nonsense", "x", ""), "payload.keys[1].slug: invalid slug"),
        (
            grant("a.test.X", "x", "").replace("permanent", "forever"),
            "payload.keys[1].key.grade.duration (a.test.X) must be one of",
        ),
        (
            grant("a.test.X", "x", "").replace("encrypted", "maybe"),
            "payload.keys[1].key.grade.protection (a.test.X) must be one of",
        ),
        (
            grant("a.test.X", "x", r#","expiresAt":"tomorrow""#),
            "payload.keys[1].expiresAt (a.test.X) must be an ISO 8601",
        ),
        (grant("a.test.X", "x", r#","expiresAt":1767225600"#), "expiresAt"),
        (grant("a.test.X", "x", r#","expiresAt":null"#), "expiresAt"),
        (grant("a.test.X", "\\ud800", ""), "lone surrogate"),
        (
            grant("a.test.X", "x", "").replace(r#","mech":"PERMANENT_VIA_REPLICA""#, ""),
            "source.mech (a.test.X) is missing",
        ),
        // The second of a batch must not weaken the first either.
        (weaker("a.test.NEW"), "must not replace it"),
        ("7".into(), "must be an object"),
    ] {
        bench.refused(&unlock(&[good.clone(), bad]), why);
        assert_eq!(bench.held(), ["a.test.HELD"], "{why}");
    }
    assert!(bench.legacy(&get(&["a.test.HELD"])).contains(r#""secret":"old""#));
    // Stronger, and as strong, replaces.
    bench.legacy(&unlock(&[grant("a.test.HELD", "newer", "").replace("permanent", "ephemeral")]));
    assert!(bench.legacy(&get(&["a.test.HELD"])).contains(r#""secret":"newer""#));
}

#[test]
fn error_replies_quote_no_secret() {
    let bench = Bench::new();
    for request in [
        unlock(&[grant("a.test.X", "hunter2", "").replace("permanent", "forever")]),
        unlock(&[grant("a.test.X", "hunter2\\ud800", "")]),
        unlock(&[grant("a.test.X", "hunter2", r#","expiresAt":"hunter2""#)]),
        unlock(&[grant("a.test.X", "hunter2", r#","extra":"hunter2","extra":1"#)]),
        unlock(&[grant("a.test.X", "hunter2", "").replace("encrypted", "hunter2")]),
        r#"{"command":"UNLOCK","payload":{"keys":["hunter2"]}}"#.to_owned(),
        r#"{"command":"UNLOCK","payload":"hunter2"}"#.to_owned(),
        r#"{"payload":{"keys":["hunter2"]}}"#.to_owned(),
    ] {
        let reply = bench.legacy(&request);
        assert!(reply.contains(r#""success":false"#) && !reply.contains("hunter2"), "{reply}");
    }
    for header in [
        r#"{"id":1,"op":"unlock","keys":[{"slug":"a.test.X","grade":{"protection":"hunter2","duration":"permanent"},"source":{"vault":"v","mech":"m"},"ttl_ms":1,"secret":{"offset":0,"len":7}}]}"#,
        r#"{"id":1,"op":"unlock","keys":"hunter2"}"#,
        r#"{"id":"hunter2"}"#,
    ] {
        let reply = bench.native(header, b"hunter2");
        assert!(!reply.windows(7).any(|window| window == b"hunter2"), "{header}");
    }
}

#[test]
fn full_memory_loses_no_key() {
    let bench = Bench::with_budget(Budget::bytes(Budget::LEAST));
    bench.unlock("a.test.HELD", "held");
    let big = "b".repeat(150_000);
    // The first fits, both do not.
    let reply = bench.legacy(&unlock(&[grant("a.test.A", &big, ""), grant("a.test.B", &big, "")]));
    assert!(reply.contains("the memory for secrets is full"), "{reply}");
    assert_eq!(bench.held(), ["a.test.HELD"]);
    bench.unlock("a.test.A", &big[..100_000]);
    // A reply that finds no page is an error, and the key stays.
    bench.refused(&get(&["a.test.A"]), "the memory for replies is full");
    assert_eq!(bench.held(), ["a.test.HELD", "a.test.A"]);
    assert!(bench.legacy(&get(&["a.test.HELD"])).contains(r#""secret":"held""#));
    let header = key_header("a.test.B", 1000, "", 120_000);
    let reply = bench.native(&header, &vec![7; 120_000]);
    let frame = whole(&reply);
    let Answered { outcome: Ok(UnlockOk { results }), .. } = decode_reply(&frame).unwrap() else { panic!() };
    assert_eq!(results[0].outcome.as_ref().unwrap_err().code, "memory_full");
    bench.native_error(r#"{"id":1,"op":"get","slugs":["a.test.A"]}"#, b"", "memory_full");
}

#[test]
fn key_expires_at_the_first_of_both_deadlines() {
    for (what, turn) in [
        ("both clocks", (|bench: &Bench| bench.pass(HOUR_MS)) as fn(&Bench)),
        ("suspend, with the wall clock set back", |bench| {
            bench.pass(HOUR_MS);
            bench.set_wall(NEW_YEAR);
        }),
        ("the wall clock set forward", |bench| bench.set_wall(NEW_YEAR + HOUR_MS)),
    ] {
        let bench = Bench::new();
        bench.legacy(&unlock(&[
            grant("a.test.SHORT", "s", &until(NEW_YEAR + HOUR_MS)),
            grant("a.test.LONG", "s", &until(NEW_YEAR + 2 * HOUR_MS)),
        ]));
        bench.pass(0);
        assert_eq!(bench.hits(&["a.test.SHORT", "a.test.LONG"]).len(), 2, "{what}");
        turn(&bench);
        assert_eq!(bench.hits(&["a.test.SHORT", "a.test.LONG"]), ["a.test.LONG"], "{what}");
        assert_eq!(bench.held(), ["a.test.LONG"], "{what}");
    }
    // One nanosecond or millisecond earlier it lives.
    let bench = Bench::new();
    bench.legacy(&unlock(&[grant("a.test.K", "s", &until(NEW_YEAR + HOUR_MS))]));
    bench.pass(HOUR_MS - 1);
    assert_eq!(bench.hits(&["a.test.K"]), ["a.test.K"]);
    bench.pass(1);
    assert_eq!(bench.hits(&["a.test.K"]), [""; 0]);
    // Set back, the wall clock never lengthens a life.
    bench.legacy(&unlock(&[grant("a.test.K", "s", "")]));
    bench.set_wall(NEW_YEAR - 365 * 24 * HOUR_MS);
    bench.pass(24 * HOUR_MS - 1);
    assert_eq!(bench.hits(&["a.test.K"]), ["a.test.K"]);
    bench.pass(1);
    assert_eq!(bench.hits(&["a.test.K"]), [""; 0]);
}

#[test]
fn legacy_unlock_shortens_ttl_to_ceiling_of_the_env() {
    let bench = Bench::new();
    let far = until(NEW_YEAR + 1000 * HOUR_MS);
    bench.legacy(&unlock(&[
        grant("a.test.NONE", "s", ""),
        grant("a.test.FAR", "s", &far),
        // The field says another env; the slug counts.
        grant("a.sudo.NONE", "s", ""),
        grant("a.sudo.FAR", "s", &far),
    ]));
    bench.pass(HOUR_MS - 1);
    assert_eq!(bench.held().len(), 4);
    bench.pass(1);
    assert_eq!(bench.held(), ["a.test.NONE", "a.test.FAR"]);
    bench.pass(23 * HOUR_MS - 1);
    assert_eq!(bench.held().len(), 2);
    bench.pass(1);
    assert_eq!(bench.held().len(), 0);
}

#[test]
fn legacy_unlock_accepts_expired_grant_and_does_not_store_it() {
    let bench = Bench::new();
    bench.unlock("a.test.HELD", "held");
    let past = until(NEW_YEAR);
    let reply = bench.legacy(&unlock(&[grant("a.test.PAST", "s", &past), grant("a.test.NEW", "s", "")]));
    assert_eq!(reply, r#"{"success":true,"data":{"unlocked":["a.test.PAST","a.test.NEW"]}}"#);
    assert_eq!(bench.held(), ["a.test.HELD", "a.test.NEW"]);
    // Nor does it take away what is held.
    bench.legacy(&unlock(&[grant("a.test.HELD", "s", &past)]));
    assert!(bench.legacy(&get(&["a.test.HELD"])).contains(r#""secret":"held""#));
}

#[test]
fn erased_secrets_give_their_memory_back() {
    let bench = Bench::new();
    let empty = bench.pool.usage().secrets;
    bench.unlock("a.test.A", "one");
    bench.unlock("a.test.A", "two");
    bench.legacy(&unlock(&[grant("a.test.B", "s", r#","extra":1"#)]));
    assert_eq!(bench.pool.usage().secrets, empty + 3);
    bench.legacy(r#"{"command":"RELOCK","payload":{"slugs":["a.test.B"]}}"#);
    assert_eq!(bench.pool.usage().secrets, empty + 1);
    bench.pass(24 * HOUR_MS);
    bench.keys.borrow_mut().expire(bench.now.get());
    assert_eq!(bench.pool.usage().secrets, empty);
    bench.unlock("a.test.A", "one");
    bench.keys.borrow_mut().erase_all();
    assert_eq!(bench.pool.usage().secrets, empty);
    assert_eq!(bench.pool.usage().requests, Bench::new().pool.usage().requests);
}

#[test]
fn service_is_idle_after_last_request_and_only_without_keys() {
    let bench = Bench::new();
    let window = std::time::Duration::from_secs(60);
    assert!(!bench.keys.borrow_mut().is_idle(window, bench.now.get()));
    bench.pass(59_999);
    assert!(!bench.keys.borrow_mut().is_idle(window, bench.now.get()));
    bench.pass(1);
    assert!(bench.keys.borrow_mut().is_idle(window, bench.now.get()));
    bench.hits(&["a.test.A"]);
    assert!(!bench.keys.borrow_mut().is_idle(window, bench.now.get()));
    bench.legacy(&unlock(&[grant("a.test.K", "s", &until(NEW_YEAR + HOUR_MS))]));
    bench.pass(HOUR_MS - 60_001);
    assert!(!bench.keys.borrow_mut().is_idle(window, bench.now.get()), "a key is held");
    bench.pass(1);
    assert!(bench.keys.borrow_mut().is_idle(window, bench.now.get()), "it has ended, by a look");
}

/// An unlock of one key by the native protocol.
fn key_header(slug: &str, ttl_ms: i64, more: &str, len: usize) -> String {
    format!(
        r#"{{"id":7,"op":"unlock","keys":[{{"slug":"{slug}","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"os.secure","mech":"M"}},"ttl_ms":{ttl_ms}{more},"secret":{{"offset":0,"len":{len}}}}}]}}"#
    )
}

#[test]
fn native_secret_is_arbitrary_bytes() {
    let bench = Bench::new();
    for len in [0_usize, 1, 4095, 4096, 4097, 65_536, 65_537, 300_000] {
        let value: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let slug = format!("a.test.K{len}");
        bench.native(&key_header(&slug, HOUR_MS, "", len), &value);
        let reply = bench.native(&format!(r#"{{"id":9,"op":"get","slugs":["{slug}"]}}"#), b"");
        let frame = whole(&reply);
        let Answered { id: 9, outcome: Ok(GetOk { keys, rest }) } = decode_reply(&frame).unwrap() else {
            panic!()
        };
        assert_eq!((keys.len(), rest.len()), (1, 0));
        assert_eq!(keys[0].slug, slug);
        assert_eq!(keys[0].ttl_ms, u64::try_from(HOUR_MS).unwrap());
        assert_eq!(frame.secret(keys[0].secret).unwrap(), value);
    }
    // A value that is not text is not sent over a text protocol.
    bench.native(&key_header("a.test.RAW", 1000, "", 2), b"\xff\xfe");
    assert_eq!(bench.hits(&["a.test.RAW", "a.test.K1"]), ["a.test.K1"]);
}

#[test]
fn native_get_names_keys_that_exceed_one_frame() {
    let bench = Bench::new();
    let slugs: Vec<String> = (0..5).map(|n| format!("a.all.K{n}")).collect();
    for slug in &slugs {
        bench.native(&key_header(slug, HOUR_MS, "", 300_000), &[b'x'; 300_000]);
    }
    let mut ask: Vec<String> = slugs.iter().map(|slug| slug.replace("all", "test")).collect();
    ask.insert(2, "a.test.MISS".into());
    let mut got = Vec::new();
    for _ in 0..4 {
        let list: Vec<_> = ask.iter().map(|slug| format!("\"{slug}\"")).collect();
        let reply = bench.native(&format!(r#"{{"id":1,"op":"get","slugs":[{}]}}"#, list.join(",")), b"");
        let frame = whole(&reply);
        let Answered { outcome: Ok(GetOk { keys, rest }), .. } = decode_reply(&frame).unwrap() else {
            panic!()
        };
        got.extend(keys.iter().map(|key| key.slug.to_string()));
        ask = rest.iter().map(ToString::to_string).collect();
        if ask.is_empty() {
            break;
        }
    }
    assert_eq!(got, slugs);
}

#[test]
fn native_unlock_returns_a_result_for_each_key() {
    let bench = Bench::new();
    let hour = Ttl::CEILING_SUDO.as_ms();
    let past = r#","credential_expires_at":"2025-12-31T23:59:59Z""#;
    let soon = r#","credential_expires_at":"2026-01-01T00:00:02Z""#;
    for (slug, ttl_ms, more, expected) in [
        ("a.test.A", 1000, "", Ok(1000)),
        ("a.test.A", 24 * HOUR_MS, "", Ok(24 * 3_600_000)),
        ("a.test.A", 24 * HOUR_MS + 1, "", Err("duration_above_ceiling")),
        ("a.sudo.A", HOUR_MS, "", Ok(hour)),
        ("a.sudo.A", HOUR_MS + 1, "", Err("duration_above_ceiling")),
        ("a.test.A", HOUR_MS, soon, Ok(2000)),
        ("a.test.A", 1000, soon, Ok(1000)),
        ("a.test.A", HOUR_MS, past, Err("bad_duration")),
        ("a.test.A", 0, "", Err("bad_duration")),
        ("nonsense", 1000, "", Err("bad_slug")),
        ("a.test.A", 1000, r#","credential_expires_at":"soon""#, Err("bad_request")),
    ] {
        let reply = bench.native(&key_header(slug, ttl_ms, more, 1), b"s");
        let frame = whole(&reply);
        let Answered { outcome: Ok(UnlockOk { results }), .. } = decode_reply(&frame).unwrap() else {
            panic!()
        };
        assert_eq!(results[0].slug, slug);
        let got = results[0].outcome.as_ref().map(|granted| granted.ttl_ms);
        assert_eq!(got.map_err(|error| &*error.code), expected, "{slug} {ttl_ms} {more}");
    }
    // A weaker grade does not replace, and the way out is named.
    let weaker = key_header("a.test.A", 1000, "", 1).replace("encrypted", "plaintext");
    let text = bench.native_error(&weaker, b"s", "grade_degraded");
    assert!(text.contains(r#""fix":"keyrack relock --key a.test.A""#), "{text}");
    // One bad key does not stop the other.
    let two = r#"{"id":1,"op":"unlock","keys":[{"slug":"bad","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":5,"secret":{"offset":0,"len":1}},{"slug":"b.test.B","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":5,"secret":{"offset":1,"len":1}}]}"#;
    bench.native(two, b"12");
    assert_eq!(bench.hits(&["b.test.B"]), ["b.test.B"]);
}

#[test]
fn native_status_returns_pages() {
    let bench = Bench::new();
    for n in 0..600 {
        bench.unlock(&format!("acme.test.KEY_NUMBER_{n}"), "secret");
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    for round in 0.. {
        assert!(round < 10, "it ends");
        let reply = bench.native(&format!(r#"{{"id":1,"op":"status"{after}}}"#), b"");
        let frame = whole(&reply);
        let Answered { outcome: Ok(StatusOk { keys, more, counts, home_hash, .. }), .. } =
            decode_reply(&frame).unwrap()
        else {
            panic!()
        };
        assert_eq!((counts.keys, counts.bytes, &*home_hash), (600, 3600, "83db27ef"));
        after = format!(r#","after":{}"#, keys.last().unwrap().n);
        seen.extend(keys.iter().map(|key| key.slug.to_string()));
        if !more {
            break;
        }
    }
    let expected: Vec<_> = (0..600).map(|n| format!("acme.test.KEY_NUMBER_{n}")).collect();
    assert_eq!(seen, expected);
    let reply = bench.native(r#"{"id":1,"op":"status","limit":2,"after":3}"#, b"");
    let frame = whole(&reply);
    let Answered { outcome: Ok(StatusOk { keys, more, .. }), .. } = decode_reply(&frame).unwrap() else {
        panic!()
    };
    assert_eq!((keys.iter().map(|key| key.n).collect::<Vec<_>>(), more), (vec![4, 5], true));
    assert_eq!(keys[0].ends_by, "boot");
}

#[test]
fn native_status_reports_granted_ttl() {
    let bench = Bench::new();
    let told = |members: &str| {
        let header = format!(
            r#"{{"id":1,"op":"unlock","keys":[{{"slug":"acme.test.K","grade":{{"protection":"encrypted","duration":"permanent"}},"source":{{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"}},"ttl_ms":60000{members},"secret":{{"offset":0,"len":1}}}}]}}"#
        );
        bench.native(&header, b"x");
        let reply = bench.native(r#"{"id":2,"op":"status"}"#, b"");
        let frame = whole(&reply);
        let Answered { outcome: Ok(StatusOk { keys, .. }), .. } = decode_reply(&frame).unwrap() else {
            panic!()
        };
        (keys[0].life_ms, keys[0].life_by.as_deref().map(str::to_owned))
    };
    for (members, life_ms, life_by) in [
        ("", 60_000, None),
        (r#","life_by":"max_duration""#, 60_000, Some("max_duration")),
        (r#","life_ms":90000,"life_by":"default""#, 90_000, Some("default")),
        (r#","life_ms":1,"life_by":"what a later client may say""#, 60_000, None),
        (r#","credential_expires_at":"2026-01-01T00:00:30Z""#, 30_000, Some("credential")),
        (r#","credential_expires_at":"2026-01-01T00:00:30Z","life_by":"asked""#, 30_000, Some("asked")),
    ] {
        let (ms, by) = told(members);
        assert_eq!((ms, by.as_deref()), (Some(life_ms), life_by), "{members}");
    }
}

#[test]
fn expiry_clock_is_the_clock_of_the_first_deadline() {
    let at = Clock { boot_ns: 0, wall_ms: 0 };
    for (boot_ms, wall_ms, expected) in [(10, 10, "boot"), (9, 10, "boot"), (10, 9, "wall"), (10, -5, "wall")]
    {
        let deadlines = keyrack_core::Deadlines { boot_ns: boot_ms * 1_000_000, wall_ms };
        assert_eq!(native::expiry_clock(deadlines, at), expected);
    }
}

#[test]
fn native_rejects_invalid_requests_with_their_code() {
    let bench = Bench::new();
    for (header, code) in [
        (r#"{"id":1,"op":"frobnicate"}"#, "unknown_op"),
        (r#"{"id":1,"op":"get"}"#, "bad_request"),
        (r#"{"id":1,"op":"relock"}"#, "bad_request"),
        (r#"{"id":1,"op":"relock","all":false}"#, "bad_request"),
        (r#"{"id":1,"op":"relock","all":true,"env":"test"}"#, "bad_request"),
        (r#"{"id":1,"op":"unlock","keys":[]"#, "bad_frame"),
        (r#"{"op":"ping"}"#, "bad_frame"),
        (r#"[]"#, "bad_frame"),
        (r#"{"id":1,"op":"hello","proto":9,"min_proto":9,"version":"9","build":""}"#, "daemon_incompatible"),
    ] {
        bench.native_error(header, b"", code);
    }
    bench.native_error(r#"{"id":1,"op":"ping"}"#, b"stray", "bad_frame");
    // An op's long name is cut, and may hold nothing that moves a cursor.
    let long = format!(r#"{{"id":1,"op":"\u001b[31m{}"}}"#, "x".repeat(60_000));
    let text = bench.native_error(&long, b"", "unknown_op");
    assert!(text.len() < 300 && !text.contains("\\u001b"), "{text}");
}

#[test]
fn reply_is_stale_once_a_secret_it_carries_is_erased() {
    let bench = Bench::new();
    bench.unlock("a.test.A", "one");
    bench.unlock("a.test.B", "two");
    let ask = |request: &str| bench.answer_legacy(request.as_bytes()).reply;
    let (a, both, none) =
        (ask(&get(&["a.test.A"])), ask(&get(&["a.test.A", "a.test.B"])), ask(&get(&["a.test.C"])));
    let bytes = frame(r#"{"id":1,"op":"get","slugs":["a.test.B"]}"#, b"");
    let b = bench.answer_native(&whole(&bytes)).reply;
    assert_eq!([&a, &both, &none, &b].map(Reply::is_stale), [false; 4]);
    bench.legacy(r#"{"command":"RELOCK","payload":{"slugs":["a.test.A"]}}"#);
    assert_eq!([&a, &both, &none, &b].map(Reply::is_stale), [true, true, false, false]);
    // Replaced is erased too.
    bench.unlock("a.test.B", "three");
    assert!(b.is_stale());
}

#[test]
fn reply_with_secret_is_in_secret_pages() {
    // A reply of ordinary memory may hold none; that of a get does not lie there.
    let bench = Bench::new();
    bench.unlock("a.test.A", "one");
    let reply = bench.answer_legacy(get(&["a.test.A"]).as_bytes()).reply;
    assert!(matches!(reply, Reply::Secret { .. }));
    let miss = bench.answer_legacy(get(&["a.test.B"]).as_bytes()).reply;
    assert!(matches!(miss, Reply::Plain(_)));
}

mod mutations {
    use proptest::prelude::*;

    use super::*;

    fn requests() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = [
            unlock(&[grant("a.test.NEW", "n\\u0065w", r#","x":{"y":[1,"z"]}"#), grant("a.all.B", "s", "")]),
            get(&["a.test.HELD", "a.test.B"]),
            r#"{"command":"STATUS","payload":{}}"#.into(),
            r#"{"command":"RELOCK","payload":{"slugs":["a.test.NEW"]}}"#.into(),
            r#"{"command":"RELOCK","payload":{"env":"prod"}}"#.into(),
        ]
        .into_iter()
        .map(String::into_bytes)
        .collect();
        for header in [
            r#"{"id":1,"op":"get","slugs":["a.test.HELD"]}"#,
            r#"{"id":1,"op":"status","after":0,"limit":9}"#,
            r#"{"id":1,"op":"relock","slugs":["a.test.NEW"]}"#,
            r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"","build":""}"#,
            r#"{"id":1,"op":"ping"}"#,
        ] {
            all.push(frame(header, b""));
        }
        all.push(frame(&key_header("a.test.NEW", 1000, "", 3), b"new"));
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a request is turned into: it is answered in its protocol, and only an answer
        /// that says so has changed the key that is held.
        #[test]
        fn mutated_request_is_answered_and_changes_nothing_else(
            which in 0_usize..11,
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
        ) {
            let bench = Bench::new();
            bench.unlock("a.test.HELD", "hunter2");
            let mut bytes = requests().swap_remove(which);
            for (at, byte, kind) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at),
                }
            }
            let reply = match bytes.first() {
                Some(0) => match decode(&bytes) {
                    Ok(Decoded::Frame(whole)) => {
                        let reply = bench.answer_native(&whole).reply;
                        let framed = matches!(decode(reply.bytes()), Ok(Decoded::Frame(_)));
                        prop_assert!(framed, "a native answer is a frame");
                        reply
                    }
                    _ => return Ok(()),
                },
                _ => {
                    let reply = bench.answer_legacy(&bytes).reply;
                    let text = String::from_utf8(reply.bytes().to_vec()).unwrap();
                    prop_assert!(text.starts_with("{\"success\":") && text.ends_with('}'), "{text}");
                    reply
                }
            };
            let text = String::from_utf8_lossy(reply.bytes()).into_owned();
            let carries = matches!(reply, Reply::Secret { .. });
            prop_assert_eq!(text.contains("hunter2"), carries && text.contains("a.test.HELD"), "{}", text);
            let changed = ["unlocked\":[\"a.test.HELD", "relocked\":[\"a.test.HELD"].iter().any(|sign| text.contains(sign));
            if !changed {
                prop_assert!(bench.legacy(&get(&["a.test.HELD"])).contains("hunter2"), "{}", text);
            }
        }
    }
}
