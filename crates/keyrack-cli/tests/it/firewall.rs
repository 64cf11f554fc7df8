//! `keyrack firewall`, with an emulated GitHub Actions runner that reads its output.

use std::fs;
use std::process::Stdio;

use keyrack_testkit::github_runner::Step;
use keyrack_testkit::{Need, can_run, run};

use crate::fixture::{Fixture, LIMIT};

const FIREWALL: [&str; 7] =
    ["keyrack", "firewall", "--env", "test", "--from", "json(env://SECRETS)", "--into=github.actions"];

/// Returns a repository that declares these keys, with a file for `GITHUB_ENV`.
fn fixture(keys: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    let project = fixture.home.home().join("project");
    fs::create_dir_all(project.join(".git")).unwrap();
    fs::create_dir_all(project.join(".agent")).unwrap();
    let keys: String = keys.iter().map(|key| format!("  - {key}\n")).collect();
    fs::write(project.join(".agent/keyrack.yml"), format!("org: acme\nenv.test:\n{keys}")).unwrap();
    fs::write(project.join("env"), "BEFORE=1").unwrap();
    fixture
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs a step with these secrets. Returns its exit code, its stdout and the contents of
/// `GITHUB_ENV`.
fn step(fixture: &Fixture, secrets: &serde_json::Value) -> (i32, Vec<u8>, Vec<u8>) {
    let file = fixture.home.home().join("project/env");
    let mut command = fixture.command(&words(&FIREWALL));
    command.env("GITHUB_ENV", &file).env("SECRETS", secrets.to_string());
    let output = run(&mut command, b"", LIMIT).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), output.stdout, fs::read(file).unwrap())
}

#[test]
fn firewall_exports_and_masks_only_declared_secrets() {
    let fixture = fixture(&["A", "MULTI", "HOSTILE", "NOT_GIVEN"]);
    let multi = "-----BEGIN-----\nline two\r\n\n   indented\n-----END-----\n";
    let hostile = "x\nEVIL=1\nEOF\n::set-env name=EVIL::1\n%0A::stop-commands::k\nBASH_ENV<<E\nz\nE";
    let secrets = serde_json::json!({
        "A": "s3cret", "MULTI": multi, "HOSTILE": hostile,
        "UNDECLARED": "hunter2", "PATH": "/evil", "BASH_ENV": "/evil", "NUMBER": 5,
    });
    let (exit, output, file) = step(&fixture, &secrets);
    assert_eq!(exit, 0);
    let seen = Step::read(&output, &file).unwrap();
    let names: Vec<&str> = seen.variables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["BEFORE", "A", "MULTI", "HOSTILE"]);
    assert_eq!(seen.variable("A"), Some("s3cret"));
    assert_eq!(seen.variable("MULTI"), Some(multi));
    assert_eq!(seen.variable("HOSTILE"), Some(hostile));
    let lines = [multi, hostile].into_iter().flat_map(|value| value.split(['\r', '\n']));
    // Shorter lines could occur in unrelated words.
    for line in lines.filter(|line| line.trim().len() >= 4) {
        assert!(seen.masked(line).chars().all(|c| c == '*'), "{line:?}");
        assert!(seen.masked(line.trim()).chars().all(|c| c == '*'), "{line:?}");
    }
    for text in [String::from_utf8_lossy(&output), String::from_utf8_lossy(&file)] {
        assert!(!text.contains("hunter2") && !text.contains("/evil"), "{text}");
    }
    assert!(seen.log.iter().any(|line| line.contains("acme.test.NOT_GIVEN")), "{:?}", seen.log);
}

#[test]
fn firewall_rejects_names_that_are_runner_commands() {
    let file_of = |fixture: &Fixture| fixture.home.home().join("project/env");
    for name in [
        "'A=B'",
        "'A<<E'",
        "'::set-env name=A::B'",
        "\"A\\nB=1\"",
        "'A B'",
        "'##[add-mask]A'",
        "'##[stop-commands]x'",
        "\"A\\n::stop-commands::x\"",
        "\"A\\r::stop-commands::x\"",
    ] {
        let fixture = fixture(&["GOOD", name]);
        let mut command = fixture.command(&words(&FIREWALL));
        let file = file_of(&fixture);
        command.env("GITHUB_ENV", &file).env("SECRETS", r#"{"GOOD":"s3cret","A":"x"}"#);
        let output = run(&mut command, b"", LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(0), "one bad entry stops no other: {name}");
        // stderr may reach the runner before stdout.
        let all = [&output.stderr[..], &output.stdout].concat();
        let seen = Step::read(&all, &fs::read(&file).unwrap()).unwrap();
        let names: Vec<&str> = seen.variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["BEFORE", "GOOD"], "{name}");
        assert_eq!(seen.masks, ["s3cret", "s3cret"], "{name}: {seen:?}");
        assert!(seen.notices.is_empty() && seen.stopped.is_none(), "{name}: {seen:?}");
        assert!(seen.log[0].starts_with("keyrack: "), "{name}: {seen:?}");
        assert!(seen.log.iter().all(|line| !line.starts_with('[')), "{name}: {seen:?}");
    }
    // An extended file whose path is a runner command.
    let fixture = fixture(&["GOOD"]);
    let project = fixture.home.home().join("project");
    fs::create_dir_all(project.join("::stop-commands::x")).unwrap();
    fs::write(project.join("::stop-commands::x/k.yml"), "org: acme\nenv.test:\n  - 'A B'\n").unwrap();
    let manifest = "org: acme\nextends:\n  - '::stop-commands::x/k.yml'\nenv.test:\n  - GOOD\n";
    fs::write(project.join(".agent/keyrack.yml"), manifest).unwrap();
    let mut command = fixture.command(&words(&FIREWALL));
    command.env("GITHUB_ENV", file_of(&fixture)).env("SECRETS", r#"{"GOOD":"s3cret"}"#);
    let output = run(&mut command, b"", LIMIT).unwrap();
    let seen = Step::read(&[&output.stderr[..], &output.stdout].concat(), b"").unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("::stop-commands::x"), "{output:?}");
    assert!(seen.stopped.is_none() && seen.masks == ["s3cret", "s3cret"], "{seen:?}");
}

#[test]
fn firewall_exports_nothing_if_a_key_is_blocked() {
    let fixture = fixture(&["A", "TOKEN", "APP"]);
    let app = r#"{"mech":"EPHEMERAL_VIA_GITHUB_APP","appId":"1","privateKey":"-----BEGIN hunter2"}"#;
    for blocked in [
        serde_json::json!({"A": "s3cret", "TOKEN": format!("ghp_{}", "0".repeat(36))}),
        serde_json::json!({"A": "s3cret", "APP": app}),
        serde_json::json!({"A": "s3cret", "TOKEN": "a\u{0}b"}),
    ] {
        let (exit, output, file) = step(&fixture, &blocked);
        assert_eq!(exit, 2, "{blocked}");
        assert_eq!(file, b"BEFORE=1", "{blocked}");
        let seen = Step::read(&output, &file).unwrap();
        assert!(seen.masks.is_empty() && seen.log.iter().any(|line| line.contains("held back")), "{seen:?}");
        let text = String::from_utf8_lossy(&output);
        assert!(!text.contains("s3cret") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn firewall_prefers_unlocked_key_and_shows_its_expiry() {
    let fixture = fixture(&["A"]);
    for (line, stdin) in [
        ("keyrack init", ""),
        ("keyrack set --key A --env test --vault os.secure --mech REPLICA", "unlocked"),
        ("keyrack unlock --env test", ""),
    ] {
        assert_eq!(fixture.run(line, stdin.as_bytes()).0, 0, "{line}");
    }
    let (exit, output, file) = step(&fixture, &serde_json::json!({"A": "given"}));
    assert_eq!(exit, 0);
    let seen = Step::read(&output, &file).unwrap();
    assert_eq!(seen.variable("A"), Some("unlocked"));
    assert!(matches!(&seen.notices[..], [one] if one.starts_with("A expires at 20")), "{:?}", seen.notices);
    // A locked key appears in the output, and the step succeeds.
    assert_eq!(fixture.run("keyrack relock", b"").0, 0);
    let (exit, output, _) = step(&fixture, &serde_json::json!({}));
    assert_eq!(exit, 0);
    assert!(String::from_utf8_lossy(&output).contains("status: locked"));
}

#[test]
fn firewall_exports_only_after_masks_are_written() {
    let test = "firewall_exports_only_after_masks_are_written";
    if !can_run(test, &[Need::Path("/dev/full")]) {
        return;
    }
    let fixture = fixture(&["A"]);
    let file = fixture.home.home().join("project/env");
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for stdout in [fs::File::options().write(true).open("/dev/full").unwrap().into(), Stdio::from(closed)] {
        let mut command = fixture.command(&words(&FIREWALL));
        command.env("GITHUB_ENV", &file).env("SECRETS", r#"{"A":"s3cret"}"#);
        let status = command.stdout(stdout).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1));
        assert_eq!(fs::read(&file).unwrap(), b"BEFORE=1");
    }
}

#[test]
fn firewall_on_full_disk_leaves_no_partial_export() {
    let test = "firewall_on_full_disk_leaves_no_partial_export";
    if !can_run(test, &[Need::Root, Need::Program("unshare"), Need::Program("mount")]) {
        return;
    }
    let fixture = fixture(&["A"]);
    if !crate::changes::can_mount(&fixture, test) {
        return;
    }
    let script = "mkdir m && mount -t tmpfs -o size=8k none m && echo BEFORE=1 > m/env && \
                  SECRETS=$(printf '{\"A\":\"%020000d\"}' 7) GITHUB_ENV=m/env keyrack firewall --env test \
                  --from 'json(env://SECRETS)' --into github.actions >/dev/null; echo $?; cat m/env";
    let mut command = fixture.command(&words(&["unshare", "-m", "sh", "-c", script]));
    let output = run(&mut command, b"", LIMIT).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\nBEFORE=1\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was exported"));
}

#[test]
fn firewall_rejects_oversized_stdin() {
    let fixture = fixture(&["A"]);
    let line = ["keyrack", "firewall", "--env", "test", "--from", "json(stdin://*)", "--into", "json"];
    for (padding, exit) in [(15 << 20, 0), (17 << 20, 2)] {
        let secrets = format!("{{\"B\":\"{}\",\"A\":\"s3cret\"}}", "x".repeat(padding));
        let output = run(&mut fixture.command(&words(&line)), secrets.as_bytes(), LIMIT).unwrap();
        assert_eq!(output.status.code(), Some(exit));
        assert_eq!(String::from_utf8_lossy(&output.stdout).contains("s3cret"), exit == 0);
    }
}

/// Returns the commands of `docs/ci.md` that begin with these words, unchanged.
fn documented(begin: &str) -> Vec<String> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ci.md");
    let page = fs::read_to_string(page).unwrap();
    let lines = page.lines().map(str::trim).map(|line| line.strip_prefix("- run: ").unwrap_or(line));
    let commands = lines.filter(|line| line.starts_with(begin));
    commands.map(|line| line.split(" #").next().unwrap().trim_end().to_owned()).collect()
}

#[test]
fn firewall_examples_of_documentation_work() {
    let fixture = fixture(&["API_KEY", "{ key: AWS_PROFILE, is-optional-if-has: AWS_ACCESS_KEY_ID }"]);
    let file = fixture.home.home().join("project/env");
    let [line] = &documented("npx keyrack firewall")[..] else { panic!("one step is documented") };
    let line = line.replace("npx keyrack", "keyrack");
    let mut command = fixture.command(&words(&["sh", "-ec", &line]));
    let secrets = serde_json::json!({"API_KEY": "tok-123", "AWS_ACCESS_KEY_ID": "ASIA1", "OTHER": "hunter2"});
    command.env("GITHUB_ENV", &file).env("SECRETS_JSON", secrets.to_string());
    let output = run(&mut command, b"", LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let seen = Step::read(&output.stdout, &fs::read(&file).unwrap()).unwrap();
    assert_eq!(seen.masked("tok-123"), "***");

    // In a later step, programs that read keys as on a developer's machine find them.
    let later = |line: &str, stdin: &[u8]| {
        let mut command = fixture.command(&words(&["sh", "-c", line]));
        command.envs(seen.variables.clone()).env("AWS_ACCESS_KEY_ID", "ASIA1");
        let output = run(&mut command, stdin, LIMIT).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(later("keyrack source --env test", b""), (Some(0), "export API_KEY='tok-123'\n".to_owned()));
    let [value] = &documented("keyrack get --key API_KEY")[..] else { panic!("one read is documented") };
    let read = value.split(" | ").next().unwrap();
    assert_eq!(later(read, b""), (Some(0), "tok-123".to_owned()));
    let [check] = &documented("keyrack get --for repo")[..] else { panic!("one check is documented") };
    assert_eq!(later(check, b""), (Some(0), String::new()));
    let [by_stdin] = &documented("keyrack firewall")[..] else { panic!("one by stdin is documented") };
    fs::write(fixture.home.home().join("project/secrets.json"), secrets.to_string()).unwrap();
    let (exit, json) = later(by_stdin, b"");
    let answer = serde_json::from_str(&json).unwrap();
    assert_eq!(crate::schemas::fault("get", &answer), None, "it is as `get --for repo --json` has it");
    assert!(exit == Some(0) && json.contains("tok-123") && !json.contains("hunter2"), "{json}");
}
