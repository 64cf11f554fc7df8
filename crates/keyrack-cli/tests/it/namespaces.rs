//! Commands that run in sandboxes: the errors that they report, and the sandboxes that the daemon
//! serves.

use std::time::Duration;

use keyrack_testkit::{Need, can_run, run};
use serde_json::Value;

use crate::doctor::unlocked_rack;
use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);

/// Error that the command reports in each sandbox. The socket is reachable from each.
const JAILS: &[(&str, &str)] = &[
    ("unshare --pid --fork --mount-proc --", "in its own pid namespace"),
    ("unshare --pid --fork --", "without its own /proc"),
    ("unshare --user --", "does not map its user"),
    ("unshare --user --map-user=65534 --", "does not map its user"),
    ("unshare --user --map-root-user --", "in its own user namespace"),
    ("unshare --user --map-root-user --pid --fork --mount-proc --", "in its own pid namespace"),
    ("bwrap --ro-bind / / --dev /dev --proc /proc --unshare-pid --", "in its own pid namespace"),
    ("bwrap --bind / / --unshare-user --", "in its own user namespace"),
];

fn possible(test: &str) -> bool {
    can_run(test, &[Need::Root, Need::Program("unshare"), Need::Program("bwrap")])
}

/// Runs a line of shell. Returns its exit code, stdout and stderr.
fn sh(fixture: &Fixture, line: &str) -> (i32, String, String) {
    let mut command = fixture.command(&["sh", "-euc", line].map(str::to_owned));
    let output = run(&mut command, b"", LIMIT).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn caller_in_namespace_gets_error_with_fix() {
    if !possible("caller_in_namespace_gets_error_with_fix") {
        return;
    }
    let fixture = unlocked_rack();
    for (jail, words) in JAILS {
        for command in
            ["get --env test --key A", "unlock --env test", "status", "relock", "run --env test -- true"]
        {
            let (exit, stdout, stderr) = sh(&fixture, &format!("{jail} keyrack {command}"));
            let all = format!("{jail} {command}: {stdout}{stderr}");
            assert_eq!(exit, 2, "{all}");
            assert!(stderr.contains(words), "{all}");
            assert!(stderr.contains("outside the sandbox"), "{all}");
            for wrong in ["remove", "unset", "not yours", "log in"] {
                assert!(!stderr.contains(wrong), "{wrong}: {all}");
            }
        }
        let (_, _, stderr) = sh(&fixture, &format!("{jail} keyrack get --env test --key A --json || true"));
        let last: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], "sandboxed", "{jail}: {stderr}");
        // A key in the environment needs no daemon.
        let (exit, stdout, _) =
            sh(&fixture, &format!("A=given {jail} keyrack get --env test --key A --value"));
        assert_eq!((exit, stdout.trim_end()), (0, "given"), "{jail}");
        let (_, stdout, _) = sh(&fixture, &format!("{jail} keyrack doctor --json || true"));
        let report: Value = serde_json::from_str(&stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "session.namespaces").unwrap();
        // From inside a pid namespace with its own `/proc`, the doctor cannot detect the namespace.
        // The check of the socket reports that the daemon's process is not visible.
        let shows = jail.contains("user") || words.contains("/proc");
        assert_eq!(check["state"] != "ok", shows, "{jail}: {check}");
        let check = checks.iter().find(|check| check["name"] == "daemon.socket").unwrap();
        assert!(check["state"] == "fail" && check.to_string().contains(words), "{jail}: {check}");
    }
    let (exit, stdout, _) = sh(&fixture, "unshare --mount -- keyrack get --env test --key A --value");
    assert_eq!((exit, stdout.as_str()), (0, "s3cret-of-the-doctor"), "a mount namespace is not a sandbox");
}

#[test]
fn allowed_user_namespaces_are_served_with_notice() {
    if !possible("allowed_user_namespaces_are_served_with_notice") {
        return;
    }
    let fixture = unlocked_rack();
    let jail = "unshare --user --map-root-user --";
    let (exit, _, stderr) = sh(&fixture, "KEYRACK_ALLOW_NAMESPACES=user keyrack daemon restart");
    assert_eq!(exit, 0, "{stderr}");
    let said = "KEYRACK_ALLOW_NAMESPACES=user: sandboxes with their own user namespace may read keys";
    assert!(stderr.contains(said), "{stderr}");
    let (exit, stdout, stderr) = sh(&fixture, &format!("{jail} keyrack get --env test --key A --value"));
    assert_eq!((exit, stdout.as_str()), (0, "s3cret-of-the-doctor"), "{stderr}");
    let (_, stdout, _) = sh(&fixture, "keyrack status; keyrack doctor");
    assert!(stdout.contains("namespaces: user allowed") && stdout.contains(said), "{stdout}");
    let (_, stdout, _) = sh(&fixture, "keyrack status --json");
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["daemon"]["namespaces"], "user allowed");
    // Only the daemon's own setting counts: a caller cannot enable it in its environment.
    let (exit, _, _) = sh(&fixture, "keyrack daemon restart");
    assert_eq!(exit, 0);
    let (exit, _, stderr) =
        sh(&fixture, &format!("KEYRACK_ALLOW_NAMESPACES=all {jail} keyrack get --env test --key A --value"));
    assert!(exit == 2 && stderr.contains("its own user namespace"), "{stderr}");
    let (_, stdout, _) = sh(&fixture, "keyrack status --json");
    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["daemon"]["namespaces"], "pid and user");
}

/// A separate rack in a sandbox works: its daemon and its callers are in the same sandbox.
#[test]
fn sandbox_can_start_its_own_daemon() {
    if !possible("sandbox_can_start_its_own_daemon") {
        return;
    }
    let fixture = unlocked_rack();
    let (exit, _, stderr) = sh(&fixture, "keyrack daemon stop");
    assert_eq!(exit, 0, "{stderr}");
    for (jail, namespaces) in [
        ("unshare --pid --fork --kill-child --mount-proc --", "pid and user"),
        ("unshare --user --map-root-user --", "pid only"),
    ] {
        let inside = "keyrack daemon start --json && keyrack daemon stop";
        let (exit, stdout, stderr) = sh(&fixture, &format!("{jail} sh -euc '{inside}'"));
        assert_eq!(exit, 0, "{jail}: {stdout}{stderr}");
        assert!(stdout.contains(&format!(r#""namespaces": "{namespaces}""#)), "{jail}: {stdout}");
    }
}
