//! The daemon's log: off by default, private, and of keys and peers alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Need, as_user, binary, can_run, run, wait_until};

use crate::daemon::{
    Daemon, LONG, RELOCK_ALL, STATUS, ask, command, connect, frame, get, pid_in, read_frame, socket_in,
    unlock,
};
use crate::peer_process::ask_as;

/// Secret that must not appear in a log, in any of its forms.
const SENTINEL: &str = "sentinel/\u{e9}\"42";

/// The forms a value can have in text: as it is, in JSON, in base64 (at each of its three places),
/// in hex.
fn forms(value: &str) -> Vec<String> {
    let base64 = |bytes: &[u8]| {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits = |chunk: &[u8]| chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let digit = |bits: u32, shift: u32| char::from(DIGITS[(bits >> shift & 63) as usize]);
        bytes
            .chunks_exact(3)
            .flat_map(|three| [18, 12, 6, 0].map(|shift| digit(bits(three), shift)))
            .collect::<String>()
    };
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        value.to_owned(),
        value.escape_debug().to_string(),
        "sentinel".to_owned(),
        hex.to_uppercase(),
        hex,
    ];
    forms.extend((0..3).map(|skip| base64(&value.as_bytes()[skip..])));
    forms
}

fn logged(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[track_caller]
fn assert_no_value(log: &str) {
    for form in forms(SENTINEL) {
        assert!(!log.contains(&form), "{form} in:\n{log}");
    }
}

/// Every op of both protocols, and much that is refused.
fn talk(daemon: &Daemon) {
    let json = SENTINEL.replace('"', "\\\"");
    daemon.unlock("acme.test.LEGACY", &json);
    for request in [
        get("acme.test.LEGACY"),
        STATUS.to_owned(),
        // Too weak for what is there; of no life; of no grade; no grant at all; of no kind; cut
        // off.
        unlock("acme.test.LEGACY", &json, "").replace("encrypted", "plaintext"),
        unlock("acme.test.PAST", &json, r#","expiresAt":"1999-01-01T00:00:00.000Z""#),
        unlock("acme.test.GRADE", &json, "").replace("encrypted", &json),
        unlock(&json, &json, ""),
        format!(r#"{{"command":"UNLOCK","payload":{{"keys":["{json}"]}}}}"#),
        format!(r#"{{"command":"{json}","payload":{{}}}}"#),
        format!(r#"{{"command":"GET","payload":{{"slugs":["{json}", 7]}}}}"#),
        format!(r#"{{"command":"GET" "{json}"}}"#),
        json.clone(),
        r#"{"command":"RELOCK","payload":{"slugs":["acme.test.LEGACY"]}}"#.to_owned(),
    ] {
        daemon.ask(&request);
    }
    let mut cut = daemon.connect();
    cut.write_all(&unlock("acme.test.CUT", &json, "").as_bytes()[..200]).unwrap();
    cut.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = cut.read_to_end(&mut Vec::new());

    let mut stream = daemon.connect();
    let mut frames = |header: &str, secrets: &[u8]| {
        stream.write_all(&frame(header, secrets)).unwrap();
        read_frame(&mut stream).expect("a reply")
    };
    let key = |slug: &str, more: &str| {
        format!(
            r#"{{"id":2,"op":"unlock","keys":[{{"slug":"{slug}","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"os.secure","mech":"M"}},"ttl_ms":60000{more},"secret":{{"offset":0,"len":{}}}}}]}}"#,
            SENTINEL.len()
        )
    };
    frames(r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"t"}"#, b"");
    for (header, secrets) in [
        (key("acme.test.NATIVE", ""), SENTINEL),
        (key(r"acme.test.\u001b[31mred", ""), SENTINEL),
        (key("acme.test.right\u{202e}left", ""), SENTINEL),
        (key("acme.test.NATIVE", "").replace("encrypted", "plaintext"), SENTINEL),
        (key("acme.test.ENDED", r#","credential_expires_at":"1999-01-01T00:00:00.000Z""#), SENTINEL),
        (r#"{"id":3,"op":"get","slugs":["acme.test.NATIVE","acme.test.NONE"]}"#.to_owned(), ""),
        (r#"{"id":4,"op":"status"}"#.to_owned(), ""),
        (r#"{"id":5,"op":"ping"}"#.to_owned(), ""),
        (format!(r#"{{"id":6,"op":"{json}"}}"#), ""),
        (r#"{"id":7,"op":"relock","slugs":["acme.test.NATIVE"]}"#.to_owned(), ""),
    ] {
        frames(&header, secrets.as_bytes());
    }
    for broken in [frame("{", SENTINEL.as_bytes()), frame(&key("a.test.B", ""), b"sentinel")] {
        let mut stream = daemon.connect();
        stream.write_all(&broken).unwrap();
        let _ = read_frame(&mut stream);
    }
}

#[test]
fn log_names_keys_and_peers_but_never_values() {
    let file = Home::new();
    let path = file.root().join("log");
    let mut daemon = Daemon::start_with(|command| {
        command.env("KEYRACK_LOG", "trace").env("KEYRACK_LOG_FILE", &path).env("RUST_BACKTRACE", "full");
    });
    talk(&daemon);
    let mine = std::process::id();
    if can_run(&format!("{}: another user", test_name!()), &[Need::Root, Need::Program("setpriv")]) {
        daemon.open_to_all();
        let told = ask_as(
            |ask| as_user(65_533, ask),
            daemon.socket.as_os_str(),
            &unlock("a.test.B", "sentinel", ""),
        );
        assert!(told.contains("session mismatch"), "{told}");
        wait_until("it is logged", LONG, || logged(&path).contains("peer rejected uid=65533 pid="));
    }
    daemon.signal(Signal::Usr1);
    wait_until("it is logged", LONG, || logged(&path).contains("all keys erased"));
    daemon.ask(RELOCK_ALL);
    daemon.signal(Signal::Term);
    assert!(daemon.ended(LONG).success());
    let log = logged(&path);
    for line in [
        "INFO  keyrackd[",
        "daemon ready version=0.1.0 socket=",
        &format!("connection accepted pid={mine}"),
        "key unlocked slug=acme.test.LEGACY",
        "key unlocked slug=acme.test.NATIVE",
        r#"key unlocked slug="acme.test.right\u{202e}left""#,
        "key sent slug=acme.test.LEGACY",
        "key sent slug=acme.test.NATIVE",
        "key relocked slug=acme.test.LEGACY",
        "key relocked slug=acme.test.NATIVE",
        "key not unlocked code=grade_degraded",
        "daemon stopped reason=Signal",
    ] {
        assert!(log.contains(line), "{line:?} in:\n{log}");
    }
    assert_no_value(&log);
    let mut stderr = String::new();
    daemon.child.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
    for line in log.lines() {
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
        let time = line.split(' ').next().unwrap();
        assert!(time.ends_with('Z') && time.len() == 24, "each line is one of ours: {line}");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn log_file_that_is_not_private_is_rejected() {
    let home = Home::new();
    let at = |name: &str| home.root().join(name);
    fs::write(at("target"), "kept").unwrap();
    fs::set_permissions(at("target"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink(at("target"), at("link")).unwrap();
    fs::write(at("open"), "kept").unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("theirs"), "kept").unwrap();
    fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut cases = vec![
        ("link", "it is a symbolic link"),
        ("open", "its mode is 0644, it must be 0600"),
        ("dir", "it is not a regular file"),
        ("no/dir", "No such file"),
    ];
    if can_run(&format!("{}: another's", test_name!()), &[Need::Root]) {
        std::os::unix::fs::chown(at("theirs"), Some(65_533), None).unwrap();
        cases.push(("theirs", "it belongs to uid 65533"));
    }
    for (name, why) in cases {
        let mut command = command(&home);
        command.env("KEYRACK_LOG", "info").env("KEYRACK_LOG_FILE", at(name));
        let output = run(&mut command, b"", LONG).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{name}: {said}");
        assert!(!socket_in(&home).exists(), "{name}");
    }
    for name in ["target", "open", "theirs"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "kept");
    }
}

/// Starts a daemon as a client does, and returns its pid, 0 if it does not serve, and its word.
fn started(home: &Home, variables: &[(&str, &Path)]) -> (u32, String) {
    let socket = socket_in(home);
    let args = ["--socket".as_ref(), socket.as_os_str(), "--ready-fd".as_ref(), "3".as_ref()];
    let env: Vec<_> = variables.iter().map(|(name, value)| ((*name).as_ref(), value.as_os_str())).collect();
    let mut started = keyrack_sys::process::spawn::spawn_detached(&binary("keyrackd"), &args, &env).unwrap();
    let mut word = String::new();
    started.ready.read_to_string(&mut word).unwrap();
    (if word == "ready\n" { pid_in(home) } else { 0 }, word)
}

fn ended(pid: u32) {
    let pidfd = keyrack_sys::process::pidfd::Pidfd::open(pid.try_into().unwrap()).unwrap();
    pidfd.signal(Signal::Term).unwrap();
    assert!(pidfd.wait_exit(LONG));
}

#[test]
fn daemon_started_by_client_does_not_log_by_default() {
    let home = Home::new();
    let descriptors = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|fd| fs::read_link(fd.path()).ok()).filter(|to| to.ends_with("log")).count()
    };
    let (pid, word) = started(&home, &[]);
    assert_eq!((word.as_str(), descriptors(pid)), ("ready\n", 0));
    ended(pid);
    let path = home.root().join("log");
    let (pid, word) = started(&home, &[("KEYRACK_LOG_FILE", &path)]);
    assert_eq!(word, "ready\n");
    ended(pid);
    assert!(logged(&path).contains(" daemon ready "), "{}", logged(&path));
    let (_, word) = started(&home, &[("KEYRACK_LOG", Path::new("loud"))]);
    assert!(word.starts_with("error usage\nKEYRACK_LOG must be off, error, "), "{word}");
}

#[test]
fn foreground_daemon_logs_warnings_to_stderr() {
    let mut daemon = Daemon::start();
    let mut stream = daemon.connect();
    let key = r#"{"id":2,"op":"unlock","keys":[{"slug":"acme.test.BYTES","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"os.secure","mech":"M"},"ttl_ms":60000,"secret":{"offset":0,"len":9}}]}"#;
    stream.write_all(&frame(key, b"sentinel\xff")).unwrap();
    read_frame(&mut stream).unwrap();
    daemon.ask(&get("acme.test.BYTES"));
    daemon.signal(Signal::Term);
    assert!(daemon.ended(LONG).success());
    let mut said = String::new();
    daemon.child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(" WARN  keyrackd["), "{said}");
    assert!(
        said.contains(
            "the value of a key is not text: the legacy protocol cannot carry it slug=acme.test.BYTES"
        ),
        "{said}"
    );
    assert!(!said.contains("INFO") && !said.contains("sentinel"), "{said}");
}

#[test]
fn unread_log_does_not_block_clients() {
    // Its standard error is a pipe of 64 KiB, and this test does not read it.
    let mut daemon = Daemon::start_with(|command| {
        command.env("KEYRACK_LOG", "trace");
    });
    daemon.unlock("acme.test.K", "s");
    for _ in 0..1500 {
        assert!(daemon.ask(&get("acme.test.K")).contains(r#""secret":"s""#));
    }
    daemon.signal(Signal::Term);
    assert!(daemon.ended(LONG).success());
    let mut said = Vec::new();
    daemon.child.0.stderr.take().unwrap().read_to_end(&mut said).unwrap();
    assert!((50_000..=65_536).contains(&said.len()), "it was full: {}", said.len());
}

#[test]
fn daemon_started_by_client_logs_to_journal() {
    let mut mount = Command::new("unshare");
    mount.args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null());
    let mount = mount.status().is_ok_and(|status| status.success());
    let needs = [Need::Root, Need::That(mount, "the right to mount")];
    if !can_run(test_name!(), &needs) {
        return;
    }
    let test = crate::test_path(journal_gets_entries_inside_and_outside_the_sandbox);
    let script = format!("mount -t tmpfs none /run && exec \"$0\" --exact {test} --ignored --nocapture");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(std::env::current_exe().unwrap()).env(ALONE, "1");
    let output = run(&mut command, b"", LONG * 2).unwrap();
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

const ALONE: &str = "KEYRACK_IT_ALONE";

/// Second half of `daemon_started_by_client_logs_to_journal`, in a mount namespace where `/run` is
/// empty.
#[test]
#[ignore = "needs a /run of its own"]
fn journal_gets_entries_inside_and_outside_the_sandbox() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let home = Home::new();
    let log = [("KEYRACK_LOG", Path::new("info"))];
    let (_, word) = started(&home, &log);
    assert!(
        word.starts_with("error usage\nKEYRACK_LOG is set, and there is no journald to log to"),
        "{word}"
    );

    fs::create_dir_all("/run/systemd/journal").unwrap();
    let journal = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
    journal.set_read_timeout(Some(LONG)).unwrap();
    let next = || {
        let mut entry = vec![0; 65_536];
        let len = journal.recv(&mut entry).unwrap();
        String::from_utf8(entry[..len].to_vec()).unwrap()
    };
    let (pid, word) = started(&home, &log);
    assert_eq!(word, "ready\n");
    let mut told = Vec::new();
    while told.last().is_none_or(|entry: &String| !entry.contains("MESSAGE=daemon ready version=")) {
        told.push(next());
    }
    // From inside its sandbox, too.
    ask(connect(&socket_in(&home)), unlock("acme.test.K", "sentinel", "").as_bytes());
    assert_eq!(next(), "PRIORITY=6\nSYSLOG_IDENTIFIER=keyrackd\nMESSAGE=key unlocked slug=acme.test.K\n");
    ended(pid);
    assert_eq!(next(), "PRIORITY=6\nSYSLOG_IDENTIFIER=keyrackd\nMESSAGE=daemon stopped reason=Signal\n");
}
