//! `keyrack doctor` under each condition that can be created here, one test each.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use keyrack_core::{Owner, Slug};
use keyrack_testkit::kernel::{Lack, OLD_KERNELS, become_the_command, without};
use keyrack_testkit::{Need, Reaped, as_user, binary, can_run, in_new_session, run, wait_until};
use keyrack_vaults::{Identities, IdentitySource, NoPassphrasePrompt, RackPaths, age_file, manifest_file};
use serde_json::Value;

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);

/// A uid without a user.
const SOMEBODY: u32 = 65_532;

/// Not a test of its own: the process that becomes a command on a kernel that lacks something.
#[test]
#[ignore = "becomes another program"]
fn child() {
    become_the_command();
}

/// Output of `doctor --json`.
struct Said {
    checks: Vec<Value>,
    exit: i32,
    text: String,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        Said::parsed(&run(command, b"", LIMIT).unwrap())
    }

    fn parsed(output: &Output) -> Self {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
        let checks = value["checks"].as_array().unwrap().clone();
        let said = Said { checks, exit: output.status.code().unwrap(), text };
        let fails = said.checks.iter().any(|check| check["state"] == "fail");
        assert_eq!(value["ok"], !fails);
        assert_eq!(said.exit, if fails { 2 } else { 0 }, "{}", said.text);
        said
    }

    /// The states and messages of the checks of a name.
    fn of_name(&self, name: &str) -> Vec<(&str, &str)> {
        let named = self.checks.iter().filter(|check| check["name"] == name);
        named.map(|check| (check["state"].as_str().unwrap(), check["message"].as_str().unwrap())).collect()
    }

    /// That a check of this name is in this state, with these words in all it says.
    #[track_caller]
    fn says(&self, name: &str, state: &str, words: &[&str]) {
        let found = self.checks.iter().any(|check| {
            let all = check.to_string();
            check["name"] == name && check["state"] == state && words.iter().all(|word| all.contains(word))
        });
        assert!(found, "no {name} is {state} with {words:?}:\n{}", self.text);
    }

    #[track_caller]
    fn does_not_name(&self, name: &str) {
        assert!(self.of_name(name).is_empty(), "{}", self.text);
    }
}

fn doctor(fixture: &Fixture) -> Command {
    fixture.command(&["keyrack", "doctor", "--json"].map(str::to_owned))
}

fn look(fixture: &Fixture) -> Said {
    Said::of(&mut doctor(fixture))
}

#[track_caller]
fn done(fixture: &Fixture, line: &str) {
    let (exit, stdout, stderr) = fixture.run(line, b"s3cret-of-the-doctor");
    assert_eq!(exit, 0, "{line}: {stdout:?} {stderr:?}");
}

/// A shell script with `keyrack` and `keyrackd` on its PATH.
fn script(fixture: &Fixture, text: &str) -> Command {
    fixture.command(&["sh", "-euc", text].map(str::to_owned))
}

/// A script of root's in a mount namespace of its own.
fn mounted(fixture: &Fixture, text: &str) -> Command {
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

/// Path of the socket, once a daemon has run.
fn socket(fixture: &Fixture) -> PathBuf {
    let (_, stdout, _) = fixture.run("keyrack daemon start --json", b"");
    let told: Value = serde_json::from_str(&stdout.concat()).unwrap();
    done(fixture, "keyrack daemon stop");
    told["socketPath"].as_str().unwrap().into()
}

/// A world with a rack, a repository and a key, unlocked.
pub(crate) fn stocked() -> Fixture {
    let fixture = Fixture::new();
    let key = fixture.home.home().join(".ssh/id_ed25519");
    fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
    done(&fixture, "git init -q");
    done(&fixture, "keyrack init --org acme");
    done(&fixture, "keyrack set --key A --env test --vault os.secure --mech REPLICA");
    done(&fixture, "keyrack set --key B --env test --vault os.direct --mech REPLICA");
    done(&fixture, "keyrack unlock --env test");
    fixture
}

#[test]
fn doctor_reports_ok_on_a_healthy_rack() {
    let fixture = stocked();
    let said = look(&fixture);
    assert_eq!(said.exit, 0);
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
        said.says(name, "ok", words);
    }
    // The same for people.
    let (exit, stdout, stderr) = fixture.run("keyrack doctor", b"");
    let text = stdout.join("\n");
    assert_eq!((exit, stderr.len()), (0, 0), "{stderr:?}");
    for check in &said.checks {
        assert!(text.contains(check["message"].as_str().unwrap()), "{check}\n{text}");
    }
    for all in [&text, &said.text] {
        assert!(!all.contains("s3cret-of-the-doctor"), "{all}");
    }
}

#[test]
fn doctor_changes_nothing() {
    let fixture = stocked();
    let home = fixture.home.home();
    // Things that a less careful check would repair: an open mode, a half-done change, a dead
    // socket.
    let rack = home.join(".rhachet/keyrack");
    fs::set_permissions(rack.join("keyrack.host.age"), Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(rack.join("vault/os.secure/owner=default/.replace.decided")).unwrap();
    fs::write(rack.join("vault/os.secure/owner=default/.replace.decided/manifest"), "junk").unwrap();
    for before in ["true", "keyrack daemon stop"] {
        done(&fixture, before);
        let all = || {
            let list =
                "find . -printf '%p %y %m %i %s %T@ %C@\\n' | sort; find . -type f -exec cksum {} + | sort";
            let output =
                Command::new("sh").args(["-c", list]).current_dir(fixture.home.root()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let then = all();
        assert!(then.contains("keyrack.host.age"), "{then}");
        look(&fixture);
        assert_eq!(then, all());
    }
    let said = look(&fixture);
    said.says("rack.files", "warn", &["change of recipients", "interrupted"]);
    said.says("rack.files", "warn", &["keyrack.host.age", "0644", "chmod 600 "]);
    if !can_run("doctor_changes_nothing: its system calls", &[Need::Program("strace")]) {
        return;
    }
    let trace = fixture.home.root().join("trace");
    let mut command =
        fixture.command(&["strace", "-f", "-e", "trace=%file,%process", "-o"].map(str::to_owned));
    command.arg(&trace).arg(binary("keyrack")).args(["doctor", "--json"]);
    Said::of(&mut command);
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

#[test]
fn doctor_fails_on_a_bad_runtime_directory() {
    let fixture = Fixture::new();
    let at = |name: &str| fixture.home.root().join(name);
    fs::create_dir(at("open")).unwrap();
    fs::set_permissions(at("open"), Permissions::from_mode(0o755)).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink(fixture.home.runtime(), at("link")).unwrap();
    fs::create_dir(at(&"x".repeat(90))).unwrap();
    fs::set_permissions(at(&"x".repeat(90)), Permissions::from_mode(0o700)).unwrap();
    let with = |value: PathBuf| Said::of(doctor(&fixture).env("XDG_RUNTIME_DIR", value));
    for (value, words) in [
        (PathBuf::new(), &["set but empty", "unset XDG_RUNTIME_DIR"][..]),
        ("relative".into(), &["not absolute"]),
        (at("missing"), &["no such directory"]),
        (at("file"), &["not a directory"]),
        (at("link"), &["symbolic link"]),
        (at("open"), &["0755", "chmod 700 "]),
    ] {
        let said = with(value);
        said.says("place.runtime_dir", "fail", words);
        said.says("daemon.socket", "skip", &["without a socket path"]);
    }
    with(at(&"x".repeat(90))).says("place.socket_path", "fail", &["107", "shorter path"]);
    let said = Said::of(doctor(&fixture).env_remove("XDG_RUNTIME_DIR"));
    said.says("place.runtime_dir", "ok", &["XDG_RUNTIME_DIR is not set"]);
    Said::of(doctor(&fixture).env_remove("HOME")).says("place.home", "fail", &["HOME is not set"]);
    Said::of(doctor(&fixture).env("HOME", "gone")).says("place.home", "fail", &["not an absolute path"]);
    if can_run("doctor_fails_on_a_bad_runtime_directory: another's", &[Need::Root]) {
        std::os::unix::fs::chown(at("open"), Some(SOMEBODY), None).unwrap();
        with(at("open")).says("place.runtime_dir", "fail", &["another user", "unset it"]);
    }
}

#[test]
fn doctor_reports_the_login_session() {
    let test = "doctor_reports_the_login_session";
    let own = fs::read_to_string("/proc/self/sessionid").unwrap_or_default();
    if can_run(test, &[Need::That(own == "4294967295", "to run in no login session")]) {
        let fixture = Fixture::new();
        look(&fixture).says("session.login", "warn", &["does not belong to a login session", "ssh"]);
        done(&fixture, "keyrack daemon start");
        look(&fixture).says("daemon.boundary", "warn", &["cannot tell login sessions apart"]);
        let said = Said::of(doctor(&fixture).env("KEYRACK_REQUIRE_SESSION", "1"));
        said.says("daemon.boundary", "fail", &["KEYRACK_REQUIRE_SESSION"]);
    }
    if can_run(test, &[Need::Sessions]) {
        let fixture = Fixture::new();
        let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
        let said = Said::of(&mut in_new_session(&both));
        said.says("session.login", "ok", &["this is login session "]);
        said.says("daemon.boundary", "ok", &["serves only processes of this login session"]);
        // From here it is somewhere else.
        let said = look(&fixture);
        said.says("session.elsewhere", "warn", &["other login sessions"]);
        said.says("daemon.socket", "skip", &["no daemon is running"]);
    }
}

/// A process that the kernel calls `systemd`, as that of a user manager.
fn manager(fixture: &Fixture) -> PathBuf {
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
    let fixture = readable(Fixture::new());
    let manager = manager(&fixture);
    let with = |inside: &str| {
        let text = format!(
            "{} 60 & trap \"kill $!\" EXIT; while [ \"$(cat /proc/$!/comm)\" != systemd ]; do sleep 0.01; done; {inside}",
            manager.display()
        );
        script(&fixture, &text)
    };
    // In its own session.
    let said = Said::of(&mut in_new_session(&as_user(SOMEBODY, &with("keyrack doctor --json"))));
    said.says("session.user_manager", "warn", &["this is the login session of your user manager"]);
    // In another: root makes it, for an id that is set is never set again.
    let other = script(
        &fixture,
        &format!(
            "(echo 0 > /proc/self/loginuid; exec setpriv --reuid {SOMEBODY} --clear-groups {} 60) & trap \"kill $!\" EXIT
            while [ \"$(cat /proc/$!/comm)\" != systemd ]; do sleep 0.01; done
            echo 0 > /proc/self/loginuid; setpriv --reuid {SOMEBODY} --clear-groups keyrack doctor --json",
            manager.display()
        ),
    );
    let mut other = other;
    let said = Said::of(&mut other);
    said.says("session.user_manager", "ok", &["have their own daemon"]);
}

/// Lets another user into a world, and gives it to them.
fn readable(fixture: Fixture) -> Fixture {
    let root = fixture.home.root().to_owned();
    let owner = format!("{SOMEBODY}:{SOMEBODY}");
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
    let said = Said::of(&mut mounted(
        &fixture,
        "mount -t tmpfs none /run; mount -t tmpfs none /var/lib; mkdir -p /run/systemd/users; keyrack doctor --json",
    ));
    said.says("session.linger", "ok", &["lingering is off"]);
    let said = Said::of(&mut mounted(&fixture, "mount -t tmpfs none /run; keyrack doctor --json"));
    said.says("session.linger", "skip", &["logind is not running"]);
    let own = fs::read_to_string("/proc/self/sessionid").unwrap_or_default();
    if can_run(
        "doctor_warns_of_lingering: no session",
        &[Need::That(own == "4294967295", "no login session")],
    ) {
        let said = Said::of(&mut mounted(&fixture, &text));
        said.says("session.linger", "warn", &["until their TTL expires", "loginctl disable-linger"]);
    }
    if can_run("doctor_warns_of_lingering: a session", &[Need::Sessions]) {
        let said = Said::of(&mut in_new_session(&mounted(&fixture, &text)));
        said.says("session.linger", "ok", &["lingering is on", "still locked at logout"]);
    }
}

#[test]
fn doctor_warns_if_the_kernel_has_no_peer_pidfd() {
    let fixture = Fixture::new();
    let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
    let said = Said::of(&mut without(&[Lack::PeerPidfd], "doctor::child", &both));
    said.says("kernel.peer_pidfd", "warn", &["SO_PEERPIDFD", "6.5"]);
    said.says("daemon.boundary", "warn", &["cannot tell login sessions apart"]);
    if can_run("doctor_warns_if_the_kernel_has_no_peer_pidfd: in a session", &[Need::Sessions]) {
        let fixture = Fixture::new();
        let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
        let said = Said::of(&mut in_new_session(&without(&[Lack::PeerPidfd], "doctor::child", &both)));
        said.says("session.login", "ok", &["login session"]);
        said.says("daemon.boundary", "warn", &["see session.login and kernel.peer_pidfd"]);
    }
}

/// The doctor says what a daemon that starts here says, on each kernel.
#[test]
fn doctor_agrees_with_the_daemon_on_every_kernel() {
    let limit = "test $(ulimit -Hl) = unlimited || test $(ulimit -Hl) -ge 1024";
    let lockable = Command::new("sh").args(["-c", limit]).status().is_ok_and(|status| status.success());
    let filters: [(&str, &[Lack]); 2] = [("no mlock2", &[Lack::Mlock2]), ("as it is", &[])];
    for (kernel, lacks) in OLD_KERNELS.into_iter().chain(filters) {
        let fixture = Fixture::new();
        let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
        let said = Said::of(&mut without(lacks, "doctor::child", &both));
        said.says("kernel.start", "ok", &["a daemon can start here"]);
        said.says("kernel.version", "ok", &["5.10 or later"]);
        let test = format!("doctor_agrees_with_the_daemon_on_every_kernel: {kernel}");
        if can_run(&test, &[Need::That(lockable, "1 MiB of memory that may be locked")]) {
            said.says("kernel.locked_memory", "ok", &["can be kept out of swap"]);
            said.says("daemon.hardening.locked_memory", "ok", &["locked_memory is on"]);
            let not_locked =
                said.of_name("daemon.memory").iter().any(|(_, words)| words.contains("not locked"));
            assert!(!not_locked, "{kernel}: {}", said.text);
        }
        if lacks.contains(&Lack::Mdwe) {
            said.says("daemon.hardening.deny_write_exec", "warn", &["PR_SET_MDWE", "Linux 6.3"]);
        }
        if lacks.contains(&Lack::SecretMemory) {
            said.says("kernel.secret_memory", "warn", &["memfd_secret", "secretmem.enable=1"]);
        }
        // Demands that no daemon could meet here: a fix would be of no use.
        let demanding = |name: &str, value: &str| {
            let text = format!("{name}={value} keyrack doctor --json");
            Said::of(&mut without(lacks, "doctor::child", &script(&fixture, &text)))
        };
        let fix_of = |said: &Said, name: &str| {
            let found = said.checks.iter().find(|check| check["name"] == name);
            found.and_then(|check| check["fix"].as_str().map(str::to_owned))
        };
        if lacks.contains(&Lack::PeerPidfd) {
            let said = demanding("KEYRACK_REQUIRE_SESSION", "1");
            said.says("daemon.boundary", "fail", &["SO_PEERPIDFD", "6.5", "unset KEYRACK_REQUIRE_SESSION"]);
            assert_eq!(fix_of(&said, "daemon.boundary"), None);
        }
        if lacks.contains(&Lack::SecretMemory) {
            let said = demanding("KEYRACK_MEMORY", "secret");
            said.says(
                "daemon.memory",
                "fail",
                &["this machine cannot provide it", "memfd_secret", "unset KEYRACK_MEMORY"],
            );
            assert_eq!(fix_of(&said, "daemon.memory"), None);
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
    // The release of such a process begins with 2.6.
    let old =
        |text: &str| fixture.command(&["setarch", "--uname-2.6", "sh", "-euc", text].map(str::to_owned));
    let said = Said::of(&mut old("keyrack doctor --json"));
    said.says("kernel.version", "fail", &["Linux 2.6 is too old", "5.10 or later", "environment variables"]);
    said.says("kernel.start", "skip", &["see above"]);
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
    let said = Said::of(&mut without(&[Lack::Landlock], "doctor::child", &both));
    said.says("kernel.landlock", "warn", &["landlock", "5.13"]);
    said.says("daemon.hardening.landlock", "warn", &["landlock is off: "]);
}

#[test]
fn doctor_warns_without_secret_memory() {
    let fixture = Fixture::new();
    let both = script(&fixture, "keyrack daemon start >/dev/null; keyrack doctor --json");
    let said = Said::of(&mut without(&[Lack::SecretMemory], "doctor::child", &both));
    said.says("kernel.secret_memory", "warn", &["memfd_secret"]);
    said.says("daemon.hardening.secret_memory", "warn", &["secret_memory is off: "]);
    let mut demanding = doctor(&fixture);
    demanding.env("KEYRACK_MEMORY", "secret");
    let said = Said::of(&mut without(&[Lack::SecretMemory], "doctor::child", &demanding));
    said.says("kernel.secret_memory", "fail", &["KEYRACK_MEMORY requires it", "unset KEYRACK_MEMORY"]);
    said.says("daemon.memory", "fail", &["KEYRACK_MEMORY requires secret", "this machine cannot provide it"]);
    // Where the kernel has some, a new daemon helps.
    let secret = Said::of(doctor(&fixture).env("KEYRACK_MEMORY", "secret"));
    let has = secret.of_name("kernel.secret_memory").first().is_some_and(|(state, _)| *state == "ok");
    if can_run("doctor_warns_without_secret_memory", &[Need::That(has, "memfd_secret")]) {
        secret.says("daemon.memory", "fail", &["KEYRACK_MEMORY requires secret", "daemon restart"]);
    }
}

#[test]
fn doctor_warns_if_memory_cannot_be_locked() {
    let test = "doctor_warns_if_memory_cannot_be_locked";
    if !can_run(test, &[Need::Root, Need::Program("setpriv"), Need::Program("prlimit")]) {
        return;
    }
    let fixture = readable(Fixture::new());
    let text = "exec prlimit --memlock=65536:65536 sh -euc 'keyrack daemon start >/dev/null; exec keyrack doctor --json'";
    let said = Said::of(&mut as_user(SOMEBODY, &script(&fixture, text)));
    said.says("kernel.locked_memory", "warn", &["64 KiB", "LimitMEMLOCK="]);
    said.says("daemon.memory", "warn", &["may be written to swap"]);
    said.says("daemon.hardening.locked_memory", "warn", &["locked_memory is off: ", "64 KiB"]);
    let text = "KEYRACK_MEMORY=locked exec prlimit --memlock=65536:65536 keyrack doctor --json";
    let said = Said::of(&mut as_user(SOMEBODY, &script(&fixture, text)));
    said.says("kernel.locked_memory", "fail", &["64 KiB"]);
    said.says("daemon.memory", "fail", &["KEYRACK_MEMORY requires locked"]);
}

#[test]
fn doctor_warns_if_keyrackd_blocks_hibernation() {
    let test = "doctor_warns_if_keyrackd_blocks_hibernation";
    let fixture = Fixture::new();
    done(&fixture, "keyrack daemon start");
    let memory = look(&fixture).of_name("daemon.memory").first().map(|(_, words)| words.contains("hidden"));
    done(&fixture, "keyrack daemon stop");
    if !can_mount(test) || !can_run(test, &[Need::That(memory == Some(true), "memfd_secret")]) {
        return;
    }
    // A machine that can: the file that only a kernel with hibernation has, and swap on a disk.
    let text = "
        mount -t tmpfs none /sys/power; : > /sys/power/disk; : > /sys/power/state
        printf 'Filename Type Size Used Priority\\n/dev/sda2 partition 8388604 0 -2\\n' > swaps
        mount --bind swaps /proc/swaps
        keyrack daemon start >/dev/null; keyrack doctor --json";
    let said = Said::of(mounted(&fixture, text).env("KEYRACK_MEMORY", "secret"));
    said.says(
        "daemon.hibernation",
        "warn",
        &["cannot hibernate while keyrackd runs", "KEYRACK_MEMORY=locked"],
    );
    done(&fixture, "keyrack daemon stop");
    // Left to itself, keyrackd would rather let it.
    let said = Said::of(&mut mounted(&fixture, text));
    said.says("daemon.memory", "ok", &["locked memory"]);
    said.says(
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
    let said =
        Said::of(&mut mounted(&fixture, "mount -t proc -o hidepid=2 proc /proc; keyrack doctor --json"));
    said.says("kernel.processes", "fail", &["hidepid=", "remount,hidepid=0 /proc"]);
    said.says("kernel.start", "skip", &["see above"]);
}

/// A daemon hides itself from debuggers, and so from its own user where `/proc` hides processes.
/// It is still that user's own daemon.
#[test]
fn doctor_names_hidepid_under_a_running_daemon() {
    let test = "doctor_names_hidepid_under_a_running_daemon";
    if !can_mount(test) || !can_run(test, &[Need::Program("setpriv")]) {
        return;
    }
    let fixture = readable(Fixture::new());
    let start = run(&mut as_user(SOMEBODY, &script(&fixture, "keyrack daemon start")), b"", LIMIT).unwrap();
    assert!(start.status.success(), "{start:?}");
    let setpriv = format!("setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups");
    let hidden = format!("mount -t proc -o hidepid=2 proc /proc; exec {setpriv} keyrack");
    let said = Said::of(&mut mounted(&fixture, &format!("{hidden} doctor --json")));
    said.says("daemon.socket", "fail", &["hidepid=", "cannot tell whose daemon", "remount,hidepid=0 /proc"]);
    let status = run(&mut mounted(&fixture, &format!("{hidden} daemon status")), b"", LIMIT).unwrap();
    let text = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(text.contains("mounted with hidepid=") && !text.contains("remove the file"), "{text}");
    let stop = run(&mut as_user(SOMEBODY, &script(&fixture, "keyrack daemon stop")), b"", LIMIT).unwrap();
    assert!(stop.status.success(), "{stop:?}");
}

#[test]
fn daemon_in_a_systemd_service_is_reported_at_start_and_by_doctor() {
    if !can_mount("daemon_in_a_systemd_service_is_reported_at_start_and_by_doctor") {
        return;
    }
    let fixture = Fixture::new();
    let within = |path: &str, of: &str, command: &str| {
        let text = format!("echo 0::{path} > cgroup; mount --bind cgroup /proc/{of}/cgroup; exec {command}");
        run(&mut mounted(&fixture, &text), b"", LIMIT).unwrap()
    };
    let service = "/user.slice/user-1000.slice/user@1000.service/app.slice/work.service";
    let output = within(service, "$$", "keyrack daemon start");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("inside the systemd unit work.service: when the unit stops"), "{text}");
    let output = within(service, "$$", "keyrack daemon start");
    assert!(output.stderr.is_empty(), "it runs already: {output:?}");
    let told: Value =
        serde_json::from_str(&fixture.run("keyrack daemon status --json", b"").1.concat()).unwrap();
    let pid = told["pid"].to_string();
    let said = |path: &str| Said::parsed(&within(path, &pid, "keyrack doctor --json"));
    said(service).says("daemon.unit", "warn", &["systemd unit work.service", "keyrack run"]);
    said("/user.slice/user-1000.slice/session-2.scope").does_not_name("daemon.unit");
    done(&fixture, "keyrack daemon stop");
    let output = within("/user.slice/user-1000.slice/session-2.scope", "$$", "keyrack daemon start");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn doctor_warns_of_a_read_only_or_foreign_home() {
    if !can_mount("doctor_warns_of_a_read_only_or_foreign_home") {
        return;
    }
    let fixture = stocked();
    look(&fixture).says("place.home", "ok", &["HOME is "]);
    let home = fixture.home.home();
    let text = format!("mount --bind -o ro '{0}' '{0}'; exec keyrack doctor --json", home.display());
    let said = Said::of(&mut mounted(&fixture, &text));
    said.says("place.home", "warn", &["read-only file system", "not set"]);
    // root, with the HOME of another user: moving their rack away would take their keys away.
    let owner = format!("{SOMEBODY}:{SOMEBODY}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(home).status().unwrap().success());
    let said = look(&fixture);
    said.says("place.home", "warn", &["belongs to uid 65532", "run keyrack as that user", "sudo -H"]);
    let (exit, _, stderr) =
        fixture.run("keyrack set --key A --env test --vault os.secure --mech REPLICA", b"x");
    let text = stderr.join("\n");
    assert!(
        exit == 2 && text.contains("run keyrack as that user") && !text.contains("move it away"),
        "{text}"
    );
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
    let said = Said::of(&mut in_new_session(&both));
    said.says("session.elsewhere", "warn", &["outside any login session"]);
    let text = script(&fixture, "keyrack status; keyrack get --key acme.test.NOPE; exit 0");
    let output = run(&mut in_new_session(&text), b"", LIMIT).unwrap();
    let all = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(all.contains("outside any login session"), "{all}");
    assert!(!all.contains("4294967295") && !said.text.contains("4294967295"), "{all}\n{}", said.text);
}

#[test]
fn doctor_distinguishes_a_dead_socket_from_other_files() {
    let fixture = Fixture::new();
    look(&fixture).says("daemon.socket", "skip", &["no daemon is running"]);
    let socket = socket(&fixture);
    drop(UnixListener::bind(&socket).unwrap());
    look(&fixture).says("daemon.socket", "warn", &["nothing listens", "keyrack daemon prune"]);
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "").unwrap();
    look(&fixture).says("daemon.socket", "fail", &["is not a socket", "away"]);
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
    let said = look(&fixture);
    said.says("daemon.socket", "fail", &["something else listens at", "ss -xlp"]);
}

#[test]
fn doctor_fails_on_an_unresponsive_daemon() {
    let fixture = Fixture::new();
    done(&fixture, "keyrack daemon start");
    let (_, stdout, _) = fixture.run("keyrack daemon status --json", b"");
    let told: Value = serde_json::from_str(&stdout.concat()).unwrap();
    let pid = told["pid"].to_string();
    done(&fixture, &format!("kill -STOP {pid}"));
    let said = look(&fixture);
    done(&fixture, &format!("kill -CONT {pid}"));
    said.says("daemon.socket", "fail", &["keyrack daemon prune"]);
    look(&fixture).says("daemon.socket", "ok", &["keyrackd is running"]);
}

#[test]
fn doctor_fails_on_a_typescript_daemon() {
    let fixture = Fixture::new();
    let _listener = UnixListener::bind(socket(&fixture)).unwrap();
    // Who serves is told by the name of the process: this one is not called keyrackd.
    look(&fixture).says("daemon.socket", "fail", &["older TypeScript keyrack", "keyrack daemon restart"]);
}

#[test]
fn doctor_reports_the_ssh_keys() {
    let fixture = stocked();
    let ssh = fixture.home.home().join(".ssh");
    let key = ssh.join("id_ed25519");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    look(&fixture).says("rack.identity", "warn", &["id_ed25519", "0644", "chmod 600 "]);
    fs::write(ssh.join("id_rsa"), "no key").unwrap();
    let said = look(&fixture);
    said.says("rack.identity", "warn", &["id_rsa is unusable: it is neither"]);
    said.says("rack.host_manifest", "ok", &["opens with"]);
    fs::remove_file(ssh.join("id_rsa")).unwrap();
    fs::remove_file(&key).unwrap();
    let said = look(&fixture);
    said.says("rack.identity", "warn", &["no ssh key in", "ssh-keygen", "--prikey"]);
    said.says("rack.host_manifest", "fail", &["no available identity opens"]);
    // Protected by a passphrase: usable, as far as is known without it, and without a prompt.
    let keys = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let fixture = Fixture::new();
    let ssh = fixture.home.home().join(".ssh");
    for name in ["id_ed25519", "id_ed25519.pub"] {
        fs::copy(keys.join(name.replace("id_ed25519", "sealed")), ssh.join(name)).unwrap();
    }
    fs::set_permissions(ssh.join("id_ed25519"), Permissions::from_mode(0o600)).unwrap();
    done(&fixture, "keyrack init");
    let said = look(&fixture);
    said.says("rack.identity", "ok", &["id_ed25519 is a key with a passphrase (not tried)"]);
    said.says("rack.host_manifest", "skip", &["was not opened", "passphrase of ", "id_ed25519"]);
    assert_eq!(said.exit, 0);
}

#[test]
fn doctor_fails_on_a_damaged_host_manifest() {
    let fixture = Fixture::new();
    look(&fixture).says("rack.host_manifest", "skip", &["there is no host manifest yet", "keyrack init"]);
    done(&fixture, "keyrack init");
    let path = fixture.home.home().join(".rhachet/keyrack/keyrack.host.age");
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.len() / 2;
    for (content, words) in
        [("junk", "is damaged: its header is broken"), ("", "it is empty"), (&whole[..cut], "is damaged: ")]
    {
        fs::write(&path, content).unwrap();
        look(&fixture).says("rack.host_manifest", "fail", &[words, "restore the file from a backup"]);
    }
    fs::remove_file(&path).unwrap();
    symlink("/etc/hostname", &path).unwrap();
    look(&fixture).says("rack.host_manifest", "fail", &["symbolic link"]);
}

#[test]
fn doctor_reports_bad_vault_files() {
    let fixture = stocked();
    let vaults = fixture.home.home().join(".rhachet/keyrack/vault");
    let secure =
        fs::read_dir(vaults.join("os.secure/owner=default")).unwrap().next().unwrap().unwrap().path();
    let direct = vaults.join("os.direct/owner=default/keyrack.direct.json");
    fs::set_permissions(&direct, Permissions::from_mode(0o640)).unwrap();
    look(&fixture).says("rack.files", "warn", &["keyrack.direct.json", "0640", "chmod 600 "]);
    fs::write(&direct, "{\n  \"acme.test.B\": {\"value\": \"s3cret-of-the-doctor\"\n").unwrap();
    let said = look(&fixture);
    said.says("rack.files", "fail", &["keyrack.direct.json line "]);
    assert!(!said.text.contains("s3cret-of"), "{}", said.text);
    fs::write(&direct, "{}").unwrap();
    let said = look(&fixture);
    said.says(
        "rack.keys",
        "fail",
        &["acme.test.B is recorded", "keyrack set --env test --key B --vault os.direct"],
    );
    let whole = fs::read(&secure).unwrap();
    fs::write(&secure, "junk").unwrap();
    let said = look(&fixture);
    said.says(
        "rack.files",
        "fail",
        &["is damaged", "acme.test.A", "keyrack set --env test --key A --vault os.secure"],
    );
    fs::remove_file(&secure).unwrap();
    look(&fixture).says("rack.keys", "fail", &["acme.test.A is recorded", "keyrack del --env test --key A"]);
    symlink("/etc/hostname", &secure).unwrap();
    look(&fixture).says("rack.files", "fail", &["symbolic link"]);
    fs::remove_file(&secure).unwrap();
    // The file of an earlier `set`.
    done(&fixture, "sh -c 'printf later | keyrack set --key A --env test --vault os.secure --mech REPLICA'");
    fs::write(&secure, whole).unwrap();
    let fix = "keyrack set --env test --key A --vault os.secure";
    look(&fixture).says("rack.binding", "fail", &["acme.test.A holds an older value", fix]);
}

#[test]
fn doctor_warns_of_unbound_key_files() {
    let fixture = stocked();
    look(&fixture).does_not_name("rack.binding");
    // As the TypeScript keyrack leaves a key: a file without a binding, and an entry without meta.
    let home = fixture.home.home();
    let racks = RackPaths::new(Some(home.as_os_str()), Owner::DEFAULT).unwrap();
    let source = IdentitySource { racks: racks.clone(), prikeys: Vec::new(), ssh_auth_sock: None };
    let mut identities = Identities::discover(source, Box::new(NoPassphrasePrompt)).unwrap();
    let slug = Slug::parse("acme.test.A").unwrap();
    let recipients = manifest_file::update(&racks, &mut identities, |manifest, _| {
        manifest.hosts.get_mut(&slug).unwrap().meta = None;
        Ok(manifest.recipients.clone())
    })
    .unwrap();
    let file = age_file::encrypt(&recipients, b"s3cret-of-the-doctor").unwrap();
    fs::write(racks.secure_path(&slug), file).unwrap();
    let said = look(&fixture);
    said.says("rack.binding", "warn", &["1 key", "acme.test.A", "keyrack set --env test --key A"]);
    assert_eq!(said.exit, 0);
    done(&fixture, "keyrack unlock --env test --key A");
    done(&fixture, "keyrack set --key A --env test --vault os.secure --mech REPLICA");
    look(&fixture).does_not_name("rack.binding");
}

#[test]
fn doctor_reports_faults_of_the_repository() {
    let fixture = Fixture::new();
    look(&fixture).says("repository.manifest", "skip", &["not in a git repository"]);
    done(&fixture, "git init -q");
    look(&fixture).says("repository.manifest", "skip", &["has no .agent/keyrack.yml"]);
    let project = fixture.home.home().join("project");
    fs::create_dir(project.join(".agent")).unwrap();
    for (text, words) in [
        ("org: acme\nenv.test: [A\n", ".agent/keyrack.yml:2: not valid YAML"),
        ("env.test: [A]\n", ".agent/keyrack.yml"),
        ("org: acme\nenv.test:\n  - A\n  - B: strong\n", ".agent/keyrack.yml:4: env.test: B"),
        ("org: acme\nenv.dev: [A]\n", ".agent/keyrack.yml:2: env.dev"),
    ] {
        fs::write(project.join(".agent/keyrack.yml"), text).unwrap();
        look(&fixture).says("repository.manifest", "fail", &[words]);
    }
}

#[test]
fn doctor_reports_unknown_and_invalid_variables() {
    let fixture = Fixture::new();
    let said = Said::of(doctor(&fixture).env("KEYRACK_TOKN", "hunter2").env("KEYRACK_MEMORY", "hunter2"));
    said.says("environment", "warn", &["unknown variable KEYRACK_TOKN"]);
    said.says("environment", "fail", &["KEYRACK_MEMORY must be one of auto, secret, locked"]);
    assert!(!said.text.contains("hunter2"), "{}", said.text);
}
