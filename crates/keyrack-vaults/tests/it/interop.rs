//! Files that npm's `age-encryption` and the `age` CLI wrote, and files of ours that the CLI reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyrack_core::host_manifest::Recipient;
use keyrack_core::{ErrorCode, Mechanism, VaultId};
use keyrack_testkit::{Need, can_run, run};
use keyrack_vaults::recipient_key::{self, StanzaKind};
use keyrack_vaults::{age_file, manifest_file, recipient_file, recipient_set};

use crate::rig::{NOW_MS, PASSPHRASE, Prompt, Rig, fixture, slug};

const SECRET: &str = "s3cret – ünïcode ✓\nline two\n";

fn open(file: &str, keys: &[&str], prompt: Prompt) -> Result<String, ErrorCode> {
    let rig = Rig::bare();
    let keys: Vec<PathBuf> = keys.iter().map(|key| fixture(&format!("keys/{key}"))).collect();
    let bytes = std::fs::read(fixture(file)).unwrap();
    age_file::decrypt(&mut rig.with_keys(&keys, prompt), &bytes, age_file::MAX_SECRET)
        .map(|plain| String::from_utf8(plain.to_vec()).unwrap())
        .map_err(|error| error.code)
}

#[test]
fn files_of_other_implementations_are_read() {
    for (file, key) in [
        ("npm/secret.age", "plain"),
        ("npm/two.age", "plain"),
        ("npm/two.age", "other"),
        ("npm/binary.age", "plain"),
        ("cli/plain.age", "plain"),
        ("cli/rsa.age", "rsa"),
        ("cli/rsa_pem.age", "rsa_pem"),
        ("cli/age.age", "age.txt"),
        ("cli/mixed.age", "rsa"),
        ("cli/mixed.age", "other"),
    ] {
        assert_eq!(open(file, &[key], Prompt::default()), Ok(SECRET.to_owned()), "{file} with {key}");
    }
    assert_eq!(open("npm/empty.age", &["plain"], Prompt::default()), Ok(String::new()));
}

#[test]
fn files_of_others_are_read_with_a_passphrase() {
    for (file, key) in [
        ("cli/sealed.age", "sealed"),
        ("cli/sealed_binary.age", "sealed"),
        ("cli/rsa_sealed.age", "rsa_sealed"),
        ("cli/mixed.age", "sealed"),
    ] {
        let prompt = Prompt::with(&[PASSPHRASE]);
        assert_eq!(open(file, &[key], prompt.clone()), Ok(SECRET.to_owned()), "{file} with {key}");
        assert_eq!(prompt.asked_names(), [key]);
    }
}

#[test]
fn wrong_key_opens_nothing() {
    for (file, key) in [
        ("npm/secret.age", "other"),
        ("npm/secret.age", "rsa"),
        ("cli/rsa.age", "plain"),
        ("cli/age.age", "plain"),
    ] {
        assert_eq!(open(file, &[key], Prompt::default()), Err(ErrorCode::NoIdentity), "{file} with {key}");
    }
}

#[test]
fn converted_recipients_equal_those_of_typescript() {
    let text = std::fs::read_to_string(fixture("npm/recipients.json")).unwrap();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["plain", "other"] {
        let line = std::fs::read_to_string(fixture(&format!("keys/{key}.pub"))).unwrap();
        let ours = recipient_key::from_ssh_public_key(&line).unwrap();
        assert_eq!(Some(ours.as_str()), known[key].as_str(), "{key}");
        // From the private half the same, which is what a first manifest is made for.
        let first = recipient_file::for_init(&fixture(&format!("keys/{key}"))).unwrap();
        assert_eq!((first.mech, first.pubkey), (recipient_key::AGE, ours));
    }
}

#[test]
fn manifest_of_typescript_is_read_and_rewritten() {
    let rig = Rig::bare();
    rig.key("plain", "id_ed25519");
    std::fs::create_dir_all(rig.racks.dir()).unwrap();
    std::fs::copy(fixture("npm/manifest.age"), rig.racks.manifest_path()).unwrap();
    let manifest = rig.manifest();
    assert_eq!(manifest.faults(), []);
    assert_eq!(manifest.hosts.len(), 2);
    let host = &manifest.hosts[&slug("acme.prod.AWS_PROFILE")];
    assert_eq!((&host.vault, &host.mech), (&VaultId::AwsConfig, &Mechanism::AwsSso));
    assert_eq!(host.exid.as_deref(), Some("acme.prod"));

    manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        manifest.rest.insert("fromTheFuture".into(), serde_json::json!({"a": [1, 2]}));
        Ok(())
    })
    .unwrap();
    let again = rig.manifest();
    assert_eq!(again.hosts, manifest.hosts);
    assert_eq!(again.rest["fromTheFuture"], serde_json::json!({"a": [1, 2]}));

    let text = std::fs::read_to_string(rig.racks.manifest_path()).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "armored");
    assert!(text.ends_with("-----END AGE ENCRYPTED FILE-----\n"), "a newline at the end");
}

/// Runs the `age` CLI on `file`.
fn age_decrypts(file: &Path, key: &Path) -> Vec<u8> {
    let mut command = std::process::Command::new("age");
    command.args(["-d", "-i"]).arg(key).arg(file);
    let output = run(&mut command, b"", Duration::from_secs(20)).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn recipient_of(key: &str, stanza: StanzaKind) -> Recipient {
    let text = std::fs::read_to_string(fixture(&format!("keys/{key}.pub"))).unwrap();
    let text = text.trim().trim_start_matches("Public key: ");
    recipient_set::entry(recipient_key::parse(text, stanza).unwrap(), key, NOW_MS)
}

#[test]
fn age_cli_reads_our_files() {
    if !can_run("age_cli_reads_our_files", &[Need::Program("age")]) {
        return;
    }
    let rig = Rig::bare();
    let file = rig.home.home().join("file.age");
    let to = [
        recipient_of("plain", StanzaKind::Ssh),
        recipient_of("sealed", StanzaKind::Ssh),
        recipient_of("rsa", StanzaKind::Ssh),
        recipient_of("age", StanzaKind::Age),
        recipient_of("other", StanzaKind::Age),
    ];
    for secret in [String::new(), SECRET.to_owned(), "x".repeat(65_536), "x".repeat(200_000)] {
        std::fs::write(&file, age_file::encrypt(&to, secret.as_bytes()).unwrap()).unwrap();
        for key in ["plain", "rsa", "age.txt"] {
            assert_eq!(age_decrypts(&file, &fixture(&format!("keys/{key}"))), secret.as_bytes(), "{key}");
        }
    }
    // And so do we, with each of them.
    for (key, answer) in
        [("plain", None), ("rsa", None), ("age.txt", None), ("other", None), ("sealed", Some(PASSPHRASE))]
    {
        let prompt = Prompt::with(answer.as_slice());
        let mut identities = rig.with_keys(&[fixture(&format!("keys/{key}"))], prompt);
        let plain =
            age_file::decrypt(&mut identities, &std::fs::read(&file).unwrap(), age_file::MAX_SECRET).unwrap();
        assert_eq!(plain.len(), 200_000, "{key}");
    }
}

#[test]
fn files_of_the_installed_age_cli_are_read() {
    if !can_run("files_of_the_installed_age_cli_are_read", &[Need::Program("age")]) {
        return;
    }
    let rig = Rig::bare();
    for armored in [true, false] {
        let mut command = std::process::Command::new("age");
        command.arg("-e").arg("-R").arg(fixture("keys/plain.pub")).arg("-r");
        command.arg(recipient_of("other", StanzaKind::Age).pubkey);
        if armored {
            command.arg("-a");
        }
        let written = run(&mut command, SECRET.as_bytes(), Duration::from_secs(20)).unwrap().stdout;
        for key in ["plain", "other"] {
            let mut identities = rig.with_keys(&[fixture(&format!("keys/{key}"))], Prompt::default());
            let plain = age_file::decrypt(&mut identities, &written, age_file::MAX_SECRET).unwrap();
            assert_eq!(plain.as_slice(), SECRET.as_bytes(), "{key}, armored: {armored}");
        }
    }
}

#[test]
fn keys_with_every_cipher_of_ssh_keygen_open() {
    let test = "keys_with_every_cipher_of_ssh_keygen_open";
    if !can_run(test, &[Need::Program("ssh-keygen"), Need::Program("age")]) {
        return;
    }
    for (cipher, opens) in [
        ("aes128-cbc", true),
        ("aes192-cbc", true),
        ("aes256-cbc", true),
        ("aes128-ctr", true),
        ("aes192-ctr", true),
        ("aes256-ctr", true),
        ("aes128-gcm@openssh.com", true),
        ("aes256-gcm@openssh.com", true),
        ("chacha20-poly1305@openssh.com", true),
        ("3des-cbc", false),
    ] {
        let rig = Rig::bare();
        let key = rig.racks.ssh_dir().join("id_ed25519");
        let mut keygen = std::process::Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-a", "4", "-N", PASSPHRASE, "-Z", cipher, "-f"]).arg(&key);
        assert!(keygen.status().unwrap().success(), "{cipher}");
        let mut age = std::process::Command::new("age");
        age.args(["-e", "-a", "-R"]).arg(key.with_extension("pub"));
        let file = run(&mut age, SECRET.as_bytes(), Duration::from_secs(20)).unwrap().stdout;
        let prompt = Prompt::with(&[PASSPHRASE]);
        let plain = age_file::decrypt(&mut rig.identities(prompt.clone()), &file, age_file::MAX_SECRET);
        if opens {
            assert_eq!(plain.unwrap().as_slice(), SECRET.as_bytes(), "{cipher}");
            continue;
        }
        let error = plain.unwrap_err();
        assert_eq!(error.code, ErrorCode::NoIdentity, "{cipher}");
        assert!(error.hint.unwrap().contains(cipher), "says what is wrong with the key");
        assert!(prompt.asked.borrow().is_empty(), "{cipher}: a passphrase would not help");
    }
}
