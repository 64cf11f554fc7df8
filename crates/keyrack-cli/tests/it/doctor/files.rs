//! Directories, keys, the rack's files, the repository and the environment.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use keyrack_core::{Owner, Slug};
use keyrack_testkit::{Need, can_run};
use keyrack_vaults::{Identities, IdentitySource, NoPassphrasePrompt, RackPaths, age_file, manifest_file};

use super::{Report, UNUSED_UID, can_mount, diagnose, doctor, in_mount_namespace, run_ok, unlocked_rack};
use crate::fixture::Fixture;

#[test]
fn doctor_fails_on_a_bad_runtime_directory() {
    let fixture = Fixture::new();
    let at = |name: &str| fixture.home.root().join(name);
    fs::create_dir(at("open")).unwrap();
    fs::set_permissions(at("open"), Permissions::from_mode(0o755)).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink(fixture.home.runtime(), at("link")).unwrap();
    fs::create_dir(at(&"x".repeat(90))).unwrap();
    fs::set_permissions(at(&"x".repeat(90)), Permissions::from_mode(0o700)).unwrap();
    let with = |value: PathBuf| Report::from_command(doctor(&fixture).env("XDG_RUNTIME_DIR", value));
    for (value, words) in [
        (PathBuf::new(), &["set but empty", "unset XDG_RUNTIME_DIR"][..]),
        ("relative".into(), &["not absolute"]),
        (at("missing"), &["no such directory"]),
        (at("file"), &["not a directory"]),
        (at("link"), &["symbolic link"]),
        (at("open"), &["0755", "chmod 700 "]),
    ] {
        let report = with(value);
        report.assert_check("place.runtime_dir", "fail", words);
        report.assert_check("daemon.socket", "skip", &["without a socket path"]);
    }
    with(at(&"x".repeat(90))).assert_check("place.socket_path", "fail", &["107", "shorter path"]);
    let report = Report::from_command(doctor(&fixture).env_remove("XDG_RUNTIME_DIR"));
    report.assert_check("place.runtime_dir", "ok", &["XDG_RUNTIME_DIR is not set"]);
    Report::from_command(doctor(&fixture).env_remove("HOME")).assert_check(
        "place.home",
        "fail",
        &["HOME is not set"],
    );
    Report::from_command(doctor(&fixture).env("HOME", "gone")).assert_check(
        "place.home",
        "fail",
        &["not an absolute path"],
    );
    if can_run("doctor_fails_on_a_bad_runtime_directory: another's", &[Need::Root]) {
        std::os::unix::fs::chown(at("open"), Some(UNUSED_UID), None).unwrap();
        with(at("open")).assert_check("place.runtime_dir", "fail", &["another user", "unset it"]);
    }
}

#[test]
fn doctor_warns_of_a_read_only_or_foreign_home() {
    if !can_mount("doctor_warns_of_a_read_only_or_foreign_home") {
        return;
    }
    let fixture = unlocked_rack();
    diagnose(&fixture).assert_check("place.home", "ok", &["HOME is "]);
    let home = fixture.home.home();
    let text = format!("mount --bind -o ro '{0}' '{0}'; exec keyrack doctor --json", home.display());
    let report = Report::from_command(&mut in_mount_namespace(&fixture, &text));
    report.assert_check("place.home", "warn", &["read-only file system", "not set"]);
    // Root with the HOME of another user: a fix must not move that user's rack, because the user
    // would lose the keys.
    let owner = format!("{UNUSED_UID}:{UNUSED_UID}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(home).status().unwrap().success());
    let report = diagnose(&fixture);
    report.assert_check(
        "place.home",
        "warn",
        &["belongs to uid 65532", "run keyrack as that user", "sudo -H"],
    );
    let (exit, _, stderr) =
        fixture.run("keyrack set --key A --env test --vault os.secure --mech REPLICA", b"x");
    let text = stderr.join("\n");
    assert!(
        exit == 2 && text.contains("run keyrack as that user") && !text.contains("move it away"),
        "{text}"
    );
}

#[test]
fn doctor_reports_the_ssh_keys() {
    let fixture = unlocked_rack();
    let ssh = fixture.home.home().join(".ssh");
    let key = ssh.join("id_ed25519");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    diagnose(&fixture).assert_check("rack.identity", "warn", &["id_ed25519", "0644", "chmod 600 "]);
    fs::write(ssh.join("id_rsa"), "no key").unwrap();
    let report = diagnose(&fixture);
    report.assert_check("rack.identity", "warn", &["id_rsa is unusable: it is neither"]);
    report.assert_check("rack.host_manifest", "ok", &["opens with"]);
    fs::remove_file(ssh.join("id_rsa")).unwrap();
    fs::remove_file(&key).unwrap();
    let report = diagnose(&fixture);
    report.assert_check("rack.identity", "warn", &["no ssh key in", "ssh-keygen", "--prikey"]);
    report.assert_check("rack.host_manifest", "fail", &["no available identity opens"]);
    // A key with a passphrase counts as usable, because it cannot be tested without the passphrase.
    // The doctor does not prompt.
    let keys = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let fixture = Fixture::new();
    let ssh = fixture.home.home().join(".ssh");
    for name in ["id_ed25519", "id_ed25519.pub"] {
        fs::copy(keys.join(name.replace("id_ed25519", "sealed")), ssh.join(name)).unwrap();
    }
    fs::set_permissions(ssh.join("id_ed25519"), Permissions::from_mode(0o600)).unwrap();
    run_ok(&fixture, "keyrack init");
    let report = diagnose(&fixture);
    report.assert_check("rack.identity", "ok", &["id_ed25519 is a key with a passphrase (not tried)"]);
    report.assert_check("rack.host_manifest", "skip", &["was not opened", "passphrase of ", "id_ed25519"]);
    assert_eq!(report.exit, 0);
}

#[test]
fn doctor_fails_on_a_damaged_host_manifest() {
    let fixture = Fixture::new();
    diagnose(&fixture).assert_check(
        "rack.host_manifest",
        "skip",
        &["there is no host manifest yet", "keyrack init"],
    );
    run_ok(&fixture, "keyrack init");
    let path = fixture.home.home().join(".rhachet/keyrack/keyrack.host.age");
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.len() / 2;
    for (content, words) in
        [("junk", "is damaged: its header is broken"), ("", "it is empty"), (&whole[..cut], "is damaged: ")]
    {
        fs::write(&path, content).unwrap();
        diagnose(&fixture).assert_check(
            "rack.host_manifest",
            "fail",
            &[words, "restore the file from a backup"],
        );
    }
    fs::remove_file(&path).unwrap();
    symlink("/etc/hostname", &path).unwrap();
    diagnose(&fixture).assert_check("rack.host_manifest", "fail", &["symbolic link"]);
}

#[test]
fn doctor_reports_bad_vault_files() {
    let fixture = unlocked_rack();
    let vaults = fixture.home.home().join(".rhachet/keyrack/vault");
    let secure =
        fs::read_dir(vaults.join("os.secure/owner=default")).unwrap().next().unwrap().unwrap().path();
    let direct = vaults.join("os.direct/owner=default/keyrack.direct.json");
    fs::set_permissions(&direct, Permissions::from_mode(0o640)).unwrap();
    diagnose(&fixture).assert_check("rack.files", "warn", &["keyrack.direct.json", "0640", "chmod 600 "]);
    fs::write(&direct, "{\n  \"acme.test.B\": {\"value\": \"s3cret-of-the-doctor\"\n").unwrap();
    let report = diagnose(&fixture);
    report.assert_check("rack.files", "fail", &["keyrack.direct.json line "]);
    assert!(!report.text.contains("s3cret-of"), "{}", report.text);
    fs::write(&direct, "{}").unwrap();
    let report = diagnose(&fixture);
    report.assert_check(
        "rack.keys",
        "fail",
        &["acme.test.B is recorded", "keyrack set --env test --key B --vault os.direct"],
    );
    let whole = fs::read(&secure).unwrap();
    fs::write(&secure, "junk").unwrap();
    let report = diagnose(&fixture);
    report.assert_check(
        "rack.files",
        "fail",
        &["is damaged", "acme.test.A", "keyrack set --env test --key A --vault os.secure"],
    );
    fs::remove_file(&secure).unwrap();
    diagnose(&fixture).assert_check(
        "rack.keys",
        "fail",
        &["acme.test.A is recorded", "keyrack del --env test --key A"],
    );
    symlink("/etc/hostname", &secure).unwrap();
    diagnose(&fixture).assert_check("rack.files", "fail", &["symbolic link"]);
    fs::remove_file(&secure).unwrap();
    // The file from an earlier `set`.
    run_ok(
        &fixture,
        "sh -c 'printf later | keyrack set --key A --env test --vault os.secure --mech REPLICA'",
    );
    fs::write(&secure, whole).unwrap();
    let fix = "keyrack set --env test --key A --vault os.secure";
    diagnose(&fixture).assert_check("rack.binding", "fail", &["acme.test.A holds an older value", fix]);
}

#[test]
fn doctor_warns_of_unbound_key_files() {
    let fixture = unlocked_rack();
    diagnose(&fixture).assert_no_check("rack.binding");
    // The TypeScript keyrack stores a key as a file without a binding, and an entry without meta.
    let home = fixture.home.home();
    let racks = RackPaths::new(Some(home.as_os_str()), Owner::DEFAULT).unwrap();
    let source = IdentitySource { racks: racks.clone(), prikeys: Vec::new(), ssh_auth_sock: None };
    let mut identities = Identities::discover(source, Box::new(NoPassphrasePrompt)).unwrap();
    let slug = Slug::parse("acme.test.A").unwrap();
    let recipients = manifest_file::update(&racks, &mut identities, |manifest, _| {
        manifest.hosts.get_mut(&slug).unwrap().meta = None;
        Ok(manifest.recipients.clone())
    })
    .unwrap();
    let file = age_file::encrypt(&recipients, b"s3cret-of-the-doctor").unwrap();
    fs::write(racks.secure_path(&slug), file).unwrap();
    let report = diagnose(&fixture);
    report.assert_check("rack.binding", "warn", &["1 key", "acme.test.A", "keyrack set --env test --key A"]);
    assert_eq!(report.exit, 0);
    run_ok(&fixture, "keyrack unlock --env test --key A");
    run_ok(&fixture, "keyrack set --key A --env test --vault os.secure --mech REPLICA");
    diagnose(&fixture).assert_no_check("rack.binding");
}

#[test]
fn doctor_reports_faults_of_the_repository() {
    let fixture = Fixture::new();
    diagnose(&fixture).assert_check("repository.manifest", "skip", &["not in a git repository"]);
    run_ok(&fixture, "git init -q");
    diagnose(&fixture).assert_check("repository.manifest", "skip", &["has no .agent/keyrack.yml"]);
    let project = fixture.home.home().join("project");
    fs::create_dir(project.join(".agent")).unwrap();
    for (text, words) in [
        ("org: acme\nenv.test: [A\n", ".agent/keyrack.yml:2: not valid YAML"),
        ("env.test: [A]\n", ".agent/keyrack.yml"),
        ("org: acme\nenv.test:\n  - A\n  - B: strong\n", ".agent/keyrack.yml:4: env.test: B"),
        ("org: acme\nenv.dev: [A]\n", ".agent/keyrack.yml:2: env.dev"),
    ] {
        fs::write(project.join(".agent/keyrack.yml"), text).unwrap();
        diagnose(&fixture).assert_check("repository.manifest", "fail", &[words]);
    }
}

#[test]
fn doctor_reports_unknown_and_invalid_variables() {
    let fixture = Fixture::new();
    let report = Report::from_command(
        doctor(&fixture).env("KEYRACK_TOKN", "hunter2").env("KEYRACK_MEMORY", "hunter2"),
    );
    report.assert_check("environment", "warn", &["unknown variable KEYRACK_TOKN"]);
    report.assert_check("environment", "fail", &["KEYRACK_MEMORY must be one of auto, secret, locked"]);
    assert!(!report.text.contains("hunter2"), "{}", report.text);
}
