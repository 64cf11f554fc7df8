//! Start of a daemon; a failed start leaves nothing behind.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Need, Reaped, binary, can_run, in_new_session, run, wait_until};

use crate::daemon::{Daemon, LONG, STATUS, command, names_in, pid_in, slugs_in, socket_in};
use crate::peer_process::Session;

/// Runs a start that must fail, and returns its exit code and error output.
fn failing(command: &mut Command) -> (i32, String) {
    let output = run(command, b"", LONG).unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_and_version_are_printed() {
    for (arg, expected) in [("--help", "Usage: keyrackd --socket PATH"), ("--version", "keyrackd 0.1.0\n")] {
        let output = run(Command::new(binary("keyrackd")).arg(arg), b"", LONG).unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
    let (code, text) = failing(&mut Command::new(binary("keyrackd")));
    assert_eq!((code, text.as_str()), (2, "keyrackd: --socket PATH is required (run `keyrackd --help`)\n"));
}

#[test]
fn runtime_files_are_private_under_any_umask() {
    let home = Home::new();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000 && exec \"$0\" --socket \"$1\""]);
    command.arg(binary("keyrackd")).arg(socket_in(&home)).current_dir("/");
    let mut daemon = Daemon::run(home, &mut command);
    assert_eq!(
        daemon.files(),
        ["keyrack.7.83db27ef.pid", "keyrack.7.83db27ef.sock", "keyrack.7.83db27ef.sock.lock"]
    );
    for name in daemon.files() {
        let mode = fs::metadata(daemon.home.runtime().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let pid = fs::read_to_string(daemon.home.runtime().join("keyrack.7.83db27ef.pid")).unwrap();
    assert_eq!(pid, daemon.child.pid().to_string());
    daemon.signal(Signal::Term);
    assert!(daemon.ended(LONG).success());
}

#[test]
fn daemon_started_by_client_inherits_nothing() {
    let home = Home::new();
    let socket = socket_in(&home);
    let program = binary("keyrackd");
    let args = [OsStr::new("--socket"), socket.as_os_str(), OsStr::new("--ready-fd"), OsStr::new("3")];
    let env = [(OsStr::new("KEYRACK_DAEMON_IDLE_TIMEOUT_MS"), OsStr::new("60000"))];
    let mut started = keyrack_sys::process::spawn::spawn_detached(&program, &args, &env).unwrap();
    let mut word = String::new();
    started.ready.read_to_string(&mut word).unwrap();
    assert_eq!(word, "ready\n");
    assert_eq!(slugs_in(&crate::daemon::ask(crate::daemon::connect(&socket), STATUS.as_bytes())), [""; 0]);

    // A second start finds the daemon.
    let mut second = keyrack_sys::process::spawn::spawn_detached(&program, &args, &env).unwrap();
    let mut word = String::new();
    second.ready.read_to_string(&mut word).unwrap();
    assert_eq!(word, "served\n");

    let pid = pid_in(&home);
    assert_ne!(
        i64::from(pid),
        i64::from(started.pid.as_raw()),
        "in memory that no process could open before it was hidden"
    );
    let proc = format!("/proc/{pid}");
    assert_eq!(fs::read_to_string(format!("{proc}/comm")).unwrap(), "keyrackd\n");
    if can_run(&format!("{}: /proc", test_name!()), &[Need::Root]) {
        assert_eq!(fs::read_link(format!("{proc}/cwd")).unwrap(), Path::new("/"));
        assert_eq!(
            fs::read(format!("{proc}/environ")).unwrap(),
            b"KEYRACK_DAEMON_IDLE_TIMEOUT_MS=60000\0",
            "nothing of our environment"
        );
        for fd in fs::read_dir(format!("{proc}/fd")).unwrap() {
            let fd = fd.unwrap();
            // The connections of the two starts may be closed meanwhile.
            let target = match fs::read_link(fd.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                target => target.unwrap().into_os_string().into_string().unwrap(),
            };
            let ours =
                ["socket:", "anon_inode:", "/proc", "pipe:"].iter().any(|kind| target.starts_with(kind));
            let number: i32 = fd.file_name().to_str().unwrap().parse().unwrap();
            match number {
                0..=2 => assert_eq!(target, "/dev/null"),
                _ => assert!(
                    ours || target.contains("/run/keyrack.7.") || target.ends_with("/run"),
                    "{number}: {target}"
                ),
            }
        }
    }
    keyrack_sys::process::pidfd::Pidfd::open(pid.try_into().unwrap()).unwrap().signal(Signal::Term).unwrap();
    wait_until("it ends", LONG, || names_in(&home.runtime()) == ["keyrack.7.83db27ef.sock.lock"]);
}

#[test]
fn start_error_is_reported_on_the_pipe() {
    let home = Home::new();
    let socket = socket_in(&home);
    fs::write(&socket, "precious").unwrap();
    let args = [OsStr::new("--socket"), socket.as_os_str(), OsStr::new("--ready-fd"), OsStr::new("3")];
    let mut started = keyrack_sys::process::spawn::spawn_detached(&binary("keyrackd"), &args, &[]).unwrap();
    let mut word = String::new();
    started.ready.read_to_string(&mut word).unwrap();
    assert!(word.starts_with("error socket_path_taken\n") && word.contains("not a socket"), "{word}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn inherited_descriptors_are_closed() {
    if !can_run(test_name!(), &[Need::Root]) {
        return;
    }
    let home = Home::new();
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9</etc/passwd && exec \"$0\" --socket \"$1\""]);
    command.arg(binary("keyrackd")).arg(socket_in(&home));
    let daemon = Daemon::run(home, &mut command);
    for fd in fs::read_dir(format!("/proc/{}/fd", daemon.child.pid())).unwrap() {
        let target = fs::read_link(fd.unwrap().path());
        assert_ne!(target.unwrap_or_default(), Path::new("/etc/passwd"));
    }
}

#[test]
fn start_names_and_keeps_file_at_socket_path() {
    let taken = |make: fn(&Path)| {
        let home = Home::new();
        make(&socket_in(&home));
        let before = fs::symlink_metadata(socket_in(&home)).unwrap().ino();
        let (code, text) = failing(&mut command(&home));
        assert_eq!(fs::symlink_metadata(socket_in(&home)).unwrap().ino(), before);
        assert_eq!(code, 2, "{text}");
        text
    };
    for (what, make) in [
        ("not a socket", (|path| fs::write(path, "precious").unwrap()) as fn(&Path)),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a symbolic link", |path| symlink("/nowhere", path).unwrap()),
    ] {
        let text = taken(make);
        assert!(text.contains(what) && text.contains("keyrack.7.83db27ef.sock"), "{text}");
    }
}

#[test]
fn start_rejects_directory_that_is_not_private() {
    let home = Home::new();
    let run = home.runtime();
    for (what, code, make) in [
        (
            "its mode is 0755",
            2,
            &(|| fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap()) as &dyn Fn(),
        ),
        ("it is a symbolic link", 2, &|| {
            fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
            fs::rename(&run, home.root().join("real")).unwrap();
            symlink(home.root().join("real"), &run).unwrap();
        }),
        ("it is not a directory", 2, &|| {
            fs::remove_file(&run).unwrap();
            fs::write(&run, "").unwrap();
        }),
        ("does not exist", 2, &|| fs::remove_file(&run).unwrap()),
    ] {
        make();
        let (got, text) = failing(&mut command(&home));
        assert!(got == code && text.contains(what), "{got} {text}");
    }
    assert_eq!(names_in(&home.root().join("real")), [""; 0], "no file was created");
    let (code, text) = failing(home.command(binary("keyrackd")).args(["--socket", "k.sock"]));
    assert!(code == 2 && text.contains("absolute"), "{text}");
}

#[test]
fn start_rejects_too_long_path_before_creating_files() {
    let home = Home::new();
    let room = 107 - home.runtime().as_os_str().len() - 1;
    for (length, fits) in [(room, true), (room + 1, false)] {
        let name = "s".repeat(length);
        let mut command = home.command(binary("keyrackd"));
        command.arg("--socket").arg(home.runtime().join(&name)).stderr(Stdio::null());
        if fits {
            let _child = Reaped::spawn(&mut command);
            wait_until("it serves", LONG, || home.runtime().join(&name).exists());
        } else {
            let (code, text) = failing(&mut command);
            assert!(code == 2 && text.contains("108 bytes") && text.contains("107"), "{text}");
            assert!(!home.runtime().join(format!("{name}.lock")).exists());
        }
    }
}

#[test]
fn start_rejects_invalid_settings() {
    for (name, value) in [
        ("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "0"),
        ("KEYRACK_DAEMON_TERMINATION_CHECK_MS", "soon"),
        ("KEYRACK_MEMORY", "none"),
    ] {
        let home = Home::new();
        let (code, text) = failing(command(&home).env(name, value));
        assert!(code == 2 && text.contains(name), "{text}");
        assert_eq!(names_in(&home.runtime()), [""; 0]);
    }
}

#[test]
fn start_replaces_killed_daemon() {
    let mut daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    daemon.signal(Signal::Kill);
    assert!(!daemon.ended(LONG).success());
    assert!(daemon.socket.exists(), "a dead socket is left");
    let Daemon { home, .. } = daemon;
    let mut command = command(&home);
    let daemon = Daemon::run(home, &mut command);
    assert_eq!(daemon.held(), [""; 0], "and the keys are gone");
    assert_eq!(daemon.files().len(), 3);
}

#[test]
fn fifty_concurrent_starts_leave_one_daemon() {
    let home = Home::new();
    // A dead socket in the way makes the race harder.
    drop(UnixListener::bind(socket_in(&home)).unwrap());
    let mut children: Vec<Reaped> = (0..50)
        .map(|_| {
            Reaped::spawn(command(&home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
        })
        .collect();
    let begun = Instant::now();
    let mut served = 0;
    wait_until("all but one have found the one", Duration::from_secs(60), || {
        children.retain_mut(|child| match child.0.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{status} after {:?}", begun.elapsed());
                served += 1;
                false
            }
            None => true,
        });
        served == 49
    });
    let reply = crate::daemon::ask(crate::daemon::connect(&socket_in(&home)), STATUS.as_bytes());
    assert_eq!(slugs_in(&reply), [""; 0]);
    let pid = fs::read_to_string(home.runtime().join("keyrack.7.83db27ef.pid")).unwrap();
    assert_eq!(pid, children[0].pid().to_string());
}

#[test]
fn start_does_not_replace_stopped_daemon() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    daemon.signal(Signal::Stop);
    let begun = Instant::now();
    let (code, text) = failing(&mut command(&daemon.home));
    assert!(code == 1 && text.contains("does not answer"), "{code} {text}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    daemon.signal(Signal::Cont);
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

#[test]
fn start_rejects_socket_of_another_session() {
    if !can_run(test_name!(), &[Need::Sessions]) {
        return;
    }
    let home = Home::new();
    let socket = socket_in(&home);
    let mut session = Session::with_daemon(&command(&home), socket.as_os_str());
    let output = run(&mut in_new_session(&command(&home)), b"", LONG).unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("not to be trusted"), "{text}");
    assert_eq!(slugs_in(&session.ask(STATUS)), [""; 0], "it still serves its own session");
}

#[test]
fn ready_fd_must_be_a_pipe() {
    let home = Home::new();
    let (code, text) = failing(command(&home).args(["--ready-fd", "3"]));
    assert!(code == 2 && text.contains("descriptor 3 is not a pipe"), "{text}");
}

#[test]
fn start_fails_under_hidepid() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let home = Home::new();
    let mut command = Command::new("unshare");
    let script = "mount -t proc -o hidepid=2 proc /proc && exec \"$0\" --socket \"$1\"";
    command.args(["--mount", "sh", "-c", script]).arg(binary("keyrackd")).arg(socket_in(&home));
    let (code, text) = failing(&mut command);
    assert!(code == 2 && text.contains("hidepid=") && text.contains("remount,hidepid=0"), "{code} {text}");
    assert_eq!(names_in(&home.runtime()), [""; 0]);
}

#[test]
fn start_names_unavailable_memory() {
    let home = Home::new();
    // Memory of memfd_secret counts as a file that grows; where the kernel has none, that is the
    // reason.
    let mut limited = Command::new("sh");
    limited.env("KEYRACK_MEMORY", "secret");
    limited
        .args(["-c", "ulimit -f 0 && exec \"$0\" \"$@\""])
        .arg(binary("keyrackd"))
        .arg("--socket")
        .arg(socket_in(&home));
    let (code, text) = failing(&mut limited);
    assert!(code == 2 && text.contains("keyrackd: no secret memory: "), "{code} {text}");
    assert!(text.contains("RLIMIT_FSIZE") || text.contains("memfd_secret"), "{text}");
    assert_eq!(names_in(&home.runtime()), ["keyrack.7.83db27ef.sock.lock"]);
}

/// `--check` reports each error of a start in the same words, and leaves nothing behind.
#[test]
fn check_reports_the_errors_of_a_start() {
    let home = Home::new();
    let open = home.root().join("open.log");
    fs::write(&open, "").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let log = format!("KEYRACK_LOG=info KEYRACK_LOG_FILE={}", open.display());
    let missing = format!("KEYRACK_LOG=info KEYRACK_LOG_FILE={}", home.root().join("new.log").display());
    let run_with = |before: &str, arguments: &[&OsStr]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} exec \"$0\" \"$@\"")]).arg(binary("keyrackd")).args(arguments);
        run(&mut command, b"", LONG).unwrap()
    };
    for before in ["", &missing] {
        let output = run_with(before, &["--check".as_ref()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.starts_with("fit\nmemory "), "{before}: {text:?}");
    }
    for (before, code, words) in [
        ("KEYRACK_MEMORY=soft", 2, "KEYRACK_MEMORY must be auto, secret or locked"),
        ("KEYRACK_DAEMON_IDLE_TIMEOUT_MS=0", 2, "KEYRACK_DAEMON_IDLE_TIMEOUT_MS must be"),
        ("KEYRACK_MEMORY=secret; export KEYRACK_MEMORY; ulimit -f 0;", 2, "no secret memory: "),
        (&log, 2, "its mode is 0644"),
        ("ulimit -n 12;", 1, "files may be open at a time"),
    ] {
        let check = run_with(before, &["--check".as_ref()]);
        let start = run_with(before, &["--socket".as_ref(), socket_in(&home).as_os_str()]);
        let text = String::from_utf8(check.stderr).unwrap();
        assert!(text.contains(words), "{before}: {text}");
        assert_eq!(text, String::from_utf8(start.stderr).unwrap(), "{before}");
        assert_eq!((check.status.code(), start.status.code()), (Some(code), Some(code)), "{before}");
        assert!(check.stdout.is_empty(), "{before}");
    }
    assert!(!home.root().join("new.log").exists());
    let left: Vec<String> =
        names_in(&home.runtime()).into_iter().filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn start_fails_under_debugger() {
    if !can_run(test_name!(), &[Need::Program("strace")]) {
        return;
    }
    let home = Home::new();
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null"]).arg(binary("keyrackd")).arg("--socket").arg(socket_in(&home));
    let (code, text) = failing(&mut command);
    assert!(code == 2 && text.contains("traces keyrackd"), "{code} {text}");
    assert_eq!(names_in(&home.runtime()), [""; 0]);
}
