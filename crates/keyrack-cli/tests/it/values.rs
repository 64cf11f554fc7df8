//! What may be in a value, and what becomes of it at each place that stores or hands out one.

use serde_json::json;

use crate::scenario::World;

const AKIA: &str = "AKIAIOSFODNN7EXAMPLE";

/// A rack and a repository of org acme whose `keyrack.yml` declares these keys for env test.
fn world(keys: &[&str]) -> World {
    let world = World::new();
    let keys: String = keys.iter().map(|key| format!("\\n  - {key}")).collect();
    for line in [
        "git init -q".to_owned(),
        "keyrack init".to_owned(),
        format!("sh -c 'mkdir -p .agent; printf \"org: acme\\nenv.test:{keys}\\n\" > .agent/keyrack.yml'"),
    ] {
        let (exit, _, stderr) = world.run(&line, b"");
        assert_eq!(exit, 0, "{line}: {stderr:?}");
    }
    world
}

#[test]
fn a_token_inside_a_value_passes_no_gate() {
    let world = world(&["T"]);
    let aws = json!({ "AccessKeyId": AKIA, "SecretAccessKey": "s" }).to_string();
    for value in [aws, format!("https://x:{AKIA}@example.com"), format!("Bearer {AKIA}")] {
        let set = "keyrack set --env test --key T --vault os.secure --mech PERMANENT_VIA_REPLICA";
        let (exit, stdout, stderr) = world.run(set, value.as_bytes());
        assert_eq!(exit, 2, "{stdout:?}{stderr:?}");
        let (exit, _, stderr) = world.run(&format!("{set} --allow-dangerous"), value.as_bytes());
        assert_eq!(exit, 0, "{stderr:?}");
        let told = world.run("keyrack unlock --env test --key T", b"");
        assert_eq!(told.0, 2, "{told:?}");
        let (exit, _, stderr) = world.run("keyrack unlock --env test --key T --allow-dangerous", b"");
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
            let (exit, stdout, stderr) = world.run(&gate, stdin.as_bytes());
            assert_eq!(exit, 2, "{gate}: {stdout:?}{stderr:?}");
            let told = [stdout, stderr].concat().join("\n");
            assert!(!told.contains(AKIA), "{gate}: {told}");
        }
        let (_, stdout, _) = world.run("keyrack get --env test --key T --value --allow-dangerous", b"");
        assert_eq!(stdout.concat().trim_end_matches('%'), value);
        assert_eq!(world.run("keyrack del --env test --key T", b"").0, 0);
        let secrets = json!({ "T": value }).to_string();
        let gate = "keyrack firewall --env test --from 'json(stdin://*)' --into json";
        let (exit, stdout, _) = world.run(gate, secrets.as_bytes());
        assert_eq!(exit, 2, "{stdout:?}");
    }
}
