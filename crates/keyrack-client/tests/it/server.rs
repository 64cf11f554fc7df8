//! Servers that misbehave. This test binary, run again with [`SERVE`] set, becomes one instead of
//! running tests.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_testkit::{Reaped, wait_until};

/// Variable that turns this binary into a server: `<behavior>:<socket>`.
const SERVE: &str = "KEYRACK_IT_SERVE";

/// Server process, killed on drop.
pub(crate) struct Server {
    _process: Reaped,
    heard: PathBuf,
}

impl Server {
    /// Returns the command of a server with this behavior. Its process is called `keyrackd`, except
    /// for a TypeScript server.
    pub(crate) fn command(behavior: &str, socket: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "server::serve_if_requested", "--nocapture", "--test-threads=1"]);
        command.env(SERVE, format!("{behavior}:{}", socket.display())).current_dir("/");
        command
    }

    pub(crate) fn start(behavior: &str, socket: &Path) -> Self {
        Self::run(Self::command(behavior, socket), socket)
    }

    /// Starts a command of [`Server::command`], possibly wrapped.
    pub(crate) fn run(mut command: Command, socket: &Path) -> Self {
        let process = Reaped::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        let heard = received_path(socket);
        wait_until("the server listens", Duration::from_secs(10), || heard.exists());
        Server { _process: process, heard }
    }

    /// Returns everything that callers sent.
    pub(crate) fn heard(&self) -> Vec<u8> {
        fs::read(&self.heard).unwrap()
    }
}

fn received_path(socket: &Path) -> PathBuf {
    socket.with_extension("heard")
}

/// Not a test, but the program of [`Server`]. Does nothing without [`SERVE`].
#[test]
fn serve_if_requested() {
    let Ok(told) = std::env::var(SERVE) else { return };
    let (behavior, socket) = told.split_once(':').unwrap();
    let socket = PathBuf::from(socket);
    if !behavior.starts_with("ts-") {
        fs::write("/proc/self/comm", "keyrackd").unwrap();
    }
    let listener = UnixListener::bind(&socket).unwrap();
    let mut heard = fs::File::create(received_path(&socket)).unwrap();
    // Bounded, in case the test that started it is killed.
    for (count, stream) in listener.incoming().enumerate().take(64) {
        let mut stream = stream.unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = first_bytes(&mut stream);
        heard.write_all(&request).unwrap();
        answer(behavior, count, &mut stream);
    }
}

fn first_bytes(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let count = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(count);
    bytes
}

fn frame(header: &str, secrets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + header.len() + secrets.len()).unwrap();
    let header_length = u32::try_from(header.len()).unwrap();
    [&length.to_be_bytes()[..], &header_length.to_be_bytes(), header.as_bytes(), secrets].concat()
}

/// Reply of a conforming daemon of this version to `hello`, which has id 1 on a fresh connection.
fn hello(proto: u32) -> Vec<u8> {
    let text = format!(
        r#"{{"id":1,"ok":{{"proto":{proto},"min_proto":{proto},"version":"9.9.9","build":"x","boot_id":"b","pid":1,"boundary":"session","memory":"locked","hardening":[]}}}}"#
    );
    frame(&text, b"")
}

fn key(slug: &str, len: usize) -> String {
    format!(
        r#"{{"id":2,"ok":{{"keys":[{{"slug":"{slug}","grade":{{"protection":"encrypted","duration":"permanent"}},"source":{{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"}},"env":"test","org":"a","expires_at":"2099-01-01T00:00:00.000Z","ttl_ms":1000,"secret":{{"offset":0,"len":{len}}}}}],"rest":[]}}}}"#
    )
}

fn answer(behavior: &str, count: usize, stream: &mut UnixStream) {
    let sound = || [hello(1), frame(&key("a.test.K", 7), b"hunter2")].concat();
    let bytes = match behavior {
        "hang" | "ts-hang" => {
            std::thread::sleep(Duration::from_secs(20));
            return;
        }
        "close" => Vec::new(),
        "close-first" if count == 0 => Vec::new(),
        "sound" | "close-first" => sound(),
        "garbage" => b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec(),
        "cut" => sound()[..200].to_vec(),
        "cut-key" => sound()[..sound().len() - 1].to_vec(),
        "oversize" => [&[0, 0x20, 0, 0][..], &[0, 0, 0, 9], &[b'x'; 64]].concat(),
        "drip" => {
            for byte in sound() {
                std::thread::sleep(Duration::from_millis(50));
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
            return;
        }
        "pieces" => {
            for piece in sound().chunks(7) {
                stream.write_all(piece).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            return;
        }
        "wrong-id" => [hello(1), frame(r#"{"id":99,"ok":{"keys":[],"rest":[]}}"#, b"")].concat(),
        "wrong-kind" => [hello(1), frame(r#"{"id":2,"ok":{"relocked":[]}}"#, b"")].concat(),
        "past-end" => [hello(1), frame(&key("a.test.K", 70), b"hunter2")].concat(),
        "uncovered" => [hello(1), frame(&key("a.test.K", 3), b"hunter2")].concat(),
        "unasked" => [sound(), frame(r#"{"id":3,"ok":{}}"#, b"")].concat(),
        "other-key" => [hello(1), frame(&key("a.prod.OTHER", 7), b"hunter2")].concat(),
        "endless" => {
            let text = r#"{"id":2,"ok":{"keys":[],"rest":["a.test.K"]}}"#;
            [hello(1), frame(text, b"")].concat()
        }
        "incompatible" => [hello(7), frame(r#"{"id":2,"ok":{"keys":[],"rest":[]}}"#, b"")].concat(),
        "refuse" => frame(r#"{"id":0,"error":{"code":"session_mismatch","message":"session mismatch: no"}}"#, b""),
        "ts-get" => br#"{"success":true,"data":{"keys":[{"slug":"a.all.K","key":{"secret":"h\u00fcnt\ner","grade":{"protection":"encrypted","duration":"permanent"}},"source":{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"},"env":"all","org":"a"}]}}"#.to_vec(),
        "ts-status" => br#"{"success":true,"data":{"homeHash":"01234567","keys":[{"slug":"a.test.K","env":"test","org":"a","expiresAt":null,"ttlLeftMs":null},{"slug":"a.test.L","env":"test","org":"a","expiresAt":"2099-01-01T00:00:00Z","ttlLeftMs":5}]}}"#.to_vec(),
        "ts-relock" => br#"{"success":true,"data":{"relocked":["a.test.K"]}}"#.to_vec(),
        "ts-refuse" => br#"{"success":false,"error":"BadRequestError: session mismatch: caller is in a different login session\n\n{}"}"#.to_vec(),
        "ts-garbage" => b"{\"success\":true,\"data\":{\"keys\":[{\"slug\":\"a.test.K\",\"key\":{\"secret\":\"hunter2".to_vec(),
        other => panic!("no manner {other}"),
    };
    // The caller may have closed the connection.
    let _ = stream.write_all(&bytes);
}
