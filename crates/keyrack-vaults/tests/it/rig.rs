//! A home of one test's own, with keys of the fixtures in its `~/.ssh`, and a prompt for
//! passphrases who keeps count.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use keyrack_core::host_manifest::{HostEntry, HostManifest, NewHostEntry, Recipient};
use keyrack_core::{Error, ErrorCode, Mechanism, Owner, Slug, VaultId};
use keyrack_testkit::Home;
use keyrack_vaults::{
    Identities, IdentitySource, PassphrasePrompt, RackPaths, VaultContext, VaultEntry, manifest_file,
    recipient_file, recipient_set, registry,
};
use zeroize::Zeroizing;

pub(crate) const PASSPHRASE: &str = "correct horse";
pub(crate) const NOW_MS: i64 = 1_780_000_000_000;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

/// Answers with the given passphrases in turn, then declines.
#[derive(Clone, Default)]
pub(crate) struct Prompt {
    pub(crate) answers: Rc<RefCell<Vec<Result<String, ErrorCode>>>>,
    pub(crate) asked: Rc<RefCell<Vec<PathBuf>>>,
    pub(crate) rejected: Rc<RefCell<Vec<PathBuf>>>,
    pub(crate) tries: u8,
}

impl Prompt {
    pub(crate) fn with(answers: &[&str]) -> Self {
        let answers = answers.iter().rev().map(|text| Ok((*text).to_owned())).collect();
        Prompt { answers: Rc::new(RefCell::new(answers)), tries: 1, ..Prompt::default() }
    }

    pub(crate) fn declining(code: ErrorCode) -> Self {
        let prompt = Prompt::with(&[]);
        prompt.answers.borrow_mut().push(Err(code));
        prompt
    }

    pub(crate) fn asked_names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.asked.borrow().iter().map(name).collect()
    }
}

impl PassphrasePrompt for Prompt {
    fn passphrase(&mut self, key_path: &Path) -> Result<Zeroizing<String>, Error> {
        self.asked.borrow_mut().push(key_path.to_owned());
        match self.answers.borrow_mut().pop() {
            Some(Ok(text)) => Ok(Zeroizing::new(text)),
            Some(Err(code)) => Err(Error::new(code, "declined")),
            None => Err(Error::new(ErrorCode::PromptNeeded, "no terminal")),
        }
    }

    fn tries(&self) -> u8 {
        self.tries
    }

    fn rejected(&mut self, key_path: &Path) {
        self.rejected.borrow_mut().push(key_path.to_owned());
    }
}

pub(crate) struct Rig {
    pub(crate) home: Home,
    pub(crate) racks: RackPaths,
}

impl Rig {
    /// A home with nothing in it.
    pub(crate) fn bare() -> Self {
        Self::of("default")
    }

    pub(crate) fn of(owner: &str) -> Self {
        let home = Home::new();
        let owner: Owner = owner.parse().unwrap();
        let racks = RackPaths::new(Some(home.home().as_os_str()), owner).unwrap();
        std::fs::create_dir(racks.ssh_dir()).unwrap();
        Rig { home, racks }
    }

    /// A home with the key `plain` and a host manifest for it.
    pub(crate) fn ready() -> Self {
        let rig = Rig::bare();
        rig.key("plain", "id_ed25519");
        rig.init("id_ed25519");
        rig
    }

    /// Puts a key of the fixtures, with its public half, into `~/.ssh`.
    pub(crate) fn key(&self, fixture_name: &str, name: &str) -> PathBuf {
        let to = self.racks.ssh_dir().join(name);
        std::fs::copy(fixture(&format!("keys/{fixture_name}")), &to).unwrap();
        let public = fixture(&format!("keys/{fixture_name}.pub"));
        if public.exists() {
            std::fs::copy(public, self.racks.ssh_dir().join(format!("{name}.pub"))).unwrap();
        }
        to
    }

    pub(crate) fn init(&self, key: &str) {
        let pubkey = recipient_file::for_init(&self.racks.ssh_dir().join(key)).unwrap();
        let manifest = HostManifest {
            recipients: vec![recipient_set::entry(pubkey, "default", NOW_MS)],
            ..manifest_file::empty(&self.racks)
        };
        assert!(
            manifest_file::create(&self.racks, &manifest, &mut self.identities(Prompt::default())).unwrap()
        );
    }

    pub(crate) fn source(&self) -> IdentitySource {
        IdentitySource { racks: self.racks.clone(), prikeys: Vec::new(), ssh_auth_sock: None }
    }

    pub(crate) fn identities(&self, prompt: Prompt) -> Identities<'static> {
        Identities::discover(self.source(), Box::new(prompt)).unwrap()
    }

    pub(crate) fn with_keys(&self, prikeys: &[PathBuf], prompt: Prompt) -> Identities<'static> {
        let source = IdentitySource { prikeys: prikeys.to_vec(), ..self.source() };
        Identities::discover(source, Box::new(prompt)).unwrap()
    }

    pub(crate) fn manifest(&self) -> HostManifest {
        manifest_file::load_existing(&self.racks, &mut self.identities(Prompt::default())).unwrap()
    }

    /// Runs `work` with a context whose environment is empty.
    pub(crate) fn in_context<T>(&self, work: impl FnOnce(&mut VaultContext<'_, '_>) -> T) -> T {
        self.in_env(&[], work)
    }

    pub(crate) fn in_env<T>(
        &self,
        vars: &[(&str, &str)],
        work: impl FnOnce(&mut VaultContext<'_, '_>) -> T,
    ) -> T {
        let recipients: Vec<Recipient> =
            if manifest_file::exists(&self.racks).unwrap() { self.manifest().recipients } else { Vec::new() };
        let env = |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, v)| OsString::from(v));
        let mut identities = self.identities(Prompt::default());
        work(&mut VaultContext {
            racks: &self.racks,
            identities: &mut identities,
            recipients: &recipients,
            env: &env,
            now_ms: NOW_MS,
        })
    }

    /// Sets a key as a command would: the vault, the manifest, the inventory.
    pub(crate) fn set(&self, text: &str, vault: &VaultId, secret: &str) {
        self.set_at(text, vault, secret, NOW_MS);
    }

    /// The same at another time of the wall clock.
    pub(crate) fn set_at(&self, text: &str, vault: &VaultId, secret: &str, now_ms: i64) {
        let slug = slug(text);
        let mech = Mechanism::Replica;
        let host = self.host(&slug);
        self.in_context(|context| {
            context.now_ms = now_ms;
            let entry = VaultEntry { host: host.as_ref(), ..VaultEntry::new(&slug).with_mech(&mech) };
            let meta = registry::vault(vault).unwrap().set(entry, secret.as_bytes(), context).unwrap();
            manifest_file::update(&self.racks, context.identities, |manifest, _| {
                let new = NewHostEntry {
                    vault: vault.clone(),
                    mech: mech.clone(),
                    exid: None,
                    meta,
                    max_duration: None,
                };
                manifest.put(&slug, new, now_ms);
                Ok(())
            })
            .unwrap();
        });
        keyrack_vaults::inventory::add(&self.racks, &slug).unwrap();
    }

    /// The host manifest's entry of a key.
    pub(crate) fn host(&self, slug: &Slug) -> Option<HostEntry> {
        let manifest = manifest_file::load(&self.racks, &mut self.identities(Prompt::default())).ok()??;
        manifest.hosts.get(slug).cloned()
    }

    /// The value of a key as a string; `None` when the vault does not have it.
    pub(crate) fn get(&self, text: &str, vault: &VaultId) -> Result<Option<String>, Error> {
        self.get_with(text, vault, Prompt::default(), &[])
    }

    pub(crate) fn get_with(
        &self,
        text: &str,
        vault: &VaultId,
        prompt: Prompt,
        prikeys: &[PathBuf],
    ) -> Result<Option<String>, Error> {
        let mut identities = self.with_keys(prikeys, prompt);
        let slug = slug(text);
        let host = self.host(&slug);
        let got = registry::vault(vault).unwrap().get(
            VaultEntry { host: host.as_ref(), ..VaultEntry::new(&slug) },
            &mut VaultContext {
                racks: &self.racks,
                identities: &mut identities,
                recipients: &[],
                env: &|_| None,
                now_ms: NOW_MS,
            },
        )?;
        Ok(got.map(|material| String::from_utf8(material.secret.to_vec()).unwrap()))
    }
}

/// Every file below `dir`, with its mode.
pub(crate) fn tree(dir: &Path) -> Vec<(PathBuf, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let mode = std::fs::symlink_metadata(entry.path()).unwrap().permissions().mode() & 0o7777;
        all.push((entry.path(), mode));
        if entry.file_type().unwrap().is_dir() {
            all.extend(tree(&entry.path()));
        }
    }
    all.sort();
    all
}
