//! Adding and removing recipients, with every file of the owner re-encrypted.

use keyrack_core::{ErrorCode, VaultId};
use keyrack_vaults::recipient_key::{self, StanzaKind};
use keyrack_vaults::{manifest_file, recipient_file, recipient_set, registry};

use crate::rig::{NOW_MS, PASSPHRASE, Prompt, Rig, fixture, slug};

fn line(key: &str) -> String {
    std::fs::read_to_string(fixture(&format!("keys/{key}.pub"))).unwrap()
}

fn add(rig: &Rig, key: &str, stanza: StanzaKind, label: &str) -> Result<usize, ErrorCode> {
    let key = recipient_key::parse(&line(key), stanza).unwrap();
    recipient_set::add(&rig.racks, &mut rig.identities(Prompt::default()), key, label, NOW_MS)
        .map(|changed| changed.files)
        .map_err(|error| error.code)
}

fn remove(rig: &Rig, label: &str) -> Result<usize, ErrorCode> {
    recipient_set::remove(&rig.racks, &mut rig.identities(Prompt::default()), label)
        .map(|changed| changed.files)
        .map_err(|error| error.code)
}

#[test]
fn added_recipient_reads_old_files_and_removed_one_none() {
    let rig = Rig::ready();
    for (key, secret) in [("acme.test.A", "one"), ("acme.test.B", "two")] {
        rig.set(key, &VaultId::OsSecure, secret);
    }
    let other = [fixture("keys/other")];
    let reads = |keys: &[std::path::PathBuf], prompt: Prompt| {
        // Without the keys of ~/.ssh, by another home's name for it.
        let ssh = rig.racks.ssh_dir();
        let hidden = ssh.with_extension("hidden");
        std::fs::rename(&ssh, &hidden).unwrap();
        let read = ["acme.test.A", "acme.test.B"]
            .map(|key| rig.get_with(key, &VaultId::OsSecure, prompt.clone(), keys).map_err(|p| p.code));
        std::fs::rename(&hidden, &ssh).unwrap();
        read
    };
    let both = || [Ok(Some("one".to_owned())), Ok(Some("two".to_owned()))];
    let none = || [Err(ErrorCode::NoIdentity), Err(ErrorCode::NoIdentity)];
    assert_eq!(reads(&other, Prompt::default()), none());

    assert_eq!(add(&rig, "other", StanzaKind::Age, "laptop"), Ok(2));
    assert_eq!(reads(&other, Prompt::default()), both());
    assert_eq!(add(&rig, "sealed", StanzaKind::Ssh, "sealed"), Ok(2));
    assert_eq!(reads(&[fixture("keys/sealed")], Prompt::with(&[PASSPHRASE, PASSPHRASE])), both());
    // A key set from now on is for all of them.
    rig.set("acme.test.B", &VaultId::OsSecure, "two");
    assert_eq!(reads(&other, Prompt::default()), both());

    assert_eq!(remove(&rig, "laptop"), Ok(2));
    assert_eq!(reads(&other, Prompt::default()), none());
    let labels: Vec<_> = rig.manifest().recipients.into_iter().map(|known| known.label).collect();
    assert_eq!(labels, ["default", "sealed"]);
}

#[test]
fn invalid_changes_are_rejected() {
    let rig = Rig::ready();
    assert_eq!(add(&rig, "other", StanzaKind::Age, "default"), Err(ErrorCode::RecipientExists));
    for label in ["", "  ", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
        assert_eq!(add(&rig, "other", StanzaKind::Age, label), Err(ErrorCode::Usage), "{label:?}");
    }
    assert_eq!(remove(&rig, "nobody"), Err(ErrorCode::RecipientNotFound));
    assert_eq!(remove(&rig, "default"), Err(ErrorCode::LastRecipient));
    let bare = Rig::bare();
    assert_eq!(add(&bare, "other", StanzaKind::Age, "x"), Err(ErrorCode::HostManifestMissing));
    assert!(!bare.racks.dir().exists(), "nothing was made on the way");
}

#[test]
fn unreadable_file_stops_the_change() {
    let rig = Rig::ready();
    for key in ["acme.test.A", "acme.test.B", "acme.test.C"] {
        rig.set(key, &VaultId::OsSecure, key);
    }
    let broken = rig.racks.secure_path(&slug("acme.test.B"));
    let whole = std::fs::read(&broken).unwrap();
    let foreign = std::fs::read(fixture("cli/rsa.age")).unwrap();
    for (bytes, code) in [(&b"damaged"[..], ErrorCode::VaultCorrupt), (&foreign, ErrorCode::NoIdentity)] {
        std::fs::write(&broken, bytes).unwrap();
        let before = snapshot(&rig);
        let key = recipient_key::parse(&line("other"), StanzaKind::Age).unwrap();
        let error =
            recipient_set::add(&rig.racks, &mut rig.identities(Prompt::default()), key, "laptop", NOW_MS)
                .unwrap_err();
        assert_eq!((&error.code, &error.slug), (&code, &Some(slug("acme.test.B"))), "{}", error.message);
        assert!(error.message.contains(broken.to_str().unwrap()), "{}", error.message);
        let fix = error.fix.unwrap().render(keyrack_core::Invocation::default());
        assert_eq!(fix, "keyrack del --env test --key B");
        assert_eq!(snapshot(&rig), before);
    }
    std::fs::write(&broken, whole).unwrap();
    assert_eq!(add(&rig, "other", StanzaKind::Age, "laptop"), Ok(3));
}

/// Every file of the racks with its content.
fn snapshot(rig: &Rig) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    crate::rig::tree(&rig.racks.dir())
        .into_iter()
        .filter(|(path, _)| path.is_file())
        .map(|(path, _)| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn file_of_an_unknown_key_is_encrypted_again() {
    let rig = Rig::ready();
    rig.set("acme.test.A", &VaultId::OsSecure, "one");
    let stray = rig.racks.secure_path(&slug("acme.test.STRAY"));
    std::fs::copy(fixture("npm/secret.age"), &stray).unwrap();
    std::fs::write(rig.racks.secure_dir().join("notes.txt"), "not a key").unwrap();
    assert_eq!(add(&rig, "other", StanzaKind::Age, "laptop"), Ok(2));
    let mut identities = rig.with_keys(&[fixture("keys/other")], Prompt::default());
    std::fs::remove_dir_all(rig.racks.ssh_dir()).unwrap();
    let bytes = std::fs::read(stray).unwrap();
    keyrack_vaults::age_file::decrypt(&mut identities, &bytes, 1000).unwrap();
    assert_eq!(std::fs::read(rig.racks.secure_dir().join("notes.txt")).unwrap(), b"not a key");
}

#[test]
fn parse_rejects_invalid_public_keys() {
    let plain = line("plain");
    let age = recipient_key::parse(&plain, StanzaKind::Age).unwrap().pubkey;
    for (text, stanza, mech) in [
        (plain.as_str(), StanzaKind::Age, recipient_key::AGE),
        (plain.as_str(), StanzaKind::Ssh, recipient_key::SSH),
        (age.as_str(), StanzaKind::Age, recipient_key::AGE),
        (&line("rsa"), StanzaKind::Ssh, recipient_key::SSH),
    ] {
        assert_eq!(recipient_key::parse(text, stanza).unwrap().mech, mech, "{text}");
    }
    // What the other implementation would hand to a shell has nothing a shell would act on.
    let key = plain.trim().trim_end_matches(" plain@test");
    for (comment, kept) in [
        ("u@host", "u@host"),
        ("my laptop", "my laptop"),
        ("$(touch /tmp/x)", ""),
        ("`x`", ""),
        ("a\"; x", ""),
        ("a\\", ""),
        ("", ""),
    ] {
        let parsed = recipient_key::parse(&format!("{key} {comment}"), StanzaKind::Ssh).unwrap();
        assert_eq!(parsed.pubkey, format!("{key} {kept}").trim_end());
    }
    let mut typo = age.clone();
    typo.replace_range(10..11, if &age[10..11] == "q" { "p" } else { "q" });
    let secret = std::fs::read_to_string(fixture("keys/age.txt")).unwrap();
    let secret = secret.lines().last().unwrap();
    let injection = "ssh-ed25519 AAAA\" $(touch /tmp/x)";
    for (text, stanza) in [
        ("", StanzaKind::Age),
        ("hello", StanzaKind::Age),
        ("age1", StanzaKind::Age),
        (&typo, StanzaKind::Age),
        (&age[..30], StanzaKind::Age),
        (&age, StanzaKind::Ssh),
        (&line("rsa"), StanzaKind::Age),
        (&line("ecdsa"), StanzaKind::Ssh),
        ("ssh-ed25519 AAAA", StanzaKind::Age),
        ("ssh-ed25519 AAAA", StanzaKind::Ssh),
        (injection, StanzaKind::Ssh),
        (&format!("{}\n{}", plain.trim(), plain.trim()), StanzaKind::Ssh),
        (secret, StanzaKind::Age),
    ] {
        let error = recipient_key::parse(text, stanza).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRecipient, "{text}");
        assert!(!format!("{error:?}").contains(&secret[20..]), "{error:?}");
    }
    // Of a kind that is not X25519: named as what it is.
    for (text, says) in [
        // Of the documentation of age-plugin-yubikey and of the age specification.
        (
            "age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt",
            "the age plugin \"yubikey\"",
        ),
        ("age1pq1qqqq", "an age recipient of the kind \"pq\""),
        ("age1tag1qqqq", "an age recipient of the kind \"tag\""),
        ("AGE-PLUGIN-YUBIKEY-1QQQQ", "an identity of an age plugin"),
    ] {
        let error = recipient_key::parse(text, StanzaKind::Age).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRecipient);
        assert!(error.message.contains(says), "{error}");
    }
}

#[test]
fn from_file_rejects_private_keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let plain = line("plain");
    let key = plain.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let age = recipient_key::parse(&plain, StanzaKind::Age).unwrap().pubkey;
    for (text, stanza) in [
        (plain.clone(), StanzaKind::Age),
        (format!("# mine\r\n\n  {age}\r\n"), StanzaKind::Age),
        (format!("{key} my private key"), StanzaKind::Age),
        (line("rsa"), StanzaKind::Ssh),
    ] {
        let taken = recipient_file::from_file(&file("good", text.as_bytes()), stanza).unwrap();
        let line = text.lines().map(str::trim).find(|line| line.contains("AAAA") || line.starts_with("age1"));
        assert_eq!(taken, recipient_key::parse(line.unwrap(), stanza).unwrap(), "{text}");
    }
    // Nothing of a file is shown that is not taken.
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMARKMARK\n-----END RSA PRIVATE KEY-----\n";
    let identity = std::fs::read_to_string(fixture("keys/age.txt")).unwrap();
    let secret = identity.lines().last().unwrap().to_owned();
    let two = format!("{plain}{plain}");
    for (bytes, code, is_private) in [
        (pem.as_bytes(), ErrorCode::BadRecipient, true),
        (identity.as_bytes(), ErrorCode::BadRecipient, true),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\nMARKMARK\n", ErrorCode::BadRecipient, true),
        (two.as_bytes(), ErrorCode::BadRecipient, false),
        (b"MARKMARK\n", ErrorCode::BadRecipient, false),
        (b"\xffMARKMARK\n", ErrorCode::BadRecipient, false),
        (b"", ErrorCode::BadRecipient, false),
        (&[b'x'; 1 << 17], ErrorCode::BadKeyFile, false),
    ] {
        let error = recipient_file::from_file(&file("bad", bytes), StanzaKind::Age).unwrap_err();
        let shown = format!("{error:?}");
        assert_eq!(error.code, code, "{shown}");
        assert_eq!(error.message.contains("is a private key"), is_private, "{shown}");
        assert!(
            !shown.contains("MARK") && !shown.contains(&secret[10..]) && !shown.contains(&key[20..]),
            "{shown}"
        );
    }
    assert_eq!(
        recipient_file::from_file(dir.path(), StanzaKind::Age).unwrap_err().code,
        ErrorCode::BadKeyFile
    );
}

#[test]
fn unsupported_recipient_stops_a_set() {
    let rig = Rig::ready();
    let mut recipients = rig.manifest().recipients;
    let yubikey = keyrack_core::host_manifest::Recipient {
        mech: "yubikey".into(),
        label: "key".into(),
        ..recipients[0].clone()
    };
    recipients.push(yubikey);
    let slug = slug("acme.test.K");
    let error = registry::vault(&VaultId::OsSecure)
        .unwrap()
        .check_set(
            keyrack_vaults::VaultEntry::new(&slug),
            &keyrack_vaults::VaultContext {
                racks: &rig.racks,
                identities: &mut rig.identities(Prompt::default()),
                recipients: &recipients,
                env: &|_| None,
                now_ms: 0,
            },
        )
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRecipient);
    assert!(error.message.contains("\"key\"") && error.message.contains("yubikey"), "{}", error.message);
}

#[test]
fn recipient_that_cannot_be_understood_stops_a_change() {
    let rig = Rig::ready();
    let known = rig.manifest();
    let mut text: serde_json::Value = serde_json::from_str(&known.to_plaintext()).unwrap();
    text["recipients"].as_array_mut().unwrap().push(serde_json::json!({"kind": "from the future"}));
    let file = keyrack_vaults::age_file::encrypt(&known.recipients, text.to_string().as_bytes()).unwrap();
    std::fs::write(rig.racks.manifest_path(), &file).unwrap();
    assert_eq!(rig.manifest().faults().len(), 1);
    assert_eq!(add(&rig, "other", StanzaKind::Age, "laptop"), Err(ErrorCode::BadRecipient));
    let changed = manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        manifest.rest.insert("x".into(), true.into());
        Ok(())
    });
    assert_eq!(changed.unwrap_err().code, ErrorCode::BadRecipient);
    assert_eq!(std::fs::read_to_string(rig.racks.manifest_path()).unwrap(), file);
}
