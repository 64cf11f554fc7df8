//! `keyrack credential`: the exact protocols of other tools, tested with the real git and with the
//! examples in `docs/hooks.md`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyrack_testkit::{Need, Reaped, can_run, run};
use serde_json::{Value, json};

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);
const TOKEN: &str = "a-token/with+all=of\"it";

/// Returns a home with unlocked machine-wide keys.
fn fixture(keys: &[(&str, &str)]) -> Fixture {
    let fixture = Fixture::new();
    let (exit, _, said) = fixture.run("keyrack init", b"");
    assert_eq!(exit, 0, "{said:?}");
    for (name, value) in keys {
        let set = format!("keyrack set --org @all --env prep --key {name} --vault os.daemon");
        let (exit, _, said) = fixture.run(&set, value.as_bytes());
        assert_eq!(exit, 0, "{said:?}");
    }
    fixture
}

/// Runs a line of shell, with the user's own `~/bin` in PATH.
fn shell(fixture: &Fixture, text: &str, stdin: &str) -> Output {
    let words = ["sh", "-c", text].map(str::to_owned);
    let mut command = fixture.command(&words);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_owned();
    let mut own = fixture.home.home().join("bin").into_os_string();
    own.push(":");
    own.push(path);
    command
        .env("PATH", own)
        .env_remove("GIT_CONFIG_GLOBAL")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    run(&mut command, stdin.as_bytes(), LIMIT).unwrap()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the first code block after a heading of `docs/hooks.md`.
fn snippet(heading: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/hooks.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let block = section.split("```").nth(1).unwrap();
    block.split_once('\n').unwrap().1.to_owned()
}

/// Seconds from now until a time, which is in seconds since the epoch.
fn seconds_left(at: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    at - i64::try_from(now).unwrap()
}

#[test]
fn git_helper_follows_its_documentation() {
    if !can_run("git_helper_follows_its_documentation", &[Need::Program("git")]) {
        return;
    }
    let fixture = fixture(&[("GITHUB_TOKEN", TOKEN)]);
    let output = shell(&fixture, &snippet("git"), "");
    assert!(output.status.success(), "{}", shown(&output.stderr));
    let fill = |request: &str| shell(&fixture, "git credential fill", request);
    let output = fill("protocol=https\nhost=github.com\n\n");
    assert!(output.status.success(), "{}", shown(&output.stderr));
    let lines = shown(&output.stdout);
    assert!(lines.contains(&format!("username=x-access-token\npassword={TOKEN}\n")), "{lines}");
    let expiry = lines.lines().find_map(|line| line.strip_prefix("password_expiry_utc=")).unwrap();
    assert!((60..=24 * 3600).contains(&seconds_left(expiry.parse().unwrap())), "{lines}");
    // keyrack keeps the key, no matter if the host accepts or rejects it.
    for operation in ["approve", "reject"] {
        let told = format!("protocol=https\nhost=github.com\nusername=x-access-token\npassword={TOKEN}\n\n");
        let output = shell(&fixture, &format!("git credential {operation}"), &told);
        assert!(output.status.success() && output.stdout.is_empty(), "{}", shown(&output.stderr));
    }
    // For another host or protocol, keyrack returns nothing and git falls back to its prompt.
    for request in ["protocol=https\nhost=evil.com\n\n", "protocol=http\nhost=github.com\n\n"] {
        let output = fill(request);
        assert!(!output.status.success() && !shown(&output.stdout).contains(TOKEN), "{request}");
    }
    // git requests another host from the helper, as with a configuration without a URL.
    let helper = "keyrack credential git --host github.com --org @all --env prep --key GITHUB_TOKEN";
    let output = shell(&fixture, &format!("{helper} get"), "protocol=https\nhost=evil.com\n");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    let told = "keyrack: git asked for https://evil.com, but this hook is for https://github.com\n";
    assert_eq!(shown(&output.stderr), told);
    // In a bare clone, which has no manifest, the helper works. With a locked key, it fails at once
    // with a fix.
    let output = shell(
        &fixture,
        "git init -q --bare bare && cd bare && git credential fill",
        "protocol=https\nhost=github.com\n\n",
    );
    assert!(shown(&output.stdout).contains(TOKEN), "{}", shown(&output.stderr));
    let (exit, ..) = fixture.run("keyrack relock", b"");
    assert_eq!(exit, 0);
    let output = fill("protocol=https\nhost=github.com\n\n");
    assert!(!output.status.success());
    let said = shown(&output.stderr);
    assert!(said.contains("told us to quit") && said.contains("; fix: keyrack "), "{said}");
}

/// The real git clones a repository over https with basic authentication.
#[test]
fn git_helper_lets_git_clone_private_repository() {
    let needs = [Need::Program("git"), Need::Program("node"), Need::Program("openssl")];
    if !can_run("git_helper_lets_git_clone_private_repository", &needs) {
        return;
    }
    let fixture = fixture(&[("GIT_TOKEN", TOKEN)]);
    let made = shell(
        &fixture,
        "cd ~ && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost && git init -q src && cd src && echo content > file && git add file && \
         git -c user.name=n -c user.email=e commit -qm first && cd .. && git clone -q --bare src repo.git && \
         cd repo.git && git update-server-info",
        "",
    );
    assert!(made.status.success(), "{}", shown(&made.stderr));
    let server = r#"
        const { readFileSync } = require('fs');
        const wanted = 'Basic ' + Buffer.from('joe:' + process.argv[1]).toString('base64');
        const server = require('https').createServer({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem') }, (request, response) => {
          if (request.headers.authorization !== wanted) {
            response.writeHead(401, { 'www-authenticate': 'Basic realm="here"' }).end();
            return;
          }
          const path = new URL(request.url, 'https://x').pathname;
          try { response.end(readFileSync('.' + path)); } catch { response.writeHead(404).end(); }
        });
        server.listen(0, '127.0.0.1', () => console.log(server.address().port));
    "#;
    let mut command = fixture.command(&["node".into(), "-e".into(), server.into(), TOKEN.into()]);
    let mut child = Reaped::spawn(command.current_dir(fixture.home.home()).stdout(Stdio::piped()));
    let mut port = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port = port.trim();
    let clone = |host: &str, into: &str| {
        let helper = format!(
            "!keyrack credential git --host {host} --org @all --env prep --key GIT_TOKEN --username joe"
        );
        let line = format!(
            "cd ~ && git -c credential.helper='{helper}' -c http.sslCAInfo=cert.pem -c http.proxy= clone -q https://localhost:{port}/repo.git {into} && \
             cat {into}/file"
        );
        shell(&fixture, &line, "")
    };
    let output = clone(&format!("localhost:{port}"), "ours");
    assert_eq!(shown(&output.stdout), "content\n", "{}", shown(&output.stderr));
    // For another host, the same helper returns nothing.
    let output = clone("localhost", "theirs");
    assert!(!output.status.success());
    assert!(!shown(&output.stderr).contains(TOKEN));
}

#[test]
fn docker_helper_follows_its_documentation() {
    let fixture = fixture(&[("GHCR_TOKEN", TOKEN)]);
    fs::create_dir(fixture.home.home().join("bin")).unwrap();
    let output = shell(&fixture, &snippet("docker"), "");
    assert!(output.status.success(), "{}", shown(&output.stderr));
    let docker = |operation: &str, stdin: &str| {
        let output = shell(&fixture, &format!("docker-credential-keyrack-ghcr {operation}"), stdin);
        (output.status.code().unwrap(), shown(&output.stdout))
    };
    for address in ["ghcr.io", "https://ghcr.io\n"] {
        let (exit, text) = docker("get", address);
        assert_eq!(exit, 0, "{text}");
        let wanted = json!({ "ServerURL": address.trim(), "Username": "me", "Secret": TOKEN });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted);
    }
    assert_eq!(docker("get", "evil.com"), (1, "credentials not found in native keychain\n".to_owned()));
    assert_eq!(docker("list", ""), (0, "{\"ghcr.io\":\"me\"}\n".to_owned()));
    assert!(docker("version", "").1.starts_with("keyrack 0."));
    for operation in ["store", "erase"] {
        let (exit, text) = docker(
            operation,
            &json!({ "ServerURL": "ghcr.io", "Username": "me", "Secret": TOKEN }).to_string(),
        );
        assert_eq!(exit, 1);
        assert!(text.contains("docker cannot store keys") && !text.contains(TOKEN), "{text}");
    }
    assert_eq!(docker("nonsense", "").0, 2);
    let (exit, ..) = fixture.run("keyrack relock", b"");
    assert_eq!(exit, 0);
    let output = shell(&fixture, "docker-credential-keyrack-ghcr get", "ghcr.io");
    assert_eq!(output.status.code(), Some(1));
    let text = shown(&output.stdout);
    assert!(
        text.starts_with("keyrack: @all.prep.GHCR_TOKEN is ") && text.contains("; fix: keyrack "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(shown(&output.stderr), text, "docker shows this one");
}

/// A credential helper reports an error in one line: tools print it among their own messages and
/// call the helper more than once.
#[test]
fn credential_helpers_report_errors_in_one_line() {
    let fixture = fixture(&[("GIT_TOKEN", TOKEN)]);
    let git = "keyrack credential git --host github.com --org @all --env prep --key";
    let docker = "keyrack credential docker --registry ghcr.io --username me --org @all --env prep --key";
    let aws = "keyrack credential aws --org @all --env prep --key";
    let kubectl = "keyrack credential kubectl --org @all --env prep --key";
    let ask = "protocol=https\nhost=github.com\n";
    let meant = "keyrack: @all.prep.GIT_TOKE is absent; did you mean GIT_TOKEN?";
    for (line, stdin, exit, told) in [
        (format!("{git} GIT_TOKE get"), ask, 2, meant),
        (format!("{docker} GIT_TOKE get"), "ghcr.io", 1, meant),
        (format!("{aws} GIT_TOKE"), "", 2, meant),
        (format!("{kubectl} GIT_TOKE"), "", 2, meant),
        (format!("{kubectl} FAR_AWAY"), "", 2, "keyrack: @all.prep.FAR_AWAY is absent; fix: keyrack set "),
        (
            format!("{git} GIT_TOKEN get"),
            "protocol=http\nhost=github.com\n",
            0,
            "keyrack: git asked for http://github.com, but",
        ),
        (
            format!("{docker} GIT_TOKEN get"),
            "evil.com",
            1,
            "keyrack: docker asked for evil.com, but this hook is for ghcr.io",
        ),
        (format!("{aws} GIT_TOKEN"), "", 2, "keyrack: cannot use @all.prep.GIT_TOKEN"),
        (
            format!("{kubectl} GIT_TOKEN --server https://k8s"),
            "",
            2,
            "keyrack: this key is only for https://k8s, but",
        ),
        (format!("{kubectl} GIT_TOKEN --owner ../x"), "", 2, "keyrack: "),
    ] {
        let output = shell(&fixture, &line, stdin);
        let stderr = shown(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{line}: {stderr}");
        assert!(stderr.starts_with(told) && stderr.lines().count() == 1, "{line}: {stderr}");
        assert!(!stderr.contains(TOKEN) && !shown(&output.stdout).contains(TOKEN), "{line}");
    }
}

/// Returns the remaining seconds until a time in a reply.
fn left(value: &Value) -> i64 {
    let text = value.as_str().unwrap();
    let output = Command::new("date").args(["-u", "-d", text, "+%s"]).output().unwrap();
    seconds_left(shown(&output.stdout).trim().parse().unwrap())
}

#[test]
fn aws_helper_follows_its_documentation() {
    let object =
        json!({ "AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": TOKEN, "SessionToken": "t/t" });
    let fixture = fixture(&[
        ("AWS_CREDENTIALS", &object.to_string()),
        ("ID", "ASIA1"),
        ("SECRET", TOKEN),
        ("SESSION", "t"),
    ]);
    let config = snippet("AWS");
    let line = config.lines().find_map(|line| line.strip_prefix("credential_process = ")).unwrap();
    let answer = |line: &str| {
        let output = shell(&fixture, line, "");
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output.stderr));
        let mut value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ends = value.as_object_mut().unwrap().remove("Expiration").unwrap();
        assert!((60..=24 * 3600).contains(&left(&ends)), "{ends}");
        value
    };
    assert_eq!(
        answer(line),
        json!({ "Version": 1, "AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": TOKEN, "SessionToken": "t/t" })
    );
    let of_keys =
        "keyrack credential aws --org @all --env prep --access-key-id ID --secret-access-key SECRET";
    assert_eq!(answer(of_keys), json!({ "Version": 1, "AccessKeyId": "ASIA1", "SecretAccessKey": TOKEN }));
    assert_eq!(answer(&format!("{of_keys} --session-token SESSION"))["SessionToken"], "t");
    for (flags, exit) in [
        ("--key ID", 2),
        ("--key NOWHERE", 2),
        ("--key ID --access-key-id ID --secret-access-key SECRET", 2),
        ("--access-key-id ID", 2),
        ("", 2),
    ] {
        let output = shell(&fixture, &format!("keyrack credential aws --org @all --env prep {flags}"), "");
        assert_eq!((output.status.code(), shown(&output.stdout)), (Some(exit), String::new()), "{flags}");
        assert!(!output.stderr.is_empty() && !shown(&output.stderr).contains(TOKEN));
    }
}

#[test]
fn kubectl_plugin_follows_its_documentation() {
    let fixture =
        fixture(&[("CLUSTER_TOKEN", TOKEN), ("CERT", "-----BEGIN\nx\n-----END\n"), ("CERT_KEY", TOKEN)]);
    let config = snippet("kubectl");
    let value = |name: &str| {
        config.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap().trim().to_owned()
    };
    let (version, command) = (value("apiVersion:"), value("command:"));
    let args = value("args:").replace(['[', ']', ','], " ");
    let answer = |line: &str, info: &Value| {
        let output = shell(&fixture, &format!("KUBERNETES_EXEC_INFO='{info}' {line}"), "");
        (output.status.code().unwrap(), shown(&output.stdout), shown(&output.stderr))
    };
    let info = |version: &str, server: &str| {
        json!({ "kind": "ExecCredential", "apiVersion": version,
            "spec": { "interactive": false, "cluster": { "server": server, "certificate-authority-data": "x" } } })
    };
    let line = format!("{command} {args}");
    for version in [version.as_str(), "client.authentication.k8s.io/v1beta1"] {
        let (exit, text, said) = answer(&line, &info(version, "https://k8s"));
        assert_eq!(exit, 0, "{said}");
        let mut made: Value = serde_json::from_str(&text).unwrap();
        let ends = made["status"].as_object_mut().unwrap().remove("expirationTimestamp").unwrap();
        assert!((60..=24 * 3600).contains(&left(&ends)), "{ends}");
        assert_eq!(
            made,
            json!({ "apiVersion": version, "kind": "ExecCredential", "status": { "token": TOKEN } })
        );
    }
    let (exit, text, _) = answer(&line, &info("client.authentication.k8s.io/v2", ""));
    assert_eq!((exit, text.as_str()), (2, ""));
    let certificate =
        "keyrack credential kubectl --org @all --env prep --client-certificate CERT --client-key CERT_KEY";
    let (exit, text, said) = answer(certificate, &info(&version, "https://k8s"));
    assert_eq!(exit, 0, "{said}");
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made["status"]["clientCertificateData"], "-----BEGIN\nx\n-----END\n");
    assert_eq!(made["status"]["clientKeyData"], TOKEN);
    // `--server` limits a key to one cluster.
    for (server, exit) in [("https://k8s", 0), ("https://evil", 2)] {
        let (ended, text, _) = answer(&format!("{line} --server https://k8s"), &info(&version, server));
        assert_eq!((ended, text.contains("a-token")), (exit, exit == 0), "{server}");
    }
}

#[test]
fn credential_request_over_limit_is_rejected() {
    let fixture = fixture(&[("K", TOKEN)]);
    const LARGEST: usize = 1 << 16;
    let git = "keyrack credential git --host github.com --env prep --org @all --key K get";
    let docker =
        "keyrack credential docker --registry ghcr.io --username me --env prep --org @all --key K get";
    let head = "protocol=https\nhost=github.com\n";
    let padded = |len: usize, head: &str, tail: &str| {
        let padding = "x".repeat(len - head.len() - tail.len());
        format!("{head}{padding}{tail}")
    };
    for (line, request, granted) in [
        (git, padded(LARGEST, head, "\n"), true),
        (git, padded(LARGEST + 1, head, "\n"), false),
        // The beginning of the request names another host than the whole request.
        (git, padded(2 * LARGEST, head, "\nhost=evil.example\n"), false),
        (docker, format!("ghcr.io{}", " ".repeat(LARGEST - 7)), true),
        (docker, format!("ghcr.io{}.evil.example", " ".repeat(LARGEST - 7)), false),
    ] {
        let output = shell(&fixture, line, &request);
        let has = shown(&output.stdout).contains("a-token");
        assert_eq!(has, granted, "{line}: {}", shown(&output.stderr));
        assert_eq!(output.status.success(), granted, "{line}");
        assert_eq!(
            shown(&output.stderr).contains("the request is larger than 65536 bytes"),
            !granted,
            "{line}"
        );
    }
}
