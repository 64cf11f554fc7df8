//! A debugger of the same user in another login session against the real command while it holds a
//! secret, and the core dump that the command must not leave. Each command that holds plaintext is
//! halted while it does.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_testkit::{Home, Need, Reaped, as_user, binary, can_run, in_new_session, run, wait_until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::debugger::{assert_kept_out, ptrace};
use crate::support::{STRANGER, again, assert_passed, become_stranger, role};

const LONG: Duration = Duration::from_secs(30);

const SECRET: &str = "s3cret-of-the-command";

/// A home of another user, with a rack, a repository and the programs in it.
struct World {
    home: Home,
}

impl World {
    fn new() -> Self {
        let home = Home::new();
        let project = home.home().join("project");
        for dir in [".ssh", "project/.git", "project/.agent", "../bin"] {
            fs::create_dir_all(home.home().join(dir)).unwrap();
        }
        for name in ["keyrack", "keyrackd"] {
            fs::copy(binary(name), home.root().join("bin").join(name)).unwrap();
        }
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keyrack-cli/tests/keys");
        for name in ["id_ed25519", "id_ed25519.pub", "other.pub"] {
            fs::copy(keys.join(name), home.home().join(".ssh").join(name)).unwrap();
        }
        // The second entry is wrong, which commands warn of while they hold the key of the first.
        let manifest = "org: acme\nenv.test:\n  - K\n  - B: nonsense\n";
        fs::write(project.join(".agent/keyrack.yml"), manifest).unwrap();
        let owner = format!("{STRANGER}:{STRANGER}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(home.root()).status().unwrap().success());
        let world = World { home };
        world.done(&["init", "--org", "acme"]);
        world.done(&[
            "set",
            "--key",
            "K",
            "--env",
            "test",
            "--vault",
            "os.secure",
            "--mech",
            "PERMANENT_VIA_REPLICA",
        ]);
        world
    }

    fn keyrack(&self) -> PathBuf {
        self.home.root().join("bin/keyrack")
    }

    /// A command as its user runs it, in a login session of its own, where core dumps have no
    /// limit.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.home.command("sh");
        command.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]).arg(self.keyrack()).args(words);
        command.current_dir(self.home.home().join("project"));
        in_new_session(&as_user(STRANGER, &command))
    }

    fn done(&self, words: &[&str]) {
        let output = run(&mut self.command(words), SECRET.as_bytes(), LONG).unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Daemons name their socket, which is in our own runtime directory, on their command line.
        let ours = self.home.runtime();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&cmdline).contains(&*ours.to_string_lossy()) {
                let pid = entry.file_name().to_string_lossy().parse().unwrap();
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    }
}

/// Point at which a command is halted.
#[derive(Clone, Copy, PartialEq)]
enum Halt {
    /// It has been given a secret on stdin, and waits for the end of it.
    Stdin,
    /// Its stdout is not read.
    Stdout,
    /// Its stderr is not read.
    Stderr,
    /// The program that it runs goes on.
    PreparedCommand,
}

/// A command that is halted, with what keeps it so.
struct Halted {
    child: Reaped,
    _ends: Vec<OwnedFd>,
}

impl Halted {
    fn start(world: &World, words: &[&str], halt: Halt) -> Self {
        let mut command = world.command(words);
        command.env("K", SECRET).env("SECRETS_JSON", format!(r#"{{"K":"{SECRET}"}}"#));
        let mut ends = Vec::new();
        let mut full = || {
            let (reader, writer) = std::io::pipe().unwrap();
            fill(&writer);
            ends.push(reader.into());
            Stdio::from(writer)
        };
        let null = Stdio::null;
        command.stdin(if halt == Halt::Stdin { Stdio::piped() } else { null() });
        command.stdout(if halt == Halt::Stdout { full() } else { null() });
        command.stderr(if halt == Halt::Stderr { full() } else { null() });
        let mut child = Reaped::spawn(&mut command);
        if let Some(mut input) = child.0.stdin.take() {
            input.write_all(SECRET.as_bytes()).unwrap();
            ends.push(input.into());
        }
        let mut halted = Halted { child, _ends: ends };
        wait_until(&format!("{words:?} is halted"), LONG, || {
            let ended = halted.child.0.try_wait().unwrap();
            assert!(ended.is_none(), "{words:?} ended: {ended:?}");
            halted.is_at(halt)
        });
        halted
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.pid()).unwrap()
    }

    /// Returns `true` if the command waits in the system call that `halt` is about.
    fn is_at(&self, halt: Halt) -> bool {
        let of = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.pid())).unwrap_or_default();
        if of("comm") != "keyrack\n" {
            return false;
        }
        // The number of the call, and its arguments in hexadecimal (proc_pid_syscall(5)).
        let call = of("syscall");
        let mut fields = call.split(' ');
        let number: libc::c_long = fields.next().and_then(|number| number.parse().ok()).unwrap_or(-1);
        let first =
            fields.next().and_then(|first| u64::from_str_radix(first.trim_start_matches("0x"), 16).ok());
        let file = |fd: u64| fs::read_link(format!("/proc/{}/fd/{fd}", self.pid())).ok();
        // A stream may have been duplicated.
        let stream = |calls: [libc::c_long; 2], stream: u64| {
            calls.contains(&number) && first.is_some_and(|first| file(first) == file(stream))
        };
        match halt {
            Halt::Stdin => stream([libc::SYS_read, libc::SYS_readv], 0),
            Halt::Stdout => stream([libc::SYS_write, libc::SYS_writev], 1),
            Halt::Stderr => stream([libc::SYS_write, libc::SYS_writev], 2),
            Halt::PreparedCommand => number == libc::SYS_rt_sigtimedwait,
        }
    }
}

/// Fills a pipe, so that the next write to it waits.
fn fill(writer: &std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // Byte by byte at the end: a pipe takes no part of a short write.
    while nix::unistd::write(writer, &[b'x'; 4096]).is_ok() || nix::unistd::write(writer, b"x").is_ok() {}
    fcntl(writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
}

const COMMANDS: [(&str, Halt); 9] = [
    ("set --key K --env test --vault os.secure --mech PERMANENT_VIA_REPLICA", Halt::Stdin),
    ("unlock --env test --key K", Halt::Stdout),
    ("get --env test --key K --value", Halt::Stdout),
    ("run --env test -- cat", Halt::Stderr),
    ("run --env test --key K --mask -- sleep 60", Halt::PreparedCommand),
    ("recipient set --label other --pubkey ../.ssh/other.pub", Halt::Stdout),
    ("fill --env test --key K --no-prompt", Halt::Stdout),
    ("firewall --env test --from json(env://SECRETS_JSON) --into json", Halt::Stdout),
    ("credential kubectl --env test --key K", Halt::Stdout),
];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn a_debugger_of_another_session_is_kept_out_of_each_command_that_holds_a_secret() {
    let test = "command::a_debugger_of_another_session_is_kept_out_of_each_command_that_holds_a_secret";
    if !can_run(test, &[Need::Root, Need::Sessions, Need::Program("setpriv")]) {
        return;
    }
    if let Some(pid) = role() {
        become_stranger();
        return assert_kept_out(pid.parse().unwrap(), false);
    }
    let world = World::new();
    for (line, halt) in COMMANDS {
        let halted = Halted::start(&world, &words(line), halt);
        let session = |pid: &str| fs::read_to_string(format!("/proc/{pid}/sessionid")).unwrap();
        assert_ne!(session("self"), session(&halted.pid().to_string()), "{line}");
        let limits = fs::read_to_string(format!("/proc/{}/limits", halted.pid())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let core: Vec<_> = core.split_whitespace().skip(4).collect();
        assert_eq!(core, ["0", "unlimited", "bytes"], "{line}: the soft limit alone");
        let debugger = again(test, &halted.pid().to_string()).output().unwrap();
        assert_passed(&format!("{test}: {line}"), &debugger);
        assert!(halted.is_at(halt), "{line}: goes on as before");
    }
}

#[test]
fn a_command_that_holds_a_secret_leaves_no_core() {
    let test = "command::a_command_that_holds_a_secret_leaves_no_core";
    // Another program in its place, to see that this machine dumps cores at all.
    let home = Home::new();
    let mut other = home.command("sh");
    other.args(["-c", "ulimit -c unlimited && kill -ABRT $$"]);
    let dumps = other.stderr(Stdio::null()).status().unwrap().core_dumped();
    let programs = ["setpriv", "prlimit"].map(Need::Program);
    let needs = [&programs[..], &[Need::That(dumps, "core dumps"), Need::Sessions]].concat();
    if !can_run(test, &needs) {
        return;
    }
    let world = World::new();
    for (line, halt) in COMMANDS {
        let mut halted = Halted::start(&world, &words(line), halt);
        // Any process of the same user may raise the limit again.
        let pid = halted.pid().to_string();
        let mut raise = Command::new("prlimit");
        raise.args(["--core=unlimited:", "--pid", &pid]);
        assert!(as_user(STRANGER, &raise).status().unwrap().success(), "{line}");
        kill(Pid::from_raw(halted.pid()), Signal::SIGABRT).unwrap();
        let status = halted.child.0.wait().unwrap();
        assert_eq!((status.signal(), status.core_dumped()), (Some(libc::SIGABRT), false), "{line}");
    }
    let project = fs::read_dir(world.home.home().join("project")).unwrap();
    let mut left: Vec<_> = project.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".agent", ".git"], "no core where it was started");
}

/// Runs a command under this thread as its tracer, and returns its exit code with what it wrote to
/// stderr.
#[expect(clippy::zombie_processes, reason = "reaped by waitpid, which tells of its stops too")]
fn traced(command: &mut Command) -> (i32, String) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: PTRACE_TRACEME takes no further arguments, and nothing is allocated after it.
    unsafe { command.pre_exec(|| Ok(ptrace(libc::PTRACE_TRACEME, 0)?)) };
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    command.stderr(Stdio::null());
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::Stopped(_, signal) => {
                // Each exec stops it; any other signal is its own.
                let number = if signal == Signal::SIGTRAP { 0 } else { signal as usize };
                let none = std::ptr::null_mut::<libc::c_void>();
                let signal = std::ptr::without_provenance_mut::<libc::c_void>(number);
                // SAFETY: PTRACE_CONT takes the signal's number in place of a pointer.
                Errno::result(unsafe { libc::ptrace(libc::PTRACE_CONT, pid.as_raw(), none, signal) })
                    .unwrap();
            }
            WaitStatus::Exited(_, code) => {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
                return (code, text);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_command_refuses_a_tracer_of_another_session_alone() {
    let test = "command::a_command_refuses_a_tracer_of_another_session_alone";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    let home = Home::new();
    let mut command = home.command(binary("keyrack"));
    command.args(["get", "--org", "@all", "--env", "test", "--key", "K", "--value"]).env("K", SECRET);
    let (code, text) = traced(&mut in_new_session(&command));
    assert_eq!(code, 2, "{text}");
    let own = nix::unistd::gettid();
    assert!(text.contains(&format!("process {own} of another login session traces this command")), "{text}");
    assert!(!text.contains(SECRET));
    let (code, text) = traced(&mut command);
    assert_eq!(code, 0, "a debugger of the same session is the user's own: {text}");
}
