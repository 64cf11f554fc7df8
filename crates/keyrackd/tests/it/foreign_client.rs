//! A caller of another user than the test: a process that stays, asks what it is told to, and
//! passes on what it was answered.

use std::env;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use keyrack_testkit::{Reaped, as_user};

use crate::daemon::{ask, connect, frame, read_frame};
use crate::peer_process::{program, said_in};

const SOCKET: &str = "KEYRACK_IT_TELLER";

/// The process, as the test sees it.
pub(crate) struct ForeignClient {
    child: Reaped,
    replies: BufReader<ChildStdout>,
}

impl ForeignClient {
    /// One of user `uid`, who calls the daemon of `socket`.
    pub(crate) fn new(uid: u32, socket: &Path) -> Self {
        let mut command = Command::new(program(socket));
        command.args(["--exact", crate::test_path(act), "--ignored", "--nocapture", "--test-threads=1"]);
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env(SOCKET, socket).current_dir("/");
        let mut command = as_user(uid, &command);
        let mut child = Reaped::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let replies = BufReader::new(child.0.stdout.take().unwrap());
        ForeignClient { child, replies }
    }

    fn order(&mut self, order: &str, bytes: &[u8]) -> String {
        writeln!(self.child.0.stdin.as_ref().unwrap(), "{order} {}", hex(bytes)).unwrap();
        said_in(&mut self.replies)
    }

    /// Sends bytes over a connection of their own, and returns what comes back.
    pub(crate) fn ask(&mut self, request: &[u8]) -> String {
        String::from_utf8(unhex(&self.order("ask", request))).unwrap()
    }

    /// Sends a frame over the one connection that is kept for them, and returns the reply's header
    /// and secrets.
    pub(crate) fn ask_native(&mut self, header: &str, secrets: &[u8]) -> (String, Vec<u8>) {
        let said = self.order("frame", &frame(header, secrets));
        let (header, secrets) = said.split_once(',').unwrap_or_else(|| panic!("no reply to {header}"));
        (String::from_utf8(unhex(header)).unwrap(), unhex(secrets))
    }

    /// Sends a request, takes one byte of the reply, and no more for as long as this lives.
    pub(crate) fn ask_and_dawdle(&mut self, request: &[u8]) {
        assert_eq!(self.order("dawdle", request), "waiting");
    }

    /// Sends a part of a request, and no more for as long as this lives.
    pub(crate) fn begin_and_dawdle(&mut self, part: &[u8]) {
        assert_eq!(self.order("begin", part), "waiting");
    }

    /// Sends bytes and goes away.
    pub(crate) fn send_and_leave(&mut self, bytes: &[u8]) {
        assert_eq!(self.order("leave", bytes), "left");
    }
}

/// Acts the teller. Not a test of its own.
#[test]
#[ignore = "acts a part for other tests"]
fn act() {
    let Some(socket) = env::var_os(SOCKET).map(PathBuf::from) else { return };
    let mut native: Option<UnixStream> = None;
    let mut dawdling = Vec::new();
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let (order, bytes) = line.split_once(' ').unwrap();
        let bytes = unhex(bytes);
        let said = match order {
            "ask" => hex(ask(connect(&socket), &bytes).as_bytes()),
            "frame" => {
                let stream = native.get_or_insert_with(|| connect(&socket));
                stream.write_all(&bytes).unwrap();
                let reply = read_frame(stream);
                reply.map_or_else(String::new, |(header, secrets)| {
                    format!("{},{}", hex(header.as_bytes()), hex(&secrets))
                })
            }
            "dawdle" => {
                let mut stream = connect(&socket);
                stream.write_all(&bytes).unwrap();
                stream.read_exact(&mut [0]).unwrap();
                dawdling.push(stream);
                "waiting".to_owned()
            }
            "begin" => {
                let mut stream = connect(&socket);
                stream.write_all(&bytes).unwrap();
                dawdling.push(stream);
                "waiting".to_owned()
            }
            "leave" => {
                connect(&socket).write_all(&bytes).unwrap();
                "left".to_owned()
            }
            other => panic!("no such order: {other}"),
        };
        let mut out = io::stdout();
        writeln!(out, "SAID:{said}").unwrap();
        out.flush().unwrap();
    }
}

/// Bytes as a line can carry them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
