//! Files of os.secure that do not match the host manifest, as the commands report them.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::Fixture;

/// Rack whose key K was set twice, with copies of the files from between the two.
struct Rack {
    fixture: Fixture,
    file: PathBuf,
    manifest: PathBuf,
    first_file: Vec<u8>,
    first_manifest: Vec<u8>,
}

impl Rack {
    fn new() -> Self {
        let fixture = Fixture::new();
        for line in ["git init -q", "keyrack init --org acme"] {
            assert_eq!(fixture.run(line, b"").0, 0, "{line}");
        }
        let rack = fixture.home.home().join(".rhachet/keyrack");
        set(&fixture, "first");
        let secure = rack.join("vault/os.secure/owner=default");
        let file = fs::read_dir(secure).unwrap().next().unwrap().unwrap().path();
        let manifest = rack.join("keyrack.host.age");
        let (first_file, first_manifest) = (fs::read(&file).unwrap(), fs::read(&manifest).unwrap());
        set(&fixture, "second");
        Rack { fixture, file, manifest, first_file, first_manifest }
    }

    /// Returns the version that the host manifest records.
    fn version(&self) -> u64 {
        let (exit, stdout, stderr) = self.fixture.run("keyrack list --json", b"");
        assert_eq!(exit, 0, "{stderr:?}");
        let all: Value = serde_json::from_str(&stdout.join("\n")).unwrap();
        all["acme.test.K"]["meta"]["keyrackBindVersion"].as_u64().unwrap()
    }

    fn unlock(&self) -> (i32, Value) {
        let (exit, stdout, stderr) = self.fixture.run("keyrack unlock --key K --env test --json", b"");
        let text = if stdout.is_empty() { stderr.last().unwrap().clone() } else { stdout.join("\n") };
        (exit, serde_json::from_str(&text).unwrap())
    }

    fn value(&self) -> String {
        self.fixture.run("keyrack get --key K --env test --value", b"").1.remove(0)
    }

    #[track_caller]
    fn is_refused(&self) {
        let (exit, told) = self.unlock();
        assert_eq!(exit, 2, "{told}");
        let all = told.to_string();
        for part in ["vault_mismatch", "older value", "keyrack set --env test --key K --vault os.secure"] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}

fn set(fixture: &Fixture, secret: &str) {
    let line = "keyrack set --key K --env test --vault os.secure --mech PERMANENT_VIA_REPLICA";
    let (exit, _, stderr) = fixture.run(line, secret.as_bytes());
    assert_eq!(exit, 0, "{stderr:?}");
}

#[test]
fn unlock_rejects_older_file_with_working_fix() {
    let rack = Rack::new();
    fs::write(&rack.file, &rack.first_file).unwrap();
    rack.is_refused();
    set(&rack.fixture, "third");
    assert_eq!(rack.unlock().0, 0);
    assert_eq!(rack.value(), "third");
}

/// The second `set` wrote the file and was interrupted before it wrote the host manifest.
#[test]
fn unlock_records_version_of_interrupted_set() {
    let rack = Rack::new();
    let second = rack.version();
    fs::write(&rack.manifest, &rack.first_manifest).unwrap();
    assert_eq!(rack.version(), second - 1);
    assert_eq!(rack.unlock().0, 0);
    assert_eq!(rack.value(), "second");
    assert_eq!(rack.version(), second);
    fs::write(&rack.file, &rack.first_file).unwrap();
    rack.is_refused();
}

#[test]
fn set_never_reuses_version_of_interrupted_set() {
    let rack = Rack::new();
    let second = rack.version();
    let second_file = fs::read(&rack.file).unwrap();
    fs::write(&rack.manifest, &rack.first_manifest).unwrap();
    set(&rack.fixture, "third");
    assert_eq!(rack.version(), second + 1);
    fs::write(&rack.file, second_file).unwrap();
    rack.is_refused();
}
