//! Jails × wires: which namespaces callers come from, which the daemon is in, and who is served.
//! Directories and sockets are open to everybody, so that only the daemon's own look at its callers
//! stands.

use std::process::{Command, Stdio};

use keyrack_testkit::{Home, Need, as_user, can_run};

use crate::daemon::{Daemon, LONG, RELOCK_ALL, STATUS, command, get, open_to_all, socket_in, unlock};
use crate::peer_process::{ask_as, ask_handed_into, ask_native_as, jailed};

const NATIVE_GET: &str = r#"{"id":1,"op":"get","slugs":["acme.test.K"]}"#;
const HELLO: &str = r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"t"}"#;

/// No jail at all.
const NOTHING: &[&str] = &[];

/// Setting that accepts a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ServedBy {
    /// It is of the daemon's own namespaces.
    Default,
    /// `KEYRACK_ALLOW_NAMESPACES=user`.
    User,
    /// `KEYRACK_ALLOW_NAMESPACES=all`.
    All,
    Never,
}

/// Ways to be in other namespaces, and what they need.
const JAILS: &[(&[&str], ServedBy)] = &[
    (NOTHING, ServedBy::Default),
    // Sandboxes that share both namespaces are the same user.
    (&["unshare", "--mount", "--"], ServedBy::Default),
    (&["unshare", "--mount", "--net", "--ipc", "--uts", "--cgroup", "--"], ServedBy::Default),
    (&["unshare", "--root=/", "--"], ServedBy::Default),
    (&["setpriv", "--no-new-privs", "--bounding-set=-all", "--"], ServedBy::Default),
    (&["bwrap", "--bind", "/", "/", "--"], ServedBy::Default),
    (
        &["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-net", "--unshare-ipc", "--"],
        ServedBy::Default,
    ),
    // Pid namespaces, with a `/proc` of their own and without; the socket in a read-only mount.
    (&["unshare", "--pid", "--fork", "--mount-proc", "--"], ServedBy::All),
    (&["unshare", "--pid", "--fork", "--"], ServedBy::All),
    (
        &[
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "--",
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "--",
        ],
        ServedBy::All,
    ),
    (&["bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--"], ServedBy::All),
    // User namespaces: nothing mapped, to root, to oneself, to another number.
    (&["unshare", "--user", "--"], ServedBy::Never),
    (&["unshare", "--user", "--map-root-user", "--"], ServedBy::User),
    (&["unshare", "--user", "--map-current-user", "--"], ServedBy::User),
    (&["unshare", "--user", "--map-user=1234", "--"], ServedBy::User),
    (&["unshare", "--user", "--map-user=65534", "--"], ServedBy::User),
    (&["bwrap", "--ro-bind", "/", "/", "--unshare-user", "--"], ServedBy::User),
    // Both.
    (&["unshare", "--user", "--pid", "--fork", "--"], ServedBy::Never),
    (&["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"], ServedBy::All),
    (
        &["bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-user", "--unshare-pid", "--"],
        ServedBy::All,
    ),
    (&["bwrap", "--bind", "/", "/", "--unshare-all", "--"], ServedBy::All),
];

fn needs(test: &str) -> bool {
    let programs = ["unshare", "setpriv", "bwrap", "nsenter"].map(Need::Program);
    can_run(test, &[&[Need::Root][..], &programs].concat())
}

/// Asks for the key by every wire from a jail; whether it was handed out, which has to be the same
/// for all.
fn is_served(jail: &[&str], daemon: &Daemon) -> bool {
    let socket = daemon.socket.as_os_str();
    let legacy = ask_as(|ask| jailed(jail, ask), socket, &get("acme.test.K"));
    let native = ask_native_as(|ask| jailed(jail, ask), socket, NATIVE_GET);
    let served = [legacy.contains(r#""secret":"hunter2""#), native.contains(r#""slug":"acme.test.K""#)];
    let refused = [legacy.contains("session mismatch"), native.contains("session_mismatch")];
    assert_eq!(served[0], served[1], "{jail:?}: {legacy} {native}");
    assert_eq!(served, refused.map(|refused| !refused), "{jail:?}: {legacy} {native}");
    served[0]
}

/// Namespaces that the daemon reports in its hello and in its status.
fn said_namespaces(daemon: &Daemon) -> Vec<String> {
    [HELLO, r#"{"id":2,"op":"status"}"#]
        .iter()
        .map(|request| {
            let reply = ask_native_as(|ask| jailed(NOTHING, ask), daemon.socket.as_os_str(), request);
            let (_, rest) = reply.split_once(r#""namespaces":""#).unwrap_or_else(|| panic!("{reply}"));
            rest.split('"').next().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn nested_namespaces_are_served_only_as_allowed() {
    if !needs(test_name!()) {
        return;
    }
    for (setting, allowed, said) in [
        (None, ServedBy::Default, "pid and user"),
        (Some("user"), ServedBy::User, "user allowed"),
        (Some("all"), ServedBy::All, "all allowed"),
    ] {
        let daemon = Daemon::start_with(|command| {
            command.envs(setting.map(|value| ("KEYRACK_ALLOW_NAMESPACES", value)));
        });
        daemon.open_to_all();
        daemon.unlock("acme.test.K", "hunter2");
        for (jail, needed) in JAILS {
            assert_eq!(is_served(jail, &daemon), *needed <= allowed, "{setting:?}: {jail:?}");
        }
        assert_eq!(said_namespaces(&daemon), [said; 2]);
        assert_eq!(daemon.held(), ["acme.test.K"]);
    }
}

#[test]
fn rejected_nested_caller_changes_nothing() {
    if !needs(test_name!()) {
        return;
    }
    let daemon = Daemon::start();
    daemon.open_to_all();
    daemon.unlock("acme.test.K", "hunter2");
    let jail = &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"];
    for request in [STATUS, RELOCK_ALL, &unlock("acme.test.K", "poison", "")] {
        let told = ask_as(|ask| jailed(jail, ask), daemon.socket.as_os_str(), request);
        assert!(told.contains("session mismatch"), "{told}");
    }
    for request in [
        r#"{"id":1,"op":"relock","all":true}"#,
        r#"{"id":1,"op":"shutdown"}"#,
        r#"{"id":1,"op":"status"}"#,
        HELLO,
    ] {
        let told = ask_native_as(|ask| jailed(jail, ask), daemon.socket.as_os_str(), request);
        assert!(told.contains("session_mismatch"), "{request}: {told}");
    }
    assert!(daemon.ask(&get("acme.test.K")).contains(r#""secret":"hunter2""#));
}

/// A user of no privileges makes such namespaces too.
#[test]
fn namespaces_of_unprivileged_user_are_rejected() {
    if !needs(test_name!()) {
        return;
    }
    let home = Home::new();
    home.give_to(65_533);
    let mut command = as_user(65_533, &command(&home));
    let daemon = Daemon::run(home, &mut command);
    daemon.open_to_all();
    let own = &["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--"][..];
    let told =
        ask_as(|ask| jailed(own, ask), daemon.socket.as_os_str(), &unlock("acme.test.K", "hunter2", ""));
    assert!(told.contains(r#""success":true"#), "{told}");
    assert!(is_served(own, &daemon));
    for jail in [
        &["unshare", "--user", "--"][..],
        &["unshare", "--user", "--map-root-user", "--"],
        &["unshare", "--user", "--map-current-user", "--"],
        &["unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount-proc", "--"],
        &["bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-all", "--"],
    ] {
        assert!(!is_served(&[own, jail].concat(), &daemon), "{jail:?}");
    }
    // Root is another user, whatever namespace it is in: also where both uids are shown as the same
    // number.
    for jail in [NOTHING, &["unshare", "--user", "--"], &["unshare", "--user", "--map-user=65533", "--"]] {
        assert!(!is_served(jail, &daemon), "{jail:?}");
    }
}

#[test]
fn connection_passed_into_namespace_is_rejected() {
    if !needs(test_name!()) {
        return;
    }
    for setting in [None, Some("all")] {
        let daemon = Daemon::start_with(|command| {
            command.envs(setting.map(|value| ("KEYRACK_ALLOW_NAMESPACES", value)));
        });
        daemon.open_to_all();
        daemon.unlock("acme.test.K", "hunter2");
        for (jail, _) in JAILS {
            for request in [&get("acme.test.K"), NATIVE_GET] {
                let said = ask_handed_into(jail, &daemon.socket, request);
                assert!(said.contains("session mismatch"), "{jail:?}: {said}");
                assert!(!said.contains("hunter2"), "{jail:?}: {said}");
            }
        }
        assert_eq!(daemon.held(), ["acme.test.K"]);
    }
}

/// A daemon in namespaces of its own, asked from inside by `nsenter`.
struct Jailed {
    daemon: Daemon,
    inside: Vec<String>,
}

impl Jailed {
    fn start(jail: &[&str], enter: &[&str]) -> Self {
        let home = Home::new();
        let mut command = jailed(jail, &command(&home));
        let daemon = Daemon::run(home, &mut command);
        open_to_all(&daemon.home, &daemon.socket);
        // What was started is the jailer; its child, if it has one, is the daemon.
        let jailer = daemon.child.pid();
        let children = std::fs::read_to_string(format!("/proc/{jailer}/task/{jailer}/children")).unwrap();
        let pid = children.split_whitespace().next().map_or(jailer, |pid| pid.parse().unwrap());
        let mut inside = vec!["nsenter".to_owned(), format!("--target={pid}")];
        inside.extend(enter.iter().map(|word| (*word).to_owned()));
        inside.push("--".to_owned());
        Jailed { daemon, inside }
    }

    fn inside(&self) -> Vec<&str> {
        self.inside.iter().map(String::as_str).collect()
    }

    fn unlock(&self) {
        let request = unlock("acme.test.K", "hunter2", "");
        let told = ask_as(|ask| jailed(&self.inside(), ask), self.daemon.socket.as_os_str(), &request);
        assert!(told.contains(r#""success":true"#), "{told}");
    }
}

#[test]
fn daemon_in_pid_namespace_serves_only_that_namespace() {
    if !needs(test_name!()) {
        return;
    }
    let jail = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let jailed = Jailed::start(jail, &["--pid", "--mount"]);
    jailed.unlock();
    assert!(is_served(&jailed.inside(), &jailed.daemon), "its own namespace");
    // The parent and siblings are not visible in it: they are never looked up by another number.
    assert!(!is_served(NOTHING, &jailed.daemon), "the parent");
    assert!(!is_served(&["unshare", "--pid", "--fork", "--mount-proc", "--"], &jailed.daemon), "a sibling");
    let nested = [&jailed.inside()[..], &["unshare", "--pid", "--fork", "--mount-proc", "--"]].concat();
    assert!(!is_served(&nested, &jailed.daemon), "a child");
}

#[test]
fn daemon_in_user_namespace_serves_only_it_and_reports_it() {
    if !needs(test_name!()) {
        return;
    }
    let jailed_daemon = Jailed::start(&["unshare", "--user", "--map-root-user", "--"], &["--user"]);
    jailed_daemon.unlock();
    assert!(is_served(&jailed_daemon.inside(), &jailed_daemon.daemon), "its own namespace");
    assert!(!is_served(NOTHING, &jailed_daemon.daemon), "the parent");
    assert!(
        !is_served(&["unshare", "--user", "--map-user=1234", "--"], &jailed_daemon.daemon),
        "a sibling with another map"
    );
    let inside = jailed_daemon.inside();
    let said = ask_native_as(|ask| jailed(&inside, ask), jailed_daemon.daemon.socket.as_os_str(), HELLO);
    assert!(said.contains(r#""namespaces":"pid only""#), "{said}");
}

/// The daemon does not start where it cannot tell its callers apart, and names the reason.
#[test]
fn start_fails_with_unmapped_user() {
    if !needs(test_name!()) {
        return;
    }
    for (jail, why) in [
        (&["unshare", "--pid", "--fork", "--"][..], "/proc does not belong to the pid namespace of keyrackd"),
        (&["unshare", "--user", "--"], "does not map its user (uid 65534)"),
        (&["unshare", "--user", "--map-user=65534", "--"], "does not map its user (uid 65534)"),
    ] {
        for setting in [None, Some("all")] {
            let home = Home::new();
            let mut command = command(&home);
            command.envs(setting.map(|value| ("KEYRACK_ALLOW_NAMESPACES", value)));
            let mut command = jailed(jail, &command);
            let output = keyrack_testkit::run(&mut command, b"", LONG).unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{jail:?}: {text}");
            assert!(text.contains(why), "{jail:?}: {text}");
            assert!(!socket_in(&home).exists());
        }
    }
}

#[test]
fn start_rejects_unknown_namespace_setting() {
    let home = Home::new();
    let output = command(&home).env("KEYRACK_ALLOW_NAMESPACES", "pid").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("KEYRACK_ALLOW_NAMESPACES must be user or all"), "{text}");
}

/// It is asked for at each connection: a process that leaves its namespace between two is met as
/// what it is then.
#[test]
fn caller_is_authenticated_in_its_current_namespace() {
    if !needs(test_name!()) {
        return;
    }
    let daemon = Daemon::start();
    daemon.open_to_all();
    daemon.unlock("acme.test.K", "hunter2");
    // The very process that was served becomes `unshare`, and then the actor again.
    let script = r#""$@"; exec unshare --user --map-root-user -- "$@""#;
    let told = {
        let ask = crate::peer_process::actor("ask", daemon.socket.as_os_str());
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(ask.get_program()).args(ask.get_args());
        command.envs(ask.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("KEYRACK_IT_REQUEST", get("acme.test.K")).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said: Vec<&str> =
        told.lines().filter_map(|line| line.split_once("SAID:")).map(|(_, said)| said).collect();
    assert_eq!(said.len(), 2, "{told}");
    assert!(said[0].contains("hunter2") && said[1].contains("session mismatch"), "{told}");
}

/// Restrictions without namespaces of their own do not make another user of anybody.
#[test]
fn caller_in_seccomp_sandbox_is_served() {
    let lacks = [keyrack_testkit::kernel::Lack::Landlock, keyrack_testkit::kernel::Lack::SecretMemory];
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let filtered = |ask: &Command| keyrack_testkit::kernel::without(&lacks, "namespaces::filtered", ask);
    let told = ask_as(filtered, daemon.socket.as_os_str(), &get("acme.test.K"));
    assert!(told.contains("hunter2"), "{told}");
}

#[test]
fn caller_in_landlock_sandbox_is_served() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "hunter2");
    let command = crate::peer_process::actor("landlocked", daemon.socket.as_os_str())
        .env("KEYRACK_IT_REQUEST", get("acme.test.K"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&command.stdout);
    assert!(told.contains("hunter2"), "{told}");
}

/// Becomes the command that [`keyrack_testkit::kernel::without`] wraps.
#[test]
#[ignore = "becomes another program for other tests"]
fn filtered() {
    keyrack_testkit::kernel::become_the_command();
}
