//! The trees and the JSON, letter by letter.

use keyrack_core::{
    Attempt, DurationGrade, Error, ErrorCode, Fix, Grade, Grant, GrantSource, GrantedTtl, Invocation,
    Mechanism, Owner, Protection, Slug, Ttl, TtlLimit, VaultId, peer::Boundary,
};
use keyrack_json::JsonWriter;
use proptest::prelude::*;

use super::json::outcome as outcome_json;
use super::ttl::minutes;
use super::{Style, attempt, error, status};
use crate::address::RackAddress;
use crate::get::{GetOutcome, KeyOutcome};
use crate::secret::Secret;
use crate::session::{DaemonStatus, HardeningReport, HelloInfo, KeyStatus};
use crate::status::{RackStatus, RunningDaemon};

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn granted(name: &str, secret: &[u8], expires_at_ms: Option<i64>) -> KeyOutcome {
    let source = GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica };
    let grant =
        Grant { slug: slug(name), grade: Grade::of(&source.vault, &source.mech), source, expires_at_ms };
    let attempt = Attempt::Granted { grant, below_declared: false };
    KeyOutcome { attempt, secret: Some(Secret::copy_of(secret)), note: None, waived: false }
}

fn four() -> Vec<KeyOutcome> {
    let owner = Owner::DEFAULT;
    let (b, c, d) = (slug("o.test.B"), slug("o.test.C"), slug("o.test.D"));
    let plain = |attempt| KeyOutcome { attempt, secret: None, note: None, waived: false };
    vec![
        granted("o.test.A", b"hunter2", Some(1_767_225_600_123)),
        plain(Attempt::Locked {
            fix: Some(Fix::unlock(&owner, &b)),
            slug: b,
            message: "o.test.B is locked".into(),
        }),
        plain(Attempt::Absent {
            fix: Some(Fix::set_secure(&owner, &c)),
            slug: c,
            message: "o.test.C was never set".into(),
        }),
        KeyOutcome {
            note: Some("--allow-dangerous returns it anyway".into()),
            ..plain(Attempt::Blocked {
                fix: Some(Fix::set_secure(&owner, &d)),
                slug: d,
                reasons: vec!["one".into(), "two\u{1b}[2J".into()],
            })
        },
    ]
}

fn outcome(answers: Vec<KeyOutcome>, single: bool) -> GetOutcome {
    GetOutcome {
        keys: answers,
        single,
        legacy_daemon: false,
        daemon_error: None,
        manifest_faults: Vec::new(),
    }
}

#[test]
fn get_tree_shows_each_status() {
    let text = attempt::answers(&four(), Invocation::default(), Style::PLAIN);
    let expected = "
🔐 keyrack
   ├─ o.test.A
   │  ├─ vault: os.secure
   │  ├─ mech: PERMANENT_VIA_REPLICA
   │  └─ status: granted 🔑
   ├─ o.test.B
   │  ├─ status: locked 🔒
   │  └─ tip: keyrack unlock --env test --key B
   ├─ o.test.C
   │  ├─ status: absent 🫧
   │  └─ tip: keyrack set --env test --key C --vault os.secure --mech PERMANENT_VIA_REPLICA
   └─ o.test.D
      ├─ status: blocked 🚫
      │  ├─ one
      │  └─ two[2J
      ├─ note: --allow-dangerous returns it anyway
      └─ tip: keyrack set --env test --key D --vault os.secure --mech PERMANENT_VIA_REPLICA

";
    assert_eq!(text, expected);
    let ascii = attempt::answers(&four(), Invocation::NPX, Style::ASCII);
    assert!(ascii.is_ascii() && ascii.contains("tip: npx keyrack unlock"), "{ascii}");
    assert_eq!(attempt::answers([], Invocation::default(), Style::ASCII), "\nkeyrack\n   `- (no keys)\n\n");
}

#[test]
fn strict_failure_lists_missing_keys_and_fix() {
    let text = attempt::strict_failure(&four()[1..2], "use --lenient", Invocation::default(), Style::PLAIN);
    let expected = "
🔐 keyrack
   └─ o.test.B
      ├─ status: locked 🔒
      └─ tip: keyrack unlock --env test --key B

✋ some keys were not granted, yet are strictly required
   └─ ask a human to set or unlock them, then try again

hint: use --lenient
";
    assert_eq!(text, expected);
}

#[test]
fn get_json_lists_each_status() {
    let bytes = outcome_json(&outcome(four(), false), Invocation::default()).unwrap();
    let expected = r#"[
  {
    "status": "granted",
    "grant": {
      "slug": "o.test.A",
      "key": {
        "secret": "hunter2",
        "grade": {
          "protection": "encrypted",
          "duration": "permanent"
        }
      },
      "source": {
        "vault": "os.secure",
        "mech": "PERMANENT_VIA_REPLICA"
      },
      "env": "test",
      "org": "o",
      "expiresAt": "2026-01-01T00:00:00.123Z"
    }
  },
  {
    "status": "locked",
    "slug": "o.test.B",
    "message": "o.test.B is locked",
    "fix": "keyrack unlock --env test --key B"
  },
  {
    "status": "absent",
    "slug": "o.test.C",
    "message": "o.test.C was never set",
    "fix": "keyrack set --env test --key C --vault os.secure --mech PERMANENT_VIA_REPLICA"
  },
  {
    "status": "blocked",
    "slug": "o.test.D",
    "reasons": [
      "one",
      "two\u001b[2J"
    ],
    "fix": "keyrack set --env test --key D --vault os.secure --mech PERMANENT_VIA_REPLICA",
    "note": "--allow-dangerous returns it anyway"
  }
]"#;
    assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
    let empty = outcome_json(&outcome(Vec::new(), false), Invocation::default()).unwrap();
    assert_eq!(&**empty, b"[]");
}

#[test]
fn get_json_of_one_key_is_an_object() {
    let mut answer = granted("o.test.A", b"v", None);
    let Attempt::Granted { below_declared, .. } = &mut answer.attempt else { panic!() };
    *below_declared = true;
    let bytes = outcome_json(&outcome(vec![answer], true), Invocation::default()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["belowDeclared"], true);
    assert_eq!(value["grant"].get("expiresAt"), None);
}

#[test]
fn json_refuses_a_secret_that_is_not_utf8() {
    let answers = vec![granted("o.test.A", b"\xffhunter2", None), granted("o.test.B", b"fine", None)];
    let error = outcome_json(&outcome(answers, false), Invocation::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
    assert_eq!(error.slug.as_ref().unwrap().as_str(), "o.test.A");
    assert!(!format!("{error:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn any_text_survives_json(secret: String, more in prop::collection::vec(any::<char>(), 0..40)) {
        let secret: String = secret.chars().chain(more).collect();
        let answer = granted("o.test.A", secret.as_bytes(), None);
        let bytes = outcome_json(&outcome(vec![answer], true), Invocation::default()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(value["grant"]["key"]["secret"].as_str().unwrap(), secret);
    }
}

#[test]
fn nested_json_is_that_of_a_general_writer() {
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.member("a", "b\"\n");
        json.name("c");
        json.array(|json| {
            json.element();
            json.object(|_| {});
            json.element();
            json.array(|_| {});
            json.element();
            json.plain("null");
        });
        json.name("d");
        json.object(|json| json.member("e", "f"));
    });
    let bytes = json.into_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(std::str::from_utf8(&bytes).unwrap(), serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn minutes_round_to_the_nearest() {
    for (ms, text) in [
        (9 * 3_600_000, "540m"),
        (60_000, "1m"),
        (89_999, "1m"),
        (90_000, "2m"),
        (59_999, "60s"),
        (1, "1s"),
        (0, "0s"),
    ] {
        assert_eq!(minutes(Ttl(ms)), text, "{ms}");
    }
}

#[test]
fn error_report_has_slug_hint_and_fix() {
    let key = slug("o.test.A");
    let blocked = Error::new(ErrorCode::NoHome, "HOME is not set")
        .of(&key)
        .hint("set HOME")
        .fix(Fix::command(["doctor"]));
    let expected = "
🔐 keyrack set
   └─ ✋ blocked: HOME is not set
      ├─ key: o.test.A
      ├─ hint: set HOME
      └─ fix: keyrack doctor

";
    assert_eq!(error::report("keyrack set", &blocked, Invocation::default(), Style::PLAIN), expected);
    let fault = Error::new(ErrorCode::Io, "no space\nleft");
    let text = error::report("keyrack set", &fault, Invocation::default(), Style::ASCII);
    assert_eq!(text, "\nkeyrack set\n   `- failed: no space left\n\n");
    let value = error::value(&blocked, Invocation::NPX);
    assert_eq!(value["code"], "no_home");
    assert_eq!(value["fix"], "npx keyrack doctor");
    assert_eq!(error::value(&fault, Invocation::NPX).as_object().unwrap().len(), 2);
}

fn a_status(running: bool) -> RackStatus {
    let hello = HelloInfo {
        proto: 1,
        version: "0.1.0".into(),
        build: "b".into(),
        boot_id: "x".into(),
        pid: 7,
        boundary: Boundary::Session,
        namespaces: Some("pid and user".into()),
        memory: "locked".into(),
        hardening: vec![HardeningReport {
            name: "mdwe".into(),
            on: false,
            detail: Some("this kernel lacks it".into()),
        }],
    };
    let keys = vec![
        KeyStatus {
            slug: slug("o.test.A"),
            grade: Some(Grade { protection: Protection::Encrypted, duration: DurationGrade::Permanent }),
            source: Some(GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica }),
            expires_at_ms: Some(0),
            remaining: Some(Ttl(60_000)),
            granted: GrantedTtl { ttl: Some(Ttl(120_000)), limit: Some(TtlLimit::MaxDuration) },
            expires_by_boot_clock: true,
        },
        KeyStatus {
            slug: slug("o.sudo.S"),
            grade: None,
            source: None,
            expires_at_ms: None,
            remaining: None,
            granted: GrantedTtl::default(),
            expires_by_boot_clock: false,
        },
    ];
    let status = DaemonStatus { keys, home_hash: "01234567".into(), health: None };
    RackStatus {
        owner: Owner::DEFAULT,
        address: Some(RackAddress {
            dir: "/run/user/1".into(),
            name: keyrack_core::layout::SocketName {
                session: "3".into(),
                home_hash: "01234567".into(),
                owner: Owner::DEFAULT,
            },
        }),
        error: None,
        running: running.then_some(RunningDaemon { pid: Some(7), hello: Some(hello), status }),
        other_sessions: vec!["4".into()],
    }
}

#[test]
fn status_tree_shows_daemon_and_keys() {
    let recipients = [status::RecipientLine { label: "laptop", mech: "ssh" }];
    let show = |running, env| {
        status::status(&a_status(running), Some(&recipients), env, Invocation::default(), Style::PLAIN)
    };
    let expected = "
🔐 keyrack status
   ├─ owner: (default)
   ├─ recipients:
   │  └─ laptop (ssh)
   ├─ daemon: active ✨
   │  ├─ boundary: session
   │  ├─ memory: locked
   │  └─ note: mdwe is off: this kernel lacks it
   ├─ note: your rack is open in login session 4, and this session cannot reach it
   └─ keys:
      ├─ o.test.A
      │  ├─ env: test
      │  ├─ org: o
      │  ├─ vault: os.secure
      │  ├─ grade: encrypted,permanent
      │  ├─ expires in: 1m
      │  ├─ ttl: ██████████░░░░░░░░░░ 1m of 2m
      │  └─ limited by: its own maxDuration of 2m
      └─ o.sudo.S
         ├─ env: sudo
         ├─ org: o
         └─ expires in: never

";
    assert_eq!(show(true, None), expected);
    let none = show(true, Some(keyrack_core::Env::Prod));
    assert!(none.contains("(no keys in --env prod, try --env test)"), "{none}");
    let absent = show(false, None);
    assert!(
        absent.contains("daemon: not found") && absent.contains("run `keyrack unlock --env ENV`"),
        "{absent}"
    );
    assert!(absent.contains("login session 4"), "{absent}");
}

#[test]
fn brief_status_fits_the_width() {
    let style = |width| Style { width, ..Style::PLAIN };
    let brief = |env, style| status::brief(&a_status(true), env, style);
    assert_eq!(
        brief(None, style(None)),
        "🔐 keyrack status (daemon: active, keys: 2)\n\
         o.test.A  ██████████░░░░░░░░░░ 1m of 2m\n\
         o.sudo.S  never expires\n"
    );
    assert_eq!(
        brief(Some(keyrack_core::Env::Test), Style { width: Some(38), ..Style::ASCII }),
        "keyrack status (daemon: active, env: ~\no.test.A  #####---- 1m of 2m\n"
    );
    // Too narrow for a bar, then for the name.
    assert_eq!(brief(Some(keyrack_core::Env::Test), style(Some(20))).lines().nth(1), Some("o.test.A  1m"));
    assert_eq!(brief(Some(keyrack_core::Env::Test), style(Some(9))).lines().nth(1), Some("o.te…  1m"));
    for width in 8..100 {
        for line in brief(None, style(Some(width))).lines() {
            assert!(unicode_width::UnicodeWidthStr::width(line) <= width.max(16), "{width}: {line}");
        }
    }
    assert_eq!(
        status::brief(&a_status(false), None, style(None)),
        "🔐 keyrack status (daemon: not found, keys: 0)\n"
    );
}

#[test]
fn status_json_has_every_key() {
    assert_eq!(status::status_value(&a_status(false), Vec::new(), None), serde_json::Value::Null);
    let value = status::status_value(&a_status(true), vec!["r".into()], None);
    let first = &value["keys"][0];
    assert_eq!(first["slug"], "o.test.A");
    assert_eq!(first["expiresAt"], "1970-01-01T00:00:00.000Z");
    assert_eq!(first["ttlLeftMs"], 60_000);
    assert_eq!((&first["lifeMs"], &first["lifeBy"]), (&120_000.into(), &"max_duration".into()));
    assert!(value["keys"][1].get("lifeMs").is_none() && value["keys"][1].get("lifeBy").is_none());
    assert!(value["keys"][1]["ttlLeftMs"].is_null() && value["keys"][1].get("grade").is_none());
    assert_eq!(value["owner"], serde_json::Value::Null);
    assert_eq!(value["socketPath"], "/run/user/1/keyrack.3.01234567.sock");
    assert_eq!(value["recipients"][0], "r");
    assert_eq!(value["daemon"]["hardening"][0]["on"], false);
    let some = status::status_value(&a_status(true), Vec::new(), Some(keyrack_core::Env::Sudo));
    assert_eq!(some["keys"].as_array().unwrap().len(), 1);
}
