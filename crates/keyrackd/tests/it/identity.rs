//! Who is served. Directories and sockets are opened to everybody first, so that only the look at the caller stands.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use keyrack_sys::signal::Signal;
use keyrack_testkit::{Home, Need, as_user, can_run, in_new_session, wait_until};

use crate::actor::{Session, ask_as, play, relay};
use crate::daemon::{
    Daemon, LONG, RELOCK_ALL, STATUS, command, get, open_to_all, slugs_in, socket_in, unlock,
};

/// What a stranger is told, and all that it is told.
const TOLD: &str = r#"{"success":false,"error":"session mismatch: this daemon does not serve this process"}"#;

#[test]
fn another_login_session_is_turned_away() {
    if !can_run("another_login_session_is_turned_away", &[Need::Sessions]) {
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
fn another_user_is_turned_away() {
    if !can_run("another_user_is_turned_away", &[Need::Root, Need::Program("setpriv")]) {
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
fn root_is_a_stranger_too() {
    if !can_run("root_is_a_stranger_too", &[Need::Root, Need::Program("setpriv")]) {
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
fn strangers_hear_it_in_their_own_protocol_and_keep_nothing_alive() {
    if !can_run("strangers_hear_it_in_their_own_protocol", &[Need::Root, Need::Program("setpriv")]) {
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
            // The last of them meets the daemon as it ends.
            let _ = stream.write_all(STATUS.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
        status = daemon.child.0.try_wait().unwrap();
    }
    assert!(status.is_some_and(|status| status.success()), "it ends for want of callers of its own");
}

#[test]
fn strangers_displace_nobody() {
    if !can_run("strangers_displace_nobody", &[Need::Root, Need::Program("setpriv")]) {
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
    // A stranger that says nothing has a second, then its place is another's.
    for mut stream in silent {
        assert_eq!(crate::daemon::read_all(&mut stream), "");
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(daemon.ask(STATUS), TOLD);
}

#[test]
fn a_caller_that_died_before_it_was_seen_is_turned_away() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let output = daemon.home.root().join("output");
    daemon.signal(Signal::Stop);
    let opener = relay("orphan", daemon.socket.as_os_str(), &get("acme.test.K"), output.as_os_str())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(opener.status.success(), "{opener:?}");
    // Its child holds the connection, and the opener is reaped.
    daemon.signal(Signal::Cont);
    wait_until("the child was answered", LONG, || output.exists());
    wait_until("the answer is written", LONG, || !fs::read(&output).unwrap().is_empty());
    assert_eq!(fs::read_to_string(&output).unwrap(), TOLD);
}

#[test]
fn a_connection_ends_with_the_process_that_opened_it() {
    let daemon = Daemon::start();
    let output = daemon.home.root().join("output");
    let opener = relay("quitter", daemon.socket.as_os_str(), r#"{"id":1,"op":"ping"}"#, output.as_os_str())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(opener.status.success(), "{opener:?}");
    wait_until("the child knows", LONG, || fs::read(&output).is_ok_and(|text| !text.is_empty()));
    assert_eq!(fs::read_to_string(&output).unwrap(), "None", "no reply to a dead opener's connection");
}

#[test]
fn what_is_left_of_a_dead_opener_asks_nothing() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    for request in [&get("acme.test.K"), r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#] {
        let output = daemon.home.root().join(format!("output-{}", request.len()));
        let opener = relay("leaver", daemon.socket.as_os_str(), request, output.as_os_str())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(opener.status.success(), "{opener:?}");
        wait_until("the child knows", LONG, || fs::read(&output).is_ok_and(|text| !text.is_empty()));
        assert_eq!(fs::read_to_string(&output).unwrap(), "None", "{request}");
    }
}

/// What the kernel can tell of a connection is who opened it. Whoever is handed the descriptor acts as that process, for as
/// long as that lives.
#[test]
fn a_descriptor_passed_on_acts_as_its_opener() {
    if !can_run("a_descriptor_passed_on_acts_as_its_opener", &[Need::Sessions]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let output = daemon.home.root().join("output");
    let opener = relay("lender", daemon.socket.as_os_str(), &get("acme.test.K"), output.as_os_str())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(opener.status.success(), "{opener:?}");
    let reply = fs::read_to_string(&output).unwrap();
    assert!(reply.contains(r#""secret":"hunter2""#), "{reply}");
}

#[test]
fn a_caller_is_judged_when_it_is_met_and_by_what_it_is_then() {
    if !can_run("a_caller_is_judged_when_it_is_met_and_by_what_it_is_then", &[Need::Root, Need::Sessions]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let said = play("mover", daemon.socket.as_os_str(), r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[..2].iter().all(|reply| reply.contains("acme.test.K")),
        "it stays the one it was met as: {said:?}"
    );
    assert!(said[2].contains("session_mismatch"), "met anew it is a stranger: {said:?}");
}

#[test]
fn a_caller_that_becomes_another_program_or_user_stays_the_one_that_was_met() {
    let name = "a_caller_that_becomes_another_program_or_user_stays_the_one_that_was_met";
    if !can_run(name, &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    // The test binary must be of use to that user.
    daemon.open_to_all();
    let said = play("changer", daemon.socket.as_os_str(), r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#);
    assert!(said.len() == 1 && said[0].contains("acme.test.K"), "{said:?}");
    // As it is now it would not be served.
    let told = ask_as(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), STATUS);
    assert_eq!(told, TOLD);
}
