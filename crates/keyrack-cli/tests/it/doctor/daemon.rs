//! The daemon and its socket.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use keyrack_testkit::{Need, Reaped, binary, can_run, in_new_session, run, wait_until};
use serde_json::Value;

use super::{LIMIT, Report, can_mount, diagnose, in_mount_namespace, run_ok};
use crate::fixture::Fixture;

/// Returns the path of the daemon's socket. Starts and stops a daemon to find it.
pub(super) fn socket(fixture: &Fixture) -> PathBuf {
    let (_, stdout, _) = fixture.run("keyrack daemon start --json", b"");
    let reply: Value = serde_json::from_str(&stdout.concat()).unwrap();
    run_ok(fixture, "keyrack daemon stop");
    reply["socketPath"].as_str().unwrap().into()
}

#[test]
fn daemon_in_a_systemd_service_is_reported_at_start_and_by_doctor() {
    if !can_mount("daemon_in_a_systemd_service_is_reported_at_start_and_by_doctor") {
        return;
    }
    let fixture = Fixture::new();
    let within = |path: &str, of: &str, command: &str| {
        let text = format!("echo 0::{path} > cgroup; mount --bind cgroup /proc/{of}/cgroup; exec {command}");
        run(&mut in_mount_namespace(&fixture, &text), b"", LIMIT).unwrap()
    };
    let service = "/user.slice/user-1000.slice/user@1000.service/app.slice/work.service";
    let output = within(service, "$$", "keyrack daemon start");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("inside the systemd unit work.service: when the unit stops"), "{text}");
    let output = within(service, "$$", "keyrack daemon start");
    assert!(output.stderr.is_empty(), "it runs already: {output:?}");
    let reply: Value =
        serde_json::from_str(&fixture.run("keyrack daemon status --json", b"").1.concat()).unwrap();
    let pid = reply["pid"].to_string();
    let report = |path: &str| Report::from_output(&within(path, &pid, "keyrack doctor --json"));
    report(service).assert_check("daemon.unit", "warn", &["systemd unit work.service", "keyrack run"]);
    report("/user.slice/user-1000.slice/session-2.scope").assert_no_check("daemon.unit");
    run_ok(&fixture, "keyrack daemon stop");
    let output = within("/user.slice/user-1000.slice/session-2.scope", "$$", "keyrack daemon start");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn doctor_distinguishes_a_dead_socket_from_other_files() {
    let fixture = Fixture::new();
    diagnose(&fixture).assert_check("daemon.socket", "skip", &["no daemon is running"]);
    let socket = socket(&fixture);
    drop(UnixListener::bind(&socket).unwrap());
    diagnose(&fixture).assert_check("daemon.socket", "warn", &["nothing listens", "keyrack daemon prune"]);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "").unwrap();
    diagnose(&fixture).assert_check("daemon.socket", "fail", &["is not a socket", "away"]);
}

#[test]
fn doctor_fails_on_a_foreign_process_at_the_socket() {
    let test = "doctor_fails_on_a_foreign_process_at_the_socket";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    let fixture = Fixture::new();
    let socket = socket(&fixture);
    let mut command = fixture.home.command(binary("keyrackd"));
    command.arg("--socket").arg(&socket);
    let _stranger = Reaped::spawn(&mut in_new_session(&command));
    wait_until("it serves", LIMIT, || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let report = diagnose(&fixture);
    report.assert_check("daemon.socket", "fail", &["something else listens at", "ss -xlp"]);
}

#[test]
fn doctor_fails_on_an_unresponsive_daemon() {
    let fixture = Fixture::new();
    run_ok(&fixture, "keyrack daemon start");
    let (_, stdout, _) = fixture.run("keyrack daemon status --json", b"");
    let reply: Value = serde_json::from_str(&stdout.concat()).unwrap();
    let pid = reply["pid"].to_string();
    run_ok(&fixture, &format!("kill -STOP {pid}"));
    let report = diagnose(&fixture);
    run_ok(&fixture, &format!("kill -CONT {pid}"));
    report.assert_check("daemon.socket", "fail", &["keyrack daemon prune"]);
    diagnose(&fixture).assert_check("daemon.socket", "ok", &["keyrackd is running"]);
}

#[test]
fn doctor_fails_on_a_typescript_daemon() {
    let fixture = Fixture::new();
    let _listener = UnixListener::bind(socket(&fixture)).unwrap();
    // The doctor recognizes keyrackd by its process name. Here the test process listens, under
    // another name.
    diagnose(&fixture).assert_check(
        "daemon.socket",
        "fail",
        &["older TypeScript keyrack", "keyrack daemon restart"],
    );
}
