//! Values in each command that stores or returns one: tokens, sizes, names, shells, errors.

use std::fs;
use std::process::Output;
use std::time::Duration;

use keyrack_testkit::{Need, can_run, run};
use serde_json::json;

use crate::fixture::Fixture;

const AKIA: &str = "AKIAIOSFODNN7EXAMPLE";

/// Returns a rack and a repository of org acme whose `keyrack.yml` declares these keys for env
/// test.
fn fixture(keys: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    let keys: String = keys.iter().map(|key| format!("\\n  - {key}")).collect();
    for line in [
        "git init -q".to_owned(),
        "keyrack init".to_owned(),
        format!("sh -c 'mkdir -p .agent; printf \"org: acme\\nenv.test:{keys}\\n\" > .agent/keyrack.yml'"),
    ] {
        let (exit, _, stderr) = fixture.run(&line, b"");
        assert_eq!(exit, 0, "{line}: {stderr:?}");
    }
    fixture
}

#[test]
fn token_inside_value_is_blocked_everywhere() {
    let fixture = fixture(&["T"]);
    let aws = json!({ "AccessKeyId": AKIA, "SecretAccessKey": "s" }).to_string();
    for value in [aws, format!("https://x:{AKIA}@example.com"), format!("Bearer {AKIA}")] {
        let set = "keyrack set --env test --key T --vault os.secure --mech PERMANENT_VIA_REPLICA";
        let (exit, stdout, stderr) = fixture.run(set, value.as_bytes());
        assert_eq!(exit, 2, "{stdout:?}{stderr:?}");
        let (exit, _, stderr) = fixture.run(&format!("{set} --allow-dangerous"), value.as_bytes());
        assert_eq!(exit, 0, "{stderr:?}");
        let told = fixture.run("keyrack unlock --env test --key T", b"");
        assert_eq!(told.0, 2, "{told:?}");
        let (exit, _, stderr) = fixture.run("keyrack unlock --env test --key T --allow-dangerous", b"");
        assert_eq!(exit, 0, "{stderr:?}");
        let variable = format!("T='{value}'");
        for gate in [
            "keyrack get --env test --key T --value".to_owned(),
            "keyrack get --env test --key T --json".to_owned(),
            "keyrack source --env test".to_owned(),
            "keyrack run --env test -- env".to_owned(),
            "keyrack credential aws --env test --key T".to_owned(),
            "keyrack credential git --host h --env test --key T get".to_owned(),
            "keyrack firewall --env test --from 'json(stdin://*)' --into json".to_owned(),
            format!("{variable} keyrack get --env test --key T --value"),
        ] {
            let stdin = if gate.contains("git") { "protocol=https\nhost=h\n" } else { "{}" };
            let (exit, stdout, stderr) = fixture.run(&gate, stdin.as_bytes());
            assert_eq!(exit, 2, "{gate}: {stdout:?}{stderr:?}");
            let told = [stdout, stderr].concat().join("\n");
            assert!(!told.contains(AKIA), "{gate}: {told}");
        }
        let (_, stdout, _) = fixture.run("keyrack get --env test --key T --value --allow-dangerous", b"");
        assert_eq!(stdout.concat().trim_end_matches('%'), value);
        assert_eq!(fixture.run("keyrack relock --env test --key T", b"").0, 0);
        let secrets = json!({ "T": value }).to_string();
        let gate = "keyrack firewall --env test --from 'json(stdin://*)' --into json";
        let (exit, stdout, _) = fixture.run(gate, secrets.as_bytes());
        assert_eq!(exit, 2, "{stdout:?}");
    }
}

/// Stores a value that lasts as long as the daemon.
fn hold(fixture: &Fixture, key: &str, value: &[u8]) {
    let set = format!("keyrack set --env test --key {key} --vault os.daemon --allow-dangerous");
    let (exit, _, stderr) = fixture.run(&set, value);
    assert_eq!(exit, 0, "{stderr:?}");
}

/// Runs a script with a shell or another interpreter.
fn script(fixture: &Fixture, interpreter: &[&str], text: &str) -> Output {
    let path = fixture.home.home().join("project/script");
    fs::write(&path, text).unwrap();
    let words: Vec<String> =
        interpreter.iter().copied().chain([path.to_str().unwrap()]).map(str::to_owned).collect();
    run(&mut fixture.command(&words), b"", Duration::from_secs(60)).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const HOSTILE: &str = "x'; touch ran; echo '(touch ran)\\'; touch ran; \\'$(touch ran)\"; touch ran; \"";

#[test]
fn source_detects_shell_that_reads_it() {
    let fixture = fixture(&["A"]);
    hold(&fixture, "A", HOSTILE.as_bytes());
    let posix = [
        "eval \"$(keyrack source --env test)\"; printenv A",
        "eval \"$(true; timeout 20 keyrack source --env test)\"; printenv A",
        "eval \"$(sh -c 'keyrack source --env test; true')\"; printenv A",
        "eval \"$(keyrack source --env test --shell posix)\"; printenv A",
    ];
    let fish = [
        "keyrack source --env test | source; printenv A",
        "eval (keyrack source --env test); printenv A",
        "source (keyrack source --env test | psub); printenv A",
        "timeout 20 keyrack source --env test | source; printenv A",
        "sh -c 'keyrack source --env test; true' | source; printenv A",
        "keyrack source --env test >lines; source lines; printenv A",
        "keyrack source --env test | cat | source; printenv A",
        "bash -c 'eval \"$(keyrack source --env test)\"; printenv A'",
        "sh -c 'keyrack source --env test --shell fish >lines'; source lines; printenv A",
    ];
    let nu = ["keyrack source --env test | from nuon | load-env; ^printenv A"];
    for (interpreter, lines) in [
        (&["sh"][..], &posix[..]),
        (&["bash"], &posix),
        (&["dash"], &posix),
        (&["zsh", "-f"], &posix),
        (&["ksh"], &posix),
        (&["busybox", "sh"], &posix),
        (&["fish", "--no-config"], &fish),
        (&["nu", "--no-config-file"], &nu),
    ] {
        let name = format!("source_detects_shell_that_reads_it({})", interpreter[0]);
        if !can_run(&name, &[Need::Program(interpreter[0]), Need::Program("bash")]) {
            continue;
        }
        for line in lines {
            let output = script(&fixture, interpreter, line);
            assert_eq!(
                text(&output.stdout),
                format!("{HOSTILE}\n"),
                "{interpreter:?} {line}: {}",
                text(&output.stderr)
            );
            assert!(
                !fixture.home.home().join("project/ran").exists(),
                "{interpreter:?} {line}: the value ran"
            );
        }
    }
}

#[test]
fn source_fails_if_shell_is_uncertain() {
    if !can_run("source_fails_if_shell_is_uncertain", &[Need::Program("fish")]) {
        return;
    }
    let fixture = fixture(&["A"]);
    hold(&fixture, "A", HOSTILE.as_bytes());
    for line in [
        "sh -c 'keyrack source --env test >lines; exit $?'; echo $status; cat lines",
        "timeout 20 keyrack source --env test >lines; echo $status; cat lines",
        "sh -c 'keyrack source --env test; exit $?' >lines; echo $status; cat lines",
        "setsid -w sh -c 'keyrack source --env test; exit $?' >lines; echo $status; cat lines",
    ] {
        let output = script(&fixture, &["fish", "--no-config"], line);
        assert_eq!(text(&output.stdout), "2\n", "{line}");
        let told = text(&output.stderr);
        assert!(
            told.contains("fish started keyrack") && told.contains("--shell posix|fish"),
            "{line}: {told}"
        );
    }
}

#[test]
fn value_too_large_for_variable_is_rejected_with_size() {
    let fixture = fixture(&["A", "B"]);
    hold(&fixture, "B", b"small");
    hold(&fixture, "A", &[b'x'; 131_069]);
    let size = "keyrack run --env test -- sh -c 'printenv A | wc -c'";
    assert_eq!(fixture.run(size, b"").1, ["131070"], "with its newline");
    let source = "sh -c 'eval \"$(keyrack source --env test)\"; printenv A | wc -c; printenv B'";
    assert_eq!(fixture.run(source, b"").1, ["131070", "small"]);

    hold(&fixture, "A", &[b'x'; 131_070]);
    for line in ["keyrack run --env test -- true", "keyrack source --env test --shell posix"] {
        let (exit, stdout, stderr) = fixture.run(line, b"");
        let told = stderr.join(" ");
        assert_eq!((exit, stdout.len()), (2, 0), "{line}: {told}");
        for part in ["acme.test.A", "131072 bytes", "131071", "--files"] {
            assert!(told.contains(part), "{line}: {part}: {told}");
        }
    }
    let (exit, stdout, stderr) = fixture.run("keyrack source --env test --shell posix --lenient", b"");
    assert_eq!((exit, stdout), (0, vec!["export B='small'".to_owned()]));
    assert!(stderr.concat().contains("acme.test.A"), "{stderr:?}");
    let files = "keyrack run --env test --files -- sh -c 'wc -c <\"$A_FILE\"'";
    assert_eq!(fixture.run(files, b"").1, ["131070"]);
}

#[test]
fn values_too_large_together_are_rejected_with_size() {
    let fixture = fixture(&["A", "B", "C"]);
    for (key, size) in [("A", 100_000), ("B", 110_000), ("C", 10)] {
        hold(&fixture, key, &vec![b'x'; size]);
    }
    let limited = |kib: u32, line: &str| fixture.run(&format!("sh -c 'ulimit -s {kib}; {line}'"), b"");
    // The limit is a quarter of the stack limit: 256 KiB, then 192 KiB.
    assert_eq!(limited(1024, "keyrack run --env test -- printenv C").0, 0);
    assert_eq!(limited(1024, "eval \"$(keyrack source --env test)\"; printenv C").0, 0);
    for line in [
        "keyrack run --env test -- printenv C",
        "keyrack source --env test --shell posix",
        "keyrack source --env test --shell posix --lenient",
    ] {
        let (exit, stdout, stderr) = limited(768, line);
        let told = stderr.join(" ");
        assert_eq!((exit, stdout.len()), (2, 0), "{line}: {told}");
        for part in ["kernel allows 196608", "B has 110000, A has 100000, C has 10", "--files"] {
            assert!(told.contains(part), "{line}: {part}: {told}");
        }
    }
    assert_eq!(limited(768, "keyrack run --env test --files -- sh -c \"wc -c <\\$A_FILE\"").1, ["100000"]);
}

#[test]
fn reserved_variables_get_no_key() {
    let fixture = fixture(&["A", "PATH", "LD_PRELOAD", "UID", "NODE_OPTIONS"]);
    for key in ["PATH", "LD_PRELOAD", "UID", "NODE_OPTIONS"] {
        let set = format!("keyrack set --env test --key {key} --vault os.daemon");
        let (exit, _, stderr) = fixture.run(&set, b"hunter2");
        assert_eq!(exit, 0, "{stderr:?}");
        assert!(
            stderr.concat().contains(&format!("{key} "))
                && stderr.concat().contains("`source` leaves this key out"),
            "{stderr:?}"
        );
    }
    hold(&fixture, "A", b"a");
    let (exit, stdout, stderr) = fixture.run("keyrack source --env test --shell posix", b"");
    assert_eq!((exit, stdout), (0, vec!["export A='a'".to_owned()]), "{stderr:?}");
    for key in ["PATH", "LD_PRELOAD", "UID", "NODE_OPTIONS"] {
        assert!(stderr.concat().contains(&format!("acme.test.{key} is left out: {key} ")), "{stderr:?}");
    }
    let (exit, stdout, _) = fixture.run("keyrack source --env test --json", b"");
    assert_eq!((exit, stdout.concat().replace(' ', "")), (0, "{\"A\":\"a\"}".to_owned()));

    let (exit, stdout, stderr) = fixture.run("LD_PRELOAD= keyrack run --env test -- env", b"");
    assert_eq!(exit, 0, "{stderr:?}");
    let told = stderr.concat();
    assert!(told.contains("acme.test.PATH is left out") && !told.contains("acme.test.UID"), "{told}");
    for variable in ["A=a", "UID=hunter2", "LD_PRELOAD="] {
        assert!(stdout.iter().any(|line| line == variable), "{variable}: {stdout:?}");
    }
    assert!(
        !stdout.iter().any(|line| line == "PATH=hunter2" || line.starts_with("NODE_OPTIONS=")),
        "{stdout:?}"
    );
    let (_, stdout, _) = fixture.run("keyrack run --env test --files -- sh -c 'cat \"$PATH_FILE\"'", b"");
    assert_eq!(stdout.concat().trim_end_matches('%'), "hunter2");
}

#[test]
fn weaker_environment_value_prints_notice() {
    let fixture = fixture(&["B: encrypted", "OTHER"]);
    let b = "B=evil";
    for (line, out) in [
        ("keyrack get --env test --key B --value", "evil"),
        ("keyrack get --env test --key B", "acme.test.B"),
        ("keyrack get --env test --key B --json", "\"belowDeclared\": true"),
        ("keyrack get --for repo --env test", "acme.test.B"),
        ("keyrack source --env test --key B --shell posix", "export B='evil'"),
        ("keyrack source --env test --key B --json", "evil"),
        ("keyrack run --env test --key B -- printenv B", "evil"),
        ("keyrack credential kubectl --env test --key B", "evil"),
    ] {
        let (exit, stdout, stderr) =
            fixture.run(&format!("{b} OTHER=o KUBERNETES_EXEC_INFO={EXEC} {line}"), b"");
        let stdout = stdout.join("\n");
        assert_eq!(exit, 0, "{line}: {stdout}{stderr:?}");
        assert!(stdout.contains(out), "{line}: {stdout}");
        let said = stderr
            .iter()
            .filter(|line| line.contains("acme.test.B: the value in the environment has grade plaintext"));
        assert_eq!(said.count(), 1, "{line}: {stderr:?}");
        assert!(!stderr.concat().contains("OTHER"), "{line}: {stderr:?}");
    }
    let strict =
        fixture.run(&format!("KEYRACK_STRICT_ENV=1 {b} keyrack get --env test --key B --value"), b"");
    assert_eq!((strict.0, strict.1.len()), (2, 0));
}

const EXEC: &str = "'{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"spec\":{\"interactive\":false}}'";

#[test]
fn expired_aws_credentials_are_rejected() {
    let fixture = fixture(&["A"]);
    for (expiration, parts) in [
        (
            "\"2001-09-09T01:46:40Z\"",
            &[
                "the credentials in acme.test.A expired at 2001-09-09T01:46:40.000Z",
                "keyrack set --env test --key A --vault os.daemon",
            ][..],
        ),
        ("\"never\"", &["cannot use acme.test.A: its Expiration is not a time"]),
        ("1893456000", &["cannot use acme.test.A: its Expiration is not a time"]),
    ] {
        let value = format!(
            "{{\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"hunter2\",\"Expiration\":{expiration}}}"
        );
        hold(&fixture, "A", value.as_bytes());
        let (exit, stdout, stderr) = fixture.run("keyrack credential aws --env test --key A", b"");
        assert_eq!((exit, stdout.len()), (2, 0), "{expiration}: {stderr:?}");
        let told = stderr.join(" ");
        assert!(parts.iter().all(|part| told.contains(part)) && !told.contains("hunter2"), "{told}");
    }
}

/// Runs command lines that contain a secret in each place where users put one by mistake.
#[test]
fn errors_never_repeat_possible_secret() {
    let fixture = fixture(&["K"]);
    let s = "S3NT1NEL";
    let token = format!("ghp_{s}{s}");
    for line in [
        format!("get --key K={s}"),
        format!("get --key=K={s} --env test"),
        format!("get --key acme.test.K={s}"),
        format!("get --key '{s}=='"),
        format!("get --key '{s} x'"),
        format!("get --key {token} --env test"),
        format!("get --key acme.test.{token}"),
        format!("get --key K {s}"),
        format!("get {s}"),
        format!("get K={s}"),
        format!("get --{s}"),
        format!("get --token={s}"),
        format!("get --token {s}"),
        format!("get --secret {s}"),
        format!("get --password={s}"),
        format!("get --api-key={s}"),
        format!("get --api_key={s}"),
        format!("get --value={s}"),
        format!("get -p{s}"),
        format!("get -p {s}"),
        format!("get -p={s}"),
        format!("get --key K --env {s}"),
        format!("get --key K --env=K={s}"),
        format!("get --key K --owner {s}!"),
        format!("get --key K --org @{s}"),
        format!("get --key K --output {s}"),
        format!("get --for {s}"),
        format!("set --key K={s} --vault os.secure"),
        format!("set --key K --vault os.secure --secret {s}"),
        format!("set --key K --vault os.secure --secret={s}"),
        format!("set --key K --vault os.secure {s}"),
        format!("set K={s}"),
        format!("set --key K --env test --vault {s}"),
        format!("set --key K --env test --vault os.secure --mech {s}"),
        format!("set --key K --env test --vault os.daemon --max-duration {s}"),
        format!("set --key K --env test --vault os.secure --exid {s}"),
        format!("set --key acme.test.K={s} --vault os.secure --anywhere"),
        format!("unlock --env test --key K={s}"),
        format!("unlock --env test --duration {s}"),
        format!("unlock {s}"),
        format!("relock --key K={s}"),
        format!("relock --key a.b.K={s}"),
        format!("relock {s}"),
        format!("del --env test --key K={s}"),
        format!("source --env test --key K={s}"),
        format!("source --env {s}"),
        format!("source --env test --shell {s}"),
        format!("source --env test {s}"),
        format!("run --env test --key K={s} -- true"),
        format!("run --env test {s}"),
        format!("run --env test --lenient -- TOKEN={s} true"),
        format!("run --token={s} -- true"),
        format!("credential aws --env test --key K={s}"),
        format!("credential git --host h --env test --key K={s} get"),
        format!("credential docker --registry r --username u --env test --key K={s} get"),
        format!("credential docker --registry r --username u --env test --key K {s}"),
        format!("credential {s}"),
        format!("fill --env test --key K={s}"),
        format!("firewall --env test --from {s} --into json"),
        format!("firewall --env test --from 'json(env://{s})' --into json"),
        format!("firewall --env test --from 'json(stdin://*)' --into {s}"),
        format!("recipient del --label {s}"),
        format!("recipient set --pubkey {s} --label x"),
        format!("daemon {s}"),
        format!("init --org '{s} x'"),
        format!("list {s}"),
        format!("status {s}"),
        format!("status --owner {s}!"),
        format!("completions {s}"),
        format!("schema {s}"),
        format!("man {s}"),
        format!("doctor --{s}={s}"),
        s.to_owned(),
        format!("--{s}"),
        format!("--token={s} get"),
        format!("-t{s}"),
    ] {
        for json in ["", " --json"] {
            let line = match line.split_once(" -- ") {
                Some((ours, command)) => format!("keyrack {ours}{json} -- {command}"),
                None => format!("keyrack {line}{json}"),
            };
            let (exit, stdout, stderr) = fixture.run(&line, b"protocol=https\nhost=h\n");
            let told = [stdout, stderr].concat().join("\n");
            assert!(!told.to_uppercase().contains(s), "{line}: {told}");
            // Every line must fail. The list leaves out commands that succeed with any argument:
            // relock of a key that is not unlocked, and git's other operations.
            assert_ne!(exit, 0, "{line}: {told}");
        }
    }
    for key in ["A".repeat(1 << 16), format!("{s}=").repeat(1000)] {
        let (exit, stdout, stderr) = fixture.run(&format!("keyrack get --key {key}"), b"");
        assert_eq!(exit, 2);
        assert!([stdout, stderr].concat().concat().len() < 1000);
    }
}
