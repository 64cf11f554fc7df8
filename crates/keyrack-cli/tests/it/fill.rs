//! `keyrack fill` at a terminal.

use std::fs;

use keyrack_testkit::{Need, can_run};

use crate::fixture::Fixture;
use crate::terminal::at_terminal;

const CONFIRM: &str = "a password)? [y/N] ";

/// Returns a rack and a repository that declares keys, or `None` if no terminal can be created.
fn fixture(test: &str, keys: &str) -> Option<Fixture> {
    if !can_run(test, &[Need::Program("script"), Need::Program("stty"), Need::Program("git")]) {
        return None;
    }
    let fixture = Fixture::new();
    for line in ["git init -q", "keyrack init --org acme"] {
        assert_eq!(fixture.run(line, b"").0, 0, "{line}");
    }
    let manifest = fixture.home.home().join("project/.agent/keyrack.yml");
    fs::write(manifest, format!("org: acme\nenv.test:\n{keys}")).unwrap();
    Some(fixture)
}

fn value(fixture: &Fixture, key: &str) -> Vec<String> {
    fixture.run(&format!("keyrack get --env test --key {key} --value"), b"").1
}

#[test]
fn fill_asks_for_missing_keys_and_keeps_others() {
    let test = "fill_asks_for_missing_keys_and_keeps_others";
    let Some(fixture) = fixture(test, "  - A\n  - B\n  - C\n") else { return };
    let set = "keyrack set --key B --env test --vault os.secure --mech REPLICA";
    assert_eq!(fixture.run(set, b"there").0, 0);
    let answers = [
        ("key 1/3, A, for 1 owner", ""),
        // keyrack asks once for all keys.
        (CONFIRM, "y\n"),
        ("Secret for acme.test.A: ", "first\n"),
        ("key 2/3", ""),
        ("key 3/3", ""),
        ("Secret for acme.test.C: ", "third\n"),
        ("complete: 3/3 keys verified", ""),
    ];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test", &answers);
    assert_eq!(exit, 0, "{shown}");
    assert!(!shown.contains("first") && !shown.contains("third"), "{shown}");
    assert_eq!(shown.matches("set and read back").count(), 2, "{shown}");
    assert_eq!(shown.matches(CONFIRM).count(), 1, "{shown}");
    for (key, is) in [("A", "first"), ("B", "there"), ("C", "third")] {
        assert_eq!(value(&fixture, key), [is, "%"]);
    }
    // The second run has nothing to ask.
    let (exit, shown) =
        at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test --json", &[("\"verified\": 3", "")]);
    assert_eq!(exit, 0, "{shown}");
    let (exit, shown) = at_terminal(
        &fixture,
        "NO_COLOR=1 keyrack fill --env test --key B --refresh --mech PERMANENT_VIA_REPLICA",
        &[("Secret for acme.test.B: ", "again\n")],
    );
    assert_eq!(exit, 0, "{shown}");
    assert_eq!(value(&fixture, "B"), ["again", "%"]);
}

#[test]
fn fill_continues_after_failed_key() {
    let test = "fill_continues_after_failed_key";
    let Some(fixture) = fixture(test, "  - EMPTY\n  - TOKEN\n  - SHORT: ephemeral\n  - LAST\n") else {
        return;
    };
    let token = format!("ghp_{}\n", "0".repeat(36));
    let answers = [
        (CONFIRM, "y\n"),
        ("Secret for acme.test.EMPTY: ", "\n"),
        ("Secret for acme.test.TOKEN: ", &token),
        ("key 3/4", ""),
        ("Secret for acme.test.LAST: ", "last\n"),
        ("complete: 1/4 keys verified", ""),
    ];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test", &answers);
    assert_eq!(exit, 2, "{shown}");
    assert!(shown.contains("acme.test.EMPTY is empty"), "{shown}");
    assert!(shown.contains("github classic personal access token"), "{shown}");
    assert!(shown.contains("weaker than the minimum ephemeral"), "{shown}");
    assert_eq!(value(&fixture, "LAST"), ["last", "%"]);
    // `--allow-dangerous` accepts the token.
    let again = "keyrack fill --env test --key TOKEN --allow-dangerous";
    let answers = [(CONFIRM, "y\n"), ("Secret for acme.test.TOKEN: ", token.as_str())];
    assert_eq!(at_terminal(&fixture, again, &answers).0, 0);
    // A blocked key is an error, and `--repair` prompts for a new secret.
    assert_eq!(fixture.run("keyrack relock", b"").0, 0);
    let (exit, stdout, _) = fixture.run("keyrack fill --env test --key TOKEN", b"");
    assert!(exit == 2 && stdout.iter().any(|line| line.contains("failed: ")), "{stdout:?}");
    let answers = [(CONFIRM, "y\n"), ("Secret for acme.test.TOKEN: ", "fine\n")];
    assert_eq!(
        at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test --key TOKEN --repair", &answers).0,
        0
    );
    assert_eq!(value(&fixture, "TOKEN"), ["fine", "%"]);
}

#[test]
fn fill_stops_if_declined_or_interrupted() {
    let test = "fill_stops_if_declined_or_interrupted";
    let Some(fixture) = fixture(test, "  - A\n  - B\n  - C\n") else { return };
    let answers = [(CONFIRM, "n\n"), ("complete: 0/3 keys verified", "")];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test", &answers);
    assert_eq!(exit, 2, "{shown}");
    assert_eq!(shown.matches(CONFIRM).count(), 1, "asked once: {shown}");
    for key in ["A", "B", "C"] {
        let fix =
            format!("keyrack set --env test --key {key} --vault os.secure --mech PERMANENT_VIA_REPLICA\n");
        assert!(shown.contains(&fix), "{shown}");
    }
    // The user pastes the secret at the confirmation.
    let answers = [(CONFIRM, "hunter2\n"), ("discarded and not shown", ""), (CONFIRM, "\n")];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test", &answers);
    assert!(exit == 2 && !shown.contains("hunter2"), "{shown}");
    // Ctrl-C stops the command, which reports the keys that are done.
    let answers = [
        (CONFIRM, "y\n"),
        ("Secret for acme.test.A: ", "a\n"),
        ("Secret for acme.test.B: ", "half\u{3}"),
        ("interrupted: 1/3 keys verified", ""),
    ];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test", &answers);
    assert_eq!(exit, 130, "{shown}");
    assert!(!shown.contains("half") && !shown.contains("acme.test.C"), "{shown}");
    assert_eq!(value(&fixture, "A"), ["a", "%"]);
    let (exit, shown) =
        at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test --no-prompt", &[("tip: keyrack set", "")]);
    assert_eq!(exit, 2, "{shown}");
}

#[test]
fn fill_asks_for_passphrase_once_per_owner() {
    let test = "fill_asks_for_passphrase_once_per_owner";
    let Some(fixture) = fixture(test, "  - A\n  - B\n") else { return };
    let line = "sh -c 'rm ../.ssh/id_ed25519*; keyrack init --owner o --prikey $KEYS/sealed; cp $KEYS/sealed ../.ssh/o'";
    let (exit, _, stderr) = fixture.run(line, b"");
    assert_eq!(exit, 0, "{stderr:?}");
    let answers = [
        ("Passphrase for ", "wrong\n"),
        ("Wrong passphrase. Passphrase for ", "correct horse\n"),
        (CONFIRM, "y\n"),
        ("Secret for acme.test.A: ", "a\n"),
        ("Secret for acme.test.B: ", "b\n"),
        ("complete: 2/2 keys verified", ""),
    ];
    let (exit, shown) = at_terminal(&fixture, "NO_COLOR=1 keyrack fill --env test --owner o", &answers);
    assert_eq!(exit, 0, "{shown}");
    assert_eq!(shown.matches("Passphrase for").count(), 2, "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
}
