//! Complete reads, status and relock with the real daemon.

use std::fs;

use keyrack_client::get::{GetOptions, Scope, get};
use keyrack_client::relock::{RelockQuery, relock};
use keyrack_client::source::{Shell, SourceMode, lines, sort};
use keyrack_client::{Context, status};
use keyrack_core::{Attempt, Env, ErrorCode, Org, Ttl, VaultId};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;

use crate::harness::{Rack, unlock};

const MANIFEST: &str = "
org: acme
env.all: [SHARED]
env.test:
  - PLAIN
  - STRONG: encrypted
env.prod: [PLAIN]
";

fn rack_with_repository() -> Rack {
    let rack = Rack::new();
    fs::create_dir(rack.home.home().join(".git")).unwrap();
    fs::create_dir(rack.home.home().join(".agent")).unwrap();
    fs::write(rack.home.home().join(".agent/keyrack.yml"), MANIFEST).unwrap();
    rack
}

fn key(ask: &str) -> Scope {
    Scope::Key { ask: ask.to_owned(), org: Org::This, env: None }
}

fn read(ctx: &Context, ask: &str) -> (String, Option<String>) {
    let outcome = get(ctx, &key(ask), GetOptions::default()).unwrap();
    let answer = &outcome.keys[0];
    let secret = answer.secret.as_ref().map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap());
    (format!("{} {}", answer.attempt.status(), answer.attempt.slug()), secret)
}

#[test]
fn daemon_takes_precedence_over_environment() {
    let rack = rack_with_repository();
    rack.unlock(&[("acme.test.PLAIN", b"unlocked"), ("acme.all.SHARED", b"everywhere")]);
    let ctx = rack.context_with([("PLAIN", "ambient"), ("STRONG", "ambient"), ("SHARED", "ambient")]);
    for (ask, found, secret) in [
        ("acme.test.PLAIN", "granted acme.test.PLAIN", "unlocked"),
        ("acme.prod.PLAIN", "granted acme.prod.PLAIN", "ambient"),
        ("acme.test.SHARED", "granted acme.all.SHARED", "everywhere"),
        ("SHARED", "granted acme.all.SHARED", "everywhere"),
        ("acme.test.STRONG", "granted acme.test.STRONG", "ambient"),
    ] {
        assert_eq!(read(&ctx, ask), (found.to_owned(), Some(secret.to_owned())), "{ask}");
    }
    assert_eq!(read(&ctx, "acme.sudo.SHARED"), ("absent acme.sudo.SHARED".to_owned(), None));
}

#[test]
fn unlocked_key_below_its_declared_grade_is_blocked() {
    let rack = rack_with_repository();
    let mut session = rack.session();
    unlock(&mut session, "acme.test.STRONG", b"v", VaultId::OsDirect, Ttl(60_000));
    // The value of the environment does not replace a key that is blocked.
    let ctx = rack.context_with([("STRONG", "ambient")]);
    let outcome =
        get(&ctx, &key("acme.test.STRONG"), GetOptions { allow_dangerous: true, ..GetOptions::default() })
            .unwrap();
    let Attempt::Blocked { reasons, .. } = &outcome.keys[0].attempt else { panic!("{outcome:?}") };
    assert_eq!(
        reasons,
        &[
            "the key has grade plaintext,permanent, weaker than the minimum encrypted that keyrack.yml declares"
        ]
    );
}

#[test]
fn unlocked_long_lived_token_is_blocked() {
    let rack = rack_with_repository();
    rack.unlock(&[("acme.test.PLAIN", b"\n ghp_hunter2")]);
    let outcome = get(&rack.context(), &key("acme.test.PLAIN"), GetOptions::default()).unwrap();
    assert_eq!(outcome.keys[0].attempt.status(), "blocked");
    assert!(!format!("{outcome:?}").contains("hunter2"));
    let options = GetOptions { allow_dangerous: true, ..GetOptions::default() };
    assert!(get(&rack.context(), &key("acme.test.PLAIN"), options).unwrap().all_granted());
}

#[test]
fn whole_repository_is_read_in_one_request() {
    let rack = rack_with_repository();
    rack.unlock(&[("acme.all.SHARED", b"s"), ("acme.test.STRONG", b"t"), ("other.test.PLAIN", b"x")]);
    let ctx = rack.context_with([("PLAIN", "p")]);
    let outcome = get(&ctx, &Scope::Repo { env: Some(Env::Test) }, GetOptions::default()).unwrap();
    assert!(outcome.all_granted());
    let sourced = sort(outcome, SourceMode::Strict).unwrap();
    let text = lines(&sourced.exports, Shell::Posix).text;
    assert_eq!(text.expose(), b"export SHARED='s'\nexport PLAIN='p'\nexport STRONG='t'\n");
    // `all` means every env. A name comes once, from its first slug.
    let outcome = get(&ctx, &Scope::Repo { env: Some(Env::All) }, GetOptions::default()).unwrap();
    assert_eq!(outcome.keys.len(), 6);
    let sourced = sort(outcome, SourceMode::Strict).unwrap();
    assert_eq!(sourced.exports.len(), 3);
}

#[test]
fn suspended_daemon_is_an_error_unless_the_environment_has_all() {
    let rack = rack_with_repository();
    rack.unlock(&[("acme.test.PLAIN", b"v")]);
    let pidfd = Pidfd::open(rack.session().hello().unwrap().pid.try_into().unwrap()).unwrap();
    pidfd.signal(Signal::Stop).unwrap();
    let mut ctx = rack.context();
    ctx.deadline = std::time::Duration::from_millis(200);
    let without = get(&ctx, &key("acme.test.PLAIN"), GetOptions::default()).map(|_| ());
    let mut with = rack.context_with([("PLAIN", "ambient")]);
    with.deadline = ctx.deadline;
    let ambient = get(&with, &key("acme.test.PLAIN"), GetOptions::default());
    pidfd.signal(Signal::Cont).unwrap();
    assert_eq!(without.unwrap_err().code, ErrorCode::DaemonUnresponsive);
    let ambient = ambient.unwrap();
    assert!(ambient.all_granted());
    assert_eq!(ambient.daemon_error.unwrap().code, ErrorCode::DaemonUnresponsive);
}

#[test]
fn status_reports_daemon_and_keys() {
    let rack = rack_with_repository();
    let nothing = status::status(&rack.context()).unwrap();
    assert!(nothing.running.is_none());
    rack.unlock(&[("acme.test.PLAIN", b"v"), ("acme.all.SHARED", b"s"), ("acme.sudo.ROOT", b"r")]);
    let found = status::status(&rack.context()).unwrap();
    let running = found.running.unwrap();
    let slugs = |env| running.keys(env).map(|key| key.slug.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(slugs(None), ["acme.test.PLAIN", "acme.all.SHARED", "acme.sudo.ROOT"]);
    assert_eq!(slugs(Some(Env::Test)), ["acme.test.PLAIN"]);
    assert_eq!(running.envs(), [Env::Test, Env::All]);
    let hello = running.hello.unwrap();
    assert_eq!(running.pid, Some(i64::from(hello.pid)));
    assert_eq!(Some(hello.memory), running.status.health.map(|condition| condition.memory));
}

#[test]
fn relock_takes_name_slug_env_or_all() {
    let all = [
        ("acme.test.PLAIN", &b"v"[..]),
        ("acme.prod.PLAIN", b"v"),
        ("acme.all.SHARED", b"v"),
        ("@all.test.BOX", b"v"),
    ];
    let by = |ask: &str, env| RelockQuery::Key { ask: ask.to_owned(), org: Org::This, env };
    for (wanted, ended) in [
        (by("PLAIN", Some(Env::Test)), &["acme.test.PLAIN"][..]),
        (by("acme.prod.PLAIN", None), &["acme.prod.PLAIN"]),
        (by("SHARED", None), &["acme.all.SHARED"]),
        (by("SHARED", Some(Env::Test)), &["acme.all.SHARED"]),
        (by("acme.test.SHARED", None), &[]),
        (by("@all.test.BOX", None), &["@all.test.BOX"]),
        (RelockQuery::Env(Env::Test), &["@all.test.BOX", "acme.test.PLAIN"]),
        (RelockQuery::All, &["@all.test.BOX", "acme.all.SHARED", "acme.prod.PLAIN", "acme.test.PLAIN"]),
    ] {
        let rack = rack_with_repository();
        rack.unlock(&all);
        let relocked = relock(&rack.context(), &wanted).unwrap();
        let slugs: Vec<_> = relocked.relocked.slugs.iter().map(keyrack_core::Slug::as_str).collect();
        assert_eq!(slugs, ended, "{wanted:?}");
        let left = rack.session().status().unwrap().keys.len();
        assert_eq!(left, 4 - ended.len(), "{wanted:?}");
    }
    let rack = rack_with_repository();
    assert_eq!(relock(&rack.context(), &RelockQuery::All).unwrap().relocked.slugs, []);
    let error = relock(&rack.context(), &by("PLAIN", None)).unwrap_err();
    assert_eq!(error.code, ErrorCode::AmbiguousKey);
}
