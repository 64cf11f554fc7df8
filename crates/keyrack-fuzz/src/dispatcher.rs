//! The daemon's dispatcher over a store of keys: every request gets a reply in its own protocol,
//! and a secret is only in the reply to a get that requested it.

use std::cell::Cell;
use std::sync::LazyLock;

use keyrack_core::Clock;
use keyrack_wire::legacy::{self, Progress, Request as LegacyRequest, Scanner};
use keyrack_wire::native::{self, Decoded, Op, decode};
use keyrackd::fuzzing::{Answered, Bench};
use serde_json::Value;

use crate::messages::{SECRETS, framed, messages};

/// 2026-01-01T00:00:00Z.
const NEW_YEAR_MS: i64 = 1_767_225_600_000;

/// Size of the store, small enough for a fuzzer's messages to fill it.
const MEMORY: usize = 512 << 10;

/// Beginning of every secret of the store.
const SENTINEL: &[u8] = b"zq7Kf2Vx9bTnW4-";

/// Most requests of one input.
const MOST: usize = 32;

/// First byte of a message that advances the clock. Milliseconds follow, in at most four bytes,
/// big-endian.
const PASS: u8 = b'+';

/// Takes requests, divided by [`crate::SECRETS`] and [`crate::BETWEEN`]: native ones with or
/// without their lengths, and legacy ones.
pub fn dispatcher(data: &[u8]) {
    if contains(data, SENTINEL) {
        // A request that contains a secret may get a reply that does.
        return;
    }
    // A daemon takes much longer to create than to query, so an unchanged one serves the next input
    // too.
    let rig = UNCHANGED.take().unwrap_or_else(Rig::new);
    for message in messages(data).take(MOST) {
        match (message, framed(message)) {
            ([PASS, ms @ ..], _) => {
                rig.changed.set(true);
                rig.bench.pass(ms.iter().take(4).fold(0, |ms, byte| ms << 8 | u32::from(*byte)));
                rig.bench.expire();
            }
            (_, Some(frame)) => rig.frames(&frame),
            ([0, ..], None) => rig.frames(message),
            (_, None) => rig.text(message),
        }
    }
    if !rig.changed.get() {
        UNCHANGED.set(Some(rig));
    }
}

thread_local! {
    static UNCHANGED: Cell<Option<Rig>> = const { Cell::new(None) };
}

/// A daemon and its first keys.
struct Rig {
    bench: Bench,
    changed: Cell<bool>,
}

/// Slugs of the first keys.
static SLUGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut slugs = Vec::new();
    for org in ["acme", "@all", "ACME"] {
        for env in ["sudo", "prod", "prep", "test", "all", "camp", "dev"] {
            for name in ["API_KEY", "B.C"] {
                slugs.push(format!("{org}.{env}.{name}"));
            }
        }
    }
    let alone = ["acme.all.ONLY_ALL", "acme.sudo.ONLY_SUDO", "acme.test.ONLY_TEST", "@all.all.M"];
    slugs.extend(alone.map(str::to_owned));
    slugs
});

fn sentinel(index: usize) -> String {
    format!("{}{index:02}", String::from_utf8_lossy(SENTINEL))
}

/// Request that unlocks the first half of the keys.
static LEGACY_UNLOCK: LazyLock<String> = LazyLock::new(|| {
    let half = &SLUGS[..SLUGS.len() / 2];
    let grant = |(index, slug): (usize, &String)| {
        serde_json::json!({
            "slug": slug,
            "key": { "secret": sentinel(index), "grade": { "protection": "encrypted", "duration": "permanent" } },
            "source": { "vault": "os.secure", "mech": "PERMANENT_VIA_REPLICA" },
            "env": "", "org": "", "expiresAt": "2026-01-01T09:00:00.000Z",
        })
    };
    let grants: Vec<Value> = half.iter().enumerate().map(grant).collect();
    serde_json::json!({ "command": "UNLOCK", "payload": { "keys": grants } }).to_string()
});

/// Request that unlocks the second half.
static NATIVE_UNLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let first = SLUGS.len() / 2;
    let secrets: Vec<String> = (first..SLUGS.len()).map(sentinel).collect();
    let key = |(at, slug): (usize, &String)| {
        let len = secrets[at].len();
        serde_json::json!({
            "slug": slug, "grade": { "protection": "encrypted", "duration": "permanent" },
            "source": { "vault": "os.secure", "mech": "PERMANENT_VIA_REPLICA" },
            "ttl_ms": if slug.contains(".sudo.") { 1_800_000 } else { 32_400_000 },
            "secret": { "offset": at * len, "len": len },
        })
    };
    let keys: Vec<Value> = SLUGS[first..].iter().enumerate().map(key).collect();
    let header = serde_json::json!({ "id": 1, "op": "unlock", "keys": keys }).to_string();
    let message = [header.as_bytes(), &[SECRETS], secrets.concat().as_bytes()].concat();
    framed(&message).expect("a short frame")
});

impl Rig {
    /// Unlocks half of the keys by each protocol.
    fn new() -> Self {
        let clock = Clock { boot_ns: 5_000_000_000, wall_ms: NEW_YEAR_MS };
        let bench = Bench::new(MEMORY, clock).expect("half a mebibyte of memory and two timers");
        let unlocked = bench.legacy(LEGACY_UNLOCK.as_bytes());
        assert!(unlocked.bytes().starts_with(br#"{"success":true"#), "the keys are kept");
        let Ok(Decoded::Frame(frame)) = decode(&NATIVE_UNLOCK) else { panic!("a whole frame") };
        let unlocked = bench.native(&frame);
        assert!(!contains(unlocked.bytes(), br#""ok":false"#), "the keys are kept");
        Rig { bench, changed: Cell::new(false) }
    }

    fn frames(&self, mut bytes: &[u8]) {
        for _ in 0..MOST {
            let Ok(Decoded::Frame(frame)) = decode(bytes) else { return };
            if has_escaped_secret(frame.header) {
                return;
            }
            let answered = self.bench.native(&frame);
            let goes_on = answered.goes_on;
            let request = native::Request::decode(&frame);
            let changes = |op: &Op<'_>| matches!(op, Op::Unlock(_) | Op::Relock(_) | Op::Shutdown);
            if request.as_ref().is_ok_and(|request| changes(&request.op)) {
                self.changed.set(true);
            }
            native_answer(&request, &answered);
            if !goes_on {
                return;
            }
            bytes = &bytes[frame.consumed..];
        }
    }

    fn text(&self, message: &[u8]) {
        let Progress::Complete { end } = Scanner::for_request().advance(message) else { return };
        let message = &message[..end];
        if has_escaped_secret(message) {
            return;
        }
        let answered = self.bench.legacy(message);
        let request = LegacyRequest::parse(message);
        if matches!(&request, Ok(LegacyRequest::Unlock(_) | LegacyRequest::Relock(_))) {
            self.changed.set(true);
        }
        legacy_answer(request.as_ref().ok(), &answered);
    }
}

fn native_answer(request: &Result<native::Request<'_>, native::RequestError>, answered: &Answered) {
    let bytes = answered.bytes();
    let Ok(Decoded::Frame(reply)) = decode(bytes) else { panic!("a native answer is a frame") };
    assert_eq!(reply.consumed, bytes.len(), "it is one frame");
    let header: Value = serde_json::from_slice(reply.header).expect("its header is JSON");
    assert!(header["ok"].is_object() != header["error"].is_object(), "it has a result or an error");
    let id = match request {
        Ok(request) => request.id,
        Err(error) => error.id(),
    };
    assert_eq!(header["id"].as_u64(), Some(id), "it has the id of the request");
    let asked: Vec<&str> = match request {
        Ok(native::Request { op: Op::Get(get), .. }) => get.slugs.iter().map(AsRef::as_ref).collect(),
        _ => Vec::new(),
    };
    let lies_open = !answered.is_in_secret_pages();
    assert!(lies_open || (header["ok"].is_object() && !asked.is_empty()), "only a get has secrets");
    check_secrets(bytes, lies_open, |slug| asked.iter().any(|asked| answers(slug, asked)));
    assert!(!contains(reply.header, SENTINEL), "no header holds a secret");
}

fn legacy_answer(request: Option<&LegacyRequest<'_>>, answered: &Answered) {
    let bytes = answered.bytes();
    let reply = std::str::from_utf8(bytes).expect("an answer is text");
    // Only the grammar is checked: it may carry unknown fields of any type.
    serde_json::from_str::<serde::de::IgnoredAny>(reply).expect("an answer is JSON");
    let granted = reply.starts_with(r#"{"success":true,"data":{"#);
    assert!(granted || reply.starts_with(r#"{"success":false,"error":""#), "it has a result or an error");
    assert!(request.is_some() || !granted, "malformed requests are rejected");
    let get = match request {
        Some(LegacyRequest::Get(get)) if granted => Some(get),
        _ => None,
    };
    let lies_open = !answered.is_in_secret_pages();
    assert!(lies_open || get.is_some(), "only a get has secrets");
    check_secrets(bytes, lies_open, |slug| {
        get.is_some_and(|get| {
            let (org, env) = org_and_env(slug);
            get.slugs.iter().any(|asked| answers(slug, asked))
                && get.org.as_deref().is_none_or(|wanted| wanted == org || org == "@all")
                && get.env.as_deref().is_none_or(|wanted| wanted == env || env == "all")
        })
    });
}

/// Checks that each secret in a reply is of a key that `may` be in it, and that none is in ordinary
/// memory.
fn check_secrets(bytes: &[u8], lies_open: bool, may: impl Fn(&str) -> bool) {
    let stem = SENTINEL.len();
    for at in 0..bytes.len().saturating_sub(stem) {
        if !bytes[at..].starts_with(SENTINEL) {
            continue;
        }
        assert!(!lies_open, "a secret lies in ordinary memory");
        let digits = bytes.get(at + stem..at + stem + 2).and_then(|digits| std::str::from_utf8(digits).ok());
        let index: usize = digits.and_then(|digits| digits.parse().ok()).expect("a secret comes whole");
        assert!(may(&SLUGS[index]), "the secret of {} was not asked for", SLUGS[index]);
    }
}

fn org_and_env(slug: &str) -> (&str, &str) {
    let mut parts = slug.splitn(3, '.');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Returns `true` if a key may serve a requested slug: it is that key, or the one for all envs
/// unless `sudo` is requested. The code differs from that of the store, which it checks.
fn answers(slug: &str, asked: &str) -> bool {
    if slug == asked {
        return true;
    }
    let (org, env) = org_and_env(asked);
    env != "sudo" && asked.len() > org.len() + env.len() + 2 && {
        let name = &asked[org.len() + env.len() + 2..];
        slug == format!("{org}.all.{name}")
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Returns `true` if the text contains a secret with escapes.
fn has_escaped_secret(json: &[u8]) -> bool {
    json.contains(&b'\\')
        && serde_json::from_slice::<Value>(json)
            .is_ok_and(|value| contains(value.to_string().as_bytes(), SENTINEL))
}

const _: () = assert!(legacy::MAX_REQUEST > MEMORY, "a message may be longer than the memory for it");
