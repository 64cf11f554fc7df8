//! Unsafe directories and files, and failing disks: a clear error, and nothing lost.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keyrack_core::{Error, ErrorCode, Mechanism, VaultId};
use keyrack_testkit::{Need, as_user, can_run, run};
use keyrack_vaults::{VaultEntry, inventory, manifest_file, registry};

use crate::rig::{Prompt, Rig, slug};

const KEY: &str = "acme.test.API_KEY";

fn set(rig: &Rig, vault: &VaultId, secret: &str) -> Result<(), Error> {
    let (slug, mech) = (slug(KEY), Mechanism::Replica);
    let recipients = rig.manifest().recipients;
    registry::vault(vault)
        .unwrap()
        .set(
            VaultEntry::new(&slug).with_mech(&mech),
            secret.as_bytes(),
            &mut keyrack_vaults::VaultContext {
                racks: &rig.racks,
                identities: &mut rig.identities(Prompt::default()),
                recipients: &recipients,
                env: &|_| None,
                now_ms: 0,
            },
        )
        .map(drop)
}

/// Moves `path` away and leaves a link to it.
fn replace_by_link(path: &Path) {
    let moved = path.with_extension("moved");
    std::fs::rename(path, &moved).unwrap();
    symlink(&moved, path).unwrap();
}

#[test]
fn links_in_the_rack_are_rejected() {
    type Place = fn(&Rig) -> std::path::PathBuf;
    let places: [(&str, Place); 6] = [
        ("file", |rig| rig.racks.secure_path(&slug(KEY))),
        ("owner's directory", |rig| rig.racks.secure_dir()),
        ("vault's directory", |rig| rig.racks.secure_dir().parent().unwrap().to_owned()),
        ("vaults' directory", |rig| rig.racks.dir().join("vault")),
        ("keyrack's directory", |rig| rig.racks.dir()),
        ("lock", |rig| rig.racks.lock_path()),
    ];
    for (what, place) in places {
        let rig = Rig::ready();
        rig.set(KEY, &VaultId::OsSecure, "one");
        let recipients = rig.manifest().recipients;
        replace_by_link(&place(&rig));
        let (slug, mech) = (slug(KEY), Mechanism::Replica);
        let result = registry::vault(&VaultId::OsSecure).unwrap().set(
            VaultEntry::new(&slug).with_mech(&mech),
            b"two",
            &mut keyrack_vaults::VaultContext {
                racks: &rig.racks,
                identities: &mut rig.identities(Prompt::default()),
                recipients: &recipients,
                env: &|_| None,
                now_ms: 0,
            },
        );
        let error = result.unwrap_err();
        assert_eq!(error.code, ErrorCode::FileUnsafe, "{what}: {}", error.message);
        assert!(error.message.contains("symbolic link"), "{what}: {}", error.message);
        if what != "lock" {
            let error = rig.get(KEY, &VaultId::OsSecure).unwrap_err();
            assert_eq!(error.code, ErrorCode::FileUnsafe, "{what}, reading");
        }
    }
}

#[test]
fn link_above_the_rack_is_followed() {
    let rig = Rig::ready();
    let above = rig.racks.dir().parent().unwrap().to_owned();
    replace_by_link(&above);
    rig.set(KEY, &VaultId::OsSecure, "one");
    assert_eq!(rig.get(KEY, &VaultId::OsSecure).unwrap().as_deref(), Some("one"));
}

#[test]
fn other_file_types_are_rejected() {
    let rig = Rig::ready();
    std::fs::create_dir_all(rig.racks.secure_path(&slug(KEY))).unwrap();
    assert_eq!(set(&rig, &VaultId::OsSecure, "one").unwrap_err().code, ErrorCode::FileUnsafe);
    let rig = Rig::ready();
    std::fs::write(rig.racks.dir().join("vault"), "a file").unwrap();
    assert_eq!(set(&rig, &VaultId::OsSecure, "one").unwrap_err().code, ErrorCode::FileUnsafe);
    let slug = slug(KEY);
    symlink("/nonexistent", rig.racks.dir().join("inventory")).unwrap();
    assert_eq!(inventory::add(&rig.racks, &slug).unwrap_err().code, ErrorCode::FileUnsafe);
    assert!(!inventory::has(&rig.racks, &slug));
}

#[test]
fn files_of_another_user_are_rejected() {
    if !can_run("files_of_another_user_are_rejected", &[Need::Root]) {
        return;
    }
    let rig = Rig::ready();
    rig.set(KEY, &VaultId::OsSecure, "one");
    let path = rig.racks.secure_path(&slug(KEY));
    for foreign in [path, rig.racks.secure_dir(), rig.racks.dir()] {
        std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
        let error = rig.get(KEY, &VaultId::OsSecure).unwrap_err();
        assert_eq!(error.code, ErrorCode::FileUnsafe);
        assert!(error.message.contains("uid 12345"), "{}", error.message);
        std::os::unix::fs::chown(&foreign, Some(0), None).unwrap();
    }
}

/// File system over the directory of the racks, until dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a message on stderr, if root may not mount.
    fn mount(test: &str, rig: &Rig, options: &str) -> Option<Self> {
        let dir = rig.racks.dir();
        std::fs::create_dir_all(&dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "keyrack-test"]).arg(&dir);
        if run(&mut mount, b"", Duration::from_secs(10)).is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(dir));
        }
        // Requires the right to mount, and reports its absence like any other missing requirement.
        assert!(!can_run(test, &[Need::Path("/the right to mount a tmpfs")]));
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn full_disk_loses_nothing() {
    let test = "full_disk_loses_nothing";
    if !can_run(test, &[Need::Root, Need::Program("mount")]) {
        return;
    }
    let rig = Rig::bare();
    rig.key("plain", "id_ed25519");
    let Some(_disk) = SmallDisk::mount(test, &rig, "size=64k,mode=700") else { return };
    rig.init("id_ed25519");
    rig.set(KEY, &VaultId::OsSecure, "one");
    rig.set(KEY, &VaultId::OsDirect, "one");
    for vault in [VaultId::OsSecure, VaultId::OsDirect] {
        let error = set(&rig, &vault, &"x".repeat(100_000)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Io, "{vault}");
        assert!(
            error.message.contains("no space") || error.message.contains("no storage space"),
            "{}",
            error.message
        );
        assert_eq!(error.slug, Some(slug(KEY)));
        assert_eq!(rig.get(KEY, &vault).unwrap().as_deref(), Some("one"), "{vault}");
    }
    // Unfinished files take no space.
    rig.set(KEY, &VaultId::OsSecure, "two");
    assert_eq!(rig.get(KEY, &VaultId::OsSecure).unwrap().as_deref(), Some("two"));
}

#[test]
fn read_only_disk_is_read_and_changes_fail() {
    let test = "read_only_disk_is_read_and_changes_fail";
    if !can_run(test, &[Need::Root, Need::Program("mount")]) {
        return;
    }
    let rig = Rig::bare();
    rig.key("plain", "id_ed25519");
    let Some(_disk) = SmallDisk::mount(test, &rig, "size=1m,mode=700") else { return };
    rig.init("id_ed25519");
    rig.set(KEY, &VaultId::OsSecure, "one");
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,ro"]).arg(rig.racks.dir());
    assert!(remount.status().unwrap().success());
    assert_eq!(rig.get(KEY, &VaultId::OsSecure).unwrap().as_deref(), Some("one"));
    let error = set(&rig, &VaultId::OsSecure, "two").unwrap_err();
    assert_eq!(error.code, ErrorCode::Io);
    assert!(error.message.contains("read-only"), "{}", error.message);
    let error = manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        manifest.rest.insert("x".into(), true.into());
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.code, ErrorCode::Io);
}

#[test]
fn unwritable_home_is_named_to_an_ordinary_user() {
    let test = "unwritable_home_is_named_to_an_ordinary_user";
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        // No mode stops root: the test runs again as another user.
        if can_run(test, &[Need::Program("setpriv")]) {
            let mut this = Command::new(std::env::current_exe().unwrap());
            this.args(["--exact", &format!("files::{test}")]).current_dir("/");
            let output = run(&mut as_user(65534, &this), b"", Duration::from_secs(20)).unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
        return;
    }
    let rig = Rig::bare();
    std::fs::set_permissions(rig.home.home(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let error = inventory::add(&rig.racks, &slug(KEY)).unwrap_err();
    std::fs::set_permissions(rig.home.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(error.code, ErrorCode::Io);
    assert!(error.message.contains("permission denied"), "{}", error.message);
}
