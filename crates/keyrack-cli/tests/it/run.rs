//! `keyrack run`: the command's environment and output, and exit codes and signals that are the
//! same as without keyrack.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use keyrack_testkit::{Need, Reaped, can_run, run, wait_until};

use crate::fixture::Fixture;
use crate::terminal::at_terminal;

const LIMIT: Duration = Duration::from_secs(20);
const SECRET: &str = "hunter2/s3cr3t+hunter3";

/// Returns a home whose key K is granted from the environment.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let (exit, ..) = fixture.run("git init -q", b"");
    assert_eq!(exit, 0);
    fs::create_dir(fixture.home.home().join("project/.agent")).unwrap();
    let manifest = fixture.home.home().join("project/.agent/keyrack.yml");
    fs::write(manifest, "org: acme\nenv.test:\n  - K\n").unwrap();
    fixture
}

/// Returns a `keyrack run` command that runs a shell script, with the flags `how`.
fn script(fixture: &Fixture, how: &[&str], script: &str) -> Command {
    let words = ["keyrack", "run", "--env", "test"].into_iter().chain(how.iter().copied());
    let words: Vec<String> = words.chain(["--", "sh", "-c", script]).map(str::to_owned).collect();
    let mut command = fixture.command(&words);
    command.env("K", SECRET);
    command
}

fn ran(fixture: &Fixture, how: &[&str], text: &str) -> Output {
    run(&mut script(fixture, how, text), b"", LIMIT).unwrap()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the text without the signals 32 and 33, whose handlers the C library sets for its own
/// use (`signal(7)`).
fn told(bytes: &[u8]) -> String {
    let line = |line: &str| match line.strip_prefix("SigIgn:\t") {
        Some(set) => format!("SigIgn: {:x}", u64::from_str_radix(set, 16).unwrap() & !(3 << 31)),
        None => line.to_owned(),
    };
    shown(bytes).lines().map(line).collect::<Vec<_>>().join("\n")
}

const WAYS: [&[&str]; 3] = [&[], &["--mask"], &["--mask", "--files"]];

#[test]
fn run_passes_same_environment_as_shell() {
    let fixture = fixture();
    // Leaves out `SigQ`, the number of queued signals, which changes between runs.
    let look = "cat /proc/self/limits; grep -E '^(Sig[BIC]|Shd|NoNewPrivs|Seccomp|Umask|Groups|Cap|Uid|Threads)' /proc/self/status; \
         ls /proc/self/fd | tr '\\n' ' '; ls -ld /proc/self/ | cut -d' ' -f3; cat /proc/self/oom_score_adj; nice; pwd";
    let befores = [
        "",
        "trap '' PIPE CHLD HUP; ulimit -n 500; umask 027; ",
        "exec 5</dev/null; ",
        "ulimit -Sc 8; ",
        "ulimit -c 8; ",
        "ulimit -c unlimited; ",
    ];
    for before in befores {
        let plain = Command::new("sh")
            .args(["-c", &format!("{before}exec sh -c \"$0\""), look])
            .current_dir(fixture.home.home().join("project"))
            .output()
            .unwrap();
        for how in [&[][..], &["--mask"]] {
            let command = script(&fixture, how, look);
            let mut outer = Command::new("sh");
            outer
                .args(["-c", &format!("{before}exec \"$@\""), "sh"])
                .arg(command.get_program())
                .args(command.get_args());
            outer.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            outer.current_dir(command.get_current_dir().unwrap());
            let ours = run(&mut outer, b"", LIMIT).unwrap();
            assert_eq!(told(&ours.stdout), told(&plain.stdout), "{before}{how:?} {}", shown(&ours.stderr));
        }
    }
}

#[test]
fn run_without_mask_replaces_its_process() {
    let fixture = fixture();
    let mut command = script(&fixture, &[], "echo $$; exec cat");
    let mut child = Reaped::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut line = [0; 16];
    let count = child.0.stdout.as_mut().unwrap().read(&mut line).unwrap();
    assert_eq!(shown(&line[..count]).trim(), child.pid().to_string());
}

#[test]
fn run_exits_with_code_or_signal_of_command() {
    let fixture = fixture();
    for how in WAYS {
        for code in [0, 1, 2, 7, 127, 255] {
            assert_eq!(ran(&fixture, how, &format!("exit {code}")).status.code(), Some(code), "{how:?}");
        }
        // TERM, KILL, SEGV, ABRT, INT, HUP, USR1, PIPE, and one without a name.
        for signal in [15, 9, 11, 6, 2, 1, 10, 13, 40] {
            let status = ran(&fixture, how, &format!("ulimit -c 0; kill -{signal} $$; sleep 9")).status;
            assert_eq!(status.signal(), Some(signal), "{how:?}");
            assert!(!status.core_dumped());
        }
    }
}

#[test]
fn run_passes_only_requested_keys() {
    let fixture = fixture();
    for line in ["keyrack init", "keyrack set --key K --env test --vault os.daemon"] {
        let (exit, _, said) = fixture.run(line, format!("{SECRET}\n").as_bytes());
        assert_eq!(exit, 0, "{said:?}");
    }
    for how in [&[][..], &["--mask"]] {
        let look = "test \"$K\" = hunter2/s3cr3t+hunter3 || echo wrong; tr '\\0' '\\n' < /proc/$PPID/environ | grep -c hunter2";
        let mut command = script(&fixture, how, look);
        let output = run(command.env_remove("K"), b"", LIMIT).unwrap();
        assert_eq!(shown(&output.stdout), "0\n", "{how:?}: {}", shown(&output.stderr));
    }
}

#[test]
fn run_mask_hides_every_secret_in_output() {
    let fixture = fixture();
    let text = "echo $K; echo \"$K\" >&2; printf %s \"$K\" | base64; printf %s \"user:$K\" | base64; printf hunter2/s3; sleep 0.1; \
        printf cr3t+hun; sleep 0.1; echo ter3; echo hunter2%2Fs3cr3t%2Bhunter3; echo hunter2%2fs3cr3t%2bhunter3; printf hunter2";
    let output = ran(&fixture, &["--mask"], text);
    assert_eq!(shown(&output.stdout), "***\n***==\ndXNlcjp***\n***\n***\n***\nhunter2");
    assert_eq!(shown(&output.stderr), "***\n");
    // The child gets the real key, and output without a secret is unchanged to the byte.
    let output = ran(
        &fixture,
        &["--mask"],
        "echo ${#K}; head -c 300000 /dev/zero | tr '\\0' '\\377'; printf '\\0\\r\\n'",
    );
    assert_eq!(output.stdout, [b"22\n", &[0xff; 300_000][..], b"\0\r\n"].concat());
}

#[test]
fn run_mask_keeps_order_of_shared_stdout_and_stderr() {
    let fixture = fixture();
    let command =
        script(&fixture, &["--mask"], "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done");
    let mut outer = Command::new("sh");
    outer.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program()).args(command.get_args());
    outer.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(command.get_current_dir().unwrap());
    let output = run(&mut outer, b"", LIMIT).unwrap();
    let wanted: String = (1..=9).map(|i| format!("o{i}\ne{i}\n")).collect();
    assert_eq!(shown(&output.stdout), wanted);
}

/// keyrack shows a prompt without a newline at once. If the prompt ends like the beginning of the
/// key, keyrack shows it after a delay.
#[test]
fn run_mask_shows_prompt_while_command_waits() {
    let fixture = fixture();
    for (prompt, at_most) in [
        ("name? ", 500),
        ("h", 500),
        ("user (hun", 500),
        ("hunter2", 3000),
        ("aHVudGVyMi9z", 3000),
        ("K=hunter2/s3cr3t+hunter", 3000),
    ] {
        let mut command =
            script(&fixture, &["--mask"], &format!("printf '{prompt}'; read name; echo \"hi $name\""));
        let mut child = Reaped::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut seen = vec![0; prompt.len()];
        let start = Instant::now();
        child.0.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
        assert_eq!(shown(&seen), prompt);
        assert!(start.elapsed() < Duration::from_millis(at_most + 500), "{prompt:?}: {:?}", start.elapsed());
        child.0.stdin.take().unwrap().write_all(b"joe\n").unwrap();
        let mut rest = String::new();
        child.0.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hi joe\n");
    }
}

/// keyrack masks a key that is written in two parts, at every cut, if the second part arrives in
/// time. If it arrives too late, keyrack shows at most the first part.
#[test]
fn run_mask_hides_key_written_slowly() {
    if !can_run("run_mask_hides_key_written_slowly", &[Need::Program("bash")]) {
        return;
    }
    let fixture = fixture();
    let cuts = format!("for ((cut = 1; cut < {}; cut++)); do", SECRET.len());
    for (pause, shown_at_most) in [("0.1", 3), ("1.5", usize::MAX)] {
        let cuts = if pause == "1.5" { "for cut in 2 5 14; do" } else { &cuts };
        let text =
            format!("{cuts} printf %s \"${{K:0:cut}}\"; sleep {pause}; printf '%s\\n' \"${{K:cut}}\"; done");
        fs::write(fixture.home.home().join("project/cuts"), text).unwrap();
        let output = ran(&fixture, &["--mask"], "exec bash cuts");
        let text = shown(&output.stdout);
        for (line, cut) in
            text.lines().zip(if pause == "1.5" { vec![2, 5, 14] } else { (1..SECRET.len()).collect() })
        {
            let first = line.strip_suffix("***").unwrap_or_else(|| panic!("{pause}, cut at {cut}: {line}"));
            assert!(
                SECRET.starts_with(first) && first.len() <= cut.min(shown_at_most),
                "{pause}, cut at {cut}: {line}"
            );
        }
    }
}

/// keyrack echoes each typed byte at once, even a byte that a key begins with.
#[test]
fn run_mask_echoes_each_typed_byte() {
    let needs = [Need::Program("script"), Need::Program("stty"), Need::Program("bash")];
    if !can_run("run_mask_echoes_each_typed_byte", &needs) {
        return;
    }
    let fixture = fixture();
    let text = "stty -icanon -echo; printf ready; while IFS= read -r -n 1 key; do [ \"$key\" = Q ] && break; printf %s \"$key\"; done; stty sane";
    fs::write(fixture.home.home().join("project/echo"), text).unwrap();
    let keys: Vec<String> =
        (b' '..=b'~').filter(|key| *key != b'Q').map(|key| char::from(key).to_string()).collect();
    let prompts = std::iter::once("ready").chain(keys.iter().map(String::as_str));
    let answers: Vec<(&str, &str)> = prompts.zip(keys.iter().map(String::as_str).chain(["Q"])).collect();
    let start = Instant::now();
    let (exit, seen) =
        at_terminal(&fixture, &format!("K={SECRET} keyrack run --env test --mask -- bash echo"), &answers);
    assert_eq!(exit, 0, "{seen}");
    // keyrack delays each key by at most 50 ms.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn run_mask_forwards_signals() {
    let fixture = fixture();
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "WINCH"] {
        let text = format!("trap 'echo got; exit 3' {signal}; echo ready; while :; do sleep 0.05; done");
        let mut command = script(&fixture, &["--mask"], &text);
        let mut child = Reaped::spawn(command.stdout(Stdio::piped()).process_group(0));
        let mut out = child.0.stdout.take().unwrap();
        let mut ready = [0; 6];
        out.read_exact(&mut ready).unwrap();
        let sent = Command::new("kill").args(["-s", signal, &child.pid().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!((rest.as_str(), child.0.wait().unwrap().code()), ("got\n", Some(3)), "{signal}");
    }
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn run_mask_killed_kills_command() {
    let fixture = fixture();
    let mut command = script(&fixture, &["--mask"], "echo $$; exec sleep 30");
    let mut child = Reaped::spawn(command.stdout(Stdio::piped()));
    let mut pid = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let pid = pid.trim().to_owned();
    assert!(is_alive(&pid));
    child.0.kill().unwrap();
    wait_until("the command ends", LIMIT, || !is_alive(&pid));
}

#[test]
fn run_mask_loses_no_output_at_exit() {
    // The amount of output does not matter, nor the speed of the reader.
    let output = ran(&fixture(), &["--mask"], "seq 1 200000");
    assert!(shown(&output.stdout).ends_with("\n199999\n200000\n"));
}

/// Target of a process's descriptor.
fn open_file(pid: &str, number: u8) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()
}

/// Returns the process that reads the standard output of `writer` through the pipe between them.
fn drain_of(writer: &str) -> Option<String> {
    let pipe = open_file(writer, 1)?;
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut readers =
        processes.filter(|pid| (4..6).any(|number| open_file(pid, number).as_ref() == Some(&pipe)));
    readers.find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"/keyrack\0drain\0"))
    })
}

/// A background process, such as a server, must survive its next write and must not block the
/// caller.
#[test]
fn run_mask_lets_background_process_live_on() {
    let fixture = fixture();
    let alive = fixture.home.home().join("project/alive");
    for (streams, left_open) in
        [("", true), ("2>/dev/null", true), (">/dev/null", true), ("> file 2>&1", false)]
    {
        // The background process survives the exit of the command, writes more than a pipe holds,
        // and then creates the file `alive`.
        let text = format!(
            "(sleep 1; seq 1 200000; seq 1 200000 >&2; echo alive > alive; exec sleep 60) {streams} & echo $! \"$K\""
        );
        let start = Instant::now();
        let mut command = script(&fixture, &["--mask"], &text);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(output.status.code(), Some(0));
        let told = shown(&output.stderr);
        assert_eq!(told.contains("left a background process"), left_open, "{told}");
        assert!(!told.contains("cannot be read"), "{told}");
        let writer = shown(&output.stdout).split(' ').next().unwrap().to_owned();
        assert_eq!(shown(&output.stdout), format!("{writer} ***\n"));
        let drain = drain_of(&writer);
        assert_eq!(drain.is_some(), left_open && streams != ">/dev/null", "{streams}");
        if let Some(drain) = &drain {
            // The drain process holds no keys, has no stream or directory of the caller open, and
            // uses little memory.
            let of = |name: &str| fs::read_to_string(format!("/proc/{drain}/{name}")).unwrap_or_default();
            assert_eq!(of("environ"), "");
            assert!((0..3).all(|stream| open_file(drain, stream) == Some("/dev/null".into())));
            assert_eq!(fs::read_link(format!("/proc/{drain}/cwd")).unwrap(), Path::new("/"));
            let status = of("status");
            let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap().trim();
            let kib: u32 = memory.trim_end_matches(" kB").parse().unwrap();
            assert!(kib < 1024, "{kib} KiB");
        }
        wait_until("it lives on", LIMIT, || alive.exists());
        fs::remove_file(&alive).unwrap();
        assert!(is_alive(&writer), "{streams}");
        let _ = Command::new("kill").arg(&writer).status();
        // The drain process exits when the last writer exits.
        wait_until("the reader ends", LIMIT, || drain.as_ref().is_none_or(|drain| !is_alive(drain)));
    }
    // The same at a terminal, which is restored at once.
    if can_run("run_mask_lets_background_process_live_on", &[Need::Program("script"), Need::Program("stty")])
    {
        let text = "(trap \"\" HUP; sleep 1; seq 1 50000; echo alive > alive) & echo $K";
        let line = format!("K={SECRET} keyrack run --env test --mask -- sh -c '{text}'");
        let (exit, seen) = at_terminal(&fixture, &line, &[]);
        assert!(exit == 0 && seen.contains("***") && !seen.contains("50000"), "{seen}");
        wait_until("it lives on", LIMIT, || alive.exists());
    }
    // `keyrack drain` fails if it did not inherit the pipes to read.
    assert_eq!(fixture.run("keyrack drain", b"").0, 2);
}

#[test]
fn run_mask_closed_reader_ends_command() {
    let fixture = fixture();
    let mut command = script(&fixture, &["--mask"], "exec yes");
    let mut child = Reaped::spawn(command.stdout(Stdio::piped()));
    let mut some = [0; 64];
    child.0.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    drop(child.0.stdout.take());
    wait_until("it ends", LIMIT, || child.0.try_wait().unwrap().is_some());
    assert_eq!(child.0.wait().unwrap().signal(), Some(13), "by SIGPIPE, as without keyrack");
}

#[test]
fn run_files_are_visible_to_command_only() {
    let fixture = fixture();
    for how in [&["--files"][..], &["--files", "--mask"]] {
        let text = "test -z \"${K+x}\" && cat \"$K_FILE\" | tr a-z A-Z; sh -c 'wc -c < $K_FILE'; echo x > $K_FILE; readlink $K_FILE; \
            stat -Lc %a $K_FILE";
        let output = ran(&fixture, how, text);
        let lines = shown(&output.stdout);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines, ["HUNTER2/S3CR3T+HUNTER322", "/memfd:keyrack (deleted)", "400"], "{how:?}");
        assert!(!output.stderr.is_empty(), "it cannot be written to");
    }
    // A low limit of descriptors, as under a strict service manager.
    let few = "ulimit -n 40; K=few exec keyrack run --env test --files -- sh -c 'cat $K_FILE'";
    let output = run(&mut fixture.command(&["sh", "-c", few].map(str::to_owned)), b"", LIMIT).unwrap();
    assert_eq!(shown(&output.stdout), "few", "{}", shown(&output.stderr));
    // Some programs close unknown descriptors with low numbers. A process that Node starts can
    // still read the file.
    if can_run("run_files_are_visible_to_command_only", &[Need::Program("node")]) {
        let text = "node -e 'require(\"child_process\").execSync(\"cat $K_FILE\", {stdio: \"inherit\"})'";
        assert_eq!(shown(&ran(&fixture, &["--files"], text).stdout), SECRET);
    }
}

/// At a terminal: the command sees a terminal on all streams, and job control works with a real
/// shell.
#[test]
fn run_supports_job_control() {
    let needs = [Need::Program("script"), Need::Program("stty"), Need::Program("bash")];
    if !can_run("run_supports_job_control", &needs) {
        return;
    }
    let fixture = fixture();
    for how in ["", "--mask"] {
        let line = |text: &str| format!("K={SECRET} keyrack run --env test {how} -- sh -c '{text}'");
        let (exit, seen) = at_terminal(
            &fixture,
            &line(
                "stty rows 33 cols 77; test -t 0 && test -t 1 && test -t 2 && echo three; stty size <&1; echo $K | tr a-z A-Z; exit 4",
            ),
            &[],
        );
        assert_eq!(exit, 4, "{seen}");
        assert!(seen.contains("three\n"), "{seen}");
        assert!(seen.contains("HUNTER2/S3CR3T+HUNTER3\n"), "what it does with a key is its own: {seen}");
        // Signals from the terminal, in a shell that survives them.
        let sleeps = line("ulimit -c 0; echo at $K; exec sleep 20");
        let (_, seen) = at_terminal(
            &fixture,
            "PS1=\"> \" bash --norc -i",
            &[
                ("> ", &format!("{sleeps}\n")),
                ("\nat ", "\u{3}"),
                ("> ", "echo code=$?\n"),
                ("> ", &format!("{sleeps}\n")),
                ("\nat ", "\u{1c}"),
                ("> ", "echo code=$?; exit\n"),
            ],
        );
        assert!(seen.contains("code=130") && seen.contains("code=131"), "{seen}");
        assert_eq!(seen.contains("\nat ***\n"), how == "--mask", "{seen}");
        // A shell with job control stops and continues the command. A command that reads in the
        // background stops until it is in the foreground. The inner shell is bash, because dash
        // starts programs with vfork and hangs if the child stops before it execs.
        let steps = "t=tick; echo $t 1; sleep 1; echo $t 2; read x; echo got $x; exit 6";
        let job = format!("K={SECRET} keyrack run --env test {how} -- bash -c '{steps}'");
        let (_, seen) = at_terminal(
            &fixture,
            "PS1=\"> \" bash --norc -i",
            &[
                ("> ", &format!("{job}\n")),
                ("tick 1", "\u{1a}"),
                ("Stopped", "jobs -l; bg\n"),
                ("tick 2", "sleep 0.5; jobs\n"),
                ("Stopped", "fg\n"),
                ("echo got $x", "word\n"),
                ("got word", ""),
                ("> ", "echo code=$?; exit\n"),
            ],
        );
        assert!(seen.contains("code=6"), "{how}: {seen}");
    }
}

/// The program puts its terminal into raw mode and is then killed.
#[test]
fn run_mask_restores_terminal_after_any_exit() {
    let needs = [Need::Program("script"), Need::Program("stty")];
    if !can_run("run_mask_restores_terminal_after_any_exit", &needs) {
        return;
    }
    let fixture = fixture();
    let text = "stty raw -echo <&1; echo raw; sleep 0.2; stty -a </dev/tty | grep -o -- -icanon; kill -9 $$";
    let line = format!("K={SECRET} keyrack run --env test --mask -- sh -c '{text}'");
    // `at_terminal` checks the state of the terminal after the command has exited.
    let (exit, seen) = at_terminal(&fixture, &line, &[]);
    assert_eq!(exit, 137, "{seen}");
    assert!(seen.contains("-icanon"), "the real terminal follows: {seen}");
}

#[test]
fn run_mask_reports_lost_output() {
    let needs = [Need::Path("/dev/full")];
    if !can_run("run_mask_reports_lost_output", &needs) {
        return;
    }
    let fixture = fixture();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = script(&fixture, &["--mask"], "echo hi");
    let output = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        shown(&output.stderr).contains("cannot write all of the command's output"),
        "{}",
        shown(&output.stderr)
    );
}

/// After the command has received a key and written it, keyrack's memory holds the key in locked
/// pages only.
#[test]
fn run_mask_keeps_keys_in_locked_memory_only() {
    if !can_run("run_mask_keeps_keys_in_locked_memory_only", &[Need::Root]) {
        return;
    }
    let fixture = fixture();
    for line in ["keyrack init", "keyrack set --key K --env test --vault os.daemon"] {
        let (exit, _, said) = fixture.run(line, format!("{SECRET}\n").as_bytes());
        assert_eq!(exit, 0, "{said:?}");
    }
    let mut command =
        script(&fixture, &["--mask"], "echo \"$K\"; printf %s \"$K\" | base64; echo end; exec sleep 20");
    let mut child = Reaped::spawn(command.env_remove("K").stdout(Stdio::piped()));
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert_eq!([0; 3].map(|_| lines.next().unwrap().unwrap()), ["***", "***==", "end"]);
    // keyrack has written the output and is reading again.
    std::thread::sleep(Duration::from_millis(100));
    let maps = fs::read_to_string(format!("/proc/{}/smaps", child.pid())).unwrap();
    let memory = fs::File::open(format!("/proc/{}/mem", child.pid())).unwrap();
    let secret = regex::bytes::Regex::new("hunter2/s3|aHVudGVyMi|hunter2%2F").unwrap();
    let (mut looked, mut range) = (0, None);
    for line in maps.lines() {
        if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-')) {
            range = u64::from_str_radix(from, 16).ok().zip(u64::from_str_radix(to, 16).ok());
        }
        let Some(flags) = line.strip_prefix("VmFlags:") else { continue };
        let (from, to) = range.unwrap();
        // Locked pages belong to the secret pool. Secret memory cannot be read at all.
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if flags.contains(" lo") || memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        looked += bytes.len();
        let found = secret.find(&bytes).map(|found| found.start());
        assert_eq!(found, None, "in {from:x}-{to:x}");
    }
    assert!(looked > 1 << 20, "its memory was looked at: {looked} bytes");
}

/// A pager opens the terminal of its standard error by name and reads its keys from it.
#[test]
fn run_passes_keyboard_to_pager() {
    let needs = [Need::Program("script"), Need::Program("stty"), Need::Program("less")];
    if !can_run("run_passes_keyboard_to_pager", &needs) {
        return;
    }
    let fixture = fixture();
    for how in ["", "--mask"] {
        let line = format!(
            "TERM=xterm K={SECRET} keyrack run --env test {how} -- sh -c 'seq -f \"%g $K\" 99 | less'"
        );
        let (exit, seen) = at_terminal(&fixture, &line, &[("\n9 ", " "), ("\n30 ", "q")]);
        assert_eq!((exit, seen.contains("\n9 ***\n")), (0, how == "--mask"), "{seen}");
    }
}
