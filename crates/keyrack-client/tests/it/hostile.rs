//! Untrusted servers, and servers that violate the protocol.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use keyrack_client::get::{self, GetOptions, Scope};
use keyrack_client::session::RelockTarget;
use keyrack_client::{Context, daemon, daemon::Daemon};
use keyrack_core::{Env, Error, ErrorCode, Org};
use keyrack_testkit::{Need, as_user, can_run, in_new_session, wait_until};

use crate::harness::{Rack, keyrackd, slug};
use crate::server::Server;

/// A rack whose server is not a daemon, so that [`Rack`] cannot stop it.
struct Stage {
    rack: Option<Rack>,
}

impl Stage {
    fn new() -> Self {
        Stage { rack: Some(Rack::new()) }
    }

    fn rack(&self) -> &Rack {
        self.rack.as_ref().unwrap()
    }

    fn context(&self) -> Context {
        let mut ctx = self.rack().context();
        ctx.deadline = Duration::from_millis(600);
        ctx
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The server has exited, and its socket is dead.
        drop(self.rack.take());
    }
}

fn get(ctx: &Context) -> Result<Vec<keyrack_client::session::GrantedKey>, Error> {
    daemon::connect(ctx)?.expect("a server listens").get(&[slug("a.test.K")])
}

#[test]
fn server_of_another_login_session_gets_no_byte() {
    if !can_run("a_server_of_another_login_session_gets_not_a_byte", &[Need::Sessions]) {
        return;
    }
    let stage = Stage::new();
    let socket = stage.rack().socket();
    let server = Server::run(in_new_session(&Server::command("sound", &socket)), &socket);
    untrusted(&stage, &server);
}

#[test]
fn server_in_a_sandbox_gets_no_byte() {
    if !can_run("server_in_a_sandbox_gets_not_a_byte", &[Need::Root, Need::Program("unshare")]) {
        return;
    }
    for options in [
        &["--user"][..],
        &["--user", "--map-current-user"],
        &["--pid", "--fork", "--kill-child", "--mount-proc"],
        &["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"],
    ] {
        let stage = Stage::new();
        let socket = stage.rack().socket();
        let inner = Server::command("sound", &socket);
        let mut command = std::process::Command::new("unshare");
        command.args(options).arg("--").arg(inner.get_program()).args(inner.get_args()).current_dir("/");
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let server = Server::run(command, &socket);
        untrusted(&stage, &server);
        drop(server);
        // Only the sandbox is waited for; the server is killed with it.
        wait_until("the server has ended", Duration::from_secs(10), || {
            std::os::unix::net::UnixStream::connect(&socket).is_err()
        });
    }
}

#[test]
fn server_of_another_user_gets_no_byte() {
    if !can_run("a_server_of_another_user_gets_not_a_byte", &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let stage = Stage::new();
    let socket = stage.rack().socket();
    let runtime = stage.rack().home.runtime();
    // As if another user had created the socket while the directory was open.
    for (dir, mode) in [(stage.rack().home.root(), 0o755), (&runtime, 0o777)] {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    }
    let program = stage.rack().home.root().join("server");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = std::process::Command::new(&program);
    let as_self = Server::command("sound", &socket);
    command.args(as_self.get_args()).current_dir("/");
    for (name, value) in as_self.get_envs() {
        command.env(name, value.unwrap());
    }
    let server = Server::run(as_user(65534, &command), &socket);
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    untrusted(&stage, &server);
}

fn untrusted(stage: &Stage, server: &Server) {
    let ctx = stage.context();
    for error in [
        daemon::connect(&ctx).unwrap_err(),
        daemon::ensure(&ctx, &keyrackd()).unwrap_err(),
        daemon::stop(&ctx).unwrap_err(),
        daemon::restart(&ctx, &keyrackd()).unwrap_err(),
    ] {
        assert_eq!(error.code, ErrorCode::ServerUntrusted, "{error}");
        assert!(error.hint.unwrap().contains(stage.rack().socket().to_str().unwrap()));
    }
    let pruned = daemon::prune_all(&ctx).unwrap();
    let daemon::PruneOutcome::Kept(error) = &pruned[0].outcome else { panic!("{pruned:?}") };
    assert_eq!(error.code, ErrorCode::ServerUntrusted);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.heard(), b"");
    assert!(stage.rack().socket().exists(), "nothing of a stranger's is removed");
}

#[test]
fn conforming_server_is_understood() {
    for behavior in ["sound", "pieces", "close-first"] {
        let stage = Stage::new();
        let _server = Server::start(behavior, &stage.rack().socket());
        let granted = get(&stage.context()).unwrap();
        assert_eq!(granted[0].secret.expose(), b"hunter2", "{behavior}");
    }
}

#[test]
fn misbehaving_server_is_an_error_within_the_deadline() {
    for (behavior, code) in [
        ("hang", ErrorCode::DaemonUnresponsive),
        ("drip", ErrorCode::DaemonUnresponsive),
        ("close", ErrorCode::DaemonUnresponsive),
        ("cut", ErrorCode::DaemonUnresponsive),
        ("cut-key", ErrorCode::DaemonUnresponsive),
        ("garbage", ErrorCode::BadFrame),
        ("oversize", ErrorCode::BadFrame),
        ("wrong-id", ErrorCode::BadFrame),
        ("wrong-kind", ErrorCode::BadFrame),
        ("past-end", ErrorCode::BadFrame),
        ("uncovered", ErrorCode::BadFrame),
        ("unasked", ErrorCode::BadFrame),
        ("endless", ErrorCode::BadFrame),
        ("incompatible", ErrorCode::DaemonIncompatible),
        ("refuse", ErrorCode::SessionMismatch),
    ] {
        let stage = Stage::new();
        let server = Server::start(behavior, &stage.rack().socket());
        let started = Instant::now();
        let error = get(&stage.context()).unwrap_err();
        assert_eq!(error.code, code, "{behavior}: {error}");
        assert!(started.elapsed() < Duration::from_millis(1600), "{behavior}: {:?}", started.elapsed());
        assert!(!format!("{error:?}").contains("hunter2"), "{behavior}: {error:?}");
        assert!(!server.heard().is_empty());
    }
}

#[test]
fn daemon_of_another_version_gets_no_secret() {
    let stage = Stage::new();
    let server = Server::start("incompatible", &stage.rack().socket());
    let error = daemon::ensure(&stage.context(), &keyrackd()).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonIncompatible);
    let fix = error.fix.unwrap().render(keyrack_core::Invocation::default());
    assert_eq!(fix, "keyrack daemon restart");
    assert!(!server.heard().windows(6).any(|window| window == b"unlock"));
}

#[test]
fn typescript_daemon_answers_get() {
    let stage = Stage::new();
    let socket = stage.rack().socket();
    let server = Server::start("ts-get", &socket);
    let granted = get(&stage.context()).unwrap();
    assert_eq!(granted[0].secret.expose(), "hünt\ner".as_bytes());
    assert_eq!(granted[0].grant.slug.as_str(), "a.all.K");
    assert_eq!((granted[0].grant.expires_at_ms, granted[0].remaining), (None, None));
    assert_eq!(server.heard(), br#"{"command":"GET","payload":{"slugs":["a.test.K"]}}"#);
}

#[test]
fn typescript_daemon_answers_status_and_relock() {
    let stage = Stage::new();
    let _server = Server::start("ts-status", &stage.rack().socket());
    let mut daemon = daemon::connect(&stage.context()).unwrap().unwrap();
    assert!(daemon.is_legacy());
    let daemon_status = daemon.status().unwrap();
    assert_eq!(daemon_status.keys.len(), 2);
    assert_eq!(daemon_status.health, None);
    assert_eq!(daemon_status.keys[0].remaining, None);
    assert_eq!(daemon_status.keys[1].remaining.unwrap().as_ms(), 5);

    let stage = Stage::new();
    let server = Server::start("ts-relock", &stage.rack().socket());
    let mut daemon = daemon::connect(&stage.context()).unwrap().unwrap();
    assert_eq!(daemon.relock(&RelockTarget::Slugs(Vec::new())).unwrap().slugs, []);
    assert_eq!(server.heard(), b"", "an empty list would erase everything");
    assert_eq!(
        daemon.relock(&RelockTarget::Slugs(vec![slug("a.test.K")])).unwrap().slugs,
        [slug("a.test.K")]
    );
    daemon.relock(&RelockTarget::Env(Env::Test)).unwrap();
}

#[test]
fn typescript_daemon_gets_no_key() {
    let stage = Stage::new();
    let server = Server::start("ts-get", &stage.rack().socket());
    let error = daemon::ensure(&stage.context(), &keyrackd()).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonLegacy);
    for variable in [("KEYRACK_REQUIRE_SESSION", "1"), ("KEYRACK_MEMORY", "locked")] {
        let ctx = stage.rack().context_with([variable]);
        assert_eq!(daemon::connect(&ctx).unwrap_err().code, ErrorCode::BoundaryWeak);
    }
    assert_eq!(server.heard(), b"");
}

#[test]
fn misbehaving_typescript_daemon_is_an_error_within_the_deadline() {
    for (behavior, code) in [
        ("ts-hang", ErrorCode::DaemonUnresponsive),
        ("ts-refuse", ErrorCode::SessionMismatch),
        ("ts-garbage", ErrorCode::BadFrame),
    ] {
        let stage = Stage::new();
        let _server = Server::start(behavior, &stage.rack().socket());
        let started = Instant::now();
        let error = get(&stage.context()).unwrap_err();
        assert_eq!(error.code, code, "{behavior}: {error}");
        assert!(started.elapsed() < Duration::from_millis(1600), "{behavior}");
        assert!(!format!("{error:?}").contains("hunter2"), "{behavior}: {error:?}");
    }
}

#[test]
fn unrequested_key_is_dropped() {
    let stage = Stage::new();
    let _server = Server::start("other-key", &stage.rack().socket());
    let ctx = stage.context();
    let scope = Scope::Key { ask: "a.test.K".to_owned(), org: Org::This, env: None };
    let outcome = get::get(&ctx, &scope, GetOptions::default()).unwrap();
    assert_eq!(outcome.keys[0].attempt.status(), "absent");
    let Some(Daemon::Native(_)) = daemon::connect(&ctx).unwrap() else { panic!("it is native") };
}
