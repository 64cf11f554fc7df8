//! Each vault: what it takes, what it refuses, and what it leaves on the disk.

use keyrack_core::{ErrorCode, Mechanism, Owner, VaultId};
use keyrack_vaults::{VaultEntry, age_file, inventory, manifest_file, registry};

use crate::rig::{NOW_MS, Prompt, Rig, fixture, slug, tree};

const KEY: &str = "acme.test.API_KEY";

#[test]
fn both_vaults_get_set_and_delete() {
    for vault in [VaultId::OsSecure, VaultId::OsDirect] {
        let rig = Rig::ready();
        assert_eq!(rig.get(KEY, &vault).unwrap(), None, "{vault}");
        for secret in ["one", "ünïcode \"quoted\"\n", "one"] {
            rig.set(KEY, &vault, secret);
            assert_eq!(rig.get(KEY, &vault).unwrap().as_deref(), Some(secret), "{vault}");
        }
        rig.set("acme.test.OTHER", &vault, "two");
        let slug = slug(KEY);
        let found = registry::vault(&vault).unwrap();
        rig.in_context(|context| {
            let entry = VaultEntry::new(&slug);
            assert!(found.has(entry, context));
            assert!(found.del(entry, context).unwrap(), "{vault}");
            assert!(!found.del(entry, context).unwrap(), "{vault}: a second del finds nothing");
            assert!(!found.has(entry, context));
        });
        assert_eq!(rig.get(KEY, &vault).unwrap(), None, "{vault}");
        assert_eq!(rig.get("acme.test.OTHER", &vault).unwrap().as_deref(), Some("two"), "{vault}");
    }
}

#[test]
fn files_are_private_and_nothing_is_left_behind() {
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    rig.set(KEY, &VaultId::OsDirect, "one");
    let top = rig.home.home().join(".rhachet");
    let mut names = Vec::new();
    for (path, mode) in tree(&top) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
        if path.is_file() {
            names.push(path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned());
        }
    }
    let hash = slug(KEY).hash16();
    assert_eq!(
        names,
        [
            "keyrack/.lock".to_owned(),
            format!("keyrack/inventory/owner=default/{hash}.stocked"),
            "keyrack/keyrack.host.age".to_owned(),
            "keyrack/vault/os.direct/owner=default/keyrack.direct.json".to_owned(),
            format!("keyrack/vault/os.secure/owner=default/{hash}.age"),
        ]
    );
}

#[test]
fn os_secure_stores_no_plaintext() {
    let rig = Rig::ready();
    let secret = "a-secret-that-would-be-seen";
    rig.set(KEY, &VaultId::OsSecure, secret);
    for (path, _) in tree(&rig.home.home()) {
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let seen = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!seen, "{}", path.display());
        }
    }
}

#[test]
fn open_modes_of_typescript_are_tightened_on_rewrite() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    rig.set(KEY, &VaultId::OsDirect, "one");
    for (path, _) in tree(&rig.racks.dir()) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(rig.racks.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Readable as it is.
    assert_eq!(rig.get(KEY, &VaultId::OsSecure).unwrap().as_deref(), Some("one"));
    for vault in [VaultId::OsSecure, VaultId::OsDirect] {
        rig.set(KEY, &vault, "two");
    }
    rig.set("acme.test.NEW", &VaultId::OsSecure, "so that the manifest is rewritten too");
    for (path, mode) in tree(&rig.racks.dir()) {
        let is_lock = path.ends_with(".lock");
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert!(mode == expected || is_lock, "{} {mode:o}", path.display());
    }
}

#[test]
fn empty_and_too_large_secrets_are_rejected() {
    let rig = Rig::ready();
    let largest = vec![b'x'; age_file::MAX_SECRET];
    let too_large = vec![b'x'; age_file::MAX_SECRET + 1];
    let mech = Mechanism::Replica;
    for id in [VaultId::OsSecure, VaultId::OsDirect] {
        let vault = registry::vault(&id).unwrap();
        let slug = slug(KEY);
        let entry = VaultEntry::new(&slug).with_mech(&mech);
        rig.in_context(|context| {
            for (secret, code) in
                [(&b""[..], ErrorCode::EmptySecret), (&too_large, ErrorCode::SecretTooLarge)]
            {
                let error = vault.set(entry, secret, context).unwrap_err();
                assert_eq!((error.code, error.slug.as_ref()), (code, Some(&slug)), "{id}");
            }
            assert!(!vault.has(entry, context), "{id}");
            vault.set(entry, &largest, context).unwrap();
            let got = vault.get(entry, context).unwrap().unwrap();
            assert_eq!(got.secret.as_slice(), largest, "{id}");
        });
    }
}

#[test]
fn os_secure_stores_any_bytes_and_os_direct_only_text() {
    let rig = Rig::ready();
    let bytes = [0xff, 0, 0xfe, b'\n'];
    let slug = slug(KEY);
    let mech = Mechanism::Replica;
    let entry = VaultEntry::new(&slug).with_mech(&mech);
    rig.in_context(|context| {
        let secure = registry::vault(&VaultId::OsSecure).unwrap();
        secure.set(entry, &bytes, context).unwrap();
        assert_eq!(secure.get(entry, context).unwrap().unwrap().secret.as_slice(), bytes);
        let direct = registry::vault(&VaultId::OsDirect).unwrap();
        assert_eq!(direct.set(entry, &bytes, context).unwrap_err().code, ErrorCode::BadVault);
        assert!(!direct.has(entry, context));
    });
}

#[test]
fn check_set_rejects_what_set_would() {
    let rig = Rig::bare();
    let slug = slug(KEY);
    let check = |id: &VaultId, mech: Mechanism| {
        rig.in_context(|context| {
            registry::vault(id).unwrap().check_set(VaultEntry::new(&slug).with_mech(&mech), context)
        })
        .map_err(|error| error.code)
    };
    // No manifest, so no recipients.
    assert_eq!(check(&VaultId::OsSecure, Mechanism::Replica), Err(ErrorCode::HostManifestMissing));
    assert_eq!(check(&VaultId::OsDirect, Mechanism::Replica), Ok(()));
    assert_eq!(check(&VaultId::OsDirect, Mechanism::GithubApp), Err(ErrorCode::BadMech));
    assert_eq!(check(&VaultId::OsEnvvar, Mechanism::Replica), Err(ErrorCode::VaultReadOnly));
    rig.key("plain", "id_ed25519");
    rig.init("id_ed25519");
    assert_eq!(check(&VaultId::OsSecure, Mechanism::Replica), Ok(()));
    assert_eq!(check(&VaultId::OsSecure, Mechanism::GithubApp), Err(ErrorCode::BadMech));
}

#[test]
fn damaged_file_is_named_and_does_not_affect_others() {
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    rig.set("acme.test.OTHER", &VaultId::OsSecure, "two");
    let path = rig.racks.secure_path(&slug(KEY));
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    // In the base64 of the payload, behind the header.
    let at = flipped.len() - 60;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    let cut = &whole[..whole.len() - 40];
    let huge = vec![b'x'; 8 << 20];
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("blank", b"\n\n"),
        ("text", b"hello"),
        ("flipped", &flipped),
        ("cut", cut),
        ("half", &whole[..whole.len() / 2]),
        ("doubled", &[&whole[..], &whole[..]].concat()),
        ("huge", &huge),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = rig.get(KEY, &VaultId::OsSecure).unwrap_err();
        assert_eq!(error.code, ErrorCode::VaultCorrupt, "{what}: {}", error.message);
        assert!(error.message.contains(path.to_str().unwrap()), "{what}: {}", error.message);
        assert_eq!(error.slug, Some(slug(KEY)), "{what}");
        assert_eq!(rig.get("acme.test.OTHER", &VaultId::OsSecure).unwrap().as_deref(), Some("two"));
    }
    // Setting it again repairs it.
    rig.set(KEY, &VaultId::OsSecure, "three");
    assert_eq!(rig.get(KEY, &VaultId::OsSecure).unwrap().as_deref(), Some("three"));
}

#[test]
fn too_large_plaintext_is_reported() {
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    let large = vec![b'x'; age_file::MAX_SECRET + 1];
    let file = age_file::encrypt(&rig.manifest().recipients, &large).unwrap();
    std::fs::write(rig.racks.secure_path(&slug(KEY)), file).unwrap();
    let error = rig.get(KEY, &VaultId::OsSecure).unwrap_err();
    assert_eq!((error.code, error.slug), (ErrorCode::SecretTooLarge, Some(slug(KEY))));
}

#[test]
fn file_for_another_recipient_is_not_damaged() {
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    let path = rig.racks.secure_path(&slug(KEY));
    std::fs::copy(fixture("cli/rsa.age"), &path).unwrap();
    let error = rig.get(KEY, &VaultId::OsSecure).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoIdentity);
    assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
}

#[test]
fn os_direct_expires_and_names_the_line_of_an_error() {
    let rig = Rig::bare();
    let path = rig.racks.direct_path();
    let write = |text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    };
    let at = keyrack_core::timestamp::format_ms;
    write(&format!(
        r#"{{"a.test.OLD":{{"value":"x","expiresAt":"{}"}},"a.test.NEW":{{"value":"y","expiresAt":"{}"}},"a.test.BAD":{{"value":7}}}}"#,
        at(NOW_MS),
        at(NOW_MS + 1)
    ));
    assert_eq!(rig.get("a.test.OLD", &VaultId::OsDirect).unwrap(), None);
    assert_eq!(rig.get("a.test.NEW", &VaultId::OsDirect).unwrap().as_deref(), Some("y"));
    let error = rig.get("a.test.BAD", &VaultId::OsDirect).unwrap_err();
    assert_eq!(error.code, ErrorCode::VaultCorrupt);

    let secret = "s3cr3t-s3cr3t";
    write(&format!("{{\n  \"a.test.K\": {{\n    \"value\": \"{secret}\"\n  }},\n  oops\n}}"));
    let before = std::fs::read(&path).unwrap();
    let error = rig.get("a.test.K", &VaultId::OsDirect).unwrap_err();
    assert_eq!(error.code, ErrorCode::VaultCorrupt);
    assert!(error.message.contains(&format!("{} line 5", path.display())), "{}", error.message);
    assert!(!format!("{error:?}").contains(secret), "{error:?}");
    // What cannot be read is not overwritten.
    let (slug, mech) = (slug("a.test.K"), Mechanism::Replica);
    rig.in_context(|context| {
        let vault = registry::vault(&VaultId::OsDirect).unwrap();
        let entry = VaultEntry::new(&slug).with_mech(&mech);
        for result in [
            vault.check_set(entry, context),
            vault.set(entry, b"new", context).map(drop),
            vault.del(entry, context).map(drop),
        ] {
            assert_eq!(result.unwrap_err().code, ErrorCode::VaultCorrupt);
        }
    });
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn os_envvar_is_read_only() {
    let rig = Rig::bare();
    let vault = registry::vault(&VaultId::OsEnvvar).unwrap();
    let (known, unknown, app) = (slug("acme.test.A.B"), slug("acme.test.Z"), slug("acme.test.APP"));
    let blob = r#"{"mech":"EPHEMERAL_VIA_GITHUB_APP"}"#;
    rig.in_env(&[("A.B", "value"), ("APP", blob)], |context| {
        let got = vault.get(VaultEntry::new(&known), context).unwrap().unwrap();
        assert_eq!((got.secret.as_slice(), got.mech), (&b"value"[..], Mechanism::Replica));
        assert!(vault.get(VaultEntry::new(&unknown), context).unwrap().is_none());
        let error = vault.get(VaultEntry::new(&app), context).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadMech);
        for result in [
            vault.check_set(VaultEntry::new(&known), context),
            vault.set(VaultEntry::new(&known), b"x", context).map(drop),
            vault.del(VaultEntry::new(&known), context).map(drop),
        ] {
            assert_eq!(result.unwrap_err().code, ErrorCode::VaultReadOnly);
        }
    });
    assert!(!rig.racks.dir().exists(), "nothing was made on the way");
}

#[test]
fn inventory_marker_is_created_repaired_and_removed() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::bare();
    let slug = slug(KEY);
    let path = rig.racks.inventory_path(&slug);
    assert!(!inventory::has(&rig.racks, &slug));
    assert!(!inventory::remove(&rig.racks, &slug).unwrap());
    assert!(!rig.racks.dir().exists(), "looking makes nothing");
    inventory::add(&rig.racks, &slug).unwrap();
    for spoil in [true, false] {
        if spoil {
            std::fs::write(&path, "content").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            std::fs::set_permissions(rig.racks.inventory_dir(), std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        inventory::add(&rig.racks, &slug).unwrap();
        assert!(inventory::has(&rig.racks, &slug));
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.permissions().mode() & 0o7777), (0, 0o600));
        let dir = std::fs::metadata(rig.racks.inventory_dir()).unwrap();
        assert_eq!(dir.permissions().mode() & 0o7777, 0o700);
    }
    assert!(inventory::remove(&rig.racks, &slug).unwrap());
    assert!(!inventory::has(&rig.racks, &slug));
}

#[test]
fn owners_do_not_see_each_others_keys() {
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    let other =
        keyrack_vaults::RackPaths::new(Some(rig.home.home().as_os_str()), "other".parse::<Owner>().unwrap())
            .unwrap();
    assert!(!manifest_file::exists(&other).unwrap());
    assert!(!inventory::has(&other, &slug(KEY)));
    let error = manifest_file::load_existing(&other, &mut rig.identities(Prompt::default())).unwrap_err();
    assert_eq!(error.code, ErrorCode::HostManifestMissing);
    let fix = error.fix.unwrap().render(keyrack_core::Invocation::default());
    assert_eq!(fix, "keyrack init --owner other");
}

#[test]
fn unreadable_manifest_is_named_and_kept() {
    let rig = Rig::ready();
    let path = rig.racks.manifest_path();
    let recipients = rig.manifest().recipients;
    let sealed = |text: &str| age_file::encrypt(&recipients, text.as_bytes()).unwrap().into_bytes();
    for (bytes, code) in [
        (b"".to_vec(), ErrorCode::VaultCorrupt),
        (b"{}".to_vec(), ErrorCode::VaultCorrupt),
        (std::fs::read(fixture("cli/rsa.age")).unwrap(), ErrorCode::NoIdentity),
        (sealed("not json"), ErrorCode::HostManifestInvalid),
        (sealed("[]"), ErrorCode::HostManifestInvalid),
        (sealed("{}"), ErrorCode::HostManifestInvalid),
        (sealed(r#"{"uri":"x","hosts":[]}"#), ErrorCode::HostManifestInvalid),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let mut identities = rig.identities(Prompt::default());
        let error = manifest_file::load(&rig.racks, &mut identities).unwrap_err();
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
        let error = manifest_file::update(&rig.racks, &mut identities, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.code, code);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn unstorable_org_is_not_written() {
    let rig = Rig::ready();
    let before = std::fs::read(rig.racks.manifest_path()).unwrap();
    let error = manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        let new = keyrack_core::host_manifest::NewHostEntry {
            vault: VaultId::OsSecure,
            mech: Mechanism::Replica,
            exid: None,
            meta: None,
            max_duration: None,
        };
        manifest.put(&slug("Acme.test.K"), new, NOW_MS);
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.code, ErrorCode::BadOrg);
    assert_eq!(std::fs::read(rig.racks.manifest_path()).unwrap(), before);
}
