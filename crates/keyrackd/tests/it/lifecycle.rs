//! Events that can come at any moment: a kill in the middle of a start, several signals at once, a
//! clock that jumps.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use keyrack_core::timestamp::format_ms;
use keyrack_sys::clock::wall_ms;
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Need, Reaped, binary, can_run, wait_until};

use crate::daemon::{
    Daemon, LONG, STATUS, ask, command, connect, frame, get, names_in, read_frame, slugs_in, socket_in,
    unlock,
};
use crate::peer_process::{actor, said_in};

const LOCK: &str = "keyrack.7.83db27ef.sock.lock";
const SOCKET: &str = "keyrack.7.83db27ef.sock";
const HOUR_MS: i64 = 3_600_000;

/// Duration of a start on this machine.
fn start_time() -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let begun = Instant::now();
        let _daemon = Daemon::start();
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// Starts a daemon and sends it a signal after this long. How it ended, and what it left.
fn cut_short(home: &Home, after: Duration, signal: Signal) -> (ExitStatus, Vec<String>) {
    let begun = Instant::now();
    let quiet = |command: &mut Command| {
        Reaped::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let mut child = quiet(&mut command(home));
    let pidfd = Pidfd::open(child.pid().try_into().unwrap()).unwrap();
    while begun.elapsed() < after {
        std::hint::spin_loop();
    }
    pidfd.signal(signal).unwrap();
    let mut status = None;
    wait_until("it ends", LONG, || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    (status.unwrap(), names_in(&home.runtime()))
}

#[test]
fn start_succeeds_after_kill_at_any_moment_of_a_start() {
    const ROUNDS: u32 = 60;
    let whole = start_time().mul_f64(1.5);
    // What is left is left for the next.
    let mut home = Home::new();
    let mut left = BTreeSet::new();
    for round in 0..ROUNDS {
        let (status, names) = cut_short(&home, whole * round / ROUNDS, Signal::Kill);
        assert!(!status.success(), "{status}");
        left.insert(names);
        let mut command = command(&home);
        let mut daemon = Daemon::run(home, &mut command);
        daemon.unlock("acme.test.K", "s");
        assert_eq!(daemon.held(), ["acme.test.K"]);
        daemon.signal(Signal::Term);
        assert_eq!(daemon.ended(LONG).code(), Some(0), "round {round}");
        assert_eq!(daemon.files(), [LOCK], "round {round}");
        home = daemon.home;
    }
    let bound = |names: &Vec<String>| names.iter().any(|name| name == SOCKET);
    assert!(left.iter().any(bound) && !left.iter().all(bound), "before and behind the socket: {left:?}");
}

#[test]
fn sigterm_at_any_moment_of_a_start_leaves_no_socket() {
    const ROUNDS: u32 = 60;
    let whole = start_time().mul_f64(1.5);
    let home = Home::new();
    let mut orderly = 0;
    for round in 0..ROUNDS {
        let (status, names) = cut_short(&home, whole * round / ROUNDS, Signal::Term);
        assert!(names.is_empty() || names == [LOCK], "round {round}: {status} {names:?}");
        orderly += u32::from(status.success());
    }
    assert!(orderly > 0 && orderly < ROUNDS, "before and behind the signals are caught: {orderly}");
}

#[test]
fn simultaneous_signals_shut_down_cleanly() {
    use Signal::{Hup, Int, Term, Usr1};
    for signals in [
        &[Term, Term][..],
        &[Term, Int, Hup],
        &[Usr1, Term],
        &[Hup, Usr1, Usr1],
        &[Int, Usr1, Hup, Term, Int, Usr1],
    ] {
        let mut daemon = Daemon::start();
        for n in 0..100 {
            daemon.unlock(&format!("acme.test.K{n}"), "s");
        }
        let mut half = daemon.connect();
        half.write_all(br#"{"command":"GET","#).unwrap();
        let pidfd = daemon.pidfd();
        let begun = Instant::now();
        for signal in signals {
            // It may have ended by then.
            let _ = pidfd.signal(*signal);
        }
        assert_eq!(daemon.ended(LONG).code(), Some(0), "{signals:?}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{signals:?}: {:?}", begun.elapsed());
        assert_eq!(daemon.files(), [LOCK], "{signals:?}");
        assert_eq!(half.read(&mut [0; 64]).unwrap_or(0), 0, "{signals:?}: no reply to half a request");
    }
    // Any number of those that only erase end nothing.
    let daemon = Daemon::start();
    for n in 0..200 {
        daemon.signal(Usr1);
        if n % 10 == 0 {
            daemon.unlock("acme.test.K", "s");
        }
    }
    daemon.signal(Usr1);
    wait_until("every key is erased", LONG, || daemon.held().is_empty());
}

#[test]
fn signal_to_stopped_daemon_takes_effect_on_continue() {
    let mut daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    daemon.signal(Signal::Stop);
    daemon.signal(Signal::Term);
    std::thread::sleep(Duration::from_millis(50));
    assert!(daemon.child.0.try_wait().unwrap().is_none());
    daemon.signal(Signal::Cont);
    assert_eq!(daemon.ended(LONG).code(), Some(0));
    assert_eq!(daemon.files(), [LOCK]);
}

#[test]
fn kill_during_requests_closes_connections_and_allows_restart() {
    let mut daemon = Daemon::start();
    daemon.unlock("acme.test.K", &"s".repeat(500_000));
    let mut callers: Vec<_> = (0..20).map(|_| daemon.connect()).collect();
    for (n, caller) in callers.iter_mut().enumerate() {
        let request = get("acme.test.K");
        // Some have asked in part, some wait for a reply they do not take.
        let part = if n % 2 == 0 { request.len() } else { n };
        caller.write_all(&request.as_bytes()[..part]).unwrap();
    }
    daemon.signal(Signal::Kill);
    assert!(!daemon.ended(LONG).success());
    for mut caller in callers {
        let _ = caller.read_to_end(&mut Vec::new());
    }
    let Daemon { home, .. } = daemon;
    let mut command = command(&home);
    let daemon = Daemon::run(home, &mut command);
    assert_eq!(daemon.held(), [""; 0]);
}

/// A daemon whose two clocks are turned, all else as shipped: the kernel does not let a running
/// process's clock be set.
struct Clocked {
    child: Reaped,
    replies: io::BufReader<std::process::ChildStdout>,
    home: Home,
}

impl Clocked {
    fn start() -> Self {
        let home = Home::new();
        let socket = socket_in(&home);
        let mut actor = actor("clocked", socket.as_os_str());
        let piped = actor.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Reaped(piped.spawn().unwrap());
        let replies = io::BufReader::new(child.0.stdout.take().unwrap());
        wait_until("it serves", LONG, || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Clocked { child, replies, home }
    }

    /// Sets both clocks to so many milliseconds away from the true ones.
    fn turn(&mut self, boot_ms: i64, wall_ms: i64) {
        writeln!(self.child.0.stdin.as_ref().unwrap(), "{boot_ms} {wall_ms}").unwrap();
        assert_eq!(said_in(&mut self.replies), "turned");
    }

    fn ask(&self, request: &str) -> String {
        ask(connect(&socket_in(&self.home)), request.as_bytes())
    }

    /// Keeps a key for an hour.
    fn unlock(&self, slug: &str) {
        let until = format!(r#","expiresAt":"{}""#, format_ms(wall_ms() + HOUR_MS));
        let reply = self.ask(&unlock(slug, "s", &until));
        assert!(reply.contains(r#""success":true"#), "{reply}");
    }

    fn has(&self, slug: &str) -> bool {
        let reply = self.ask(&get(slug));
        assert!(reply.contains(r#""success":true"#), "{reply}");
        reply.contains(r#""secret""#)
    }
}

#[test]
fn first_get_after_clock_jump_honors_deadlines() {
    const YEAR_MS: i64 = 366 * 24 * HOUR_MS;
    // A minute is more than a test takes.
    const ABOUT: i64 = 60_000;
    for (what, boot, wall, live) in [
        ("no jump", 0, 0, true),
        ("a suspend that ends before the key", HOUR_MS - ABOUT, HOUR_MS - ABOUT, true),
        ("a suspend that the key does not outlive", HOUR_MS, HOUR_MS, false),
        ("a suspend, and then the wall clock set back", HOUR_MS, -YEAR_MS, false),
        ("a suspend of which the wall clock knows nothing", HOUR_MS, 0, false),
        ("the wall clock set back a year", 0, -YEAR_MS, true),
        ("the wall clock set forward a year", 0, YEAR_MS, false),
        ("the wall clock set forward, not to the end", 0, HOUR_MS - ABOUT, true),
        ("a suspend of 100 years", 100 * YEAR_MS, 100 * YEAR_MS, false),
    ] {
        let mut daemon = Clocked::start();
        daemon.unlock("acme.test.K");
        daemon.unlock("acme.test.L");
        daemon.turn(boot, wall);
        assert_eq!(daemon.has("acme.test.K"), live, "{what}");
        let listed = slugs_in(&daemon.ask(STATUS));
        assert_eq!(listed.len(), if live { 2 } else { 0 }, "{what}: {listed:?}");
        // What a jump has ended, the clock set right does not bring back.
        daemon.turn(0, 0);
        assert_eq!(daemon.has("acme.test.K"), live, "{what}, and set right");
        assert_eq!(daemon.has("acme.test.L"), live, "{what}, and set right");
    }
}

#[test]
fn daemon_expires_keys_in_a_time_namespace() {
    let test = test_name!();
    let needs = [Need::Root, Need::Program("unshare"), Need::Path("/proc/self/ns/time")];
    if !can_run(test, &needs) {
        return;
    }
    // A second, a year, and a hundred years after the machine's start.
    for boot in ["1", "31536000", "3153600000"] {
        let home = Home::new();
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", boot, "--"]).arg(binary("keyrackd"));
        command.arg("--socket").arg(socket_in(&home));
        let mut daemon = Daemon::run(home, &mut command);
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/time")).unwrap();
        let pid = daemon.child.pid().to_string();
        assert_ne!(namespace(&pid), namespace("self"), "an exec enters it since Linux 6.3");
        daemon.unlock("acme.test.LONG", "s");
        let end = format!(r#","expiresAt":"{}""#, format_ms(wall_ms() + 1500));
        let reply = daemon.ask(&unlock("acme.test.SHORT", "s", &end));
        assert!(reply.contains("acme.test.SHORT"), "{reply}");
        assert_eq!(daemon.held().len(), 2, "{boot}");
        std::thread::sleep(Duration::from_millis(1600));
        assert_eq!(daemon.held(), ["acme.test.LONG"], "{boot}");
        daemon.signal(Signal::Term);
        assert_eq!(daemon.ended(LONG).code(), Some(0));
    }
}

/// The binary tested is built to end at any overflow.
#[test]
fn extreme_ttls_do_not_overflow() {
    let daemon = Daemon::start();
    let times = [
        "1970-01-01T00:00:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59.999+14:00",
        "9999-12-31T23:59:59.999-14:00",
        "+275760-09-13T00:00:00.000Z",
        "-271821-04-20T00:00:00.000Z",
        "99999999999999999999-01-01T00:00:00.000Z",
    ];
    for end in times {
        daemon.ask(&unlock("acme.test.K", "s", &format!(r#","expiresAt":"{end}""#)));
        assert!(daemon.held().len() <= 1, "{end}: it serves still");
    }
    let numbers = ["0", "1", "86400000", "86400001", "9223372036854775807", "18446744073709551615"];
    let more = ["-1", "-9223372036854775808", "18446744073709551616", "1e300"];
    let lives = numbers.iter().chain(&more).map(|number| format!(r#""ttl_ms":{number}"#));
    let ends = times.iter().map(|end| format!(r#""ttl_ms":60000,"credential_expires_at":"{end}""#));
    for asked in lives.chain(ends) {
        let header = format!(
            r#"{{"id":1,"op":"unlock","keys":[{{"slug":"acme.test.N","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"os.secure","mech":"M"}},{asked},"secret":{{"offset":0,"len":1}}}}]}}"#
        );
        let mut native = daemon.connect();
        native.write_all(&frame(&header, b"s")).unwrap();
        assert!(read_frame(&mut native).is_some(), "{asked}: it is answered");
        let held = daemon.held().contains(&"acme.test.N".to_owned());
        assert!(held || !asked.ends_with(":86400000"), "the longest life there is");
    }
    assert_eq!(fs::read_dir(daemon.home.runtime()).unwrap().count(), 3, "nothing has ended");
}
