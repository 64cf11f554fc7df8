//! A running daemon, and helpers that send requests to it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Reaped, binary, wait_until};

/// Longer than any step of these tests takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const STATUS: &str = r#"{"command":"STATUS","payload":{}}"#;
pub(crate) const RELOCK_ALL: &str = r#"{"command":"RELOCK","payload":{}}"#;

/// A daemon in a home of its own. Killed when dropped.
pub(crate) struct Daemon {
    pub(crate) home: Home,
    pub(crate) socket: PathBuf,
    pub(crate) child: Reaped,
}

/// Path of a home's socket.
pub(crate) fn socket_in(home: &Home) -> PathBuf {
    home.runtime().join("keyrack.7.83db27ef.sock")
}

/// Process that serves a home's socket, by its file for older tools.
pub(crate) fn pid_in(home: &Home) -> u32 {
    let pid = fs::read_to_string(socket_in(home).with_extension("pid")).unwrap();
    pid.parse().unwrap()
}

/// The command that serves a home's socket in the foreground.
pub(crate) fn command(home: &Home) -> Command {
    let mut command = home.command(binary("keyrackd"));
    command.arg("--socket").arg(socket_in(home));
    command
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Command)) -> Self {
        let home = Home::new();
        let mut command = command(&home);
        change(&mut command);
        Self::run(home, &mut command)
    }

    /// Runs a command that ends up as the daemon of `home`.
    pub(crate) fn run(home: Home, command: &mut Command) -> Self {
        let socket = socket_in(&home);
        let child = Reaped::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
        let daemon = Daemon { home, socket, child };
        // A client that connects before it is ready gets its reply once it is.
        wait_until("the daemon serves", LONG, || UnixStream::connect(&daemon.socket).is_ok());
        daemon.ask(STATUS);
        daemon
    }

    pub(crate) fn connect(&self) -> UnixStream {
        connect(&self.socket)
    }

    /// Sends a legacy request and returns the reply.
    pub(crate) fn ask(&self, request: &str) -> String {
        ask(self.connect(), request.as_bytes())
    }

    /// Unlocks a key, and asserts that the daemon stores it.
    pub(crate) fn unlock(&self, slug: &str, secret: &str) {
        let reply = self.ask(&unlock(slug, secret, ""));
        assert!(reply.contains(slug) && reply.contains(r#""success":true"#), "{reply}");
    }

    /// The slugs held.
    pub(crate) fn held(&self) -> Vec<String> {
        slugs_in(&self.ask(STATUS))
    }

    pub(crate) fn pidfd(&self) -> Pidfd {
        Pidfd::open(self.child.pid().try_into().unwrap()).expect("our child is not reaped yet")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.pidfd().signal(signal).expect("our own child");
    }

    /// Waits for the end, and says how it was.
    pub(crate) fn ended(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the daemon ends", limit, || {
            status = self.child.0.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// Names of the files in the runtime directory.
    pub(crate) fn files(&self) -> Vec<String> {
        names_in(&self.home.runtime())
    }

    /// Opens every directory and the socket to everybody, so that only the daemon's own look at its
    /// callers stands.
    pub(crate) fn open_to_all(&self) {
        open_to_all(&self.home, &self.socket);
    }
}

pub(crate) fn open_to_all(home: &Home, socket: &Path) {
    for dir in [home.root(), &home.runtime()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).expect("our own directory");
    }
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).expect("our own socket");
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

pub(crate) fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the daemon listens");
    stream.set_read_timeout(Some(LONG)).expect("a positive time");
    stream.set_write_timeout(Some(LONG)).expect("a positive time");
    stream
}

/// Sends a request and reads to the end.
pub(crate) fn ask(mut stream: UnixStream, request: &[u8]) -> String {
    // A daemon that refuses in the middle closes, which is an answer too.
    let _ = stream.write_all(request);
    read_all(&mut stream)
}

pub(crate) fn read_all(stream: &mut UnixStream) -> String {
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("an orderly end");
    String::from_utf8(reply).expect("UTF-8")
}

/// An UNLOCK of one key; `more` are further members of its grant, each with a comma before.
pub(crate) fn unlock(slug: &str, secret: &str, more: &str) -> String {
    format!(
        r#"{{"command":"UNLOCK","payload":{{"keys":[{{"slug":"{slug}","key":{{"secret":"{secret}","grade":{{"protection":"encrypted","duration":"permanent"}}}},"source":{{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"}},"env":"test","org":"acme"{more}}}]}}}}"#
    )
}

pub(crate) fn get(slug: &str) -> String {
    format!(r#"{{"command":"GET","payload":{{"slugs":["{slug}"]}}}}"#)
}

pub(crate) fn slugs_in(reply: &str) -> Vec<String> {
    assert!(reply.starts_with(r#"{"success":true,"#), "{reply}");
    reply.split(r#""slug":""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// A native frame.
pub(crate) fn frame(header: &str, secrets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + header.len() + secrets.len()).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(secrets);
    bytes
}

/// Reads one native frame: its header and its secret bytes. `None` at the end of the connection.
pub(crate) fn read_frame(stream: &mut UnixStream) -> Option<(String, Vec<u8>)> {
    let mut lengths = [0; 8];
    stream.read_exact(&mut lengths).ok()?;
    let length = u32::from_be_bytes(lengths[..4].try_into().unwrap()) as usize;
    let header = u32::from_be_bytes(lengths[4..].try_into().unwrap()) as usize;
    let mut rest = vec![0; length - 4];
    stream.read_exact(&mut rest).ok()?;
    let secrets = rest.split_off(header);
    Some((String::from_utf8(rest).unwrap(), secrets))
}
