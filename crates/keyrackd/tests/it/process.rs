//! Hardening of the daemon's process, read back from outside. (The test that a debugger of its own
//! user is kept out needs calls that only `keyrack-sys` may make:
//! `the_same_users_debugger_is_kept_out_of_the_daemon` is there.)

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Need, Reaped, binary, can_run, run, wait_until};

use crate::daemon::{Daemon, LONG, STATUS, frame, names_in, read_frame, slugs_in, socket_in};

fn hello(daemon: &Daemon) -> String {
    let mut stream = daemon.connect();
    let header = r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"t"}"#;
    stream.write_all(&frame(header, b"")).unwrap();
    read_frame(&mut stream).unwrap().0
}

#[test]
fn hardening_is_visible_in_proc() {
    let daemon = Daemon::start();
    let hello = hello(&daemon);
    let proc = format!("/proc/{}", daemon.child.pid());
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    for (line, measure) in [
        ("NoNewPrivs:\t1\n", "no_new_privs"),
        ("Seccomp:\t2\n", "seccomp"),
        ("TracerPid:\t0\n", "not_traced"),
        ("Threads:\t1\n", "not_dumpable"),
    ] {
        assert!(status.contains(line), "{line} in {status}");
        assert!(hello.contains(&format!(r#"{{"name":"{measure}","on":true}}"#)), "{measure} in {hello}");
    }
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // Landlock cannot be read from /proc; this checks that hello reports it.
    assert!(hello.contains(r#"{"name":"landlock","on":"#), "{hello}");
}

/// Runs `script` in a shell that permits core dumps.
fn dumping(home: &Home, script: &str) -> Command {
    let mut command = home.command("sh");
    command.args(["-c", &format!("ulimit -c unlimited && {script}")]);
    command.arg(binary("keyrackd")).arg(socket_in(home));
    command
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().unwrap().success());
}

#[test]
fn crashed_daemon_leaves_no_core_dump() {
    // Another program first, to check that this machine dumps cores at all.
    let home = Home::new();
    let mut other = Reaped::spawn(dumping(&home, "exec sleep 60").stdin(Stdio::null()));
    let comm = format!("/proc/{}/comm", other.pid());
    wait_until("it sleeps", LONG, || fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n"));
    kill("ABRT", other.pid());
    let dumps = other.0.wait().unwrap().core_dumped();
    if !can_run(test_name!(), &[Need::That(dumps, "core dumps")]) {
        return;
    }
    for (name, number) in [("ABRT", 6), ("QUIT", 3), ("TRAP", 5)] {
        let home = Home::new();
        let mut command = dumping(&home, "exec \"$0\" --socket \"$1\"");
        let mut daemon = Daemon::run(home, &mut command);
        daemon.unlock("acme.test.K", "s");
        kill(name, daemon.child.pid());
        let status = daemon.ended(LONG);
        assert_eq!((status.signal(), status.core_dumped()), (Some(number), false), "{name}");
        assert_eq!(names_in(&daemon.home.home()), [""; 0], "{name}: no core where it was started");
        // Its leftover files do not prevent another start.
        let Daemon { home, .. } = daemon;
        let mut again = crate::daemon::command(&home);
        assert_eq!(Daemon::run(home, &mut again).held(), [""; 0]);
    }
}

#[test]
fn daemon_clears_its_environment() {
    if !can_run(test_name!(), &[Need::Root]) {
        return;
    }
    let daemon = Daemon::start_with(|command| {
        command.env("AWS_SECRET_ACCESS_KEY", "sentinel").env("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "60000");
        command.env("KEYRACK_PASSPHRASE", "sentinel");
    });
    let environ = fs::read(format!("/proc/{}/environ", daemon.child.pid())).unwrap();
    let left: Vec<_> = environ.split(|&b| b == 0).filter(|entry| !entry.is_empty()).collect();
    assert_eq!(left, [b"KEYRACK_DAEMON_IDLE_TIMEOUT_MS=60000"]);
}

#[test]
fn cli_passes_daemon_only_keyrack_variables() {
    if !can_run(test_name!(), &[Need::Root]) {
        return;
    }
    let home = Home::new();
    let keyrack = |words: &[&str]| {
        let mut command = home.command(binary("keyrack"));
        command
            .args(words)
            .env("AWS_SECRET_ACCESS_KEY", "sentinel")
            .env("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "60000");
        let output = run(&mut command, b"", LONG).unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    keyrack(&["daemon", "start"]);
    let file = names_in(&home.runtime()).into_iter().find(|name| name.ends_with(".pid")).unwrap();
    let pid = fs::read_to_string(home.runtime().join(file)).unwrap();
    let environ = fs::read(format!("/proc/{pid}/environ"));
    keyrack(&["daemon", "stop"]);
    assert_eq!(environ.unwrap(), b"KEYRACK_DAEMON_IDLE_TIMEOUT_MS=60000\0");
}

#[test]
fn confined_daemon_handles_signals() {
    let mut daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    // Stopped and continued, it serves on.
    daemon.signal(Signal::Stop);
    std::thread::sleep(Duration::from_millis(20));
    daemon.signal(Signal::Cont);
    assert_eq!(daemon.held(), ["acme.test.K"]);
    daemon.signal(Signal::Usr1);
    wait_until("it erases", LONG, || slugs_in(&daemon.ask(STATUS)).is_empty());
    daemon.signal(Signal::Term);
    assert!(daemon.ended(LONG).success());
}
