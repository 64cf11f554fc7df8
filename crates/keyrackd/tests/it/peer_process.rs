//! Other processes a test needs: the test binary itself, run again to act a part, as another user,
//! in another login session, or to die at the right moment.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use keyrack_sys::clock::{boot_ns, wall_ms};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_testkit::{Reaped, as_user, in_new_session, wait_until};

use crate::daemon::{LONG, STATUS, ask, connect, frame, read_frame};

const PART: &str = "KEYRACK_IT_PART";
const SOCKET: &str = "KEYRACK_IT_SOCKET";
const REQUEST: &str = "KEYRACK_IT_REQUEST";
const OUTPUT: &str = "KEYRACK_IT_OUTPUT";
const PROGRAM: &str = "KEYRACK_IT_PROGRAM";
const JAIL: &str = "KEYRACK_IT_JAIL";

/// The test binary where every user who reaches the socket can run it: in the same home.
pub(crate) fn program(socket: &Path) -> PathBuf {
    let path = socket.ancestors().nth(2).unwrap().join("actor");
    let own = env::current_exe().unwrap();
    if !path.exists() && std::fs::hard_link(&own, &path).is_err() {
        // Not by this process: a child of another test would hold it open for writing, and it could
        // not be run.
        assert!(Command::new("cp").arg(&own).arg(&path).status().unwrap().success());
    }
    path
}

/// A command that acts a part.
pub(crate) fn actor(part: &str, socket: &OsStr) -> Command {
    let mut command = Command::new(program(Path::new(socket)));
    command.args(["--exact", crate::test_path(act), "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.env(PART, part).env(SOCKET, socket).current_dir("/");
    command
}

/// Asks by the legacy protocol from another process. The reply, or what kept it from being had.
pub(crate) fn ask_as(wrap: impl FnOnce(&Command) -> Command, socket: &OsStr, request: &str) -> String {
    let mut command = actor("ask", socket);
    command.env(REQUEST, request);
    let output = wrap(&command).stdin(Stdio::null()).output().unwrap();
    said(&output.stdout)
}

/// The same by the native protocol: the header of the reply, `nothing`, or what kept it from being
/// had.
pub(crate) fn ask_native_as(wrap: impl FnOnce(&Command) -> Command, socket: &OsStr, request: &str) -> String {
    let mut command = actor("native", socket);
    command.env(REQUEST, request);
    let output = wrap(&command).stdin(Stdio::null()).output().unwrap();
    said(&output.stdout)
}

/// Wraps a command in a jail: the words of a program that runs another one.
pub(crate) fn jailed(jail: &[&str], command: &Command) -> Command {
    let [program, arguments @ ..] = jail else { return copied(command) };
    let mut wrapped = Command::new(program);
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args()).env_clear().current_dir("/");
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped
}

fn copied(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args()).env_clear().current_dir("/");
    copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    copy
}

/// Output of a peer process, without that of the test harness.
fn said(stdout: &[u8]) -> String {
    let text = String::from_utf8_lossy(stdout);
    let said = text.lines().find_map(|line| line.split_once("SAID:"));
    said.unwrap_or_else(|| panic!("the actor said nothing: {text}")).1.to_owned()
}

/// A process that opens a connection, gives it to a child, and acts as told.
pub(crate) fn relay(part: &str, socket: &OsStr, request: &str, output: &OsStr) -> Command {
    let mut command = actor(part, socket);
    command.env(REQUEST, request).env(OUTPUT, output);
    command
}

/// Opens a connection and hands it into a jail, where it is asked over, by the protocol of the
/// request. What was answered.
pub(crate) fn ask_handed_into(jail: &[&str], socket: &Path, request: &str) -> String {
    let mut command = actor("lender to a jail", socket.as_os_str());
    let output =
        command.env(REQUEST, request).env(JAIL, jail.join(" ")).stdin(Stdio::null()).output().unwrap();
    said(&output.stdout)
}

/// Acts a part with a native request; all that it said.
pub(crate) fn play(part: &str, socket: &OsStr, request: &str) -> Vec<String> {
    let mut command = actor(part, socket);
    let output = command.env(REQUEST, request).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split_once("SAID:")).map(|(_, said)| said.to_owned()).collect()
}

/// A login session of its own with a daemon in it, that can be asked from inside.
pub(crate) struct Session {
    child: Reaped,
    replies: io::BufReader<std::process::ChildStdout>,
}

impl Session {
    /// Starts a new session and runs `daemon` in it.
    pub(crate) fn with_daemon(daemon: &Command, socket: &OsStr) -> Self {
        let mut command = actor("session", socket);
        command.env(PROGRAM, daemon.get_program());
        for (name, value) in daemon.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let mut command = in_new_session(&command);
        let mut child = Reaped(
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap(),
        );
        let replies = io::BufReader::new(child.0.stdout.take().unwrap());
        let mut session = Session { child, replies };
        assert_eq!(session.reply(), "ready");
        session
    }

    /// Asks from a process of the session.
    pub(crate) fn ask(&mut self, request: &str) -> String {
        writeln!(self.child.0.stdin.as_ref().unwrap(), "{request}").unwrap();
        self.reply()
    }

    fn reply(&mut self) -> String {
        said_in(&mut self.replies)
    }
}

/// Asks one who may hang up at any time.
fn ask_leniently(mut stream: UnixStream, request: &[u8]) -> String {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let _ = stream.write_all(request);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

/// Asks from another process, many times; how often it was turned away.
pub(crate) fn crowd(wrap: impl FnOnce(&Command) -> Command, socket: &OsStr, times: u32) -> u32 {
    let mut command = actor(test_name!(), socket);
    command.env(REQUEST, times.to_string());
    let output = wrap(&command).stdin(Stdio::null()).output().unwrap();
    said(&output.stdout).parse().unwrap()
}

/// A login session of its own, in which daemons and other programs are started and asked. It ends
/// with what was started in it, or with its first process by [`Login::leave`].
pub(crate) struct Login {
    child: Reaped,
    replies: io::BufReader<std::process::ChildStdout>,
}

impl Login {
    /// Logs in. The directory of `socket` holds what is run.
    pub(crate) fn new(socket: &Path) -> Self {
        let mut command = actor("login", socket.as_os_str());
        command.env(PROGRAM, keyrack_testkit::binary("keyrackd"));
        let mut command = in_new_session(&command);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Reaped(piped.spawn().unwrap());
        let replies = io::BufReader::new(child.0.stdout.take().unwrap());
        let mut login = Login { child, replies };
        assert_eq!(said_in(&mut login.replies), "ready");
        login
    }

    /// Gives an order and returns what is said to it.
    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.child.0.stdin.as_ref().unwrap(), "{order}").unwrap();
        said_in(&mut self.replies)
    }

    /// Starts a daemon, as another user if one is given.
    pub(crate) fn start(&mut self, socket: &Path, uid: Option<u32>) -> Pidfd {
        let uid = uid.map(|uid| format!(" {uid}")).unwrap_or_default();
        let pid = self.order(&format!("start {}{uid}", socket.display()));
        Pidfd::open(pid.parse().unwrap()).unwrap()
    }

    /// Asks a daemon by the legacy protocol.
    pub(crate) fn ask(&mut self, socket: &Path, request: &str) -> String {
        self.order(&format!("ask {} {request}", socket.display()))
    }

    /// The first process, and the session's number.
    pub(crate) fn first(&self) -> (u32, String) {
        let pid = self.child.pid();
        (pid, std::fs::read_to_string(format!("/proc/{pid}/sessionid")).unwrap())
    }

    /// Ends the first process and leaves it a zombie.
    pub(crate) fn leave(&mut self) {
        drop(self.child.0.stdin.take());
        let pidfd = Pidfd::open(self.child.pid().try_into().unwrap()).unwrap();
        assert!(pidfd.wait_exit(LONG), "the first process ends");
    }
}

/// Next line of a peer process.
pub(crate) fn said_in(replies: &mut impl BufRead) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(replies.read_line(&mut line).unwrap() > 0, "the session ended");
        if let Some((_, said)) = line.trim_end().split_once("SAID:") {
            return said.to_owned();
        }
    }
}

fn say(text: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "SAID:{text}");
    let _ = out.flush();
}

/// Acts the part the environment names. Not a test of its own.
#[test]
#[ignore = "acts a part for other tests"]
fn act() {
    let Some(part) = env::var_os(PART) else { return };
    let socket = PathBuf::from(env::var_os(SOCKET).unwrap());
    let request = env::var(REQUEST).unwrap_or_default();
    match part.to_str().unwrap() {
        "ask" => match UnixStream::connect(&socket) {
            Ok(stream) => say(&ask(stream, request.as_bytes())),
            Err(error) => say(&format!("connect: {error}")),
        },
        "native" => match UnixStream::connect(&socket) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(LONG)).unwrap();
                say(&ask_once(&mut stream, &request));
            }
            Err(error) => say(&format!("connect: {error}")),
        },
        // May write no file any more, and asks.
        "landlocked" => {
            use landlock::{ABI, AccessFs, Ruleset, RulesetAttr};
            let ruleset = Ruleset::default().handle_access(AccessFs::from_write(ABI::V1)).unwrap();
            ruleset.create().unwrap().restrict_self().unwrap();
            assert!(std::fs::write(socket.with_extension("new"), "").is_err());
            say(&ask(connect(&socket), request.as_bytes()));
        }
        // Asks again and again, as many times as it is told, and says how often it was turned away.
        "crowd" => {
            let times: u32 = request.parse().unwrap();
            let told = (0..times).filter(|_| {
                let Ok(stream) = UnixStream::connect(&socket) else { return false };
                // Of so many some are closed without a word.
                let reply = ask_leniently(stream, STATUS.as_bytes());
                assert!(!reply.contains(r#""success":true"#), "{reply}");
                reply.contains("session mismatch")
            });
            say(&told.count().to_string());
        }
        // Opens, hands over, and ends while its child holds the connection.
        "orphan" => drop(hand_over(&socket, "holder")),
        // Opens, hands over to a process of another login session, and lives until that is done.
        "lender" => drop(hand_over(&socket, "borrower").wait()),
        "lender to a jail" => drop(hand_over(&socket, "jailed").wait()),
        // Asks half of it, and leaves the other half to a child.
        "half" => {
            let mut stream = connect(&socket);
            let bytes = bytes_of(&request);
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            stream.write_all(first).unwrap();
            let _ = spawn_saying(stream, rest).wait();
        }
        // Has one answer, then asks and has a child ask, both before the daemon looks: what is said
        // to both.
        "mixer" => {
            let mut stream = connect(&socket);
            say(&ask_once(&mut stream, &request));
            let daemon = Pidfd::open(env::var("KEYRACK_IT_DAEMON").unwrap().parse().unwrap()).unwrap();
            daemon.signal(keyrack_sys::process::signal::Signal::Stop).unwrap();
            stream.write_all(&frame(&request, b"")).unwrap();
            let copy = stream.try_clone().unwrap();
            let sent = send_from_a_child(copy, &frame(&request, b""));
            daemon.signal(keyrack_sys::process::signal::Signal::Cont).unwrap();
            assert!(sent, "the child has sent it");
            stream.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
            for _ in 0..3 {
                say(&read_frame(&mut stream).map_or_else(|| "nothing".to_owned(), |(header, _)| header));
            }
        }
        "holder" => {
            let peer = env::var("KEYRACK_IT_OPENER").unwrap();
            let gone = || !PathBuf::from(format!("/proc/{peer}")).exists();
            wait_until("the opener is reaped", LONG, gone);
            hold(&request);
        }
        "borrower" => hold(&request),
        // There may be no file it can write.
        "jailed" => say(&ask_over_inherited(&request)),
        // Asks once as the opener, hands over, and ends: the second ask comes from the child.
        "quitter" => {
            let mut stream = connect(&socket);
            stream.write_all(&frame(&request, b"")).unwrap();
            assert!(read_frame(&mut stream).is_some());
            drop(spawn_with(stream, "second"));
        }
        // Asks, moves to a login session of its own, and asks again: over the connection it has,
        // and over a fresh one.
        "mover" => {
            let mut stream = connect(&socket);
            say(&ask_once(&mut stream, &request));
            let mut command = in_new_session(&acting("moved", &socket, &request));
            let error = command.stdin(OwnedFd::from(stream)).exec();
            panic!("{error}");
        }
        "moved" => {
            say(&ask_once(&mut inherited(), &request));
            say(&ask_once(&mut connect(&socket), &request));
        }
        // Is met by the daemon, and becomes another program and another user before it asks.
        "changer" => {
            let stream = connect(&socket);
            assert!(!ask(connect(&socket), STATUS.as_bytes()).is_empty());
            let mut command = as_user(65_533, &acting("changed", &socket, &request));
            let error = command.stdin(OwnedFd::from(stream)).exec();
            panic!("{error}");
        }
        // Is met by the daemon, and becomes another program before it asks.
        "reborn" => {
            let stream = connect(&socket);
            assert!(!ask(connect(&socket), STATUS.as_bytes()).is_empty());
            let error = acting("changed", &socket, &request).stdin(OwnedFd::from(stream)).exec();
            panic!("{error}");
        }
        "changed" => say(&ask_once(&mut inherited(), &request)),
        // Is met by the daemon, hands over, and ends: the first ask comes from the child.
        "leaver" => {
            let stream = connect(&socket);
            // Callers are met in the order they came in.
            assert!(!ask(connect(&socket), STATUS.as_bytes()).is_empty());
            drop(spawn_with(stream, "second"));
        }
        "second" => {
            let peer = env::var("KEYRACK_IT_OPENER").unwrap();
            wait_until("the opener is reaped", LONG, || !PathBuf::from(format!("/proc/{peer}")).exists());
            let mut stream = inherited();
            let _ = stream.write_all(&bytes_of(&request));
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply);
            std::fs::write(env::var_os(OUTPUT).unwrap(), String::from_utf8_lossy(&reply).as_bytes()).unwrap();
        }
        "session" => {
            let mut daemon = Command::new(env::var_os(PROGRAM).unwrap());
            let _daemon = Reaped::spawn(daemon.arg("--socket").arg(&socket).stdin(Stdio::null()));
            wait_until("the daemon serves", LONG, || UnixStream::connect(&socket).is_ok());
            say("ready");
            for line in io::stdin().lines() {
                say(&ask(connect(&socket), line.unwrap().as_bytes()));
            }
        }
        // Is a daemon whose clocks are turned from outside, in lines.
        "clocked" => {
            let turned = std::sync::Arc::new([const { AtomicI64::new(0) }; 2]);
            let given = std::sync::Arc::clone(&turned);
            std::thread::spawn(move || {
                for line in io::stdin().lines() {
                    let by: Vec<i64> = line.unwrap().split(' ').map(|by| by.parse().unwrap()).collect();
                    given[0].store(by[0], Ordering::SeqCst);
                    given[1].store(by[1], Ordering::SeqCst);
                    say("turned");
                }
            });
            let clock = move || keyrack_core::Clock {
                boot_ns: boot_ns().checked_add_signed(turned[0].load(Ordering::SeqCst) * 1_000_000).unwrap(),
                wall_ms: wall_ms() + turned[1].load(Ordering::SeqCst),
            };
            let code = keyrackd::run(keyrackd::DaemonEnv {
                args: vec!["--socket".into(), socket.into()],
                var: &|_| None,
                pipe: &|| None,
                clock: std::rc::Rc::new(clock),
                wall_ms,
            });
            std::process::exit(code.into());
        }
        // Does what it is told in lines, and leaves behind what it has started.
        "login" => {
            say("ready");
            for line in io::stdin().lines() {
                let line = line.unwrap();
                let words: Vec<&str> = line.splitn(3, ' ').collect();
                match words[..] {
                    ["start", socket] | ["start", socket, _] => say(&start(Path::new(socket), words.get(2))),
                    ["ask", socket, request] => {
                        say(&ask(connect(Path::new(socket)), request.as_bytes()));
                    }
                    ["run", program, argument] => {
                        let mut command = Command::new(program);
                        let quiet = command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null());
                        say(&quiet.spawn().unwrap().id().to_string());
                    }
                    _ => panic!("no such order: {line}"),
                }
            }
        }
        other => panic!("no such part: {other}"),
    }
}

/// Starts a daemon that is not ended with this process, as another user if one is given. Its pid.
fn start(socket: &Path, uid: Option<&&str>) -> String {
    let mut command = Command::new(env::var_os(PROGRAM).unwrap());
    command.arg("--socket").arg(socket);
    if let Some(uid) = uid {
        command = keyrack_testkit::as_user(uid.parse().unwrap(), &command);
    }
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[expect(clippy::zombie_processes, reason = "the starter of a daemon does not wait for its exit")]
    let daemon = quiet.spawn().unwrap();
    wait_until("the daemon serves", LONG, || UnixStream::connect(socket).is_ok());
    daemon.id().to_string()
}

/// This program, to go on as another part with what it was told.
fn acting(part: &str, socket: &Path, request: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", crate::test_path(act), "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env(SOCKET, socket).env(REQUEST, request);
    command
}

/// The header of the reply to a native request.
fn ask_once(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(&frame(request, b"")).unwrap();
    read_frame(stream).map_or_else(|| "nothing".to_owned(), |(header, _)| header)
}

/// A request as it is sent: a legacy one names a command.
fn bytes_of(request: &str) -> Vec<u8> {
    if request.contains("command") { request.as_bytes().to_vec() } else { frame(request, b"") }
}

/// A child that sends bytes over `stream` and writes what is answered to the output.
fn spawn_saying(stream: UnixStream, bytes: &[u8]) -> Child {
    let given = env::temp_dir().join(format!("keyrack-it-{}", std::process::id()));
    std::fs::write(&given, bytes).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "cat \"$0\" >&0; rm \"$0\"; cat >\"$1\""])
        .arg(given)
        .arg(env::var_os(OUTPUT).unwrap());
    command.stdin(OwnedFd::from(stream)).spawn().unwrap()
}

/// Sends bytes from a child, and returns whether it has.
fn send_from_a_child(stream: UnixStream, bytes: &[u8]) -> bool {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(OwnedFd::from(stream));
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait().unwrap().success()
}

fn hand_over(socket: &Path, part: &str) -> Child {
    spawn_with(UnixStream::connect(socket).unwrap(), part)
}

/// A child that acts a part with `stream` as its standard input.
fn spawn_with(stream: UnixStream, part: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", crate::test_path(act), "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(PART, part).env("KEYRACK_IT_OPENER", std::process::id().to_string());
    if part == "jailed" {
        let jail = env::var(JAIL).unwrap();
        let jail: Vec<&str> = jail.split_whitespace().collect();
        command.env_clear().envs(env::vars_os()).env(PART, part);
        command = jailed(&jail, &command);
        return command.stdin(OwnedFd::from(stream)).stderr(Stdio::null()).spawn().unwrap();
    }
    if part == "borrower" {
        command.env_clear();
        for (name, value) in env::vars_os() {
            command.env(name, value);
        }
        command.env(PART, part);
        command = in_new_session(&command);
    }
    command.stdin(OwnedFd::from(stream)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn inherited() -> UnixStream {
    use std::os::fd::AsFd;
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends a request over a connection that another process opened.
fn hold(request: &str) {
    std::fs::write(env::var_os(OUTPUT).unwrap(), ask_over_inherited(request)).unwrap();
}

fn ask_over_inherited(request: &str) -> String {
    let mut stream = inherited();
    let _ = stream.write_all(&bytes_of(request));
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    let reply = String::from_utf8_lossy(&reply).into_owned();
    read.map_or_else(|error| format!("{reply} {error}"), |_| reply.clone())
}
