//! The confined daemon at work, watched at every system call: it does all it is for, nothing it
//! asks of the kernel is refused, and nothing is written but answers.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Need, Reaped, as_user, can_run, wait_until};

use crate::daemon::{Daemon, LONG, RELOCK_ALL, STATUS, frame, get, read_frame, slugs_in, unlock};
use crate::peer_process::ask_as;

fn roundtrip(stream: &mut UnixStream, header: &str, secrets: &[u8]) -> (String, Vec<u8>) {
    stream.write_all(&frame(header, secrets)).unwrap();
    read_frame(stream).expect("a reply")
}

/// Everything a daemon is for, to its end.
fn a_day(daemon: &mut Daemon) {
    // The legacy protocol.
    daemon.unlock("acme.test.A", "first");
    daemon.unlock("acme.test.BIG", &"x".repeat(900_000));
    assert!(daemon.ask(&get("acme.test.A")).contains("first"));
    assert!(daemon.ask(&get("acme.test.BIG")).contains(&"x".repeat(900_000)));
    assert_eq!(daemon.held().len(), 2);
    daemon.ask(r#"{"command":"RELOCK","payload":{"slugs":["acme.test.BIG"]}}"#);
    assert_eq!(daemon.held(), ["acme.test.A"]);
    assert!(daemon.ask("nonsense").contains("error"));

    // The native one, in pieces too.
    let mut stream = daemon.connect();
    let hello = r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"t"}"#;
    assert!(roundtrip(&mut stream, hello, b"").0.contains("hardening"));
    let grade =
        r#""grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"}"#;
    let keys = |slug: &str, ttl: u32| {
        format!(
            r#"{{"id":2,"op":"unlock","keys":[{{"slug":"{slug}",{grade},"ttl_ms":{ttl},"secret":{{"offset":0,"len":6}}}}]}}"#
        )
    };
    let frame = frame(&keys("acme.test.B", 60_000), b"second");
    for part in frame.chunks(60) {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(read_frame(&mut stream).unwrap().0.contains(r#""ok":true"#));
    let (_, secret) = roundtrip(&mut stream, r#"{"id":3,"op":"get","slugs":["acme.test.B"]}"#, b"");
    assert_eq!(secret, b"second");
    assert!(roundtrip(&mut stream, r#"{"id":4,"op":"status"}"#, b"").0.contains(r#""keys":2"#));
    assert!(roundtrip(&mut stream, r#"{"id":5,"op":"relock","env":"test"}"#, b"").0.contains("acme.test.B"));
    assert!(roundtrip(&mut stream, r#"{"id":6,"op":"ping"}"#, b"").0.contains("ok"));

    // A key that expires, a signal that erases all, a rejected peer, and clients that leave.
    assert!(roundtrip(&mut stream, &keys("acme.test.C", 200), b"secret").0.contains(r#""ok":true"#));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(daemon.held(), [""; 0]);
    daemon.unlock("acme.test.A", "first");
    daemon.signal(Signal::Usr1);
    wait_until("every key is erased", LONG, || slugs_in(&daemon.ask(STATUS)).is_empty());
    daemon.open_to_all();
    let stranger = ask_as(|command| as_user(61_234, command), daemon.socket.as_os_str(), STATUS);
    assert!(stranger.contains("session mismatch"), "{stranger}");
    drop(daemon.connect());
    drop(daemon.connect().write_all(unlock("acme.test.D", "cut", "").as_bytes().split_at(50).0));
    daemon.ask(RELOCK_ALL);
    // Long enough that its own looks around are among what is seen.
    std::thread::sleep(Duration::from_secs(6));
    roundtrip(&mut stream, r#"{"id":7,"op":"shutdown"}"#, b"");
    assert!(daemon.ended(LONG).success());
}

/// Attaches strace as root, which a process that is not dumpable allows, and returns once it
/// watches.
fn watch(daemon: &Daemon) -> Reaped {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-o"]).arg(daemon.home.root().join("trace"));
    let pid = daemon.child.pid().to_string();
    let strace = Reaped::spawn(strace.args(["-p", &pid]).stdin(Stdio::null()).stderr(Stdio::null()));
    let status = format!("/proc/{pid}/status");
    wait_until("strace watches", LONG, || {
        fs::read_to_string(&status).is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
    });
    strace
}

/// Problem with a system call of a serving daemon, if there is one.
fn wrong(call: &str, run: &str) -> Option<&'static str> {
    let (name, rest) = call.split_once('(')?;
    let first = rest.split([',', ')']).next().unwrap_or_default();
    let below = |prefix: &str| rest.contains(&format!("<{prefix}")) || rest.contains(&format!("\"{prefix}"));
    match name {
        _ if rest.contains("= -1 EPERM") || rest.contains("= -1 EACCES") => Some("it is refused"),
        "open" | "openat" => {
            let writing = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| rest.contains(flag));
            let place = below("/proc") || below("/run/systemd/sessions/");
            (writing || !place).then_some("it opens what it must not")
        }
        "write" | "writev" | "sendto" | "sendmsg" => {
            let kinds = ["<socket:", "<UNIX", "<pipe:", "<anon_inode:[eventfd]"];
            (!kinds.iter().any(|kind| first.contains(kind))).then_some("it writes to a file")
        }
        "unlink" | "unlinkat" => (!rest.contains(run)).then_some("it removes another's file"),
        "creat" | "openat2" | "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" | "link"
        | "linkat" | "symlink" | "symlinkat" | "truncate" | "chmod" | "fchmod" | "fchmodat" | "socket"
        | "connect" | "bind" | "clone" | "clone3" | "fork" | "vfork" | "execve" => {
            Some("it is nothing a daemon does")
        }
        _ => None,
    }
}

#[test]
fn confined_daemon_works_and_writes_only_replies() {
    let test = test_name!();
    if !can_run(test, &[Need::Root, Need::Program("strace"), Need::Program("setpriv")]) {
        return;
    }
    let mut daemon = Daemon::start();
    let run = daemon.home.runtime().join("keyrack.7.").display().to_string();
    daemon.held();
    let mut strace = watch(&daemon);
    a_day(&mut daemon);
    strace.0.wait().unwrap();

    let trace = fs::read_to_string(daemon.home.root().join("trace")).unwrap();
    let calls: Vec<&str> =
        trace.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim_start()).collect();
    let found: Vec<String> =
        calls.iter().filter_map(|call| wrong(call, &run).map(|what| format!("{what}: {call}"))).collect();
    assert_eq!(found, [""; 0]);
    // What was watched was the work.
    for part in ["accept4(", "/sessionid\"", "keyrack.7.83db27ef.sock\"", "timerfd_settime(", "exited with 0"]
    {
        assert!(trace.contains(part), "{part} in {trace}");
    }
}

#[test]
fn trace_check_finds_forbidden_calls_only() {
    for call in [
        r#"openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 9</etc/passwd>"#,
        r#"openat(5</proc>, "self/comm", O_WRONLY|O_CLOEXEC) = 9"#,
        r#"openat(5</proc>, "1/comm", O_RDONLY|O_CLOEXEC) = -1 EPERM (Operation not permitted)"#,
        r#"write(3</tmp/log>, ""..., 12) = 12"#,
        r#"unlink("/tmp/x/run/other") = 0"#,
        "socket(AF_UNIX, SOCK_STREAM, 0) = 3",
    ] {
        assert!(wrong(call, "/tmp/x/run/keyrack.7.").is_some(), "{call}");
    }
    for call in [
        r#"openat(5</proc>, "12/sessionid", O_RDONLY|O_CLOEXEC) = 9</proc/12/sessionid>"#,
        r#"sendto(9<socket:[12]>, ""..., 12, MSG_NOSIGNAL, NULL, 0) = 12"#,
        r#"sendto(9<UNIX-STREAM:[12]>, ""..., 12, MSG_NOSIGNAL, NULL, 0) = 12"#,
        r#"write(2<pipe:[3]>, ""..., 12) = 12"#,
        r#"unlink("/tmp/x/run/keyrack.7.83db27ef.pid") = 0"#,
        "+++ exited with 0 +++",
    ] {
        assert_eq!(wrong(call, "/tmp/x/run/keyrack.7."), None, "{call}");
    }
}
