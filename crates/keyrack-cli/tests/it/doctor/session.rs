//! The login session, the user manager and lingering.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use keyrack_testkit::{Need, as_user, can_run, in_new_session, run};

use super::{
    LIMIT, Report, UNUSED_UID, can_mount, daemon::socket, diagnose, doctor, in_mount_namespace, run_ok,
    script,
};
use crate::fixture::Fixture;

#[test]
fn doctor_reports_the_login_session() {
    let test = "doctor_reports_the_login_session";
    let own = fs::read_to_string("/proc/self/sessionid").unwrap_or_default();
    if can_run(test, &[Need::That(own == "4294967295", "to run in no login session")]) {
        let fixture = Fixture::new();
        diagnose(&fixture).assert_check(
            "session.login",
            "warn",
            &["does not belong to a login session", "ssh"],
        );
        run_ok(&fixture, "keyrack daemon start");
        diagnose(&fixture).assert_check("daemon.boundary", "warn", &["cannot tell login sessions apart"]);
        let report = Report::from_command(doctor(&fixture).env("KEYRACK_REQUIRE_SESSION", "1"));
        report.assert_check("daemon.boundary", "fail", &["KEYRACK_REQUIRE_SESSION"]);
    }
    if can_run(test, &[Need::Sessions]) {
        let fixture = Fixture::new();
        let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
        let report = Report::from_command(&mut in_new_session(&both));
        report.assert_check("session.login", "ok", &["this is login session "]);
        report.assert_check("daemon.boundary", "ok", &["serves only processes of this login session"]);
        // Seen from the test, that session is another one.
        let report = diagnose(&fixture);
        report.assert_check("session.elsewhere", "warn", &["other login sessions"]);
        report.assert_check("daemon.socket", "skip", &["no daemon is running"]);
    }
}

/// Returns a program that the kernel lists as `systemd`, like a user manager.
fn user_manager(fixture: &Fixture) -> PathBuf {
    let path = fixture.home.root().join("systemd");
    let sleep =
        run(Command::new("sh").args(["-c", "readlink -f \"$(command -v sleep)\""]), b"", LIMIT).unwrap();
    fs::copy(String::from_utf8(sleep.stdout).unwrap().trim(), &path).unwrap();
    path
}

#[test]
fn doctor_reports_the_session_of_the_user_manager() {
    let test = "doctor_reports_the_session_of_the_user_manager";
    if !can_run(test, &[Need::Sessions, Need::Program("setpriv")]) {
        return;
    }
    let fixture = owned_by_unused_uid(Fixture::new());
    let manager = user_manager(&fixture);
    let with = |inside: &str| {
        let text = format!(
            "{} 60 & trap \"kill $!\" EXIT; while [ \"$(cat /proc/$!/comm)\" != systemd ]; do sleep 0.01; done; {inside}",
            manager.display()
        );
        script(&fixture, &text)
    };
    // The user manager runs in the caller's login session.
    let report =
        Report::from_command(&mut in_new_session(&as_user(UNUSED_UID, &with("keyrack doctor --json"))));
    report.assert_check("session.user_manager", "warn", &["this is the login session of your user manager"]);
    // The user manager runs in another session. Root creates the sessions, because other users
    // cannot change a session id that is set.
    let other = script(
        &fixture,
        &format!(
            "(echo 0 > /proc/self/loginuid; exec setpriv --reuid {UNUSED_UID} --clear-groups {} 60) & trap \"kill $!\" EXIT
            while [ \"$(cat /proc/$!/comm)\" != systemd ]; do sleep 0.01; done
            echo 0 > /proc/self/loginuid; setpriv --reuid {UNUSED_UID} --clear-groups keyrack doctor --json",
            manager.display()
        ),
    );
    let mut other = other;
    let report = Report::from_command(&mut other);
    report.assert_check("session.user_manager", "ok", &["have their own daemon"]);
}

/// Gives the fixture's files to the user [`UNUSED_UID`].
pub(super) fn owned_by_unused_uid(fixture: Fixture) -> Fixture {
    let root = fixture.home.root().to_owned();
    let owner = format!("{UNUSED_UID}:{UNUSED_UID}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(&root).status().unwrap().success());
    fixture
}

#[test]
fn doctor_warns_of_lingering() {
    if !can_mount("doctor_warns_of_lingering") {
        return;
    }
    let fixture = Fixture::new();
    let lingering = "mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mkdir -p /run/systemd/users /var/lib/systemd/linger; : > /var/lib/systemd/linger/root; ";
    let text = format!("{lingering} keyrack doctor --json");
    let report = Report::from_command(&mut in_mount_namespace(
        &fixture,
        "mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mkdir -p /run/systemd/users; keyrack doctor --json",
    ));
    report.assert_check("session.linger", "ok", &["lingering is off"]);
    let report = Report::from_command(&mut in_mount_namespace(
        &fixture,
        "mount -t tmpfs none /run; keyrack doctor --json",
    ));
    report.assert_check("session.linger", "skip", &["logind is not running"]);
    let own = fs::read_to_string("/proc/self/sessionid").unwrap_or_default();
    if can_run(
        "doctor_warns_of_lingering: no session",
        &[Need::That(own == "4294967295", "no login session")],
    ) {
        let report = Report::from_command(&mut in_mount_namespace(&fixture, &text));
        report.assert_check(
            "session.linger",
            "warn",
            &["until their TTL expires", "loginctl disable-linger"],
        );
    }
    if can_run("doctor_warns_of_lingering: a session", &[Need::Sessions]) {
        let report = Report::from_command(&mut in_new_session(&in_mount_namespace(&fixture, &text)));
        report.assert_check("session.linger", "ok", &["lingering is on", "still locked at logout"]);
    }
}

#[test]
fn doctor_names_a_rack_outside_login_sessions() {
    if !can_run("doctor_names_a_rack_outside_login_sessions", &[Need::Sessions]) {
        return;
    }
    let fixture = Fixture::new();
    let own = socket(&fixture);
    let name = own.file_name().unwrap().to_str().unwrap().splitn(3, '.').nth(2).unwrap().to_owned();
    drop(UnixListener::bind(own.with_file_name(format!("keyrack.4294967295.{name}"))).unwrap());
    let both = script(&fixture, "keyrack doctor --json");
    let report = Report::from_command(&mut in_new_session(&both));
    report.assert_check("session.elsewhere", "warn", &["outside any login session"]);
    let text = script(&fixture, "keyrack status; keyrack get --key acme.test.NOPE; exit 0");
    let output = run(&mut in_new_session(&text), b"", LIMIT).unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(all.contains("outside any login session"), "{all}");
    assert!(!all.contains("4294967295") && !report.text.contains("4294967295"), "{all}\n{}", report.text);
}
