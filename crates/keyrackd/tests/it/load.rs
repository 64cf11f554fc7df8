//! Under load: what is refused costs nothing that lasts, and the others are served meanwhile, each
//! within a quarter of a second.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keyrack_testkit::{Need, as_user, can_run, in_new_session, wait_until};

use crate::daemon::{Daemon, LONG, RELOCK_ALL, STATUS, connect, frame, get, read_frame, slugs_in, unlock};
use crate::peer_process::crowd;

/// The longest that one well-behaved caller may wait while others misbehave.
const WORST: Duration = Duration::from_millis(250);

const MIB: u64 = 1 << 20;

/// Resident memory, in bytes.
fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.child.pid())).unwrap().count()
}

/// A well-behaved caller that asks all the time, over fresh connections.
struct Other {
    stop: Arc<AtomicBool>,
    caller: JoinHandle<(u32, Duration)>,
}

impl Other {
    fn of(daemon: &Daemon) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, socket) = (Arc::clone(&stop), daemon.socket.clone());
        let caller = std::thread::spawn(move || {
            let (mut asked, mut worst) = (0, Duration::ZERO);
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let reply = crate::daemon::ask(connect(&socket), get("acme.test.K").as_bytes());
                worst = worst.max(begun.elapsed());
                assert_eq!(slugs_in(&reply), ["acme.test.K"]);
                asked += 1;
            }
            (asked, worst)
        });
        Other { stop, caller }
    }

    /// Number of requests, and the longest wait.
    fn stop(self) -> (u32, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.caller.join().unwrap()
    }
}

#[test]
fn endless_request_is_rejected_early() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    let before = resident(&daemon);
    let other = Other::of(&daemon);
    let endless: [(&[u8], &str); 3] = [
        (br#"{"command":"UNLOCK","payload":{"keys":[{"slug":""#, "legacy"),
        (br#"{"command":"GET","x":["#, "legacy"),
        // The longest frame there may be, and more after it.
        (b"\x00\x10\x00\x00\x00\x00\x00\x10", "native"),
    ];
    for (beginning, protocol) in endless {
        let mut stream = daemon.connect();
        stream.write_all(beginning).unwrap();
        let mut sent = 0_u64;
        let chunk = vec![b'1'; 65_536];
        while sent < 100 * MIB {
            match stream.write(&chunk) {
                Ok(n) => sent += n as u64,
                Err(_) => break,
            }
        }
        // What the sockets' buffers hold, and what is let in unseen so that the refusal can be
        // read, is not told apart from here.
        assert!(sent < 8 * MIB, "{protocol}: {sent} bytes were taken");
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("error") || told.is_empty(), "{protocol}: {told}");
        assert!(resident(&daemon) < before + 24 * MIB, "{protocol}: {} bytes", resident(&daemon));
    }
    let (asked, worst) = other.stop();
    assert!(asked > 0 && worst < WORST, "{asked} asked, {worst:?} at the worst");
}

#[test]
fn ten_thousand_connections_do_not_delay_other_clients() {
    let _ = keyrack_sys::hardening::raise_limits();
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    let before = (descriptors(&daemon), resident(&daemon));
    let other = Other::of(&daemon);
    // Two thousand stay open; the others close at once.
    let mut idle = Vec::new();
    for round in 0..10_000 {
        // A full backlog makes an attempt wait, which is not a failure.
        let stream = UnixStream::connect(&daemon.socket).unwrap();
        if round % 5 == 0 {
            idle.push(stream);
        }
    }
    assert_eq!(idle.len(), 2000);
    let begun = Instant::now();
    for stream in &mut idle {
        stream.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed without a reply");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "by the five seconds of a first byte: {:?}",
        begun.elapsed()
    );
    let (asked, worst) = other.stop();
    assert!(asked > 0 && worst < WORST, "{asked} asked, {worst:?} at the worst");
    drop(idle);
    wait_until("every descriptor is given back", LONG, || descriptors(&daemon) <= before.0);
    // What a thousand waiting callers needed at a time may stay with the allocator.
    assert!(resident(&daemon) < before.1 + 8 * MIB, "{} bytes", resident(&daemon));
}

#[test]
fn fifty_thousand_rejections_leak_nothing() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv"), Need::Sessions]) {
        return;
    }
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    daemon.open_to_all();
    // The first ones may make what stays.
    crowd(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), 1000);
    let before = (descriptors(&daemon), resident(&daemon));
    let other = Other::of(&daemon);
    let told = crowd(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), 25_000)
        + crowd(in_new_session, daemon.socket.as_os_str(), 25_000);
    assert!(told > 49_000, "{told} were told why");
    let (_, worst) = other.stop();
    assert!(worst < WORST, "{worst:?} at the worst");
    wait_until("every descriptor is given back", LONG, || descriptors(&daemon) <= before.0);
    // The least allocation, kept by each of them, would be 800 KiB or more.
    assert!(resident(&daemon) < before.1 + 640 * 1024, "{} bytes, {} before", resident(&daemon), before.1);
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

/// Actions of good and bad clients, one after the other.
fn mixed(daemon: &Daemon, round: u32) {
    let key = format!("acme.test.K{}", round % 50);
    match round % 11 {
        0 => daemon.unlock(&key, &"v".repeat(round as usize % 4000)),
        1 => drop(daemon.ask(&get(&key))),
        2 => drop(daemon.ask(STATUS)),
        3 => drop(daemon.connect()),
        4 => drop(daemon.connect().write_all(b"{\"command\":")),
        5 => {
            let mut stream = daemon.connect();
            for id in 1..20 {
                let header = format!(r#"{{"id":{id},"op":"get","slugs":["{key}","acme.test.K"]}}"#);
                stream.write_all(&frame(&header, b"")).unwrap();
                assert!(read_frame(&mut stream).is_some());
            }
        }
        6 => drop(daemon.ask("no request")),
        // A half-close: the reply still arrives.
        7 => {
            let mut stream = daemon.connect();
            stream.write_all(get("acme.test.K").as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert_eq!(slugs_in(&reply), ["acme.test.K"]);
        }
        // A client that closes with its reply unread: a reset.
        8 => {
            let mut stream = daemon.connect();
            stream.write_all(get("acme.test.BIG").as_bytes()).unwrap();
        }
        9 => drop(daemon.connect().write_all(&frame(r#"{"id":1,"op":"nonsense"}"#, b"x"))),
        _ => {
            let relock = format!(r#"{{"command":"RELOCK","payload":{{"slugs":["{key}"]}}}}"#);
            drop(daemon.ask(&relock));
        }
    }
}

fn mix(for_how_long: Duration) {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.BIG", &"x".repeat(500_000));
    daemon.unlock("acme.test.K", "s");
    let settle = || {
        let relocked = daemon.ask(RELOCK_ALL);
        assert!(relocked.contains(r#""success":true"#), "{relocked}");
        daemon.unlock("acme.test.BIG", &"x".repeat(500_000));
        daemon.unlock("acme.test.K", "s");
        (descriptors(&daemon), resident(&daemon))
    };
    for round in 0..2000 {
        mixed(&daemon, round);
    }
    let before = settle();
    let (begun, mut round) = (Instant::now(), 0);
    while begun.elapsed() < for_how_long {
        mixed(&daemon, round);
        round = round.wrapping_add(1);
    }
    let after = settle();
    let mut err = std::io::stderr();
    let figures = format!("{} then {}, resident {} then {} bytes", before.0, after.0, before.1, after.1);
    writeln!(err, "{round} rounds: descriptors {figures}").unwrap();
    assert!(round > 100);
    wait_until("every descriptor is given back", LONG, || descriptors(&daemon) <= before.0);
    assert!(resident(&daemon) < before.1 + 512 * 1024, "{} bytes, {} before", resident(&daemon), before.1);
    assert!(daemon.ask(&unlock("acme.test.LAST", "s", "")).contains("acme.test.LAST"));
}

#[test]
fn mixed_traffic_leaks_nothing() {
    mix(Duration::from_secs(5));
}

#[test]
#[ignore = "an hour, or KEYRACK_SOAK_SECONDS: npm run soak"]
fn hour_of_mixed_traffic_leaks_nothing() {
    let seconds = std::env::var("KEYRACK_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    mix(Duration::from_secs(seconds.unwrap_or(3600)));
}
