//! Daemons exit when their login session ends: tests with real sessions, real processes, and the
//! session file of logind.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keyrack_sys::process::pidfd::Pidfd;
use keyrack_testkit::{Home, Need, binary, can_run, wait_until};

use crate::daemon::{Daemon, LONG, command, frame, get, names_in, pid_in, read_frame, socket_in, unlock};
use crate::peer_process::Login;

/// Longest time that keys may exist after a logout.
const BOUND: Duration = Duration::from_secs(15);

/// Long enough for a daemon that looks at its session to have looked, found no process, and exited.
const WHILE: Duration = Duration::from_secs(9);

const SESSIONS: &str = "/run/systemd/sessions";

/// A home with a daemon in a login session of its own that holds a key.
fn logged_in() -> (Home, PathBuf, Login, Pidfd) {
    let home = Home::new();
    let socket = socket_in(&home);
    let mut login = Login::new(&socket);
    let daemon = login.start(&socket, None);
    keep(&mut login, &socket);
    (home, socket, login, daemon)
}

fn keep(login: &mut Login, socket: &Path) {
    let kept = login.ask(socket, &unlock("acme.test.K", "s", ""));
    assert!(kept.contains(r#""unlocked":["acme.test.K"]"#), "{kept}");
}

/// Asserts that a daemon exits within the bound, counted from `begun`, and leaves only its lock
/// file.
#[track_caller]
fn assert_ends(daemon: &Pidfd, begun: Instant, home: &Home) {
    assert!(daemon.wait_exit(BOUND + LONG), "the daemon did not exit");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!(names_in(&home.runtime()), ["keyrack.7.83db27ef.sock.lock"]);
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

#[test]
fn daemon_exits_when_last_session_process_exits() {
    if !can_run(test_name!(), &[Need::Sessions]) {
        return;
    }
    let (home, socket, mut login, daemon) = logged_in();
    assert!(!daemon.wait_exit(WHILE), "the session has a process");
    assert!(login.ask(&socket, &get("acme.test.K")).contains(r#""secret":"s""#));
    login.leave();
    let begun = Instant::now();
    assert_ends(&daemon, begun, &home);
    assert!(is_zombie(login.first().0), "a zombie of the session that is never reaped does not count");
}

#[test]
fn daemon_without_descriptors_exits_after_logout() {
    let test = test_name!();
    if !can_run(test, &[Need::Sessions, Need::Program("prlimit")]) {
        return;
    }
    let (home, _, mut login, daemon) = logged_in();
    let pid = pid_in(&home).to_string();
    // Any process of the same user may do this, in any session.
    let limited = Command::new("prlimit").args(["--nofile=0:64", "--pid", &pid]).status().unwrap();
    assert!(limited.success());
    login.leave();
    assert_ends(&daemon, Instant::now(), &home);
}

#[test]
fn daemons_do_not_keep_their_session_alive() {
    let test = test_name!();
    if !can_run(test, &[Need::Sessions, Need::Program("setpriv")]) {
        return;
    }
    let (home, _, mut login, daemon) = logged_in();
    // A daemon of another home, and one of another user.
    let second = Home::new();
    let other = login.start(&socket_in(&second), None);
    keep(&mut login, &socket_in(&second));
    let third = Home::new();
    third.give_to(61_235);
    let foreign = login.start(&socket_in(&third), Some(61_235));
    assert!(!daemon.wait_exit(WHILE), "the session has a process");
    login.leave();
    let begun = Instant::now();
    for (daemon, home) in [(&daemon, &home), (&other, &second), (&foreign, &third)] {
        assert_ends(daemon, begun, home);
    }
}

#[test]
fn process_of_another_user_keeps_session_alive() {
    let test = test_name!();
    if !can_run(test, &[Need::Sessions, Need::Program("setpriv")]) {
        return;
    }
    let home = Home::new();
    home.give_to(61_236);
    let socket = socket_in(&home);
    let mut login = Login::new(&socket);
    // A process of root, in the session of an ordinary user's daemon.
    let foreign = login.start(&socket, Some(61_236));
    let sleeper = Pidfd::open(login.order("run sleep 300").parse().unwrap()).unwrap();
    login.leave();
    assert!(!foreign.wait_exit(WHILE), "root is logged in by that session");
    sleeper.signal(keyrack_sys::process::signal::Signal::Kill).unwrap();
    let begun = Instant::now();
    assert_ends(&foreign, begun, &home);
}

#[test]
fn chain_of_short_lived_processes_keeps_session_alive() {
    if !can_run(test_name!(), &[Need::Sessions]) {
        return;
    }
    let (home, _, mut login, daemon) = logged_in();
    let script = home.root().join("chain");
    // Each starts the next and ends, at most so many times.
    fs::write(
        &script,
        "[ -e \"${0%/*}/until\" ] || [ \"${1:-0}\" -gt 4000 ] && exit\n\
         sleep 0.002\nsh \"$0\" $((${1:-0} + 1)) &\nexit\n",
    )
    .unwrap();
    login.order(&format!("run sh {}", script.display()));
    login.leave();
    assert!(!daemon.wait_exit(WHILE), "one process of the chain always lives");
    fs::write(home.root().join("until"), "").unwrap();
    let begun = Instant::now();
    assert_ends(&daemon, begun, &home);
}

#[test]
fn logout_is_detected_with_fewest_descriptors() {
    let test = test_name!();
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    let home = Home::new();
    let socket = socket_in(&home);
    let script = home.root().join("few");
    let program = binary("keyrackd");
    let text = format!("ulimit -n 22\nexec {} --socket {}\n", program.display(), socket.display());
    fs::write(&script, text).unwrap();
    let mut login = Login::new(&socket);
    let pid = login.order(&format!("run sh {}", script.display()));
    let daemon = Pidfd::open(pid.parse().unwrap()).unwrap();
    wait_until("it serves", LONG, || UnixStream::connect(&socket).is_ok());
    keep(&mut login, &socket);
    // It scans its session while it serves requests.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        assert!(login.ask(&socket, &get("acme.test.K")).contains(r#""secret":"s""#));
    }
    login.leave();
    let begun = Instant::now();
    assert_ends(&daemon, begun, &home);
}

/// A session file as logind writes it, removed on drop.
struct SessionFile(PathBuf);

impl SessionFile {
    fn of(login: &Login, state: &str) -> Self {
        let file = SessionFile(Path::new(SESSIONS).join(login.first().1));
        assert!(!file.0.exists(), "{} is another's", file.0.display());
        file.say(state);
        file
    }

    /// Writes a temporary file and renames it, as logind does.
    fn say(&self, state: &str) {
        let beside = self.0.with_extension("beside");
        let text =
            format!("# This is private data. Do not parse.\nUID=0\nACTIVE=1\nSTATE={state}\nTYPE=tty\n");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &self.0).unwrap();
    }
}

impl Drop for SessionFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn daemon_exits_when_logind_closes_session() {
    let test = test_name!();
    if !can_run(test, &[Need::Sessions, Need::Path(SESSIONS)]) {
        return;
    }
    let begin = |state: &str| {
        let home = Home::new();
        let socket = socket_in(&home);
        let mut login = Login::new(&socket);
        let file = SessionFile::of(&login, state);
        let daemon = login.start(&socket, None);
        keep(&mut login, &socket);
        (home, login, file, daemon)
    };
    let (closed, removed, late) = (begin("active"), begin("online"), begin("closing"));
    // A file that appears after the daemon's start is ignored: logind did not write it.
    let (strange_home, _, strange_login, strange) = logged_in();
    let strange_file = SessionFile::of(&strange_login, "active");
    for daemon in [&closed.3, &removed.3, &late.3, &strange] {
        assert!(!daemon.wait_exit(Duration::from_secs(6)), "each session is still open");
    }
    closed.2.say("closing");
    drop(removed.2);
    strange_file.say("closing");
    let begun = Instant::now();
    assert_ends(&closed.3, begun, &closed.0);
    assert_ends(&removed.3, begun, &removed.0);
    assert!(!strange.wait_exit(Duration::from_secs(6)));
    assert!(!late.3.wait_exit(Duration::ZERO), "keys unlocked after a logout survive that logout");
    drop(late.2);
    let begun = Instant::now();
    assert_ends(&late.3, begun, &late.0);
    assert!(!strange.wait_exit(Duration::ZERO));
    drop((strange_login, strange_home));
    assert!(strange.wait_exit(BOUND));
}

#[test]
fn hello_reports_logout_detection() {
    let hello = r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"test"}"#;
    let told = |header: &str| {
        let (_, rest) = header.split_once(r#"{"name":"logout","#).expect("it is told");
        rest.split('}').next().unwrap().to_owned()
    };
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    std::io::Write::write_all(&mut stream, &frame(hello, b"")).unwrap();
    let header = read_frame(&mut stream).unwrap().0;
    let set = fs::read("/proc/self/sessionid").is_ok_and(|id| id != b"4294967295");
    if set {
        assert_eq!(told(&header), r#""on":true"#);
    } else {
        let said = told(&header);
        assert!(said.starts_with(r#""on":false"#) && said.contains("no login session"), "{said}");
    }
}

#[test]
fn daemon_without_login_session_keeps_running() {
    let unset = fs::read("/proc/self/sessionid").is_ok_and(|id| id == b"4294967295");
    let home = Home::new();
    let mut command = command(&home);
    if !unset {
        if !can_run(test_name!(), &[Need::Sessions]) {
            return;
        }
        // Root may leave every session.
        let mut wrapped = home.command("sh");
        wrapped.args(["-c", "echo 4294967295 > /proc/self/loginuid && exec \"$0\" \"$@\""]);
        wrapped.arg(command.get_program()).args(command.get_args());
        command = wrapped;
    }
    let mut daemon = Daemon::run(home, &mut command);
    let session = fs::read_to_string(format!("/proc/{}/sessionid", daemon.child.pid())).unwrap();
    assert_eq!(session, "4294967295");
    std::thread::sleep(WHILE);
    assert!(daemon.child.0.try_wait().unwrap().is_none(), "the daemon still runs");
}
