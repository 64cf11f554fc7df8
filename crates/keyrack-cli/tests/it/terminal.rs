//! Prompts at a real pseudo-terminal, which `script` (util-linux) creates.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use keyrack_testkit::{Need, Reaped, can_run};

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs a line at a terminal. Types each answer once its prompt has appeared, then checks that the
/// terminal's settings are restored. Returns the exit code and everything that was shown.
pub(crate) fn at_terminal(fixture: &Fixture, line: &str, answers: &[(&str, &str)]) -> (i32, String) {
    typed_at_terminal(fixture, line, answers, Duration::ZERO)
}

/// Like [`at_terminal`], with a pause before each answer: some programs show a prompt before they
/// turn off the echo.
pub(crate) fn typed_at_terminal(
    fixture: &Fixture,
    line: &str,
    answers: &[(&str, &str)],
    pause: Duration,
) -> (i32, String) {
    let inner = format!(
        "{line}; echo \"[exit $?]\"; stty -a | tr ' ;' '\\n\\n' | grep -xE -- '-?(echo|icanon|isig)' | tr '\\n' ' '"
    );
    let mut command = fixture.command(&["script".into(), "-qec".into(), inner, "/dev/null".into()]);
    let mut child = Reaped::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut input = child.0.stdin.take().unwrap();
    let mut output = child.0.stdout.take().unwrap();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut chunk) {
            if send.send(chunk[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let mut shown = Vec::new();
    let mut answers = answers.iter();
    let mut next = answers.next();
    let mut from = 0;
    loop {
        match receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(chunk) => shown.extend(chunk),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("{line}: still waiting, after {:?}", String::from_utf8_lossy(&shown))
            }
        }
        while let Some((prompt, answer)) = next {
            let text = String::from_utf8_lossy(&shown[from..]).into_owned();
            let Some(at) = text.find(prompt) else { break };
            from += at + prompt.len();
            thread::sleep(pause);
            input.write_all(answer.as_bytes()).unwrap();
            next = answers.next();
        }
    }
    let text = String::from_utf8_lossy(&shown).replace('\r', "");
    assert!(next.is_none(), "{line}: never asked {next:?}:\n{text}");
    assert!(text.contains("isig icanon echo"), "{line}: the terminal was not given back:\n{text}");
    let exit = text.split("[exit ").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    (exit.parse().unwrap(), text)
}

fn fixture(test: &str) -> Option<Fixture> {
    if !can_run(test, &[Need::Program("script"), Need::Program("stty"), Need::Program("git")]) {
        return None;
    }
    let fixture = Fixture::new();
    for line in ["git init -q", "keyrack init --org acme"] {
        assert_eq!(fixture.run(line, b"").0, 0, "{line}");
    }
    Some(fixture)
}

#[test]
fn set_prompt_hides_typed_secret() {
    let Some(fixture) = fixture("set_prompt_hides_typed_secret") else { return };
    let set = "keyrack set --key K --env test --vault os.secure";
    let (exit, shown) =
        at_terminal(&fixture, set, &[("[y/N] ", "y\n"), ("Secret for acme.test.K: ", "s3cx\u{7f}rét\n")]);
    assert_eq!(exit, 0, "{shown}");
    assert!(!shown.contains("s3c"), "{shown}");
    let (_, value, _) = fixture.run("keyrack get --key K --unlock --value", b"");
    assert_eq!(value, ["s3crét", "%"]);
    for (answers, exit, says) in [
        (&[("[y/N] ", "n\n")][..], 2, "the permanent key was declined"),
        (&[("[y/N] ", "y\n"), ("acme.test.K: ", "abc\u{3}")], 130, ""),
        (&[("[y/N] ", "y\n"), ("acme.test.K: ", "\u{4}")], 2, "the terminal closed"),
        (&[("[y/N] ", "y\n"), ("acme.test.K: ", "\n")], 2, "is empty"),
        (&[("[y/N] ", "y\n"), ("acme.test.K: ", "one\ntwo-of-it\n")], 2, "several lines were pasted"),
    ] {
        let (ended, shown) = at_terminal(&fixture, set, answers);
        assert_eq!(ended, exit, "{shown}");
        assert!(shown.contains(says), "{shown}");
        assert!(!shown.contains("two-of-it"), "what was pasted goes nowhere else: {shown}");
    }
    let (_, value, _) = fixture.run("keyrack get --key K --unlock --value", b"");
    assert_eq!(value, ["s3crét", "%"], "no refusal changed it");
    let (exit, shown) = at_terminal(&fixture, &format!("{set} --no-prompt"), &[]);
    assert_eq!(exit, 2, "{shown}");
}

/// A secret that the user pastes one question too early must not appear on the screen.
#[test]
fn confirmation_never_shows_pasted_text() {
    let Some(fixture) = fixture("confirmation_never_shows_pasted_text") else { return };
    let set = "NO_COLOR=1 keyrack set --key K --env test --vault os.secure";
    let (ask, again, secret) = ("[y/N] ", "discarded and not shown", "Secret for acme.test.K: ");
    let long = format!("{}\n", "hunter2".repeat(4000));
    let declined = "fix: keyrack set --env test --key K --vault os.secure --mech PERMANENT_VIA_REPLICA";
    for (answers, exit, says) in [
        (&[(ask, "hunter2\n"), (again, ""), (ask, "y"), ("y", "\n"), (secret, "fine\n")][..], 0, "[y/N] y\n"),
        // The pasted text begins like a yes, contains a newline, or is long.
        (&[(ask, "yhunter2\n"), (again, ""), (ask, "yes\n"), (secret, "fine\n")], 0, "[y/N] y\n"),
        (&[(ask, "y\nhunter2\n"), (again, ""), (ask, "n\n")], 2, "[y/N] n\n"),
        (&[(ask, &long), (again, ""), (ask, "y\n"), (secret, "fine\n")], 0, "[y/N] y\n"),
        // Backspace corrects a typo.
        (&[(ask, "y"), ("y", "\u{7f}"), ("\u{8} \u{8}", "n"), ("n", "\n")], 2, declined),
        (&[(ask, "hunter2\n"), (ask, "hunter2\n"), (ask, "hunter2\n"), (again, "")], 2, declined),
        (&[(ask, "\n")], 2, declined),
        (&[(ask, "hunter2\u{3}")], 130, ""),
        (&[(ask, "\u{4}")], 2, declined),
    ] {
        // The shell prints any input that keyrack left unread.
        let line = format!(
            "({set}; code=$?; sleep 0.1; while read -t 0.1 rest; do echo \"left: $rest\"; done; exit $code)"
        );
        let (ended, shown) = at_terminal(&fixture, &format!("bash -c '{line}'"), answers);
        assert_eq!(ended, exit, "{answers:?}: {shown}");
        assert!(shown.contains(says), "{answers:?}: {shown}");
        assert!(!shown.contains("unter2") && !shown.contains("left: "), "{answers:?}: {shown}");
    }
}

#[test]
fn get_value_ends_with_newline_only_at_terminal() {
    let Some(fixture) = fixture("get_value_ends_with_newline_only_at_terminal") else { return };
    let get = |key: &str| format!("keyrack get --key {key} --env test --unlock --value");
    for (key, secret, shown_as) in [("K", "s3cret", "s3cret\n"), ("L", "one\ntwo\n", "one\ntwo\n")] {
        let set = format!("keyrack set --key {key} --env test --vault os.secure --mech REPLICA");
        assert_eq!(fixture.run(&set, secret.as_bytes()).0, 0);
        let (exit, shown) = at_terminal(&fixture, &format!("{} 2> /dev/null", get(key)), &[]);
        assert_eq!(exit, 0, "{shown}");
        assert!(shown.starts_with(&format!("{shown_as}[exit")), "{shown:?}");
        // A pipe or a file gets the exact bytes, even if the command runs at a terminal.
        for into in ["| od -An -c", "> out; od -An -c out"] {
            let (_, shown) = at_terminal(&fixture, &format!("{} {into}", get(key)), &[]);
            let bytes: String = shown.split("[exit").next().unwrap().split_whitespace().collect();
            assert_eq!(
                bytes,
                shown_as.trim_end_matches(if key == "K" { "\n" } else { "" }).replace('\n', "\\n")
            );
        }
    }
}

#[test]
fn set_prompts_for_missing_arguments() {
    let Some(fixture) = fixture("set_prompts_for_missing_arguments") else { return };
    let secret = ("Secret for acme.test.K: ", "s3cret\n");
    // Asks for the env, for the vault (Enter chooses the default), and to confirm a permanent key.
    let all = [("Choice: ", "1\n"), ("1. os.secure", ""), ("Choice [1]: ", "\n"), ("[y/N] ", "y\n"), secret];
    let (exit, shown) = at_terminal(&fixture, "keyrack set --key K", &all);
    assert_eq!(exit, 0, "{shown}");
    let (_, value, _) = fixture.run("keyrack get --key K --unlock --value", b"");
    assert_eq!(value, ["s3cret", "%"]);
    // keyrack.yml now answers some of the questions. A vault whose keys are not permanent needs no
    // confirmation.
    let (exit, shown) = at_terminal(
        &fixture,
        "export NO_COLOR=1; keyrack del --key K; keyrack set --key K --env test",
        &[("Choice [1]: ", "3\n"), secret],
    );
    assert_eq!(exit, 0, "{shown}");
    assert!(shown.contains("vault: os.daemon") && !shown.contains("Which env"), "{shown}");
    // A choice can be entered as a word, in any case. keyrack asks again after an invalid choice,
    // and stops after too many.
    let words = [
        ("Choice: ", "nope\n"),
        ("invalid choice: enter a number from 1 to 6, or one of test, prep, prod, camp, all,", ""),
        ("Choice: ", "Test\n"),
        ("Choice [1]: ", "4\n"),
        ("or one of os.secure, os.direct,", ""),
        ("Choice [1]: ", "os.daemon\n"),
        ("Secret for acme.test.M: ", "s3cret\n"),
    ];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack set --key M", &words);
    assert_eq!(exit, 0, "{shown}");
    assert!(shown.contains("vault: os.daemon") && shown.contains("env: test"), "{shown}");
    assert_eq!(shown.matches("3. os.daemon").count(), 1, "the list is shown once: {shown}");
    let slip = ("Choice [1]: ", "4\n");
    let (exit, shown) =
        at_terminal(&fixture, "NO_COLOR=1 keyrack set --key L --env test", &[slip, slip, slip]);
    assert_eq!(exit, 2, "{shown}");
    assert!(shown.contains("blocked: no valid choice after 3 attempts\n"), "{shown}");
    // Without a terminal, one error lists every missing argument.
    for line in ["keyrack set --key L --env test --no-prompt", "echo x | keyrack set --key L --env test"] {
        let (exit, shown) = at_terminal(&fixture, &format!("export NO_COLOR=1; {line}"), &[]);
        assert_eq!(exit, 2, "{shown}");
        let fix = "fix: keyrack set --env test --key L --vault os.secure --mech PERMANENT_VIA_REPLICA";
        assert!(shown.contains("missing: --vault") && shown.contains(fix), "{shown}");
    }
}

#[test]
fn signal_at_prompt_restores_terminal() {
    let Some(fixture) = fixture("signal_at_prompt_restores_terminal") else { return };
    let set = "exec keyrack set --key K --env test --vault os.secure --mech REPLICA";
    // SIGHUP is left out because it would terminate `script`. keyrack handles it in the same way.
    for (signal, exit) in [("TERM", 143), ("INT", 130), ("QUIT", 131)] {
        let line = format!("bash -c 'ulimit -c 0; (sleep 0.7; kill -{signal} $$) & {set}'");
        let (ended, shown) = at_terminal(&fixture, &line, &[("Secret for acme.test.K: ", "half")]);
        assert_eq!(ended, exit, "{signal}: {shown}");
        assert!(!shown.contains("half"), "{shown}");
    }
}

#[test]
fn passphrase_is_asked_once_per_command() {
    let Some(fixture) = fixture("passphrase_is_asked_once_per_command") else { return };
    let ask = "sealed: ";
    let (exit, _, stderr) =
        fixture.run("sh -c 'keyrack init --owner o --prikey $KEYS/sealed; cp $KEYS/sealed ../.ssh/o'", b"");
    assert_eq!(exit, 0, "{stderr:?}");
    let set = "printf s3cret | keyrack set --owner o --prikey $KEYS/sealed --mech REPLICA --vault os.secure --env test --key";
    for key in ["A", "B"] {
        let (exit, shown) = at_terminal(&fixture, &format!("{set} {key}"), &[(ask, "correct horse\n")]);
        assert_eq!(exit, 0, "{shown}");
    }
    // The command opens the manifest and two files. It asks for the passphrase once.
    let unlock = "keyrack unlock --owner o --prikey $KEYS/sealed --env test";
    let (exit, shown) = at_terminal(
        &fixture,
        unlock,
        &[(ask, "wrong\n"), ("Wrong passphrase", ""), (ask, "correct horse\n")],
    );
    assert_eq!(exit, 0, "{shown}");
    assert_eq!(shown.matches("Passphrase for").count(), 2, "one of them again after a wrong one: {shown}");
    assert!(
        shown.contains("acme.test.A") && shown.contains("acme.test.B") && !shown.contains("horse"),
        "{shown}"
    );
    let (exit, shown) = at_terminal(&fixture, unlock, &[(ask, "corr\u{3}")]);
    assert_eq!(exit, 130, "{shown}");
    // `keyrack status` never prompts.
    let (exit, shown) = at_terminal(&fixture, "keyrack status --owner o", &[]);
    assert_eq!(exit, 0, "{shown}");
    // An error names the missing terminal.
    let (exit, _, stderr) = fixture.run("setsid -w keyrack list --owner o --json", b"");
    assert_eq!(exit, 2);
    assert!(stderr[0].contains("\"code\":\"prompt_needed\""), "{stderr:?}");
}

#[test]
fn text_wraps_at_terminal_width() {
    let Some(fixture) = fixture("text_wraps_at_terminal_width") else { return };
    // A word that is longer than a line may exceed the width. So may a command, so that it can be
    // copied whole.
    let may_pass = |line: &str| {
        let text = line.trim_start_matches([' ', '│', '├', '└', '─']);
        text.starts_with("tip: ") || text.starts_with("fix: ") || text.starts_with('`') || !text.contains(' ')
    };
    let columns = |line: &str| line.chars().map(|c| if c >= '\u{2700}' { 2 } else { 1 }).sum::<usize>();
    for (line, wrapped) in [
        ("keyrack get --key K", true),
        ("keyrack get --key acme.test.K", true),
        ("keyrack daemon stop", false),
        ("keyrack unlock --env prod --key NOPE", true),
        ("keyrack set --key A --env dev --vault os.secure", true),
        ("keyrack source --env nowhere --strict", true),
        ("keyrack status", true),
        ("keyrack del --key NOT_THERE_AND_NEVER_WAS --env test", true),
    ] {
        let (exit, piped) = at_terminal(&fixture, &format!("NO_COLOR=1 {line} 2>&1 | cat"), &[]);
        assert_eq!(exit, 0, "of cat");
        let whole = piped.split("[exit ").next().unwrap();
        let mut seen = Vec::new();
        for width in [40, 56, 1000] {
            let (_, shown) =
                at_terminal(&fixture, &format!("stty cols {width} rows 24; NO_COLOR=1 {line}"), &[]);
            let shown = shown.split("[exit ").next().unwrap().to_owned();
            for line in shown.lines() {
                assert!(columns(line) <= width || may_pass(line), "{width}: {line:?} of\n{shown}");
            }
            let words = |text: &str| {
                let words = text.split([' ', '\n', '│']).filter(|word| !word.is_empty());
                words.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(words(&shown), words(whole), "{line}: nothing is lost");
            // A wrapped line is indented below its own branch of the tree.
            let tree = shown.lines().skip(2).filter(|line| !line.is_empty());
            assert!(tree.clone().all(|line| line.starts_with("   ")), "{line}:\n{shown}");
            seen.push(shown);
        }
        assert_eq!(seen[2], whole, "{line}: wide enough for all");
        assert_eq!(seen[0].lines().count() > whole.lines().count(), wrapped, "{line}:\n{}", seen[0]);
    }
}

/// In every width, the terminal wraps no line of any command, because that would cut words. The
/// exceptions are commands, which users copy, and single words.
#[test]
fn every_command_fits_terminal_width() {
    let Some(fixture) = fixture("every_command_fits_terminal_width") else { return };
    for (line, stdin) in [
        ("keyrack set --key A --env test --vault os.secure --mech REPLICA", "s3cret"),
        ("keyrack set --key B --env prod --vault os.direct --mech REPLICA --max-duration 1h", "s3cret"),
        ("keyrack set --key ROOT --env sudo --org @all --vault os.daemon", "s3cret"),
        ("keyrack unlock --env test --duration 23h", ""),
        ("keyrack unlock --env prod", ""),
    ] {
        assert_eq!(fixture.run(line, stdin.as_bytes()).0, 0, "{line}");
    }
    let lines = [
        "--help",
        "init --no-prompt",
        "init --no-prompt --owner work",
        "recipient get",
        "get --key A --env test",
        "get --for repo --env all",
        "get --key NOPE",
        "get --key acme.test.C",
        "get --key API --json=x",
        "source --env test --key NOPE",
        "set --key X --no-prompt --env test --vault os.secure",
        "set --key A --env test --vault os.direct --mech REPLICA",
        "unlock --env test",
        "unlock --env prod --duration 25h",
        "unlock --env all",
        "status",
        "status --env camp",
        "list",
        "list --owner nobody",
        "doctor",
        "daemon status",
        "daemon restart",
        "daemon prune --owner nobody",
        "types --help",
        "run --env test -- true",
        "run --env camp --key NOPE -- true",
        "fill --env test",
        "firewall",
        "infra init --org acme",
        "schema nope",
        "man nope",
        "completions nope",
        "credential",
        "nope",
        "relock --env prod",
        "del --key NOPE --env test",
        "recipient del --label nobody",
        "recipient set --label x --pubkey x",
        "relock",
    ];
    let script: String = lines
        .iter()
        .map(|line| format!("echo \"=== {line}\"; NO_COLOR=1 keyrack {line} < /dev/null; "))
        .collect();
    for width in [40, 80, 200] {
        for look in ["LC_ALL=C.UTF-8", "LC_ALL=C", "TERM=dumb"] {
            let file = fixture.home.home().join("project/all.sh");
            std::fs::write(&file, format!("export {look}\n{script}\n")).unwrap();
            let (exit, shown) = at_terminal(&fixture, &format!("stty cols {width} rows 50; sh all.sh"), &[]);
            assert_eq!(exit, 0, "{shown}");
            let mut command = "";
            for line in shown.split("[exit ").next().unwrap().lines() {
                command = line.strip_prefix("=== ").unwrap_or(command);
                if line.starts_with("=== ") {
                    continue;
                }
                assert!(look == "LC_ALL=C.UTF-8" || line.is_ascii(), "{look}: {command}: {line:?}");
                // The text after the tree lines: a command, or one word after its label.
                let text = line.trim_start_matches([' ', '│', '├', '└', '─', '|', '`', '-']);
                let is_command = ["tip: ", "fix: ", "next: ", "keyrack ", "eval "]
                    .iter()
                    .any(|lead| text.starts_with(lead))
                    || text.contains('`');
                let columns: usize = line.chars().map(|c| if c >= '\u{2700}' { 2 } else { 1 }).sum();
                assert!(
                    columns <= width || is_command || !text.contains(' '),
                    "{width}, {look}: {command}: {line:?}"
                );
            }
        }
    }
}

#[test]
fn color_needs_terminal_that_supports_it() {
    let Some(fixture) = fixture("color_needs_terminal_that_supports_it") else { return };
    let get = "keyrack get --key acme.test.K";
    assert!(at_terminal(&fixture, get, &[]).1.contains("\u{1b}[2mtip: "));
    for line in [format!("NO_COLOR=1 {get}"), format!("TERM=dumb {get}"), format!("{get} | cat")] {
        let (_, shown) = at_terminal(&fixture, &line, &[]);
        assert!(shown.contains("tip: ") && !shown.contains('\u{1b}'), "{line}: {shown:?}");
    }
}

#[test]
fn status_watch_redraws_in_place() {
    let Some(fixture) = fixture("status_watch_redraws_in_place") else { return };
    let set = "keyrack set --key K --env test --vault os.direct --mech REPLICA";
    assert_eq!(fixture.run(set, b"s3cret").0, 0);
    assert_eq!(fixture.run("keyrack unlock --env test --duration 10m", b"").0, 0);
    for (keys, exit) in [("q", 0), ("Q", 0), ("\u{4}", 0), ("\u{3}", 130)] {
        let (ended, shown) = at_terminal(
            &fixture,
            "NO_COLOR=1 keyrack status --watch",
            &[("press q to quit", ""), ("press q to quit", keys)],
        );
        assert_eq!(ended, exit, "{shown}");
        let (on_screen, after) = shown.split_once("\u{1b}[?1049l").unwrap();
        assert!(on_screen.contains("\u{1b}[?25l") && on_screen.ends_with("\u{1b}[?25h"), "{shown}");
        assert!(on_screen.matches("\u{1b}[H").count() >= 2, "it is drawn again: {shown}");
        assert!(on_screen.contains("acme.test.K") && after.contains("acme.test.K"), "{shown}");
        assert!(after.contains("███ ") && after.contains(" of 10m\n"), "{shown}");
    }
    // If the screen has few rows, it shows the keys, one per line. The full status is printed at
    // exit.
    for key in ["B", "C", "D", "E"] {
        let set = format!("keyrack set --key {key} --env test --vault os.direct --mech REPLICA");
        assert_eq!(fixture.run(&set, b"s3cret").0, 0);
    }
    assert_eq!(fixture.run("keyrack unlock --env test --duration 10m", b"").0, 0);
    for rows in [24, 10] {
        let line = format!("stty cols 80 rows {rows}; NO_COLOR=1 keyrack status --watch");
        let (exit, shown) = at_terminal(&fixture, &line, &[("press q to quit", "q")]);
        assert_eq!(exit, 0, "{shown}");
        let (on_screen, after) = shown.split_once("\u{1b}[?1049l").unwrap();
        assert!(on_screen.contains("keyrack status (daemon: active, keys: 5)"), "{shown}");
        for key in ["B", "C", "D", "E", "K"] {
            let line = format!("acme.test.{key}  ████████████████████ ");
            assert!(on_screen.contains(&line), "{rows}: {line}: {shown}");
        }
        assert!(!on_screen.contains("more lines") && on_screen.contains(" of 10m\u{1b}[K"), "{shown}");
        assert!(after.contains("boundary: "), "{shown}");
    }
    // A terminal that is too small, and that is resized during the command.
    let line = "stty cols 40 rows 6; (sleep 0.4; stty cols 100 rows 70 < /dev/tty) & keyrack status --watch";
    let (exit, shown) = at_terminal(
        &fixture,
        line,
        &[("more lines; press q to quit", ""), ("J", ""), ("press q to quit", "q")],
    );
    assert_eq!(exit, 0, "{shown}");
    let drawn: Vec<&str> = shown.split("\u{1b}[H").skip(1).collect();
    assert_eq!(drawn[0].lines().count(), 6, "{shown}");
    assert!(!drawn.last().unwrap().contains("more lines"), "{shown}");
    // If the daemon does not answer, the screen shows an error and the command can still be quit.
    let pid: String = fixture.run("keyrack daemon status --json", b"").1.concat();
    let pid = pid
        .split("\"pid\": ")
        .nth(1)
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .to_owned();
    let line = format!("kill -STOP {pid}; NO_COLOR=1 keyrack status --watch; kill -CONT {pid}");
    let (exit, shown) = at_terminal(&fixture, &line, &[("failed: ", ""), ("press q to quit", "q")]);
    assert_eq!(exit, 0, "{shown}");
    // A signal terminates the command, and the terminal is restored.
    let line = "bash -c '(sleep 0.7; kill -TERM $$) & exec keyrack status --watch'";
    let (exit, shown) = at_terminal(&fixture, line, &[]);
    assert_eq!(exit, 143, "{shown}");
    assert!(shown.contains("\u{1b}[?1049l"), "{shown}");
    // Without a terminal that can be redrawn, the command fails.
    for line in ["keyrack status --watch | cat; exit ${PIPESTATUS[0]}", "TERM=dumb keyrack status --watch"] {
        let (exit, shown) = at_terminal(&fixture, &format!("bash -c '{line}'"), &[]);
        assert_eq!(exit, 2, "{shown}");
        assert!(shown.contains("keyrack status --watch --json"), "{shown}");
    }
}

#[test]
fn status_watch_json_prints_line_per_change() {
    let Some(fixture) = fixture("status_watch_json_prints_line_per_change") else { return };
    let set = "keyrack set --key K --env test --vault os.direct --mech REPLICA";
    assert_eq!(fixture.run(set, b"s3cret").0, 0);
    let script = "keyrack status --watch --json | head -3 & sleep 0.5; keyrack unlock --env test >/dev/null 2>&1; sleep 2.5; keyrack relock >/dev/null; wait; echo ended";
    let (exit, stdout, stderr) = fixture.run(&format!("bash -c '{script}'"), b"");
    assert_eq!((exit, stderr.len()), (0, 0), "{stderr:?}");
    // The lines show no daemon, one key, and no keys. The command then exits because its reader is
    // gone, although nothing changes any more.
    assert_eq!(stdout[0], "null");
    assert!(stdout[1].starts_with('{') && stdout[1].contains("acme.test.K"), "{stdout:?}");
    assert!(stdout[2].contains("\"keys\":[]"), "{stdout:?}");
    assert_eq!(stdout[3..], ["ended"]);
}

#[test]
fn init_prompts_at_terminal() {
    let test = "init_prompts_at_terminal";
    if !can_run(test, &[Need::Program("script"), Need::Program("stty"), Need::Program("git")]) {
        return;
    }
    let make = "declares the keys of this repository? [Y/n] ";
    // Enter accepts the default.
    let fixture = Fixture::new();
    assert_eq!(fixture.run("git init -q", b"").0, 0);
    assert_eq!(fixture.run("git remote add origin git@github.com:Acme/app.git", b"").0, 0);
    assert_eq!(
        fixture.run("sh -c 'cp $KEYS/sealed ../.ssh/work; cp $KEYS/sealed.pub ../.ssh/work.pub'", b"").0,
        0
    );
    let init = "NO_COLOR=1 keyrack init";
    let (exit, shown) = at_terminal(
        &fixture,
        init,
        &[
            ("Choice [1]: ", "3\n"),
            ("one of ~/.ssh/id_ed25519, ~/.ssh/work\r\n", ""),
            ("Choice [1]: ", "~/.ssh/id_ed25519\n"),
            (make, "\n"),
            ("Org [acme]: ", "\n"),
        ],
    );
    assert_eq!(exit, 0, "{shown}");
    assert!(shown.contains("├─ 1. ~/.ssh/id_ed25519\n"), "{shown}");
    assert!(shown.contains("└─ 2. ~/.ssh/work, with a passphrase\n"), "{shown}");
    assert!(shown.contains("next: keyrack set --key API_KEY --env test --vault os.secure\n"), "{shown}");
    assert!(shown.contains("path: ./.agent/keyrack.yml") && shown.contains("org: acme"), "{shown}");
    // Everything exists: no question is asked.
    let (exit, shown) = at_terminal(&fixture, init, &[]);
    assert!(exit == 0 && shown.contains("already active") && !shown.contains('?'), "{shown}");

    // After an invalid answer keyrack asks again. Flags replace questions. There are no questions
    // if a program reads the output.
    let fresh = || {
        let fixture = Fixture::new();
        assert_eq!(fixture.run("git init -q", b"").0, 0);
        fixture
    };
    for (line, answers, exit, says) in [
        (
            init,
            &[
                (make, "perhaps\n"),
                ("enter y or n", ""),
                (make, "y\n"),
                ("such as acme: ", "\n"),
                ("enter an org", ""),
                ("such as acme: ", "No Org\n"),
                ("invalid org", ""),
                ("such as acme: ", "Acme\n"),
                ("use lower case", ""),
                ("such as acme: ", "acme\n"),
            ][..],
            0,
            "org: acme",
        ),
        (init, &[(make, "n\n")], 0, "repo manifest: not requested"),
        ("trap : INT; NO_COLOR=1 keyrack init", &[(make, "\u{3}")], 130, ""),
        (init, &[(make, "\u{4}")], 2, "the terminal closed"),
        (
            init,
            &[(make, "?\n"), (make, "?\n"), (make, "?\n"), (make, "?\n"), (make, "?\n")],
            2,
            "no valid answer",
        ),
        ("NO_COLOR=1 keyrack init --org acme", &[], 0, "next: keyrack set"),
        ("keyrack init --no-prompt", &[], 0, "not requested"),
        ("keyrack init --json", &[], 0, "\"repo\": null"),
        ("keyrack init | cat", &[], 0, "not requested"),
        ("keyrack init < /dev/null", &[], 0, "not requested"),
    ] {
        let fixture = fresh();
        let (ended, shown) = at_terminal(&fixture, line, answers);
        assert_eq!(ended, exit, "{line}: {shown}");
        assert!(shown.contains(says), "{line}: {shown}");
        assert_eq!(shown.contains("next: "), line.starts_with("NO_COLOR") && exit == 0, "{shown}");
        let made = fixture.home.home().join(".rhachet").exists();
        assert_eq!(made, exit == 0, "{line}: nothing is made before all is said: {shown}");
    }

    // Without an ssh key, the error names the command that creates one.
    let fixture = fresh();
    std::fs::remove_dir_all(fixture.home.home().join(".ssh")).unwrap();
    let (exit, shown) = at_terminal(&fixture, init, &[(make, "n\n")]);
    assert!(exit == 2 && shown.contains("fix: ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519\n"), "{shown}");
}
