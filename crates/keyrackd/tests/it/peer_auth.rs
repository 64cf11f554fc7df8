//! Peer authentication. Directories and sockets are opened to all first, so that only the check of
//! the caller stands.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Need, as_user, can_run, in_new_session, wait_until};

use crate::daemon::{
    Daemon, LONG, RELOCK_ALL, STATUS, command, get, open_to_all, slugs_in, socket_in, unlock,
};
use crate::peer_process::{Session, actor, ask_as, ask_handed_into, play, relay};

const NATIVE_GET: &str = r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#;

/// The complete reply to a rejected peer.
const TOLD: &str = r#"{"success":false,"error":"session mismatch: this daemon does not serve this process"}"#;

#[test]
fn peer_of_another_session_is_rejected() {
    if !can_run(test_name!(), &[Need::Sessions]) {
        return;
    }
    let home = Home::new();
    let socket = socket_in(&home);
    let mut session = Session::with_daemon(&command(&home), socket.as_os_str());
    open_to_all(&home, &socket);
    let kept = session.ask(&unlock("acme.test.K", "hunter2", ""));
    assert!(kept.contains(r#""unlocked":["acme.test.K"]"#), "{kept}");

    for request in [&get("acme.test.K"), STATUS, RELOCK_ALL, &unlock("acme.test.K", "poison", ""), "x"] {
        let told = ask_as(in_new_session, socket.as_os_str(), request);
        assert_eq!(told, TOLD, "from a session of its own: {request}");
    }
    // We ourselves are in a third session, or in none.
    let told = crate::daemon::ask(crate::daemon::connect(&socket), get("acme.test.K").as_bytes());
    assert_eq!(told, TOLD);

    let still = session.ask(&get("acme.test.K"));
    assert!(still.contains(r#""secret":"hunter2""#), "served within the session, and unchanged: {still}");
}

#[test]
fn peer_of_another_user_is_rejected() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    daemon.open_to_all();
    for request in [&get("acme.test.K"), STATUS, RELOCK_ALL] {
        let told = ask_as(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), request);
        assert_eq!(told, TOLD);
    }
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

#[test]
fn root_is_rejected_by_daemon_of_another_user() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let home = Home::new();
    home.give_to(65_533);
    let mut command = as_user(65_533, &command(&home));
    let daemon = Daemon::run(home, &mut command);
    assert_eq!(daemon.ask(STATUS), TOLD);
    let own = ask_as(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), STATUS);
    assert_eq!(slugs_in(&own), [""; 0]);
}

#[test]
fn rejected_peers_get_error_and_do_not_delay_idle_exit() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let home = Home::new();
    home.give_to(65_533);
    let mut command = command(&home);
    command.env("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "1000").env("KEYRACK_DAEMON_TERMINATION_CHECK_MS", "100");
    let mut command = as_user(65_533, &command);
    let mut daemon = Daemon::run(home, &mut command);

    let mut native = daemon.connect();
    native.write_all(b"\0").unwrap();
    let (header, _) = crate::daemon::read_frame(&mut native).unwrap();
    assert!(header.contains(r#"{"id":0,"error":{"code":"session_mismatch","#), "{header}");

    let started = Instant::now();
    let mut status = None;
    while status.is_none() && started.elapsed() < LONG {
        if let Ok(mut stream) = std::os::unix::net::UnixStream::connect(&daemon.socket) {
            // The last one may connect while the daemon exits.
            let _ = stream.write_all(STATUS.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
        status = daemon.child.0.try_wait().unwrap();
    }
    assert!(
        status.is_some_and(|status| status.success()),
        "the daemon exits idle: rejected peers do not count"
    );
}

#[test]
fn rejected_peers_evict_no_connection() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let home = Home::new();
    home.give_to(65_533);
    let mut command = as_user(65_533, &command(&home));
    let daemon = Daemon::run(home, &mut command);
    let silent: Vec<_> = (0..100).map(|_| daemon.connect()).collect();
    let begun = Instant::now();
    let own = ask_as(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), STATUS);
    assert_eq!(slugs_in(&own), [""; 0]);
    // A silent rejected peer has one second, then its permit goes to another.
    for mut stream in silent {
        assert_eq!(crate::daemon::read_all(&mut stream), "");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(daemon.ask(STATUS), TOLD);
}

#[test]
fn peer_that_exited_before_accept_is_rejected() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let output = daemon.home.root().join("output");
    daemon.signal(Signal::Stop);
    let peer = relay("orphan", daemon.socket.as_os_str(), &get("acme.test.K"), output.as_os_str())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(peer.status.success(), "{peer:?}");
    // Its child holds the connection, and the opener is reaped.
    daemon.signal(Signal::Cont);
    wait_until("the child was answered", LONG, || output.exists());
    wait_until("the answer is written", LONG, || !fs::read(&output).unwrap().is_empty());
    assert_eq!(fs::read_to_string(&output).unwrap(), TOLD);
}

#[test]
fn connection_is_rejected_after_its_opener_exits() {
    let daemon = Daemon::start();
    let output = daemon.home.root().join("output");
    let peer = relay("quitter", daemon.socket.as_os_str(), r#"{"id":1,"op":"ping"}"#, output.as_os_str())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(peer.status.success(), "{peer:?}");
    wait_until("the child knows", LONG, || fs::read(&output).is_ok_and(|text| !text.is_empty()));
    let reply = fs::read_to_string(&output).unwrap();
    assert!(reply.contains("session_mismatch") && !reply.contains(r#""ok""#), "{reply}");
}

#[test]
fn request_left_by_exited_opener_is_rejected() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    for request in [&get("acme.test.K"), r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#] {
        let output = daemon.home.root().join(format!("output-{}", request.len()));
        let peer = relay("leaver", daemon.socket.as_os_str(), request, output.as_os_str())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(peer.status.success(), "{peer:?}");
        wait_until("the child knows", LONG, || fs::read(&output).is_ok_and(|text| !text.is_empty()));
        let reply = fs::read_to_string(&output).unwrap();
        assert!(reply.contains("session mismatch") && !reply.contains("hunter2"), "{request}: {reply}");
    }
}

/// Bytes belong to the process that sent them, and only the opener may use a connection.
#[test]
fn passed_descriptor_is_rejected() {
    if !can_run(test_name!(), &[Need::Sessions]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    for request in [&get("acme.test.K"), STATUS, RELOCK_ALL, NATIVE_GET] {
        // To another login session, and to a child in the same one.
        for jail in [None, Some(&[][..])] {
            let reply = match jail {
                Some(jail) => ask_handed_into(jail, &daemon.socket, request),
                None => {
                    let output = daemon.home.root().join("output");
                    let peer = relay("lender", daemon.socket.as_os_str(), request, output.as_os_str())
                        .stdin(Stdio::null())
                        .output()
                        .unwrap();
                    assert!(peer.status.success(), "{peer:?}");
                    fs::read_to_string(&output).unwrap()
                }
            };
            assert!(reply.contains("session mismatch") && !reply.contains("hunter2"), "{request}: {reply}");
        }
    }
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

#[test]
fn request_of_two_processes_is_rejected() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    for request in [&get("acme.test.K"), RELOCK_ALL, NATIVE_GET] {
        let output = daemon.home.root().join("output");
        let peer = relay("half", daemon.socket.as_os_str(), request, output.as_os_str())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(peer.status.success(), "{peer:?}");
        let reply = String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
        assert!(reply.contains("session mismatch") && !reply.contains("hunter2"), "{request}: {reply}");
    }
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

/// A read ends where the sender changes, as if nothing more had arrived. The daemon still finds the
/// rest at once.
#[test]
fn bytes_of_another_sender_after_a_request_are_rejected_at_once() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let mut command = actor("mixer", daemon.socket.as_os_str());
    command.env("KEYRACK_IT_REQUEST", NATIVE_GET).env("KEYRACK_IT_DAEMON", daemon.child.pid().to_string());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("SAID:")).map(|(_, said)| said).collect();
    assert_eq!(said.len(), 4, "{text}");
    assert!(said[..2].iter().all(|reply| reply.contains(r#""slug":"acme.test.K""#)), "{said:?}");
    assert!(said[2].contains("session_mismatch"), "{said:?}");
    assert_eq!(said[3], "nothing");
}

#[test]
fn peer_is_authenticated_once_per_connection() {
    if !can_run(test_name!(), &[Need::Root, Need::Sessions]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let said = play("mover", daemon.socket.as_os_str(), r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[..2].iter().all(|reply| reply.contains("acme.test.K")),
        "the connection keeps its identity: {said:?}"
    );
    assert!(said[2].contains("session_mismatch"), "authenticated again, it is rejected: {said:?}");
}

#[test]
fn caller_that_executes_another_program_stays_the_opener() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let said = play("reborn", daemon.socket.as_os_str(), NATIVE_GET);
    assert!(said.len() == 1 && said[0].contains("acme.test.K"), "{said:?}");
}

#[test]
fn caller_that_becomes_another_user_is_rejected() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    // That user must be able to run the test binary.
    daemon.open_to_all();
    let said = play("changer", daemon.socket.as_os_str(), NATIVE_GET);
    assert!(said.len() == 1 && said[0].contains("session_mismatch"), "{said:?}");
}
