//! Contents of existing racks, manifests and scripts that a stricter keyrack could reject.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use keyrack_testkit::run;

use crate::changes::words;
use crate::fixture::{Fixture, LIMIT};

const MANIFEST: &str = "org: acme\nenv.test:\n  - K\n  - 2FA_SECRET\n";

fn fixture(manifest: &str) -> Fixture {
    let fixture = Fixture::new();
    let project = fixture.home.home().join("project");
    fs::create_dir_all(project.join(".git")).unwrap();
    fs::create_dir_all(project.join(".agent")).unwrap();
    fs::write(project.join(".agent/keyrack.yml"), manifest).unwrap();
    assert_eq!(fixture.run("keyrack init", b"").0, 0);
    fixture
}

/// Runs a line with these environment variables. Returns its exit code, stdout and stderr.
fn in_env(fixture: &Fixture, line: &str, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = fixture.command(&words(line));
    command.envs(variables.iter().copied());
    let Output { status, stdout, stderr } = run(&mut command, b"", LIMIT).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// If the runtime directory is missing or unusable, reads behave as without a daemon and print a
/// warning on stderr. Unlocking fails.
#[test]
fn reads_without_runtime_dir_behave_as_without_daemon() {
    let fixture = fixture(MANIFEST);
    let long = format!("{}/{}", fixture.home.runtime().display(), "x".repeat(100));
    fs::create_dir(&long).unwrap();
    fs::set_permissions(&long, fs::Permissions::from_mode(0o700)).unwrap();
    for runtime in ["", "relative", "/nonexistent", "/", "/dev/null", &long] {
        for (line, exit, shows) in [
            ("keyrack source --env test --lenient", 0, ""),
            ("keyrack status --json", 0, "null\n"),
            ("keyrack status", 0, "not found"),
            ("keyrack relock", 0, "keyrack relock"),
            ("keyrack daemon status", 0, "not found"),
            ("keyrack get --env test --key K", 2, "absent"),
            ("keyrack source --env test --strict", 2, ""),
            ("keyrack unlock --env test --key K", 2, ""),
        ] {
            let (code, out, err) = in_env(&fixture, line, &[("XDG_RUNTIME_DIR", runtime)]);
            let case = format!("{runtime:?}: {line}\n{out}\n{err}");
            assert_eq!(code, Some(exit), "{case}");
            assert!(out.contains(shows) && (!shows.is_empty() || out.is_empty()), "{case}");
            let reason = ["runtime dir", "XDG_RUNTIME_DIR", "the socket path"];
            let unlock = line.contains("unlock");
            assert!(unlock || reason.iter().any(|reason| err.contains(reason)), "{case}");
        }
    }
}

#[test]
fn legacy_key_names_can_be_read_but_not_set() {
    let fixture = fixture(MANIFEST);
    let value = [("2FA_SECRET", "s3cret")];
    let get = in_env(&fixture, "keyrack get --env test --key 2FA_SECRET --value", &value);
    assert_eq!((get.0, get.1.as_str()), (Some(0), "s3cret"), "{}", get.2);
    let all = in_env(&fixture, "keyrack get --for repo --env test --json", &value);
    assert!(all.1.contains("acme.test.2FA_SECRET"), "{all:?}");
    let unlock = in_env(&fixture, "keyrack unlock --env test", &[]);
    assert_eq!(unlock.0, Some(0), "{unlock:?}");
    assert!(unlock.2.contains("acme.test.2FA_SECRET"), "{unlock:?}");
    let del = in_env(&fixture, "keyrack del --env test --key 2FA_SECRET", &[]);
    assert_eq!(del.0, Some(0), "{del:?}");
    let set = "keyrack set --env test --key 2FA_NEW --vault os.secure --mech PERMANENT_VIA_REPLICA";
    let set = in_env(&fixture, set, &[]);
    assert!(set.0 == Some(2) && set.2.contains("invalid key name"), "{set:?}");
}

#[test]
fn org_this_in_keyrack_yml_can_be_read_but_not_stored() {
    let fixture = fixture("org: \"@this\"\nenv.test:\n  - K\n");
    let get = in_env(&fixture, "keyrack get --env test --key K --value", &[("K", "v")]);
    assert_eq!((get.0, get.1.as_str()), (Some(0), "v"), "{}", get.2);
    let source = in_env(&fixture, "keyrack source --env test", &[("K", "v")]);
    assert_eq!(source.0, Some(0), "{source:?}");
    let set = "keyrack set --env test --key K --vault os.secure --mech PERMANENT_VIA_REPLICA";
    let set = in_env(&fixture, set, &[]);
    assert!(set.0 == Some(2) && set.2.contains("correct `org` in keyrack.yml"), "{set:?}");
}

#[test]
fn legacy_owner_names_are_accepted() {
    let fixture = fixture(MANIFEST);
    for owner in ["Alice", "casey.b", "R2-D2_x"] {
        for line in ["init", "list", "unlock --env test", "status", "relock", "daemon stop"] {
            let line = format!("keyrack {line} --owner {owner}");
            let (code, out, err) = in_env(&fixture, &line, &[]);
            assert_eq!(code, Some(0), "{line}\n{out}\n{err}");
        }
        assert!(
            fixture.home.home().join(format!(".rhachet/keyrack/keyrack.host.{owner}.age")).exists(),
            "{owner}"
        );
    }
}

#[test]
fn unlock_clamps_duration_above_limit_with_notice() {
    let fixture = fixture(MANIFEST);
    let set = "keyrack set --env test --key K --vault os.secure --mech PERMANENT_VIA_REPLICA";
    assert_eq!(fixture.run(set, b"v").0, 0);
    let (code, out, err) = in_env(&fixture, "keyrack unlock --env test --key K --duration 72h --json", &[]);
    assert_eq!(code, Some(0), "{out}\n{err}");
    assert!(err.contains("--duration 72h is above the limit: keys stay unlocked for at most 24h"), "{err}");
    let status = in_env(&fixture, "keyrack status --json", &[]).1;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let left = status["keys"][0]["ttlLeftMs"].as_i64().unwrap();
    assert!((23 * 3_600_000..=24 * 3_600_000).contains(&left), "{status}");
}
