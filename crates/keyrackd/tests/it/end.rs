//! Exit of a daemon: quick, without leftovers, and without touching other files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use keyrack_sys::process::signal::Signal;
use keyrack_testkit::wait_until;

use crate::daemon::{Daemon, LONG, RELOCK_ALL, STATUS, frame, get, slugs_in, unlock};

#[test]
fn termination_signals_stop_daemon_within_a_second() {
    for signal in [Signal::Term, Signal::Int, Signal::Hup] {
        let mut daemon = Daemon::start();
        daemon.unlock("acme.test.K", "s");
        // A silent connection does not delay the exit.
        let _silent = daemon.connect();
        let begun = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.ended(LONG).code(), Some(0), "{signal:?}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{signal:?}: {:?}", begun.elapsed());
        assert_eq!(daemon.files(), ["keyrack.7.83db27ef.sock.lock"], "{signal:?}");
    }
}

#[test]
fn sigusr1_erases_keys_and_daemon_keeps_serving() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    daemon.signal(Signal::Usr1);
    wait_until("every key is erased", LONG, || daemon.held().is_empty());
    daemon.unlock("acme.test.K", "t");
    assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
}

/// Half a request counts as a request, in either protocol. An abandoned one times out after ten
/// seconds.
#[test]
fn idle_daemon_waits_for_the_rest_of_a_request() {
    let mut daemon = Daemon::start_with(|command| {
        command.env("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "100");
        command.env("KEYRACK_DAEMON_TERMINATION_CHECK_MS", "20");
    });
    let legacy = unlock("acme.test.LEGACY", "s", "");
    let native = frame(
        r#"{"id":1,"op":"unlock","keys":[{"slug":"acme.test.NATIVE","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":60000,"secret":{"offset":0,"len":1}}]}"#,
        b"s",
    );
    for (bytes, done) in [(legacy.as_bytes(), r#""success":true"#), (&native, r#""ok":true"#)] {
        let mut stream = daemon.connect();
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        stream.write_all(first).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(rest).unwrap();
        let mut reply = [0; 256];
        let n = stream.read(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply[..n]);
        assert!(reply.contains(done), "{reply}");
        daemon.ask(RELOCK_ALL);
    }
    let mut abandoned = daemon.connect();
    abandoned.write_all(b"{").unwrap();
    let begun = Instant::now();
    assert_eq!(daemon.ended(LONG).code(), Some(0));
    assert!(begun.elapsed() > Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn idle_daemon_exits_only_without_keys_and_requests() {
    let mut daemon = Daemon::start_with(|command| {
        command.env("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "700");
        command.env("KEYRACK_DAEMON_TERMINATION_CHECK_MS", "50");
    });
    // A key keeps the daemon running, without traffic.
    daemon.unlock("acme.test.K", "s");
    std::thread::sleep(Duration::from_millis(1200));
    assert!(daemon.child.0.try_wait().unwrap().is_none());
    // So do requests.
    daemon.ask(r#"{"command":"RELOCK","payload":{}}"#);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(slugs_in(&daemon.ask(STATUS)), [""; 0]);
    }
    // Connections without a request do not.
    let mut status = None;
    let begun = Instant::now();
    while status.is_none() && begun.elapsed() < LONG {
        drop(UnixStream::connect(&daemon.socket));
        std::thread::sleep(Duration::from_millis(20));
        status = daemon.child.0.try_wait().unwrap();
    }
    assert!(status.unwrap().success());
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(daemon.files(), ["keyrack.7.83db27ef.sock.lock"]);
}

#[test]
fn daemon_exits_after_its_last_key_expires() {
    let mut daemon = Daemon::start_with(|command| {
        command.env("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "100");
        command.env("KEYRACK_DAEMON_TERMINATION_CHECK_MS", "50");
    });
    let end = keyrack_core::timestamp::format_ms(keyrack_sys::clock::wall_ms() + 1000);
    let begun = Instant::now();
    let reply = daemon.ask(&unlock("acme.test.K", "s", &format!(r#","expiresAt":"{end}""#)));
    assert!(reply.contains("acme.test.K"), "{reply}");
    assert!(daemon.ended(LONG).success());
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "the key kept the daemon running: {:?}",
        begun.elapsed()
    );
}

#[test]
fn shutdown_leaves_files_of_another_daemon() {
    let mut daemon = Daemon::start();
    // A successor has replaced them with its own.
    for name in ["keyrack.7.83db27ef.sock", "keyrack.7.83db27ef.pid"] {
        let path = daemon.home.runtime().join(name);
        fs::rename(&path, daemon.home.root().join(name)).unwrap();
    }
    let _other = UnixListener::bind(&daemon.socket).unwrap();
    fs::write(daemon.home.runtime().join("keyrack.7.83db27ef.pid"), "1").unwrap();
    daemon.signal(Signal::Term);
    assert!(daemon.ended(LONG).success());
    assert_eq!(daemon.files().len(), 3, "the successor's two, and the lock");
}

#[test]
fn daemon_exits_when_its_socket_is_removed_or_replaced() {
    let mut daemons = [Daemon::start(), Daemon::start(), Daemon::start()];
    for daemon in &daemons {
        daemon.unlock("acme.test.K", "s");
    }
    fs::remove_file(&daemons[0].socket).unwrap();
    fs::rename(&daemons[1].socket, daemons[1].home.root().join("kept")).unwrap();
    let _other = UnixListener::bind(&daemons[1].socket).unwrap();
    fs::rename(daemons[2].home.runtime(), daemons[2].home.root().join("old")).unwrap();
    let begun = Instant::now();
    for daemon in &mut daemons {
        assert!(daemon.ended(Duration::from_secs(12)).success());
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(daemons[1].socket.exists(), "the socket of the other server stays");
}
