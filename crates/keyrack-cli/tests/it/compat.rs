//! Compatibility with scripts for the TypeScript keyrack: the flags of every command, the exit
//! codes, the JSON members, and the command lines of shell scripts. The tests are tables. A comment
//! marks each row in which we differ on purpose.

use std::collections::BTreeSet;
use std::fs;

use keyrack_testkit::{Need, can_run};
use serde_json::Value;

use crate::fixture::Fixture;

/// Each command with its required arguments, and every flag that it accepts.
const FLAGS: &[(&str, &[&str])] = &[
    (
        "init",
        &[
            "--owner o",
            "--for o",
            "--pubkey k.pub",
            "--prikey k",
            "--label l",
            "--org acme",
            "--org acme --at a.yml",
            "--json",
        ],
    ),
    ("infra init --org acme", &["--json"]),
    (
        "recipient set --pubkey age1x --label l",
        &["--owner o", "--for o", "--stanza ssh", "--prikey k", "--json"],
    ),
    ("recipient get", &["--owner o", "--for o", "--prikey k", "--json"]),
    ("recipient del --label l", &["--owner o", "--for o", "--prikey k", "--json"]),
    (
        "get",
        &[
            "--for repo",
            "--key K",
            "--owner o",
            "--env test",
            "--org @this",
            "--org @all",
            "--org acme",
            "--allow-dangerous",
            "--unlock",
            "--json",
            "--output value",
            "--output json",
            "--output vibes",
            "--value",
        ],
    ),
    ("source --env test", &["--key K", "--owner o", "--for o", "--strict", "--lenient", "--allow-dangerous"]),
    (
        "set --key K --vault os.secure",
        &[
            "--mech PERMANENT_VIA_REPLICA",
            "--owner o",
            "--for o",
            "--env test",
            "--org @all",
            "--exid x",
            "--max-duration 5m",
            "--at a.yml",
            "--prikey k",
            "--json",
        ],
    ),
    ("del --key K", &["--env all", "--owner o", "--for o", "--org @this", "--prikey k", "--json"]),
    ("unlock", &["--owner o", "--for o", "--env test", "--key K", "--duration 30m", "--prikey k", "--json"]),
    ("relock", &["--owner o", "--for o", "--env test", "--key acme.test.K", "--json"]),
    ("status", &["--owner o", "--for o", "--env test", "--json"]),
    ("list", &["--owner o", "--for o", "--prikey k", "--json"]),
    (
        "fill --env test",
        &[
            "--owner o",
            "--owner o p",
            "--key K",
            "--prikey k",
            "--prikey k l",
            "--refresh",
            "--repair",
            "--allow-dangerous",
        ],
    ),
    ("daemon prune", &["--owner o", "--owner @all", "--for o", "--for @all", "--json"]),
    ("firewall --env test --from json(env://S) --into json", &["--owner o", "--into github.actions"]),
];

#[test]
fn legacy_flags_are_all_accepted() {
    let fixture = Fixture::new();
    // Flags are read in order, so everything before `--help` is validated.
    let help = |line: &str| fixture.run(&format!("keyrack {line} --help"), b"");
    for (command, flags) in FLAGS {
        for flag in *flags {
            // keyrack rejects a flag that is given twice. If the flag is among the required
            // arguments, the line omits the required one.
            let line = match flag.split_once(' ') {
                Some((name, _)) if command.contains(name) => {
                    format!("{} {flag}", command.split(&format!(" {name}")).next().unwrap())
                }
                _ => format!("{command} {flag}"),
            };
            let (exit, stdout, stderr) = help(&line);
            assert!(exit == 0 && stderr.is_empty() && !stdout.is_empty(), "{line}: {exit} {stderr:?}");
        }
        // All flags together, each once. `--lenient` is left out because it conflicts with
        // `--strict`. `--for` counts as `--owner`, because it is an alias.
        let mut seen = BTreeSet::from(["--lenient".to_owned()]);
        let new = |flag: &&&str| {
            let name = flag.split(' ').next().unwrap();
            !command.contains(name) && seen.insert(name.replace("--for", "--owner"))
        };
        let once: Vec<&str> = flags.iter().filter(new).copied().collect();
        for before in ["", "--owner o ", "--for o "] {
            let line = format!("{before}{command} {}", once.join(" "));
            assert_eq!(help(&line).0, 0, "{line}");
        }
        assert_eq!(help(&format!("{command} --no-such-flag")).0, 2, "the test can fail: {command}");
    }
}

/// Command line, its stdin, and the expected exit code and stdout.
type Row = (&'static str, &'static str, i32, Out);

enum Out {
    /// No output.
    Empty,
    /// Exactly this text.
    Is(&'static str),
    /// Text that contains this part.
    Has(&'static str),
    /// JSON in which each pointer (RFC 6901) has a type or a value.
    Json(&'static [(&'static str, &'static str)]),
}

use Out::{Empty, Has, Is, Json};

const SET: &str = "keyrack set --vault os.secure --mech PERMANENT_VIA_REPLICA --env test --key";

fn hold(fixture: &Fixture, rows: &[Row]) {
    for (line, stdin, exit, out) in rows {
        let line = &line.replace("SET", SET);
        let (ended, stdout, stderr) = fixture.run(line, stdin.as_bytes());
        let text = stdout.join("\n");
        assert_eq!(ended, *exit, "{line}\n{text}\n{}", stderr.join("\n"));
        match out {
            Empty => assert_eq!(text, "", "{line}"),
            Is(exactly) => assert_eq!(text, *exactly, "{line}"),
            Has(part) => assert!(text.contains(part), "{line}: {part:?} in\n{text}"),
            Json(members) => {
                let json: Value =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}\n{text}"));
                for (pointer, is) in *members {
                    check(line, &json, pointer, is);
                }
            }
        }
    }
}

fn check(line: &str, json: &Value, pointer: &str, is: &str) {
    let found = json.pointer(pointer);
    let fits = match (is, found) {
        ("none", found) => found.is_none(),
        (_, None) => false,
        ("string", Some(found)) => found.is_string(),
        ("number", Some(found)) => found.is_number(),
        ("array", Some(found)) => found.is_array(),
        ("object", Some(found)) => found.is_object(),
        (value, Some(Value::String(text))) => value == text,
        (value, Some(found)) => format!("{found}") == value,
    };
    assert!(fits, "{line}: {pointer} is {found:?}, not {is}");
}

fn has_tools(test: &str) -> bool {
    can_run(test, &[Need::Program("git"), Need::Program("sh")])
}

/// Members of a grant.
const GRANT: &[(&str, &str)] = &[
    ("/status", "granted"),
    ("/grant/slug", "acme.test.A"),
    ("/grant/key/secret", "v"),
    ("/grant/key/grade/protection", "encrypted"),
    ("/grant/key/grade/duration", "permanent"),
    ("/grant/source/vault", "os.secure"),
    ("/grant/source/mech", "PERMANENT_VIA_REPLICA"),
    ("/grant/env", "test"),
    ("/grant/org", "acme"),
    ("/grant/expiresAt", "string"),
];

#[test]
fn legacy_exit_codes_and_json_hold_without_rack() {
    if !has_tools("legacy_exit_codes_and_json_hold_without_rack") {
        return;
    }
    let fixture = Fixture::new();
    hold(
        &fixture,
        &[
            // A command that has nothing to do succeeds.
            ("keyrack relock --json", "", 0, Json(&[("/relocked", "[]")])),
            ("keyrack status --json", "", 0, Json(&[("", "null")])),
            ("keyrack daemon prune --json", "", 0, Json(&[("/pruned", "[]")])),
            ("keyrack daemon prune --owner @all", "", 0, Has("no daemon active for any owner")),
            ("keyrack relock", "", 0, Has("(no keys to prune)")),
            // The caller has to act: exit code 2. The TypeScript keyrack exits with 1 for some of
            // these: usage errors, a missing manifest, an unknown env.
            ("keyrack list", "", 2, Empty),
            ("keyrack list --json", "", 2, Empty),
            ("keyrack recipient get", "", 2, Empty),
            ("keyrack unlock --env test", "", 2, Empty),
            ("keyrack get --key K", "", 2, Empty),
            ("keyrack get", "", 2, Empty),
            ("keyrack get --value", "", 2, Empty),
            ("keyrack get --for owner", "", 2, Empty),
            ("keyrack get --for repo --env test", "", 2, Empty),
            ("keyrack source --env test", "", 2, Empty),
            ("keyrack source", "", 2, Empty),
            ("keyrack source --env sudo", "", 2, Empty),
            ("keyrack source --env test --strict --lenient", "", 2, Empty),
            ("SET K", "v", 2, Empty),
            ("keyrack set --key K --vault nope", "", 2, Empty),
            ("keyrack fill --env test", "", 2, Empty),
            ("keyrack infra init --org acme", "", 2, Empty),
            ("keyrack firewall --env test --from json(env://NOPE) --into json", "", 2, Empty),
            ("keyrack firewall --env test --from nope --into json", "", 2, Empty),
            ("keyrack firewall --env test --from json(env://HOME) --into github.actions", "", 2, Empty),
            ("keyrack --nope", "", 2, Empty),
            (
                "keyrack init --json",
                "",
                0,
                Json(&[
                    ("/host/effect", "created"),
                    ("/host/manifestPath", "string"),
                    ("/host/owner", "null"),
                    ("/host/recipient/mech", "age"),
                    ("/host/recipient/pubkey", "string"),
                    ("/host/recipient/label", "default"),
                    ("/host/recipient/addedAt", "string"),
                    ("/repo", "null"),
                ]),
            ),
            ("keyrack list --json", "", 0, Json(&[("", "{}")])),
            ("keyrack list", "", 0, Has("(no keys configured on host)")),
        ],
    );
}

#[test]
fn legacy_exit_codes_and_json_hold_in_repository() {
    if !has_tools("legacy_exit_codes_and_json_hold_in_repository") {
        return;
    }
    let fixture = Fixture::new();
    hold(
        &fixture,
        &[
            ("git init -q", "", 0, Empty),
            (
                "keyrack init --org acme --json",
                "",
                0,
                Json(&[("/repo/effect", "created"), ("/repo/manifestPath", "string"), ("/repo/org", "acme")]),
            ),
            (
                "keyrack init --org acme --json",
                "",
                0,
                Json(&[("/host/effect", "found"), ("/repo/effect", "found")]),
            ),
            (
                "SET A --json --max-duration 1h",
                "v\n",
                0,
                Json(&[
                    ("/slug", "acme.test.A"),
                    ("/exid", "null"),
                    ("/vault", "os.secure"),
                    ("/mech", "PERMANENT_VIA_REPLICA"),
                    ("/env", "test"),
                    ("/org", "acme"),
                    ("/meta/keyrackBindVersion", "number"),
                    ("/maxDuration", "1h"),
                    ("/createdAt", "string"),
                    ("/updatedAt", "string"),
                ]),
            ),
            ("SET B", "v", 0, Has("acme.test.B")),
            (
                "keyrack set --vault os.secure --mech REPLICA --env sudo --key ROOT --json",
                "r",
                0,
                Json(&[("/env", "sudo")]),
            ),
            (
                "keyrack set --vault os.secure --mech REPLICA --env test --org @all --key M --json",
                "m",
                0,
                Json(&[("/org", "@all")]),
            ),
            ("SET C --at nowhere.yml", "v", 2, Empty),
            // keyrack never assumes a missing mechanism or env, and never waits for one.
            ("keyrack set --key C --vault os.secure --env test", "v", 2, Empty),
            ("keyrack set --key C --vault os.secure --mech REPLICA", "v", 2, Empty),
            (
                "keyrack list --json",
                "",
                0,
                Json(&[("/acme.test.A/vault", "os.secure"), ("/acme.test.A/exid", "null")]),
            ),
            // A key that is not granted: exit code 2 in every output format.
            (
                "keyrack get --key A --env test --json",
                "",
                2,
                Json(&[
                    ("/status", "locked"),
                    ("/slug", "acme.test.A"),
                    ("/message", "string"),
                    ("/fix", "keyrack unlock --env test --key A"),
                ]),
            ),
            (
                "keyrack get --key NOPE --env test --json",
                "",
                2,
                Json(&[
                    ("/status", "absent"),
                    ("/slug", "acme.test.NOPE"),
                    ("/message", "string"),
                    ("/fix", "string"),
                ]),
            ),
            (
                "K=ghp_0123 keyrack get --key acme.test.K --json",
                "",
                2,
                Json(&[
                    ("/status", "blocked"),
                    ("/slug", "acme.test.K"),
                    ("/reasons/0", "string"),
                    ("/fix", "string"),
                ]),
            ),
            ("keyrack get --key A --env test", "", 2, Has("status: locked")),
            ("keyrack get --key A --env test --value", "", 2, Empty),
            ("keyrack get --key A --env test --output value", "", 2, Empty),
            (
                "keyrack get --for repo --env test --json",
                "",
                2,
                Json(&[("/0/status", "locked"), ("/1/slug", "acme.test.B")]),
            ),
            ("keyrack get --key A --org other", "", 2, Empty),
            ("keyrack source --env test", "", 2, Empty),
            ("keyrack source --env test --lenient", "", 0, Empty),
            ("keyrack unlock --env sudo", "", 2, Empty),
            ("keyrack unlock --env nope", "", 2, Empty),
            // The output does not contain secrets. The TypeScript keyrack prints them here.
            (
                "keyrack unlock --env test --json",
                "",
                0,
                Json(&[
                    ("/unlocked/0/slug", "acme.test.A"),
                    ("/unlocked/0/key/grade/protection", "encrypted"),
                    ("/unlocked/0/key/secret", "none"),
                    ("/unlocked/0/source/vault", "os.secure"),
                    ("/unlocked/0/expiresAt", "string"),
                    ("/unlocked/2/slug", "@all.test.M"),
                    ("/omitted", "[]"),
                ]),
            ),
            ("keyrack get --key A --env test --json", "", 0, Json(GRANT)),
            ("keyrack get --key A --env test --output json", "", 0, Json(GRANT)),
            ("keyrack get --key A --env test --org acme --json", "", 0, Json(GRANT)),
            ("keyrack get --key acme.test.A --json", "", 0, Json(GRANT)),
            // `--value` overrides `--output`, and `--output` overrides `--json`.
            ("keyrack get --key A --env test --value --output json --json", "", 0, Is("v\n%")),
            ("keyrack get --key A --env test --output vibes --json", "", 0, Has("status: granted")),
            (
                "keyrack get --for repo --env test --json",
                "",
                0,
                Json(&[("/0/grant/key/secret", "v"), ("/1/status", "granted")]),
            ),
            ("keyrack get --for repo --env all --json", "", 0, Json(&[("/1/status", "granted")])),
            ("keyrack get --for repo --env prod --json", "", 0, Json(&[("", "[]")])),
            ("keyrack source --env test", "", 0, Is("export A='v'\nexport B='v'")),
            ("keyrack source --env test --key B --for default", "", 0, Is("export B='v'")),
            (
                "keyrack status --json",
                "",
                0,
                Json(&[
                    ("/keys/0/slug", "acme.test.A"),
                    ("/keys/0/env", "test"),
                    ("/keys/0/org", "acme"),
                    ("/keys/0/expiresAt", "string"),
                    ("/keys/0/ttlLeftMs", "number"),
                    ("/recipients/0/label", "default"),
                    ("/recipients/0/mech", "age"),
                    ("/owner", "null"),
                    ("/socketPath", "string"),
                ]),
            ),
            ("keyrack status --env prod --json", "", 0, Json(&[("/keys", "[]")])),
            // A key that is declared but was never set is omitted, without an error.
            ("sh -c 'printf \"  - NEVER\\n\" >> .agent/keyrack.yml'", "", 0, Empty),
            (
                "keyrack unlock --env test --json",
                "",
                0,
                Json(&[("/omitted/0/slug", "acme.test.NEVER"), ("/omitted/0/reason", "absent")]),
            ),
            ("keyrack unlock --env test --key NEVER --json", "", 2, Json(&[("/omitted/0/reason", "absent")])),
            ("keyrack relock --key acme.test.A --json", "", 0, Json(&[("/relocked", "[\"acme.test.A\"]")])),
            (
                "keyrack relock --env test --json",
                "",
                0,
                Json(&[("/relocked", "[\"@all.test.M\",\"acme.test.B\"]")]),
            ),
            ("keyrack relock --key nope.test.X --json", "", 0, Json(&[("/relocked", "[]")])),
            // fill and firewall.
            ("keyrack fill --env camp", "", 0, Has("no keys found")),
            ("keyrack fill --env test --key NOPE", "", 2, Empty),
            ("keyrack fill --env test --key A", "", 0, Has("found vaulted under acme.test.A")),
            (
                "S={} keyrack firewall --env test --from json(env://S) --into json",
                "",
                0,
                Json(&[("/0/status", "granted"), ("/1/status", "locked")]),
            ),
            (
                "keyrack firewall --env test --from json(stdin://*) --into json",
                "{\"B\":\"AKIA1\"}",
                2,
                Json(&[("/0/status", "blocked"), ("/0/reasons/0", "string")]),
            ),
            (
                "keyrack del --key B --env test --json",
                "",
                0,
                Json(&[("/slug", "acme.test.B"), ("/effect", "deleted")]),
            ),
            (
                "keyrack del --key B --env test --json",
                "",
                0,
                Json(&[("/slug", "acme.test.B"), ("/effect", "not_found")]),
            ),
            ("keyrack del --key acme.test.A --env prod", "", 2, Empty),
            ("keyrack del --key other.test.A", "", 2, Empty),
            (
                "keyrack recipient set --pubkey age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg --label x --json",
                "",
                0,
                Json(&[("/mech", "age"), ("/label", "x"), ("/pubkey", "string"), ("/addedAt", "string")]),
            ),
            (
                "keyrack recipient get --json",
                "",
                0,
                Json(&[("/0/label", "default"), ("/1/label", "x"), ("/1/addedAt", "string")]),
            ),
            ("keyrack recipient del --label x --json", "", 0, Json(&[("/deleted", "x")])),
            ("keyrack recipient del --label default", "", 2, Empty),
            (
                "keyrack daemon prune --json",
                "",
                0,
                Json(&[("/pruned/0/owner", "null"), ("/pruned/0/pid", "number")]),
            ),
        ],
    );
}

#[test]
fn owner_before_command_applies_to_every_command() {
    let fixture = Fixture::new();
    hold(
        &fixture,
        &[
            ("git init -q", "", 0, Empty),
            (
                "keyrack --owner o init --prikey ../.ssh/id_ed25519 --org acme --json",
                "",
                0,
                Json(&[("/host/owner", "o")]),
            ),
            ("cp ../.ssh/id_ed25519 ../.ssh/o", "", 0, Empty),
            (
                "keyrack --for o set --vault os.secure --mech REPLICA --env test --key A --json",
                "v",
                0,
                Json(&[("/slug", "acme.test.A")]),
            ),
            ("keyrack --owner o unlock --env test", "", 0, Has("acme.test.A")),
            // In the TypeScript keyrack, `get`, `fill` and `firewall` ignore an owner before the
            // command and read the default owner's keys.
            ("keyrack --owner o get --env test --key A --value", "", 0, Is("v\n%")),
            ("keyrack --for o get --env test --key A --value", "", 0, Is("v\n%")),
            ("keyrack get --owner o --env test --key A --value", "", 0, Is("v\n%")),
            ("keyrack --owner o source --env test", "", 0, Is("export A='v'")),
            ("keyrack --owner o fill --env test", "", 0, Has("1/1 keys verified")),
            (
                "S={} keyrack --for o firewall --env test --from json(env://S) --into json",
                "",
                0,
                Json(&[("/0/status", "granted")]),
            ),
            ("keyrack --owner o list --json", "", 0, Json(&[("/acme.test.A/env", "test")])),
            ("keyrack --owner o status --json", "", 0, Json(&[("/owner", "o")])),
            // `default` is the owner without a name, also in the path of the manifest.
            ("keyrack --owner o status --owner default --json", "", 0, Json(&[("", "null")])),
            ("keyrack init --owner default --json", "", 0, Json(&[("/host/owner", "null")])),
            ("keyrack list --json", "", 0, Json(&[("", "{}")])),
            ("keyrack daemon start", "", 0, Has("daemon: started")),
            (
                "keyrack --owner o daemon prune --json",
                "",
                0,
                Json(&[("/pruned/0/owner", "o"), ("/pruned/1", "none")]),
            ),
            ("keyrack daemon start --for o", "", 0, Has("daemon: started")),
            (
                "keyrack daemon prune --for @all --json",
                "",
                0,
                Json(&[("/pruned/0/pid", "number"), ("/pruned/1/pid", "number"), ("/pruned/2", "none")]),
            ),
            ("keyrack daemon prune --owner @all --json", "", 0, Json(&[("/pruned", "[]")])),
        ],
    );
}

#[test]
fn legacy_shell_script_lines_work() {
    if !has_tools("legacy_shell_script_lines_work") {
        return;
    }
    let fixture = Fixture::new();
    let rhx = fixture.home.home().join("rhx");
    // A short form of the wrapper in docs/wrap.md.
    fs::write(&rhx, "#!/bin/sh\nshift\nKEYRACK_INVOKED_AS='rhx keyrack' exec keyrack \"$@\"\n").unwrap();
    hold(
        &fixture,
        &[
            ("git init -q", "", 0, Empty),
            ("chmod +x ../rhx", "", 0, Empty),
            (
                "sh -c 'keyrack --owner ehmpath init --prikey ../.ssh/id_ed25519 --org acme >/dev/null; cp ../.ssh/id_ed25519 ../.ssh/ehmpath'",
                "",
                0,
                Empty,
            ),
            (
                "keyrack set --owner ehmpath --vault os.secure --mech REPLICA --env test --key AWS_PROFILE --json",
                "acme-test",
                0,
                Has("slug"),
            ),
            (
                "keyrack set --owner ehmpath --vault os.secure --mech REPLICA --env sudo --key K --json",
                "it's $x",
                0,
                Has("slug"),
            ),
            // The key is locked: the output is empty and the script continues.
            (
                "sh -c 'PATH=..:$PATH; ENV=test; AWS_PROFILE=$(rhx keyrack get --owner ehmpath --env \"$ENV\" --key AWS_PROFILE --value 2>/dev/null || echo \"\"); echo \"[$AWS_PROFILE]\"'",
                "",
                0,
                Is("[]"),
            ),
            (
                "sh -c 'PATH=..:$PATH; rhx keyrack get --owner ehmpath --env test --key AWS_PROFILE --value 2>&1 | grep tip:'",
                "",
                0,
                Has("rhx keyrack unlock --owner ehmpath --env test --key AWS_PROFILE"),
            ),
            (
                "sh -c 'PATH=..:$PATH; rhx keyrack unlock --owner ehmpath --env test >/dev/null 2>&1'",
                "",
                0,
                Empty,
            ),
            (
                "sh -c 'PATH=..:$PATH; AWS_PROFILE=$(rhx keyrack get --owner ehmpath --env test --key AWS_PROFILE --value || echo \"\"); echo \"[$AWS_PROFILE]\"'",
                "",
                0,
                Is("[acme-test]"),
            ),
            (
                "sh -c 'PATH=..:$PATH; rhx keyrack relock --owner ehmpath >/dev/null; rhx keyrack get --owner ehmpath --env test --key AWS_PROFILE --unlock --value 2>/dev/null | tail -1'",
                "",
                0,
                Is("acme-test\n%"),
            ),
            (
                "sh -c 'PATH=..:$PATH; rhx keyrack unlock --owner ehmpath --env sudo --key K >/dev/null && eval \"$(rhx keyrack source --key K --env sudo --owner ehmpath)\" && echo \"[$K]\"'",
                "",
                0,
                Is("[it's $x]"),
            ),
            (
                "sh -c 'PATH=..:$PATH; rhx keyrack get --owner ehmpath --env test --key AWS_PROFILE --value | wc -c'",
                "",
                0,
                Has("9"),
            ),
            (
                "sh -c 'PATH=..:$PATH; rhx keyrack source --env test --owner ehmpath --strict; echo $?'",
                "",
                0,
                Has("export AWS_PROFILE='acme-test'"),
            ),
        ],
    );
}
