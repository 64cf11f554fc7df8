//! Changes that fail at each of their steps: by an error of the disk, and by the death of the
//! process. Each file is the old one or the new one, files that change together have changed
//! together after the next writer, and nothing is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyrack_core::host_manifest::{HostManifest, NewHostEntry};
use keyrack_core::{Error, ErrorCode, Mechanism, Owner, Slug, VaultId};

use crate::binding::{self, Binding};
use crate::failpoint::tests::{DIED, InjectedFailure, before, under};
use crate::journal;
use crate::recipient_key::StanzaKind;
use crate::{
    Identities, IdentitySource, NoPassphrasePrompt, RackPaths, VaultContext, VaultEntry, age_file,
    manifest_file, os_secure, recipient_key, recipient_set, registry,
};

/// File in the home of a child: the scenario, and the step at which it dies.
const ORDER: &str = "crash-order";

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const KEYS: [&str; 3] = ["acme.test.A", "acme.test.B", "acme.test.C"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name)
}

fn racks(home: &Path) -> RackPaths {
    RackPaths::new(Some(home.as_os_str()), Owner::DEFAULT).unwrap()
}

fn identities(racks: &RackPaths, key: &str) -> Identities<'static> {
    let source = IdentitySource { racks: racks.clone(), prikeys: vec![fixture(key)], ssh_auth_sock: None };
    Identities::discover(source, Box::new(NoPassphrasePrompt)).unwrap()
}

fn pubkey(key: &str) -> recipient_key::Pubkey {
    let line = fs::read_to_string(fixture(&format!("{key}.pub"))).unwrap();
    recipient_key::parse(&line, StanzaKind::Age).unwrap()
}

/// Home with a manifest for the key `plain` and the three keys, in os.secure; the first one in
/// os.direct too.
fn prepared() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let racks = racks(home.path());
    let mut identities = identities(&racks, "plain");
    let mut manifest = HostManifest {
        recipients: vec![recipient_set::entry(pubkey("plain"), "default", 0)],
        ..manifest_file::empty(&racks)
    };
    for key in KEYS {
        manifest.put(&Slug::parse(key).unwrap(), secure(None), 0);
    }
    manifest_file::create(&racks, &manifest, &mut identities).unwrap();
    for key in KEYS {
        set(&racks, &VaultId::OsSecure, key, "old").unwrap();
    }
    set(&racks, &VaultId::OsDirect, KEYS[0], "old").unwrap();
    home
}

/// Sets a key as the command does: first the vault, then the entry of the host manifest. A key in
/// os.direct has no entry here.
fn set(racks: &RackPaths, vault: &VaultId, key: &str, secret: &str) -> Result<(), Error> {
    let slug = Slug::parse(key).unwrap();
    manifest_file::update(racks, &mut identities(racks, "plain"), |manifest, identities| {
        let host = manifest.hosts.get(&slug).cloned().filter(|host| host.vault == *vault);
        let recipients = manifest.recipients.clone();
        let entry =
            VaultEntry { host: host.as_ref(), ..VaultEntry::new(&slug).with_mech(&Mechanism::Replica) };
        let mut context =
            VaultContext { racks, identities, recipients: &recipients, env: &|_| None, now_ms: 0 };
        let meta = registry::vault(vault)?.set(entry, secret.as_bytes(), &mut context)?;
        if *vault == VaultId::OsSecure {
            manifest.put(&slug, secure(meta), 0);
        }
        Ok(())
    })
}

fn secure(meta: Option<serde_json::Value>) -> NewHostEntry {
    let (vault, mech) = (VaultId::OsSecure, Mechanism::Replica);
    NewHostEntry { vault, mech, exid: None, meta, max_duration: None }
}

/// Host manifest, which the key `plain` opens.
fn manifest(racks: &RackPaths) -> HostManifest {
    manifest_file::load_existing(racks, &mut identities(racks, "plain")).unwrap()
}

fn get(racks: &RackPaths, vault: &VaultId, key: &str, with: &str) -> Result<String, ErrorCode> {
    let slug = Slug::parse(key).unwrap();
    let host = manifest(racks).hosts[&slug].clone();
    let mut identities = identities(racks, with);
    let mut context =
        VaultContext { racks, identities: &mut identities, recipients: &[], env: &|_| None, now_ms: 0 };
    let got = registry::vault(vault).unwrap().get(VaultEntry::of(&slug, &host), &mut context);
    let got = got.map_err(|error| error.code)?.expect("no key is ever gone");
    Ok(String::from_utf8(got.secret.to_vec()).unwrap())
}

/// Change that fails at each of its steps.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    SetSecure,
    SetDirect,
    AddRecipient,
    Manifest,
}

const ALL: [Scenario; 4] =
    [Scenario::SetSecure, Scenario::SetDirect, Scenario::AddRecipient, Scenario::Manifest];

impl Scenario {
    fn run(self, racks: &RackPaths) -> Result<(), Error> {
        match self {
            Scenario::SetSecure => set(racks, &VaultId::OsSecure, KEYS[0], "new"),
            Scenario::SetDirect => set(racks, &VaultId::OsDirect, KEYS[0], "new"),
            Scenario::AddRecipient => {
                recipient_set::add(racks, &mut identities(racks, "plain"), pubkey("other"), "other", 0)
                    .map(drop)
            }
            Scenario::Manifest => {
                manifest_file::update(racks, &mut identities(racks, "plain"), |manifest, _| {
                    manifest.rest.insert("new".into(), true.into());
                    Ok(())
                })
            }
        }
    }

    /// Returns `true` if the change happened, after the next writer. Panics if it happened by half.
    fn happened(self, racks: &RackPaths) -> bool {
        let manifest = manifest_file::load_existing(racks, &mut identities(racks, "plain")).unwrap();
        assert_eq!(manifest.hosts.len(), KEYS.len(), "no entry is ever gone");
        let either = |got: String| match got.as_str() {
            "new" => true,
            "old" => false,
            other => panic!("{self:?}: neither old nor new: {other:?}"),
        };
        match self {
            Scenario::SetSecure => either(get(racks, &VaultId::OsSecure, KEYS[0], "plain").unwrap()),
            Scenario::SetDirect => either(get(racks, &VaultId::OsDirect, KEYS[0], "plain").unwrap()),
            Scenario::Manifest => manifest.rest.contains_key("new"),
            Scenario::AddRecipient => {
                let added = manifest.recipients.len() == 2;
                for key in KEYS {
                    assert_eq!(get(racks, &VaultId::OsSecure, key, "plain").as_deref(), Ok("old"), "{key}");
                    let other = get(racks, &VaultId::OsSecure, key, "other");
                    let expected = if added { Ok("old".to_owned()) } else { Err(ErrorCode::NoIdentity) };
                    assert_eq!(other, expected, "{key}, and the manifest says added: {added}");
                }
                added
            }
        }
    }
}

/// Copies a home, so that each failure starts from the same files.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let done = Command::new("cp").arg("-a").arg(from.join(".rhachet")).arg(to.path()).status().unwrap();
    assert!(done.success());
    to
}

/// Lists files that belong to no finished change.
fn left_over(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') && name != ".lock" {
            found.push(path.clone());
        }
        if path.is_dir() {
            found.extend(left_over(&path));
        }
    }
    found
}

#[test]
fn an_error_at_any_step_loses_nothing() {
    let original = prepared();
    for scenario in ALL {
        let home = copy(original.path());
        let (result, steps) = under(None, || scenario.run(&racks(home.path())));
        result.unwrap();
        assert!(scenario.happened(&racks(home.path())));
        assert!(steps.len() >= 6, "{scenario:?}: {steps:?}");
        for (n, step) in steps.iter().enumerate() {
            for errno in [ENOSPC, EIO] {
                let home = copy(original.path());
                let racks = racks(home.path());
                let (result, _) = under(Some(InjectedFailure::Fail(n, errno)), || scenario.run(&racks));
                let what = format!("{scenario:?} at {n}, {step}: {result:?}");
                assert_eq!(result.unwrap_err().code, ErrorCode::Io, "{what}");
                // The next writer finishes or undoes an interrupted change, and its next write
                // removes the leftovers.
                drop(journal::lock_rack(&racks).unwrap());
                scenario.happened(&racks);
                scenario.run(&racks).map_or_else(
                    // It had happened already.
                    |error| assert_eq!(error.code, ErrorCode::RecipientExists, "{what}"),
                    |()| assert!(scenario.happened(&racks), "{what}"),
                );
                assert_eq!(left_over(&racks.dir()), [""; 0].map(PathBuf::from), "{what}");
            }
        }
    }
}

#[test]
fn an_error_before_the_commit_changes_nothing() {
    let original = prepared();
    for scenario in ALL {
        let decisive = match scenario {
            Scenario::AddRecipient => "commit",
            _ => "rename",
        };
        let home = copy(original.path());
        let (_, steps) = under(None, || scenario.run(&racks(home.path())));
        let decision = steps.iter().position(|step| *step == decisive).unwrap();
        for n in 0..=decision {
            let home = copy(original.path());
            let racks = racks(home.path());
            let (result, _) = under(Some(InjectedFailure::Fail(n, ENOSPC)), || scenario.run(&racks));
            assert!(result.unwrap_err().message.contains("space"), "{scenario:?} {n}");
            assert!(!scenario.happened(&racks), "{scenario:?} {n}");
            assert_eq!(left_over(&racks.dir()), [""; 0].map(PathBuf::from), "{scenario:?} {n}");
        }
    }
}

/// Body of a child process, not a test of its own.
#[test]
fn child() {
    let Ok(order) = fs::read_to_string(ORDER) else { return };
    let (scenario, step) = order.split_once(' ').unwrap();
    let scenario = ALL[scenario.parse::<usize>().unwrap()];
    let home = fs::canonicalize(".").unwrap();
    let (result, _) =
        under(Some(InjectedFailure::Die(step.parse().unwrap())), || scenario.run(&racks(&home)));
    result.unwrap();
}

#[test]
fn a_death_at_any_step_loses_nothing() {
    let original = prepared();
    for (index, scenario) in ALL.into_iter().enumerate() {
        let home = copy(original.path());
        let (_, steps) = under(None, || scenario.run(&racks(home.path())));
        let mut happened = 0;
        for (n, step) in steps.iter().enumerate() {
            let home = copy(original.path());
            fs::write(home.path().join(ORDER), format!("{index} {n}")).unwrap();
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash_tests::child", "--nocapture"])
                .current_dir(home.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            let what = format!("{scenario:?} at {n}, {step}");
            assert_eq!(status.code(), Some(DIED), "{what}");
            let racks = racks(home.path());
            // A reader finds complete files at once, before the next writer: some may be old and
            // some new.
            for key in KEYS {
                assert!(get(&racks, &VaultId::OsSecure, key, "plain").is_ok(), "{what}: {key}");
            }
            drop(journal::lock_rack(&racks).unwrap());
            happened += usize::from(scenario.happened(&racks));
            let again = scenario.run(&racks).err().map(|error| error.code);
            assert!(matches!(again, None | Some(ErrorCode::RecipientExists)), "{what}: {again:?}");
            assert!(scenario.happened(&racks), "{what}");
            assert_eq!(left_over(&racks.dir()), [""; 0].map(PathBuf::from), "{what}");
        }
        assert!(
            happened > 0 && happened < steps.len(),
            "{scenario:?}: some deaths are too late, some are not"
        );
    }
}

/// A `set` that dies between the file and the manifest: the new value counts, and its version is
/// not given to another value.
#[test]
fn set_cut_short_before_the_manifest_is_adopted() {
    let original = prepared();
    let slug = Slug::parse(KEYS[0]).unwrap();
    let secure = VaultId::OsSecure;
    let home = copy(original.path());
    let racks = racks(home.path());
    let cut_short = |secret: &str| {
        let (_, steps) = under(None, || set(&racks, &secure, KEYS[1], secret));
        let renames: Vec<_> = (0..steps.len()).filter(|&n| steps[n] == "rename").collect();
        assert_eq!(renames.len(), 2, "the file, then the manifest: {steps:?}");
        let (result, _) =
            under(Some(InjectedFailure::Fail(renames[1], EIO)), || set(&racks, &secure, KEYS[0], secret));
        assert_eq!(result.unwrap_err().code, ErrorCode::Io);
        fs::read(racks.secure_path(&slug)).unwrap()
    };
    let version =
        || manifest(&racks).hosts[&slug].meta.clone().unwrap()["keyrackBindVersion"].as_u64().unwrap();
    let recorded = version();
    let lost = cut_short("cut short");
    assert_eq!(version(), recorded, "the manifest was not written");
    assert_eq!(get(&racks, &secure, KEYS[0], "plain").as_deref(), Ok("cut short"));

    // As `set` and `unlock` do with a file that is ahead.
    let host = manifest(&racks).hosts[&slug].clone();
    let meta = os_secure::newer_meta(&racks, &host).expect("the file is one version ahead");
    let mut opener = identities(&racks, "plain");
    assert!(manifest_file::record_meta(&racks, &mut opener, &host, &host.mech, meta.clone()).unwrap());
    assert_eq!(version(), recorded + 1);
    assert!(!manifest_file::record_meta(&racks, &mut opener, &host, &host.mech, meta).unwrap(), "only once");
    assert_eq!(os_secure::newer_meta(&racks, &manifest(&racks).hosts[&slug]), None);
    set(&racks, &secure, KEYS[0], "new").unwrap();
    assert_eq!(version(), recorded + 2);
    assert_eq!(get(&racks, &secure, KEYS[0], "plain").as_deref(), Ok("new"));
    fs::write(racks.secure_path(&slug), lost).unwrap();
    assert_eq!(get(&racks, &secure, KEYS[0], "plain"), Err(ErrorCode::VaultMismatch), "it is older now");
}

#[test]
fn recovery_undoes_uncommitted_and_finishes_committed_replacements() {
    let original = prepared();
    for (name, expected) in [(".replace.plan", "old"), (".replace.decided", "new")] {
        let home = copy(original.path());
        let racks = racks(home.path());
        let slug = Slug::parse(KEYS[1]).unwrap();
        let dir = racks.secure_dir().join(name);
        let manifest = manifest_file::load_existing(&racks, &mut identities(&racks, "plain")).unwrap();
        let host = &manifest.hosts[&slug];
        let version = binding::next_version(Some(host), 0) - 1;
        let binding = Binding { slug: &slug, owner: racks.owner(), mech: &host.mech, version };
        let ready = recipient_key::parse_all(&manifest.recipients).unwrap();
        let file = age_file::encrypt_to(&ready, &[binding.label()], b"new").unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(format!("{}.age", slug.hash16())), file).unwrap();
        fs::write(dir.join("something else"), "x").unwrap();
        // A read is enough.
        assert_eq!(get(&racks, &VaultId::OsSecure, KEYS[1], "plain").as_deref(), Ok(expected));
        drop(journal::lock_rack(&racks).unwrap());
        assert!(!dir.exists());
    }
}

/// Changes every temporary file below `dir` with `spoil`.
fn spoil_temporaries(dir: &Path, spoil: fn(&mut Vec<u8>)) {
    for path in left_over(dir) {
        let files = if path.is_dir() {
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect()
        } else {
            vec![path]
        };
        for file in files {
            let mut bytes = fs::read(&file).unwrap();
            spoil(&mut bytes);
            fs::write(&file, bytes).unwrap();
        }
    }
}

#[test]
fn file_that_reads_back_differently_is_not_used() {
    let original = prepared();
    let spoils: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1),
        |bytes| bytes.push(b' '),
    ];
    for scenario in ALL {
        for spoil in spoils {
            let home = copy(original.path());
            let racks = racks(home.path());
            let dir = racks.dir();
            before("read back", move || spoil_temporaries(&dir, spoil));
            let error = scenario.run(&racks).unwrap_err();
            assert!(error.message.contains("read back") || error.message.contains("grew"), "{error}");
            assert!(!scenario.happened(&racks));
            assert_eq!(left_over(&racks.dir()), [""; 0].map(PathBuf::from), "{scenario:?}");
        }
    }
}

/// Order of flushes, which a test cannot show without cutting the machine's power: everything is
/// flushed before the step that makes it count, and after.
#[test]
fn files_are_flushed_before_the_commit() {
    let original = prepared();
    for scenario in ALL {
        let home = copy(original.path());
        let (_, steps) = under(None, || scenario.run(&racks(home.path())));
        let decisive = if matches!(scenario, Scenario::AddRecipient) { "commit" } else { "rename" };
        let mut decisions = steps.iter().enumerate().filter(|(_, step)| **step == decisive).peekable();
        let at = decisions.peek().expect("a decision").0;
        for (at, _) in decisions {
            let before = |name: &str| steps[..at].iter().filter(|step| **step == name).count();
            assert_eq!(before("flush"), before("create"), "{steps:?}");
            assert_eq!(steps[at + 1], "flush directory", "{steps:?}");
        }
        if decisive == "commit" {
            assert_eq!(steps[at - 1], "flush directory", "{steps:?}");
            let moved = steps.iter().rposition(|step| *step == "move into place").unwrap();
            assert_eq!(
                steps[moved + 1..moved + 4],
                ["flush directory", "flush directory", "remove committed"]
            );
        }
    }
}
