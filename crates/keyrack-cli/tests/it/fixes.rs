//! Every fix that an error suggests works when the user pastes it: following the suggested fixes
//! leads to success.

use crate::fixture::Fixture;

/// Runs a line. If it fails, runs the fix that it suggests and then the line again, unless the fix
/// replaces the line.
fn follow(fixture: &Fixture, line: &str, trail: &mut Vec<String>) {
    assert!(trail.len() < 8, "in circles: {trail:#?}");
    trail.push(line.to_owned());
    let (exit, stdout, stderr) = fixture.run(line, b"s3cret");
    if exit == 0 {
        return;
    }
    let fix = way_out(&stdout).or_else(|| way_out(&stderr));
    let fix = fix.unwrap_or_else(|| panic!("{line}: no way out is named:\n{stdout:#?}\n{stderr:#?}"));
    follow(fixture, &fix, trail);
    let (exit, stdout, stderr) = fixture.run(line, b"s3cret");
    let again = way_out(&stdout).or_else(|| way_out(&stderr));
    if exit != 0 && again.as_ref() != Some(&fix) {
        follow(fixture, &again.unwrap_or_else(|| panic!("{line}: {stderr:#?}")), trail);
    }
}

fn way_out(lines: &[String]) -> Option<String> {
    lines.iter().find_map(|line| {
        let (_, command) = line.split_once("─ tip: ").or_else(|| line.split_once("─ fix: "))?;
        Some(command.to_owned())
    })
}

#[test]
fn every_suggested_fix_works() {
    for (what, before, line, then) in [
        ("never set", "", "keyrack get --key K --env test --value", "s3cret"),
        ("never set, another owner", "", "keyrack get --owner robot --key K --env test --value", "s3cret"),
        ("never set, of the machine", "", "keyrack get --key K --env test --org @all --value", "s3cret"),
        ("never set, sudo", "", "keyrack get --key K --env sudo --value", "s3cret"),
        ("never set, sudo of the machine", "", "keyrack get --key @all.sudo.K --value", "s3cret"),
        ("not declared", "", "keyrack unlock --env test --key K", ""),
        ("without a mechanism", "", "keyrack set --key K --env test --vault os.secure", ""),
        (
            "a conflict of envs",
            "printf v | keyrack set --key K --env test --vault os.secure --mech REPLICA",
            "keyrack unlock --env prod --key acme.test.K",
            "",
        ),
        (
            "in several envs",
            "printf \"env.test: [K]\\nenv.prod: [K]\\n\" >> .agent/keyrack.yml",
            "keyrack get --key K --value",
            "",
        ),
        (
            "weaker than it was",
            "printf v | keyrack set --key K --env test --vault os.secure --mech REPLICA",
            "keyrack set --key K --env test --vault os.direct --mech REPLICA",
            "",
        ),
        (
            "weaker than demanded",
            "printf \"env.test:\\n  - K: encrypted\\n\" >> .agent/keyrack.yml",
            "keyrack set --key K --env test --vault os.direct --mech REPLICA",
            "",
        ),
        (
            "lost by its vault",
            "printf v | keyrack set --key K --env test --vault os.secure --mech REPLICA; rm ../.rhachet/keyrack/vault/os.secure/owner=default/*",
            "keyrack unlock --env test --key K",
            "",
        ),
        (
            "damaged",
            "printf v | keyrack set --key K --env test --vault os.secure --mech REPLICA; for f in ../.rhachet/keyrack/vault/os.secure/owner=default/*; do echo junk > $f; done",
            "keyrack unlock --env test --key K",
            "",
        ),
        (
            "a label that is taken",
            "keyrack recipient set --label spare --pubkey \"$(cat $KEYS/other.pub)\"",
            "sh -c 'keyrack recipient set --label spare --pubkey \"$(cat $KEYS/sealed.pub)\"'",
            "",
        ),
        (
            "not declared, beside one that is",
            "printf v | keyrack set --key K --env test --vault os.secure --mech REPLICA; keyrack unlock --env test",
            "keyrack unlock --env test --key NEW",
            "",
        ),
    ] {
        let fixture = Fixture::new();
        let before = if before.is_empty() { ":" } else { before };
        let setup = format!(
            "{{ git init -q; keyrack init --org acme; cp $KEYS/other ../.ssh/robot; {before}; }} >&2"
        );
        let (exit, _, stderr) = fixture.run(&format!("sh -c '{setup}'"), b"");
        assert_eq!(exit, 0, "{what}: {stderr:#?}");
        let mut trail = Vec::new();
        follow(&fixture, line, &mut trail);
        assert!(trail.len() > 1, "{what}: it did not fail at first");
        if !then.is_empty() {
            assert_eq!(fixture.run(line, b"").1, [then, "%"], "{what}: {trail:#?}");
        }
    }
}
