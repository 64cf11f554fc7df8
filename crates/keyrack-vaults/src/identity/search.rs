//! Search for private keys: in `~/.ssh`, in `IdentityFile` of the ssh config, and in an ssh-agent.
//!
//! `init` chooses one of them, and errors list them with the reason why they cannot be used. It
//! decrypts nothing and never prompts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use keyrack_core::display::clean;
use keyrack_core::fix::shell_quote;
use keyrack_core::{Error, ErrorCode, Fix, Owner};
use ssh_key::PublicKey;

use super::{ParsedKeyFile, agent, parse_key_file, read_key_file, ssh_config, with_pub};
use crate::recipient_file::for_init;
use keyrack_core::layout::{DEFAULT_SSH_KEYS, RackPaths};

/// Maximum number of keys that an error lists.
const LISTED: usize = 8;

/// Ssh key that can open a rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableKey {
    /// Path of the private key file.
    pub path: PathBuf,
    /// Set if the key has a passphrase.
    pub has_passphrase: bool,
    /// Set if commands find it without `--prikey`.
    pub is_default: bool,
}

/// Key that cannot open a rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableKey {
    /// Its file, or a description of an agent's key.
    pub name: String,
    /// The reason, as a phrase that follows the name.
    pub reason: String,
}

/// Private keys of a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundKeys {
    /// Keys that `init` accepts: first those that commands find without `--prikey`, then the others
    /// by path.
    pub usable: Vec<UsableKey>,
    /// Keys that cannot be used.
    pub unusable: Vec<UnusableKey>,
}

impl FoundKeys {
    /// Searches the home and the agent.
    pub fn search(racks: &RackPaths, ssh_auth_sock: Option<&Path>) -> Self {
        let mut found_keys = FoundKeys::default();
        let found = default_paths(racks.owner(), &racks.ssh_dir());
        for path in candidates(racks, &found) {
            found_keys.look_at(racks, &path, found.contains(&path));
        }
        for key in ssh_auth_sock.filter(|path| path.is_absolute()).map(agent::keys).unwrap_or_default() {
            found_keys.look_at_agent_key(racks, &key);
        }
        found_keys
    }

    fn look_at(&mut self, racks: &RackPaths, path: &Path, found: bool) {
        let name = shown(path, racks.home());
        let Ok(bytes) = read_key_file(path) else { return };
        if path.extension().is_some_and(|extension| extension == "pub") {
            if !path.with_extension("").exists() && is_public_key(&bytes) {
                let reason = "only the public half of a key is here".to_owned();
                self.unusable.push(UnusableKey { name, reason });
            }
            return;
        }
        let sealed = match parse_key_file(&bytes) {
            Ok(ParsedKeyFile::Encrypted(_)) => true,
            Ok(ParsedKeyFile::Usable(_)) => false,
            Err(reason) => {
                // The directory also has configuration and lists of hosts.
                if is_private_key(&bytes) {
                    self.unusable.push(UnusableKey { name, reason });
                }
                return;
            }
        };
        match for_init(path) {
            Ok(_) => self.usable.push(UsableKey {
                path: path.to_owned(),
                has_passphrase: sealed,
                is_default: found,
            }),
            Err(error) => self.unusable.push(UnusableKey { name, reason: error.message }),
        }
    }

    /// Adds a key of an agent. It cannot be used, unless its file was found too.
    fn look_at_agent_key(&mut self, racks: &RackPaths, key: &agent::Key) {
        let Ok(public) = PublicKey::from_bytes(&key.blob) else { return };
        let has_file = self.usable.iter().any(|usable| {
            let beside = read_key_file(&with_pub(&usable.path)).ok();
            let line = beside.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
            let stated = line.and_then(|line| PublicKey::from_openssh(line.trim()).ok());
            stated.is_some_and(|stated| stated.key_data() == public.key_data())
        });
        if has_file
            || self.usable.iter().any(|usable| usable.path.as_os_str().as_encoded_bytes() == key.comment)
        {
            return;
        }
        let comment = clean(&String::from_utf8_lossy(&key.comment));
        let comment = shown(Path::new(&comment), racks.home());
        let name = format!("{} key {comment:?} of an ssh-agent", public.algorithm());
        let reason = "an agent signs and cannot decrypt".to_owned();
        self.unusable.push(UnusableKey { name, reason });
    }

    /// Chooses the key of a new rack: the first one that commands find without `--prikey`, else the
    /// only one.
    ///
    /// # Errors
    /// [`ErrorCode::BadKeyFile`] if there is none, with the keys that were found and why they
    /// cannot be used; and if there are several.
    pub fn choose(self, racks: &RackPaths) -> Result<UsableKey, Error> {
        let home = racks.home();
        let mut usable = self.usable.iter();
        match (usable.next(), usable.next()) {
            (Some(first), next) if first.is_default || next.is_none() => Ok(first.clone()),
            (Some(first), _) => {
                let all: Vec<String> =
                    self.usable.iter().take(LISTED).map(|usable| shown(&usable.path, home)).collect();
                let message = format!("several keys could open the rack: {}", all.join(", "));
                let prikey = first.path.to_string_lossy();
                Err(Error::new(ErrorCode::BadKeyFile, message)
                    .hint("choose one with --prikey; it is remembered")
                    .fix(Fix::with_owner("init", racks.owner(), ["--prikey", &*prikey])))
            }
            (None, _) => Err(self.nothing_usable(racks)),
        }
    }

    fn nothing_usable(&self, racks: &RackPaths) -> Error {
        let dir = shown(&racks.ssh_dir(), racks.home());
        let fix = new_key(racks);
        if self.unusable.is_empty() {
            return Error::new(ErrorCode::BadKeyFile, format!("there is no ssh key in {dir}"))
                .hint("or choose a key elsewhere with --prikey")
                .fix(fix);
        }
        Error::new(ErrorCode::BadKeyFile, format!("no ssh key in {dir} can open a rack"))
            .hint(format!("found {}", self.reasons()))
            .fix(fix)
    }

    /// Lists the keys that cannot open a rack, with the reasons, on one line.
    pub fn reasons(&self) -> String {
        let mut listed: Vec<String> =
            self.unusable.iter().take(LISTED).map(|one| format!("{} ({})", one.name, one.reason)).collect();
        let more = self.unusable.len().saturating_sub(LISTED);
        if more > 0 {
            listed.push(format!("and {more} more"));
        }
        listed.join(", ")
    }
}

/// Command that creates a key which `init` finds, with an unused name.
pub fn new_key(racks: &RackPaths) -> Fix {
    let ssh = racks.ssh_dir();
    let is_free = |name: &str| {
        let path = ssh.join(name);
        [&path, &with_pub(&path)].iter().all(|path| path.symlink_metadata().is_err())
    };
    let numbered = (2..100).map(|n| format!("id_ed25519_keyrack{n}"));
    let mut names = ["id_ed25519", "id_ed25519_keyrack"].into_iter().map(str::to_owned).chain(numbered);
    let name = names.find(|name| is_free(name)).unwrap_or_else(|| "id_ed25519_new".to_owned());
    Fix::Text(format!("ssh-keygen -t ed25519 -f ~/.ssh/{}", shell_quote(&name)))
}

/// Paths of an owner's keys that commands find without `--prikey` and without a remembered path.
pub(super) fn default_paths(owner: &Owner, ssh_dir: &Path) -> Vec<PathBuf> {
    owner.name().into_iter().chain(DEFAULT_SSH_KEYS).map(|name| ssh_dir.join(name)).collect()
}

/// Returns `true` if commands find the key at `path` without `--prikey`.
pub fn is_default(racks: &RackPaths, path: &Path) -> bool {
    default_paths(racks.owner(), &racks.ssh_dir()).iter().any(|known| known == path)
}

/// Lists every file that could be a key: default ones first, then those in `~/.ssh` by name, then
/// those of the ssh config.
fn candidates(racks: &RackPaths, found: &[PathBuf]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(racks.ssh_dir()).into_iter().flatten().flatten();
    let mut in_dir: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    in_dir.sort_unstable();
    let mut all: Vec<PathBuf> = Vec::new();
    for path in found.iter().cloned().chain(in_dir).chain(ssh_config::identity_files(racks.home())) {
        if path.is_file() && !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

fn is_private_key(bytes: &[u8]) -> bool {
    let holds = |sign: &[u8]| bytes.windows(sign.len()).any(|part| part == sign);
    [&b"PRIVATE KEY-----"[..], b"AGE-SECRET-KEY-", b"AGE-PLUGIN-", b"PuTTY-User-Key-File"]
        .into_iter()
        .any(holds)
}

fn is_public_key(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| PublicKey::from_openssh(text.trim()).is_ok())
}

/// Path with `~` for the home directory.
pub(crate) fn shown(path: &Path, home: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(rest) if rest.as_os_str() == OsStr::new("") => "~".to_owned(),
        Ok(rest) => format!("~/{}", rest.display()),
        Err(_) => path.display().to_string(),
    }
}
