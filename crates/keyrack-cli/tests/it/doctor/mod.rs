//! `keyrack doctor` under each condition that a test can create, one test each.

mod daemon;
mod files;
mod kernel;
mod session;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use keyrack_testkit::kernel::{Lack, become_the_command, without};
use keyrack_testkit::{Need, binary, can_run, run};
use serde_json::Value;

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);

/// Uid without an account.
const UNUSED_UID: u32 = 65_532;

/// Process that [`on_kernel_without`] starts and that becomes the command. Not a test.
#[test]
#[ignore = "becomes another program"]
fn child() {
    become_the_command();
}

/// Returns the command as it runs on a kernel that lacks features.
fn on_kernel_without(lacks: &[Lack], command: &Command) -> Command {
    without(lacks, &test_name(child), command)
}

/// Returns the name by which the test harness knows a test: its path without the crate.
fn test_name<F>(_test: F) -> String {
    let path = std::any::type_name::<F>();
    path.split_once("::").expect("a test is in a crate").1.to_owned()
}

/// Output of `doctor --json`.
struct Report {
    checks: Vec<Value>,
    exit: i32,
    text: String,
}

impl Report {
    fn from_command(command: &mut Command) -> Self {
        Report::from_output(&run(command, b"", LIMIT).unwrap())
    }

    fn from_output(output: &Output) -> Self {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
        let checks = value["checks"].as_array().unwrap().clone();
        let report = Report { checks, exit: output.status.code().unwrap(), text };
        let fails = report.checks.iter().any(|check| check["state"] == "fail");
        assert_eq!(value["ok"], !fails);
        assert_eq!(report.exit, if fails { 2 } else { 0 }, "{}", report.text);
        report
    }

    /// Returns the states and messages of the checks of this name.
    fn of_name(&self, name: &str) -> Vec<(&str, &str)> {
        let named = self.checks.iter().filter(|check| check["name"] == name);
        named.map(|check| (check["state"].as_str().unwrap(), check["message"].as_str().unwrap())).collect()
    }

    /// Asserts that a check of this name has this state and contains these words.
    #[track_caller]
    fn assert_check(&self, name: &str, state: &str, words: &[&str]) {
        let found = self.checks.iter().any(|check| {
            let all = check.to_string();
            check["name"] == name && check["state"] == state && words.iter().all(|word| all.contains(word))
        });
        assert!(found, "no {name} is {state} with {words:?}:\n{}", self.text);
    }

    #[track_caller]
    fn assert_no_check(&self, name: &str) {
        assert!(self.of_name(name).is_empty(), "{}", self.text);
    }
}

fn doctor(fixture: &Fixture) -> Command {
    fixture.command(&["keyrack", "doctor", "--json"].map(str::to_owned))
}

fn diagnose(fixture: &Fixture) -> Report {
    Report::from_command(&mut doctor(fixture))
}

#[track_caller]
fn run_ok(fixture: &Fixture, line: &str) {
    let (exit, stdout, stderr) = fixture.run(line, b"s3cret-of-the-doctor");
    assert_eq!(exit, 0, "{line}: {stdout:?} {stderr:?}");
}

/// Returns a shell script with `keyrack` and `keyrackd` on its PATH.
fn script(fixture: &Fixture, text: &str) -> Command {
    fixture.command(&["sh", "-euc", text].map(str::to_owned))
}

/// Returns a shell script that runs in its own mount namespace. Needs root.
fn in_mount_namespace(fixture: &Fixture, text: &str) -> Command {
    fixture.command(&["unshare", "--mount", "sh", "-euc", text].map(str::to_owned))
}

fn can_mount(test: &str) -> bool {
    let possible = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
        .stderr(Stdio::null())
        .status();
    let possible = possible.is_ok_and(|status| status.success());
    can_run(test, &[Need::Root, Need::That(possible, "the right to mount")])
}

/// Returns a home with a rack, a repository and two unlocked keys.
pub(crate) fn unlocked_rack() -> Fixture {
    let fixture = Fixture::new();
    let key = fixture.home.home().join(".ssh/id_ed25519");
    fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
    run_ok(&fixture, "git init -q");
    run_ok(&fixture, "keyrack init --org acme");
    run_ok(&fixture, "keyrack set --key A --env test --vault os.secure --mech REPLICA");
    run_ok(&fixture, "keyrack set --key B --env test --vault os.direct --mech REPLICA");
    run_ok(&fixture, "keyrack unlock --env test");
    fixture
}

#[test]
fn doctor_reports_ok_on_a_healthy_rack() {
    let fixture = unlocked_rack();
    let report = diagnose(&fixture);
    assert_eq!(report.exit, 0);
    for (name, words) in [
        ("environment", &["no KEYRACK_ variable is set"][..]),
        ("place.home", &["HOME is "]),
        ("place.runtime_dir", &["XDG_RUNTIME_DIR is "]),
        ("programs.keyrackd", &["0.1.0"]),
        ("kernel.processes", &["/proc shows all processes"]),
        ("daemon.socket", &["holds 2 keys"]),
        ("daemon.version", &["0.1.0", "protocol 1"]),
        ("daemon.hardening.not_dumpable", &["on"]),
        ("daemon.hardening.no_new_privs", &["on"]),
        ("rack.identity", &["/.ssh/id_ed25519", "without a passphrase"]),
        ("rack.host_manifest", &["opens with ", "/.ssh/id_ed25519", "2 keys, 1 recipient"]),
        ("rack.files", &["3 files"]),
        ("rack.keys", &["all recorded keys"]),
        ("repository.manifest", &["2 keys of the org acme"]),
    ] {
        report.assert_check(name, "ok", words);
    }
    // The text output has the same checks.
    let (exit, stdout, stderr) = fixture.run("keyrack doctor", b"");
    let text = stdout.join("\n");
    assert_eq!((exit, stderr.len()), (0, 0), "{stderr:?}");
    for check in &report.checks {
        assert!(text.contains(check["message"].as_str().unwrap()), "{check}\n{text}");
    }
    for all in [&text, &report.text] {
        assert!(!all.contains("s3cret-of-the-doctor"), "{all}");
    }
}

#[test]
fn doctor_changes_nothing() {
    let fixture = unlocked_rack();
    let home = fixture.home.home();
    // Problems that the doctor must report and not repair: an open mode, a partial change, a dead
    // socket.
    let rack = home.join(".rhachet/keyrack");
    fs::set_permissions(rack.join("keyrack.host.age"), Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(rack.join("vault/os.secure/owner=default/.replace.decided")).unwrap();
    fs::write(rack.join("vault/os.secure/owner=default/.replace.decided/manifest"), "junk").unwrap();
    for before in ["true", "keyrack daemon stop"] {
        run_ok(&fixture, before);
        let all = || {
            let list =
                "find . -printf '%p %y %m %i %s %T@ %C@\\n' | sort; find . -type f -exec cksum {} + | sort";
            let output =
                Command::new("sh").args(["-c", list]).current_dir(fixture.home.root()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let then = all();
        assert!(then.contains("keyrack.host.age"), "{then}");
        diagnose(&fixture);
        assert_eq!(then, all());
    }
    let report = diagnose(&fixture);
    report.assert_check("rack.files", "warn", &["change of recipients", "interrupted"]);
    report.assert_check("rack.files", "warn", &["keyrack.host.age", "0644", "chmod 600 "]);
    if !can_run("doctor_changes_nothing: its system calls", &[Need::Program("strace")]) {
        return;
    }
    let trace = fixture.home.root().join("trace");
    let mut command =
        fixture.command(&["strace", "-f", "-e", "trace=%file,%process", "-o"].map(str::to_owned));
    command.arg(&trace).arg(binary("keyrack")).args(["doctor", "--json"]);
    Report::from_command(&mut command);
    let calls = fs::read_to_string(&trace).unwrap();
    assert!(calls.contains("openat("), "{calls}");
    for line in calls.lines().filter(|line| !line.contains("\"/dev/null\"")) {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let changing =
            ["unlink", "rename", "mkdir", "rmdir", "mknod", "chmod", "chown", "link", "symlink", "utime"];
        let changes = changing
            .iter()
            .any(|name| call.trim_start_matches(['f', 'l']).starts_with(name) || call.starts_with(name));
        assert!(!changes, "{line}");
        assert!(
            !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag)),
            "{line}"
        );
    }
}
