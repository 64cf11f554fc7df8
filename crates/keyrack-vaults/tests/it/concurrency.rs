//! Concurrent changes and killed processes: no update is lost, and a file is the old one or the new
//! one.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use keyrack_core::host_manifest::NewHostEntry;
use keyrack_core::{Error, Mechanism, VaultId};
use keyrack_testkit::{Reaped, wait_until};
use keyrack_vaults::recipient_key::{self, StanzaKind};
use keyrack_vaults::{
    Identities, PassphrasePrompt, VaultEntry, lock_rack, manifest_file, recipient_set, registry,
};
use zeroize::Zeroizing;

use crate::rig::{NOW_MS, PASSPHRASE, Prompt, Rig, fixture, slug, tree};

/// Environment of a child of this test binary: the home whose key it sets again and again.
const CHILD_HOME: &str = "KEYRACK_VAULTS_TEST_CHILD_HOME";

#[test]
fn concurrent_sets_lose_nothing() {
    let rig = Rig::ready();
    let (threads, each) = (4, 6);
    std::thread::scope(|scope| {
        for t in 0..threads {
            let racks = rig.racks.clone();
            scope.spawn(move || {
                for n in 0..each {
                    let slug = slug(&format!("acme.test.K{t}_{n}"));
                    let source = keyrack_vaults::IdentitySource {
                        racks: racks.clone(),
                        prikeys: vec![],
                        ssh_auth_sock: None,
                    };
                    let mut identities =
                        keyrack_vaults::Identities::discover(source, Box::new(Prompt::default())).unwrap();
                    let new = NewHostEntry {
                        vault: VaultId::OsDirect,
                        mech: Mechanism::Replica,
                        exid: None,
                        meta: None,
                        max_duration: None,
                    };
                    registry::vault(&VaultId::OsDirect)
                        .unwrap()
                        .set(
                            VaultEntry::new(&slug).with_mech(&Mechanism::Replica),
                            b"value",
                            &mut keyrack_vaults::VaultContext {
                                racks: &racks,
                                identities: &mut identities,
                                recipients: &[],
                                env: &|_| None,
                                now_ms: NOW_MS,
                            },
                        )
                        .unwrap();
                    manifest_file::update(&racks, &mut identities, |manifest, _| {
                        manifest.put(&slug, new, NOW_MS);
                        Ok(())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(rig.manifest().hosts.len(), threads * each);
    for t in 0..threads {
        for n in 0..each {
            let key = format!("acme.test.K{t}_{n}");
            assert_eq!(rig.get(&key, &VaultId::OsDirect).unwrap().as_deref(), Some("value"), "{key}");
        }
    }
}

#[test]
fn lock_is_reentrant_in_a_thread_and_excludes_others() {
    let rig = Rig::ready();
    let first = lock_rack(&rig.racks).unwrap();
    let again = lock_rack(&rig.racks).unwrap();
    drop(first);
    let racks = rig.racks.clone();
    let waiting = std::thread::spawn(move || {
        let start = Instant::now();
        let _lock = lock_rack(&racks).unwrap();
        start.elapsed()
    });
    std::thread::sleep(Duration::from_millis(120));
    drop(again);
    let waited = waiting.join().unwrap();
    assert!(waited >= Duration::from_millis(60), "{waited:?}");
    assert!(rig.racks.lock_path().exists(), "never unlinked");
}

fn value(n: u8) -> String {
    char::from(b'a' + n % 26).to_string().repeat(30_000)
}

/// Body of a child process, not a test of its own.
#[test]
fn child_that_sets_until_killed() {
    let Some(home) = std::env::var_os(CHILD_HOME).map(PathBuf::from) else { return };
    let racks = keyrack_vaults::RackPaths::new(Some(home.as_os_str()), keyrack_core::Owner::DEFAULT).unwrap();
    let source =
        keyrack_vaults::IdentitySource { racks: racks.clone(), prikeys: vec![], ssh_auth_sock: None };
    let mut identities = keyrack_vaults::Identities::discover(source, Box::new(Prompt::default())).unwrap();
    let recipients = manifest_file::load_existing(&racks, &mut identities).unwrap().recipients;
    let slug = slug("acme.test.K");
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut n = 0;
    while Instant::now() < deadline {
        for vault in [VaultId::OsSecure, VaultId::OsDirect] {
            registry::vault(&vault)
                .unwrap()
                .set(
                    VaultEntry::new(&slug).with_mech(&Mechanism::Replica),
                    value(n).as_bytes(),
                    &mut keyrack_vaults::VaultContext {
                        racks: &racks,
                        identities: &mut identities,
                        recipients: &recipients,
                        env: &|_| None,
                        now_ms: NOW_MS,
                    },
                )
                .unwrap();
        }
        n = n.wrapping_add(1);
    }
}

#[test]
fn kill_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let rig = Rig::ready();
    for vault in [VaultId::OsSecure, VaultId::OsDirect] {
        rig.set("acme.test.K", &vault, &value(0));
    }
    let whole = |text: &str| (0..26).any(|n| text == value(n));
    for round in 0..40_u64 {
        let before = std::fs::read(rig.racks.direct_path()).unwrap();
        let mut child = Reaped::spawn(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "concurrency::child_that_sets_until_killed", "--nocapture"])
                .env_clear()
                .env(CHILD_HOME, rig.home.home())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        // Once it is at work, at another moment each time.
        wait_until("the child sets", Duration::from_secs(20), || {
            std::fs::read(rig.racks.direct_path()).unwrap() != before
        });
        std::thread::sleep(Duration::from_micros(round * 173 % 9000));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        for vault in [VaultId::OsSecure, VaultId::OsDirect] {
            let got = rig.get("acme.test.K", &vault).unwrap().unwrap();
            assert!(whole(&got), "round {round}: {vault} holds {} bytes of {:?}", got.len(), &got[..1]);
        }
    }
    // The next write sweeps what the killed ones left.
    for vault in [VaultId::OsSecure, VaultId::OsDirect] {
        rig.set("acme.test.K", &vault, &value(1));
    }
    for (path, _) in tree(&rig.racks.dir().join("vault")) {
        assert!(!path.to_str().unwrap().ends_with(".tmp"), "{}", path.display());
    }
}

/// Returns the passphrase, and records that another writer could take the lock meanwhile.
struct WatchfulPrompt {
    racks: keyrack_vaults::RackPaths,
    was_free: Rc<RefCell<Vec<bool>>>,
}

impl PassphrasePrompt for WatchfulPrompt {
    fn passphrase(&mut self, _: &Path) -> Result<Zeroizing<String>, Error> {
        let racks = self.racks.clone();
        // In another thread, since in this one the lock would be taken again at once.
        let free = std::thread::spawn(move || lock_rack(&racks).is_ok()).join().unwrap();
        self.was_free.borrow_mut().push(free);
        Ok(Zeroizing::new(PASSPHRASE.to_owned()))
    }
}

#[test]
fn lock_is_free_during_a_passphrase_prompt() {
    let rig = Rig::ready();
    rig.set("acme.test.K", &VaultId::OsSecure, "v");
    let sealed = std::fs::read_to_string(fixture("keys/sealed.pub")).unwrap();
    let sealed = recipient_key::parse(&sealed, StanzaKind::Ssh).unwrap();
    recipient_set::add(&rig.racks, &mut rig.identities(Prompt::default()), sealed, "sealed", NOW_MS).unwrap();
    // From now on only the key with a passphrase is there.
    std::fs::remove_dir_all(rig.racks.ssh_dir()).unwrap();
    std::fs::create_dir(rig.racks.ssh_dir()).unwrap();
    rig.key("sealed", "id_ed25519");
    let other = std::fs::read_to_string(fixture("keys/other.pub")).unwrap();

    let was_free = Rc::new(RefCell::new(Vec::new()));
    let identities = || {
        let prompt = WatchfulPrompt { racks: rig.racks.clone(), was_free: Rc::clone(&was_free) };
        Identities::discover(rig.source(), Box::new(prompt)).unwrap()
    };
    manifest_file::update(&rig.racks, &mut identities(), |manifest, _| {
        manifest.rest.insert("x".into(), true.into());
        Ok(())
    })
    .unwrap();
    let other = recipient_key::parse(&other, StanzaKind::Age).unwrap();
    recipient_set::add(&rig.racks, &mut identities(), other, "other", NOW_MS).unwrap();
    assert_eq!(*was_free.borrow(), [true, true], "asked once a command, with the lock free");
}

/// A file that only a key with a passphrase opens, when the manifest opens without one.
#[test]
fn lock_is_free_during_a_prompt_for_a_vault_file() {
    let rig = Rig::ready();
    rig.set("acme.test.K", &VaultId::OsSecure, "v");
    let path = rig.racks.secure_path(&slug("acme.test.K"));
    std::fs::copy(fixture("cli/sealed.age"), path).unwrap();
    rig.key("sealed", "id_rsa");
    let was_free = Rc::new(RefCell::new(Vec::new()));
    let prompt = WatchfulPrompt { racks: rig.racks.clone(), was_free: Rc::clone(&was_free) };
    let mut identities = Identities::discover(rig.source(), Box::new(prompt)).unwrap();
    let other = std::fs::read_to_string(fixture("keys/other.pub")).unwrap();
    let other = recipient_key::parse(&other, StanzaKind::Age).unwrap();
    let changed = recipient_set::add(&rig.racks, &mut identities, other, "other", NOW_MS).unwrap();
    assert_eq!((changed.files, &*was_free.borrow()), (1, &vec![true]));
}
