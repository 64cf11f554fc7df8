//! Search for leaks of secrets. A whole session runs at the highest log level, while strace traces
//! every write and exec of the commands and of the daemon. A secret may only appear in the output
//! that it was requested for.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_testkit::{Need, Reaped, can_run, run, wait_until};
use serde_json::Value;

use crate::fixture::Fixture;
use crate::terminal::at_terminal;

const LIMIT: Duration = Duration::from_secs(60);

/// Middle of every secret of the session. No encoding of text escapes any part of it.
const MARK: &str = "sEnT1nEl42hEaRt";
/// Middle of every passphrase.
const PASSPHRASE: &str = "pAsSpHrAsEoFyOuRs";

/// System calls that send bytes out of a process, or pass arguments and environment to another
/// program.
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,execve,execveat";

/// Returns the encodings of a text: plain (also its JSON form), UTF-16, hex, and base64 at each of
/// the three alignments.
fn forms(text: &str) -> Vec<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let base64 = |bytes: &[u8]| {
        let digits = bytes.chunks_exact(3).flat_map(|three| {
            let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| DIGITS[bits >> shift & 63])
        });
        digits.collect::<Vec<u8>>()
    };
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut forms = vec![text.as_bytes().to_vec(), utf16, hex.to_uppercase().into_bytes(), hex.into_bytes()];
    forms.extend((0..3).map(|skip| base64(&text.as_bytes()[skip..])));
    forms
}

fn holds(bytes: &[u8], text: &str) -> bool {
    forms(text).iter().any(|form| bytes.windows(form.len()).any(|part| part == form))
}

/// Returns the decoded calls of a trace. `strace -xx` prints every string in hex.
fn calls(trace: &Path) -> Vec<Vec<u8>> {
    let text = fs::read(trace).unwrap();
    let mut lines = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut decoded = Vec::with_capacity(line.len());
        let mut rest = line;
        while let Some((&first, behind)) = rest.split_first() {
            let digits = rest.strip_prefix(br"\x").and_then(|rest| rest.get(..2));
            let byte =
                digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
            match byte {
                Some(byte) => {
                    decoded.push(byte);
                    rest = &rest[4..];
                }
                None => {
                    decoded.push(first);
                    rest = behind;
                }
            }
        }
        lines.push(decoded);
    }
    lines
}

/// Places where a command may write its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// No place.
    Nowhere,
    /// Standard output: the command prints secrets on request.
    Stdout,
    /// The daemon's socket: the command unlocks keys.
    Socket,
    /// The daemon's socket and standard output.
    SocketAndStdout,
    /// The plain-text file of os.direct, under its temporary name.
    Direct,
    /// Standard output, for the masks of a CI runner, and the file of `GITHUB_ENV`.
    Runner,
}

struct Stage {
    fixture: Fixture,
    trace: PathBuf,
    log: PathBuf,
    daemon: PathBuf,
    /// Number of times that a secret was found in a permitted place.
    found: std::cell::Cell<usize>,
}

impl Stage {
    fn file(&self, name: &str) -> PathBuf {
        self.fixture.home.root().join(name)
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn strace(trace: &Path, rest: &[&str]) -> Vec<String> {
        let mut words = Self::words("strace -f -y -v -s 1048576 -xx -qq -e");
        words.extend([CALLS.to_owned(), "-o".to_owned(), trace.to_string_lossy().into_owned()]);
        words.extend(rest.iter().map(|word| (*word).to_owned()));
        words
    }

    fn loud<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("KEYRACK_LOG", "trace").env("KEYRACK_LOG_FILE", &self.log).env("RUST_BACKTRACE", "full");
        command.env("KEYRACK_MEMORY", "locked").env("GITHUB_ENV", self.file("github_env"))
    }

    /// Runs a command under strace. Returns its exit code.
    fn run(&self, line: &str, stdin: &[u8], may: May) -> i32 {
        let words = Self::words(line);
        let mut command = self.fixture.command(&Self::strace(&self.trace, &[]));
        command.args(&words);
        let (out, err) = (self.file("stdout"), self.file("stderr"));
        let quoted = "exec \"$@\" > \"$OUT\" 2> \"$ERR\"";
        // The shell is not traced. It redirects the streams to files, so that the trace shows their
        // names.
        let mut shell = self.fixture.command(&["sh", "-c", quoted, "sh"].map(str::to_owned));
        shell.arg(command.get_program()).args(command.get_args()).env("OUT", &out).env("ERR", &err);
        let output = run(self.loud(&mut shell), stdin, LIMIT).unwrap();
        let errors = fs::read(&err).unwrap();
        assert!(!holds(&errors, MARK), "{line}: {}", String::from_utf8_lossy(&errors));
        self.examine(line, may);
        let told = fs::read(&out).unwrap();
        let asked = matches!(may, May::Stdout | May::SocketAndStdout | May::Runner);
        assert_eq!(holds(&told, MARK), asked, "{line}: {}", String::from_utf8_lossy(&told));
        output.status.code().unwrap()
    }

    /// Asserts that no traced call contains a secret, except in permitted places.
    fn examine(&self, line: &str, may: May) {
        let mut seen = 0;
        let mut execs = 0;
        for call in calls(&self.trace) {
            let shown = String::from_utf8_lossy(&call).into_owned();
            execs += usize::from(shown.contains("execve("));
            assert!(!holds(&call, PASSPHRASE), "{line}: {shown}");
            if !holds(&call, MARK) {
                continue;
            }
            let place = shown.split(['<', '>']).nth(1).unwrap_or_default();
            let stdout = place.ends_with("/stdout");
            let socket = place.starts_with("socket:") || place.starts_with("UNIX");
            let fits = match may {
                May::Nowhere => false,
                May::Stdout => stdout,
                May::Socket => socket,
                May::SocketAndStdout => stdout || socket,
                May::Runner => stdout || place.ends_with("/github_env"),
                May::Direct => place.contains("/vault/os.direct/owner=default/"),
            };
            assert!(fits && !shown.contains("execve"), "{line}: {shown}");
            seen += 1;
        }
        // `keyrack doctor` runs keyrackd to get its version and to test its start: with the
        // default, with locked and with secret memory.
        let own = if line.starts_with("keyrack doctor") { 5 } else { 1 };
        assert_eq!(execs, own, "{line}: itself and no other program");
        assert_eq!(seen > 0, may != May::Nowhere, "{line}: it was seen {seen} times");
        self.found.set(self.found.get() + seen);
    }

    fn fails(&self, line: &str, stdin: &[u8]) {
        let exit = self.run(line, stdin, May::Nowhere);
        assert!([1, 2].contains(&exit), "{line}: {exit}");
    }

    fn works(&self, line: &str, stdin: &[u8], may: May) {
        let errors = || fs::read_to_string(self.file("stderr")).unwrap();
        assert_eq!(self.run(line, stdin, may), 0, "{line}: {}", errors());
    }

    /// Sends bytes to the daemon and discards the reply.
    fn send(&self, bytes: &[u8]) {
        let mut stream = UnixStream::connect(&self.daemon).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn secret(n: u32) -> Vec<u8> {
    format!("a\"{MARK}\\{n}'z").into_bytes()
}

#[test]
fn secret_appears_only_in_requested_output() {
    let test = "secret_appears_only_in_requested_output";
    let needs = [Need::Root, Need::Program("strace"), Need::Program("git"), Need::Program("script")];
    if !can_run(test, &needs) {
        return;
    }
    let fixture = Fixture::new();
    let root = fixture.home.root().to_owned();
    let mut stage = Stage {
        fixture,
        trace: root.join("trace"),
        log: root.join("log"),
        daemon: PathBuf::new(),
        found: std::cell::Cell::new(0),
    };
    assert_eq!(stage.fixture.run("git init -q", b"").0, 0);
    stage.works("keyrack init --org acme", b"", May::Nowhere);

    // The daemon does not start under a tracer, so strace attaches when it is ready. Only root can
    // attach.
    let mut start = stage.fixture.command(&Stage::words("keyrack daemon start --json"));
    let started = run(stage.loud(&mut start), b"", LIMIT).unwrap();
    let told: Value = serde_json::from_slice(&started.stdout).unwrap();
    stage.daemon = told["socketPath"].as_str().unwrap().into();
    let pid = told["daemon"]["pid"].to_string();
    let served = stage.file("served");
    let tracer = Stage::strace(&served, &["-p", &pid]);
    let mut tracer = Reaped::spawn(Command::new(&tracer[0]).args(&tracer[1..]).stderr(Stdio::null()));
    let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    wait_until("it is traced", LIMIT, || !status().contains("TracerPid:\t0\n"));
    for of in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{pid}/{of}")).unwrap();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!shown.contains("HOME=") && !shown.contains("PATH="), "{of}: {shown}");
    }

    a_life_of_keys(&stage);
    refusals(&stage);
    requests(&stage);
    typed(&stage);

    assert_eq!(stage.fixture.run("keyrack daemon stop", b"").0, 0);
    assert!(tracer.0.wait().is_ok());
    let mut replies = 0;
    for call in calls(&served) {
        let shown = String::from_utf8_lossy(&call);
        if holds(&call, MARK) {
            let place = shown.split(['<', '>']).nth(1).unwrap_or_default();
            assert!(place.starts_with("socket:") || place.starts_with("UNIX"), "the daemon: {shown}");
            replies += 1;
        }
        assert!(!shown.contains("execve"), "{shown}");
    }
    assert!(replies >= 6, "the trace shows what is replied: {replies}");
    assert!(stage.found.get() >= 8, "the traces show what is told: {}", stage.found.get());
    let log = fs::read_to_string(&stage.log).unwrap();
    assert!(log.contains("key sent slug=acme.test.A"), "{log}");
    for text in [MARK, PASSPHRASE] {
        assert!(!holds(log.as_bytes(), text), "{log}");
    }
}

/// Sets, unlocks, reads in every way, inspects, relocks and removes keys.
fn a_life_of_keys(stage: &Stage) {
    let set = |key: &str, vault: &str, more: &str| {
        format!("keyrack set --key {key} --env test --vault {vault}{more}")
    };
    stage.works(&set("A", "os.secure", " --mech REPLICA"), &secret(1), May::Nowhere);
    stage.works(&set("B", "os.direct", " --mech REPLICA --json"), &secret(2), May::Direct);
    stage.works(&set("C", "os.daemon", ""), &secret(3), May::Socket);
    stage.works("keyrack unlock --env test", b"", May::Socket);
    for line in ["keyrack get --key A --env test", "keyrack get --for repo --env test"] {
        stage.works(line, b"", May::Nowhere);
        stage.works(&format!("{line} --json"), b"", May::Stdout);
    }
    stage.works("keyrack get --key B --value", b"", May::Stdout);
    stage.works("keyrack source --env test", b"", May::Stdout);
    for line in [
        "keyrack status",
        "keyrack status --json",
        "keyrack list --json",
        "keyrack daemon status --json",
        "keyrack recipient get --json",
        "keyrack doctor",
        "keyrack doctor --json",
        "keyrack relock --key A --env test --json",
    ] {
        stage.works(line, b"", May::Nowhere);
    }
    stage.works("keyrack get --key A --env test --unlock --value", b"", May::SocketAndStdout);
    stage.works("keyrack relock", b"", May::Nowhere);
    in_ci(stage);
    stage.works("keyrack unlock --env test --json", b"", May::Socket);
}

/// Passes the secrets of a CI job through the firewall.
fn in_ci(stage: &Stage) {
    let firewall = "keyrack firewall --env test --from json(stdin://*) --into";
    fs::write(stage.file("github_env"), "").unwrap();
    let text = String::from_utf8(secret(4)).unwrap();
    let job = |b: Value| serde_json::json!({ "A": format!("{text}\n{text}"), "B": b, "X": text }).to_string();
    for fine in [Value::Null, "plain".into()] {
        stage.works(&format!("{firewall} json"), job(fine.clone()).as_bytes(), May::Stdout);
        stage.works(&format!("{firewall} github.actions"), job(fine).as_bytes(), May::Runner);
    }
    let before = fs::read(stage.file("github_env")).unwrap();
    assert!(holds(&before, MARK));
    let app = format!("{{\"mech\":\"EPHEMERAL_VIA_GITHUB_APP\",\"privateKey\":\"{MARK}\"}}");
    for blocked in [format!("ghp_{MARK}").into(), app.into(), serde_json::json!([text]), 5.into()] {
        for into in ["json", "github.actions"] {
            stage.fails(&format!("{firewall} {into}"), job(blocked.clone()).as_bytes());
        }
    }
    for text in [format!("{{\"A\":\"{MARK}\""), format!("{{\"A\":\"{MARK}\",\"A\":\"x\"}}"), MARK.to_owned()]
    {
        stage.fails(&format!("{firewall} json"), text.as_bytes());
    }
    assert_eq!(fs::read(stage.file("github_env")).unwrap(), before);
}

/// Runs commands that fail while they have a secret.
fn refusals(stage: &Stage) {
    let set = "keyrack set --key A --env test";
    for line in [
        format!("{set} --vault os.direct --mech REPLICA"),
        format!("{set} --vault os.nowhere --mech REPLICA"),
        format!("{set} --vault os.secure --mech NOTHING"),
        format!("{set} --vault os.secure --mech REPLICA --max-duration forever"),
        "keyrack set --key D --env nowhere --vault os.secure --mech REPLICA".to_owned(),
        "keyrack set --key D --env test --vault os.secure --mech EPHEMERAL_VIA_GITHUB_APP".to_owned(),
        "keyrack set --key a..b --env test --vault os.secure --mech REPLICA --json".to_owned(),
        "keyrack unlock --env test --duration forever".to_owned(),
        "keyrack get --key NOPE --env test --value".to_owned(),
        "keyrack source --env prod --key A".to_owned(),
        "keyrack del --env test".to_owned(),
    ] {
        stage.fails(&line, &secret(9));
    }
    let token = [b"ghp_", MARK.as_bytes(), b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"].concat();
    stage.fails("keyrack set --key T --env test --vault os.secure --mech REPLICA", &token);
    let blob = format!("{{\"mech\":\"EPHEMERAL_VIA_GITHUB_APP\",\"privateKey\":\"{MARK}\"");
    stage.run(
        "keyrack set --key J --env test --vault os.secure --mech REPLICA",
        blob.as_bytes(),
        May::Nowhere,
    );
    // Files that contain a secret and cannot be parsed.
    let direct =
        stage.fixture.home.home().join(".rhachet/keyrack/vault/os.direct/owner=default/keyrack.direct.json");
    let whole = fs::read(&direct).unwrap();
    for (broken, entry) in [
        (format!("{{\"acme.test.B\": {{\"value\": \"{MARK}\""), false),
        (MARK.to_owned(), false),
        (format!("{{\"acme.test.B\": \"{MARK}\"}}"), true),
        (format!("{{\"acme.test.B\": {{\"value\": {{\"{MARK}\": 1}}}}}}"), true),
        (format!("{{\"acme.test.B\": {{\"value\": \"x\", \"expiresAt\": \"{MARK}\"}}}}"), true),
    ] {
        fs::write(&direct, broken).unwrap();
        stage.fails("keyrack unlock --env test --key B", b"");
        stage.fails("keyrack doctor --json", b"");
        let set = "keyrack set --key B --env test --vault os.direct --mech REPLICA";
        match entry {
            // Only the entry is invalid: `set` replaces it.
            true => stage.works(set, &secret(8), May::Direct),
            false => stage.fails(set, &secret(8)),
        }
    }
    fs::write(&direct, whole).unwrap();
    let yml = stage.fixture.home.home().join("project/.agent/keyrack.yml");
    let whole = fs::read(&yml).unwrap();
    fs::write(&yml, "org: acme\nenv.test: [A\n").unwrap();
    stage.fails("keyrack set --key A --env test --vault os.secure --mech REPLICA", &secret(7));
    stage.fails("keyrack get --key A --env test --value", b"");
    fs::write(&yml, whole).unwrap();
    // The user types a secret in the wrong place. Errors do not repeat the argument.
    for line in [
        format!("keyrack set --key A --env test --vault os.secure {MARK}"),
        format!("keyrack set --key A --secret={MARK} --vault os.secure"),
        format!("keyrack set A {MARK}"),
        format!("keyrack get --value={MARK}"),
        format!("keyrack unlock --passphrase {MARK}"),
        format!("keyrack --{MARK}"),
        format!("keyrack {MARK}"),
    ] {
        let mut command = stage.fixture.command(&Stage::words(&line));
        let output = run(stage.loud(&mut command), b"", LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.is_empty() && !holds(&said, MARK), "{line}: {}", String::from_utf8_lossy(&said));
    }
    for key in ["A", "B"] {
        stage.works(&format!("keyrack del --key {key} --env test"), b"", May::Nowhere);
    }
}

/// Sends requests that our clients never send.
fn requests(stage: &Stage) {
    let key = |secret: &str| {
        format!(
            r#"{{"command":"UNLOCK","payload":{{"keys":[{{"slug":"acme.test.L","key":{{"secret":{secret},"grade":{{"protection":"encrypted","duration":"permanent"}}}},"source":{{"vault":"os.secure","mech":"M"}},"env":"test","org":"acme"}}]}}}}"#
        )
    };
    let sound = key(&format!("\"{MARK}\""));
    for request in [
        sound.clone(),
        r#"{"command":"GET","payload":{"slugs":["acme.test.L"]}}"#.to_owned(),
        key(&format!("{{\"{MARK}\":1}}")),
        key(&format!("[\"{MARK}\"]")),
        sound.replace("encrypted", MARK),
        sound.replace("permanent", MARK),
        sound[..sound.len() - 9].to_owned(),
        sound.replace("\"M\"", &format!("\"M\",\"x\":\"{MARK}")),
        format!("{MARK}{sound}"),
        r#"{"command":"RELOCK","payload":{}}"#.to_owned(),
    ] {
        stage.send(request.as_bytes());
    }
    for header in [format!("{{\"id\":1,\"op\":\"unlock\",\"keys\":\"{MARK}\"}}"), MARK.to_owned()] {
        let mut frame = u32::try_from(header.len() + 4 + MARK.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
        frame.extend(header.as_bytes());
        frame.extend(MARK.as_bytes());
        stage.send(&frame);
    }
}

/// Types a secret and wrong passphrases at a terminal.
fn typed(stage: &Stage) {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let trace =
        Stage::strace(&stage.trace, &[]).iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let set = format!("{trace} keyrack set --key E --env test --vault os.secure --mech REPLICA");
    let (exit, shown) =
        at_terminal(&stage.fixture, &set, &[("Secret for acme.test.E: ", &format!("x{MARK}y\n"))]);
    assert_eq!(exit, 0, "{shown}");
    assert!(!holds(shown.as_bytes(), MARK), "{shown}");
    stage.examine("a secret is typed", May::Nowhere);
    let ssh = stage.fixture.home.home().join(".ssh");
    fs::copy(keys.join("sealed"), ssh.join("robot")).unwrap();
    fs::copy(keys.join("sealed.pub"), ssh.join("robot.pub")).unwrap();
    let (exit, _, stderr) = stage
        .fixture
        .run(&format!("keyrack init --owner robot --pubkey {}", ssh.join("robot.pub").display()), b"");
    assert_eq!(exit, 0, "{stderr:?}");
    let list = format!("{trace} keyrack list --owner robot");
    let wrong = format!("x{PASSPHRASE}y\n");
    let asked = ("assphrase", wrong.as_str());
    let (exit, shown) = at_terminal(&stage.fixture, &list, &[asked, asked, asked]);
    assert_eq!(exit, 2, "{shown}");
    assert!(!holds(shown.as_bytes(), PASSPHRASE), "{shown}");
    stage.examine("a passphrase is typed wrong", May::Nowhere);
}

#[test]
fn leak_search_finds_every_encoding() {
    for text in [
        format!("x{MARK}y"),
        format!("{{\"value\":\"a\\\"{MARK}\"}}"),
        "c0VuVDFuRWw0MmhFYVJ0".to_owned(),
        // Base64 after one byte, and after two.
        "YXNFblQxbkVsNDJoRWFSdA==".to_owned(),
        "YWFzRW5UMW5FbDQyaEVhUnQ=".to_owned(),
        "73456e54316e456c34326845615274".to_owned(),
        "73456E54316E456C34326845615274".to_owned(),
    ] {
        assert!(holds(text.as_bytes(), MARK), "{text}");
    }
    let wide: Vec<u8> = format!("x{MARK}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(holds(&wide, MARK));
    assert!(!holds(b"nothing of the kind", MARK));
    let home = keyrack_testkit::Home::new();
    let trace = home.root().join("trace");
    fs::write(&trace, "1 write(3</a>, \"\\x61\\x62\", 2) = 2\n").unwrap();
    assert_eq!(calls(&trace)[0], b"1 write(3</a>, \"ab\", 2) = 2");
}
