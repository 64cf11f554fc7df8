//! Features that a kernel lacks, and mount options of `/proc`.

use std::process::Command;

use keyrack_testkit::kernel::{Lack, OLD_KERNELS};
use keyrack_testkit::{Need, as_user, can_run, in_new_session, run};

use super::{
    LIMIT, Report, UNUSED_UID, can_mount, diagnose, doctor, in_mount_namespace, on_kernel_without, run_ok,
    script, session::owned_by_unused_uid,
};
use crate::fixture::Fixture;

#[test]
fn doctor_warns_if_the_kernel_has_no_peer_pidfd() {
    let fixture = Fixture::new();
    let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
    let report = Report::from_command(&mut on_kernel_without(&[Lack::PeerPidfd], &both));
    report.assert_check("kernel.peer_pidfd", "warn", &["SO_PEERPIDFD", "6.5"]);
    report.assert_check("daemon.boundary", "warn", &["cannot tell login sessions apart"]);
    if can_run("doctor_warns_if_the_kernel_has_no_peer_pidfd: in a session", &[Need::Sessions]) {
        let fixture = Fixture::new();
        let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
        let report = Report::from_command(&mut in_new_session(&on_kernel_without(&[Lack::PeerPidfd], &both)));
        report.assert_check("session.login", "ok", &["login session"]);
        report.assert_check("daemon.boundary", "warn", &["see session.login and kernel.peer_pidfd"]);
    }
}

/// On each kernel, the doctor reports the same as a daemon that starts there.
#[test]
fn doctor_agrees_with_the_daemon_on_every_kernel() {
    let limit = "test $(ulimit -Hl) = unlimited || test $(ulimit -Hl) -ge 1024";
    let lockable = Command::new("sh").args(["-c", limit]).status().is_ok_and(|status| status.success());
    let filters: [(&str, &[Lack]); 2] = [("no mlock2", &[Lack::Mlock2]), ("as it is", &[])];
    for (kernel, lacks) in OLD_KERNELS.into_iter().chain(filters) {
        let fixture = Fixture::new();
        let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
        let report = Report::from_command(&mut on_kernel_without(lacks, &both));
        report.assert_check("kernel.start", "ok", &["a daemon can start here"]);
        report.assert_check("kernel.version", "ok", &["5.10 or later"]);
        let test = format!("doctor_agrees_with_the_daemon_on_every_kernel: {kernel}");
        if can_run(&test, &[Need::That(lockable, "1 MiB of memory that may be locked")]) {
            report.assert_check("kernel.locked_memory", "ok", &["can be kept out of swap"]);
            report.assert_check("daemon.hardening.locked_memory", "ok", &["locked_memory is on"]);
            let not_locked =
                report.of_name("daemon.memory").iter().any(|(_, words)| words.contains("not locked"));
            assert!(!not_locked, "{kernel}: {}", report.text);
        }
        if lacks.contains(&Lack::Mdwe) {
            report.assert_check("daemon.hardening.deny_write_exec", "warn", &["PR_SET_MDWE", "Linux 6.3"]);
        }
        if lacks.contains(&Lack::SecretMemory) {
            report.assert_check("kernel.secret_memory", "warn", &["memfd_secret", "secretmem.enable=1"]);
        }
        // Settings that no daemon can meet on this kernel: the doctor suggests no fix, because none
        // would help.
        let demanding = |name: &str, value: &str| {
            let text = format!("{name}={value} keyrack doctor --json");
            Report::from_command(&mut on_kernel_without(lacks, &script(&fixture, &text)))
        };
        let fix_of = |report: &Report, name: &str| {
            let found = report.checks.iter().find(|check| check["name"] == name);
            found.and_then(|check| check["fix"].as_str().map(str::to_owned))
        };
        if lacks.contains(&Lack::PeerPidfd) {
            let report = demanding("KEYRACK_REQUIRE_SESSION", "1");
            report.assert_check(
                "daemon.boundary",
                "fail",
                &["SO_PEERPIDFD", "6.5", "unset KEYRACK_REQUIRE_SESSION"],
            );
            assert_eq!(fix_of(&report, "daemon.boundary"), None);
        }
        if lacks.contains(&Lack::SecretMemory) {
            let report = demanding("KEYRACK_MEMORY", "secret");
            report.assert_check(
                "daemon.memory",
                "fail",
                &["this machine cannot provide it", "memfd_secret", "unset KEYRACK_MEMORY"],
            );
            assert_eq!(fix_of(&report, "daemon.memory"), None);
        }
    }
}

#[test]
fn doctor_fails_on_an_old_kernel() {
    let test = "doctor_fails_on_an_old_kernel";
    if !can_run(test, &[Need::Program("setarch")]) {
        return;
    }
    let fixture = Fixture::new();
    // The kernel reports a release that begins with 2.6 to such a process.
    let old =
        |text: &str| fixture.command(&["setarch", "--uname-2.6", "sh", "-euc", text].map(str::to_owned));
    let report = Report::from_command(&mut old("keyrack doctor --json"));
    report.assert_check(
        "kernel.version",
        "fail",
        &["Linux 2.6 is too old", "5.10 or later", "environment variables"],
    );
    report.assert_check("kernel.start", "skip", &["see above"]);
    let output = run(&mut old("exec keyrack daemon start"), b"", LIMIT).unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("Linux 2.6 is too old: keyrackd needs Linux 5.10 or later"), "{text}");
    let output = run(&mut old("A=1 exec keyrack get --key acme.test.A --value"), b"", LIMIT).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1");
}

#[test]
fn doctor_warns_without_landlock() {
    let fixture = Fixture::new();
    let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
    let report = Report::from_command(&mut on_kernel_without(&[Lack::Landlock], &both));
    report.assert_check("kernel.landlock", "warn", &["landlock", "5.13"]);
    report.assert_check("daemon.hardening.landlock", "warn", &["landlock is off: "]);
}

#[test]
fn doctor_warns_without_secret_memory() {
    let fixture = Fixture::new();
    let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
    let report = Report::from_command(&mut on_kernel_without(&[Lack::SecretMemory], &both));
    report.assert_check("kernel.secret_memory", "warn", &["memfd_secret"]);
    report.assert_check("daemon.hardening.secret_memory", "warn", &["secret_memory is off: "]);
    let mut demanding = doctor(&fixture);
    demanding.env("KEYRACK_MEMORY", "secret");
    let report = Report::from_command(&mut on_kernel_without(&[Lack::SecretMemory], &demanding));
    report.assert_check(
        "kernel.secret_memory",
        "fail",
        &["KEYRACK_MEMORY requires it", "unset KEYRACK_MEMORY"],
    );
    report.assert_check(
        "daemon.memory",
        "fail",
        &["KEYRACK_MEMORY requires secret", "this machine cannot provide it"],
    );
    // If the kernel has secret memory, the fix is a restart of the daemon.
    let secret = Report::from_command(doctor(&fixture).env("KEYRACK_MEMORY", "secret"));
    let has = secret.of_name("kernel.secret_memory").first().is_some_and(|(state, _)| *state == "ok");
    if can_run("doctor_warns_without_secret_memory", &[Need::That(has, "memfd_secret")]) {
        secret.assert_check("daemon.memory", "fail", &["KEYRACK_MEMORY requires secret", "daemon restart"]);
    }
}

#[test]
fn doctor_warns_if_memory_cannot_be_locked() {
    let test = "doctor_warns_if_memory_cannot_be_locked";
    if !can_run(test, &[Need::Root, Need::Program("setpriv"), Need::Program("prlimit")]) {
        return;
    }
    let fixture = owned_by_unused_uid(Fixture::new());
    let text = "exec prlimit --memlock=65536:65536 sh -euc 'keyrack daemon start >/dev/null; exec keyrack doctor --json'";
    let report = Report::from_command(&mut as_user(UNUSED_UID, &script(&fixture, text)));
    report.assert_check("kernel.locked_memory", "warn", &["64 KiB", "LimitMEMLOCK="]);
    report.assert_check("daemon.memory", "warn", &["may be written to swap"]);
    report.assert_check("daemon.hardening.locked_memory", "warn", &["locked_memory is off: ", "64 KiB"]);
    let text = "KEYRACK_MEMORY=locked exec prlimit --memlock=65536:65536 keyrack doctor --json";
    let report = Report::from_command(&mut as_user(UNUSED_UID, &script(&fixture, text)));
    report.assert_check("kernel.locked_memory", "fail", &["64 KiB"]);
    report.assert_check("daemon.memory", "fail", &["KEYRACK_MEMORY requires locked"]);
}

#[test]
fn doctor_warns_if_keyrackd_blocks_hibernation() {
    let test = "doctor_warns_if_keyrackd_blocks_hibernation";
    let fixture = Fixture::new();
    run_ok(&fixture, "keyrack daemon start");
    let memory =
        diagnose(&fixture).of_name("daemon.memory").first().map(|(_, words)| words.contains("hidden"));
    run_ok(&fixture, "keyrack daemon stop");
    if !can_mount(test) || !can_run(test, &[Need::That(memory == Some(true), "memfd_secret")]) {
        return;
    }
    // Simulates a machine that can hibernate: a file that only a kernel with hibernation has, and
    // swap on a disk.
    let text = "
        mount -t tmpfs none /sys/power; : > /sys/power/disk; : > /sys/power/state
        printf 'Filename Type Size Used Priority\\n/dev/sda2 partition 8388604 0 -2\\n' > swaps
        mount --bind swaps /proc/swaps
        keyrack daemon start >/dev/null; keyrack doctor --json";
    let report = Report::from_command(in_mount_namespace(&fixture, text).env("KEYRACK_MEMORY", "secret"));
    report.assert_check(
        "daemon.hibernation",
        "warn",
        &["cannot hibernate while keyrackd runs", "KEYRACK_MEMORY=locked"],
    );
    run_ok(&fixture, "keyrack daemon stop");
    // By default, keyrackd does not block hibernation.
    let report = Report::from_command(&mut in_mount_namespace(&fixture, text));
    report.assert_check("daemon.memory", "ok", &["locked memory"]);
    report.assert_check(
        "daemon.hibernation",
        "warn",
        &["/dev/sda2), and the image on disk would hold", "relock before"],
    );
}

#[test]
fn doctor_fails_if_proc_hides_processes() {
    if !can_mount("doctor_fails_if_proc_hides_processes") {
        return;
    }
    let fixture = Fixture::new();
    let report = Report::from_command(&mut in_mount_namespace(
        &fixture,
        "mount -t proc -o hidepid=2 proc /proc; keyrack doctor --json",
    ));
    report.assert_check("kernel.processes", "fail", &["hidepid=", "remount,hidepid=0 /proc"]);
    report.assert_check("kernel.start", "skip", &["see above"]);
}

/// A daemon hides itself from debuggers, and therefore from its own user if `/proc` hides
/// processes. It is still that user's own daemon.
#[test]
fn doctor_names_hidepid_under_a_running_daemon() {
    let test = "doctor_names_hidepid_under_a_running_daemon";
    if !can_mount(test) || !can_run(test, &[Need::Program("setpriv")]) {
        return;
    }
    let fixture = owned_by_unused_uid(Fixture::new());
    let start = run(&mut as_user(UNUSED_UID, &script(&fixture, "keyrack daemon start")), b"", LIMIT).unwrap();
    assert!(start.status.success(), "{start:?}");
    let setpriv = format!("setpriv --reuid {UNUSED_UID} --regid {UNUSED_UID} --clear-groups");
    let hidden = format!("mount -t proc -o hidepid=2 proc /proc; exec {setpriv} keyrack");
    let report = Report::from_command(&mut in_mount_namespace(&fixture, &format!("{hidden} doctor --json")));
    report.assert_check(
        "daemon.socket",
        "fail",
        &["hidepid=", "cannot tell whose daemon", "remount,hidepid=0 /proc"],
    );
    let status =
        run(&mut in_mount_namespace(&fixture, &format!("{hidden} daemon status")), b"", LIMIT).unwrap();
    let text = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(text.contains("mounted with hidepid=") && !text.contains("remove the file"), "{text}");
    let stop = run(&mut as_user(UNUSED_UID, &script(&fixture, "keyrack daemon stop")), b"", LIMIT).unwrap();
    assert!(stop.status.success(), "{stop:?}");
}
