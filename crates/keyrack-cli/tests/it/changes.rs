//! Changes under bad conditions: concurrent commands, a killed command, a full disk, a read-only
//! home.

use std::process::Stdio;
use std::time::Duration;

use keyrack_testkit::{Need, Reaped, can_run};

use crate::fixture::Fixture;

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Returns a home with a rack and a repository.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for line in ["git init -q", "keyrack init --org acme"] {
        assert_eq!(fixture.run(line, b"").0, 0, "{line}");
    }
    fixture
}

fn set(key: &str) -> Vec<String> {
    words(&format!("keyrack set --key {key} --env test --vault os.secure --mech REPLICA"))
}

#[test]
fn concurrent_sets_lose_no_update() {
    let fixture = fixture();
    let children: Vec<Reaped> = (0..8)
        .map(|n| {
            let mut command = fixture.command(&words("sh -c"));
            let line = format!("printf value-{n} | {}", set(&format!("K{n}")).join(" "));
            Reaped::spawn(command.arg(line).stdout(Stdio::null()))
        })
        .collect();
    for mut child in children {
        assert!(child.0.wait().unwrap().success());
    }
    let (_, yml, _) = fixture.run("cat .agent/keyrack.yml", b"");
    let (exit, _, stderr) = fixture.run("keyrack unlock --env test", b"");
    assert_eq!(exit, 0, "{stderr:?}");
    for n in 0..8 {
        assert_eq!(yml.iter().filter(|line| **line == format!("  - K{n}")).count(), 1, "{yml:?}");
        let (_, value, _) = fixture.run(&format!("keyrack get --key K{n} --value"), b"");
        assert_eq!(value, [format!("value-{n}"), "%".to_owned()]);
    }
}

#[test]
fn killed_set_leaves_old_or_new_secret() {
    let fixture = fixture();
    assert_eq!(fixture.run(&set("K").join(" "), b"old").0, 0);
    for after in 0..40_u64 {
        let mut command = fixture.command(&set("K"));
        let mut child =
            Reaped::spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()));
        std::io::Write::write_all(&mut child.0.stdin.take().unwrap(), b"new").unwrap();
        std::thread::sleep(Duration::from_millis(after));
        drop(child);
        let (exit, value, stderr) = fixture.run("keyrack get --key K --unlock --value", b"");
        assert_eq!(exit, 0, "killed after {after} ms: {stderr:?}");
        assert!(["old", "new"].contains(&value[0].as_str()), "killed after {after} ms: {value:?}");
        let (_, yml, _) = fixture.run("cat .agent/keyrack.yml", b"");
        assert_eq!(yml, ["org: acme", "env.test:", "  - K"], "killed after {after} ms");
        assert_eq!(fixture.run(&set("K").join(" "), b"old").0, 0);
        assert_eq!(fixture.run("keyrack relock", b"").0, 0);
    }
}

/// Runs a script as root in its own mount namespace. `$RACK` is the rack's directory.
fn with_mounts(fixture: &Fixture, script: &str, stdin: &[u8]) -> (i32, Vec<String>, Vec<String>) {
    let rack = fixture.home.home().join(".rhachet/keyrack");
    let line = format!("RACK={} unshare -m sh -c '{script}'", rack.display());
    fixture.run(&line, stdin)
}

#[test]
fn set_on_full_disk_or_read_only_home_loses_nothing() {
    let test = "set_on_full_disk_or_read_only_home_loses_nothing";
    if !can_run(test, &[Need::Root, Need::Program("unshare"), Need::Program("mount")]) {
        return;
    }
    let fixture = fixture();
    if !can_mount(&fixture, test) {
        return;
    }
    assert_eq!(fixture.run(&set("K").join(" "), b"old").0, 0);
    // A disk that has room for the existing files only.
    let full = "cp -a $RACK $RACK.kept && mount -t tmpfs -o size=64k,mode=700 none $RACK && cp -a $RACK.kept/. $RACK/ && \
                dd if=/dev/zero of=$RACK/filler bs=4k 2>/dev/null; ";
    let again = set("K").join(" ");
    let (exit, _, stderr) = with_mounts(
        &fixture,
        &format!("{full} {again}; code=$?; rm $RACK/filler; keyrack list --json; exit $code"),
        b"new",
    );
    assert_eq!(exit, 1, "{stderr:?}");
    assert!(stderr.iter().any(|line| line.contains("failed: cannot")), "{stderr:?}");
    assert!(stderr.iter().any(|line| line.contains("the old file was not changed")), "{stderr:?}");
    // A home that is read-only.
    let read_only = "mount --bind $RACK $RACK && mount -o remount,bind,ro $RACK; ";
    for command in [again.as_str(), "keyrack del --key K --env test", "keyrack recipient del --label default"]
    {
        let (exit, stdout, stderr) = with_mounts(&fixture, &format!("{read_only} {command}"), b"new");
        assert_ne!(exit, 0, "{command}: {stdout:?} {stderr:?}");
        assert!(
            stderr.iter().any(|line| line.contains("✋") || line.contains("💥")),
            "{command}: {stderr:?}"
        );
    }
    // Reads still work, and the stored key is unchanged.
    let (exit, _, stderr) = with_mounts(&fixture, &format!("{read_only} keyrack unlock --env test"), b"");
    assert_eq!(exit, 0, "{stderr:?}");
    let (_, value, _) = fixture.run("keyrack get --key K --value", b"");
    assert_eq!(value, ["old", "%"]);
}

#[allow(clippy::print_stderr, reason = "a test says on stderr what it did not run")]
pub(crate) fn can_mount(fixture: &Fixture, test: &str) -> bool {
    let possible = fixture.run("unshare -m mount -t tmpfs none /mnt", b"").0 == 0;
    if !possible {
        let line = format!("not run: {test}: needs the right to mount");
        assert!(std::env::var_os("KEYRACK_TEST_REQUIRE").is_none_or(|value| value != "all"), "{line}");
        eprintln!("{line}");
    }
    possible
}
