//! Identities: private keys that open a user's files, the places where keyrack searches for them,
//! and their order.
//!
//! Keys without a passphrase are tried first. Keyrack prompts for a passphrase only if no other key
//! opened the file and this one could, and once a command for each key. Errors name the files that
//! were tried, never their content.

mod agent;
mod key_file;
mod pkcs8;
mod remembered;
mod search;
mod ssh_config;

use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use keyrack_core::{Error, ErrorCode};
use zeroize::Zeroizing;

use keyrack_core::layout::RackPaths;

pub use remembered::remember;
pub use search::{FoundKeys, UnusableKey, UsableKey, is_default, new_key};

pub(crate) use search::shown;

pub use key_file::KeyFileKind;
pub(crate) use key_file::{
    DecryptionKeys, EncryptedKey, ParsedKeyFile, PublicPart, parse as parse_key_file, read_key_file, with_pub,
};

/// Prompt for the passphrase of a key.
pub trait PassphrasePrompt {
    /// Returns the passphrase of the key at `key_path`.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`] if the user cannot be prompted, [`ErrorCode::Interrupted`] if
    /// they declined.
    fn passphrase(&mut self, key_path: &Path) -> Result<Zeroizing<String>, Error>;

    /// Number of attempts for one key.
    fn tries(&self) -> u8 {
        1
    }

    /// Reports that the passphrase does not open the key. Another attempt may follow.
    fn rejected(&mut self, key_path: &Path) {
        let _ = key_path;
    }
}

/// Prompt that always fails: keys with a passphrase are not used.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassphrasePrompt;

impl PassphrasePrompt for NoPassphrasePrompt {
    fn passphrase(&mut self, key_path: &Path) -> Result<Zeroizing<String>, Error> {
        Err(Error::new(
            ErrorCode::PromptNeeded,
            format!(
                "the key {} has a passphrase, and there is no terminal to prompt for it",
                key_path.display()
            ),
        )
        .hint("run the command at a terminal"))
    }
}

/// Places where identities are searched.
#[derive(Clone, Debug)]
pub struct IdentitySource {
    /// Rack to open. It determines `~/.ssh/<owner>` and the default keys.
    pub racks: RackPaths,
    /// Key files of `--prikey`, tried before all others.
    pub prikeys: Vec<PathBuf>,
    /// Value of `SSH_AUTH_SOCK`, if set.
    pub ssh_auth_sock: Option<PathBuf>,
}

/// Identities of one command, loaded when they are needed.
pub struct Identities<'p> {
    candidates: Vec<Candidate>,
    locations: std::vec::IntoIter<SearchLocation>,
    source: IdentitySource,
    passphrase: Box<dyn PassphrasePrompt + 'p>,
    /// Index of the candidate whose keys were used last.
    used: Option<usize>,
    decrypted_files: usize,
}

/// Location to search next.
#[derive(Clone, Copy)]
enum SearchLocation {
    Remembered,
    Owner,
    Agent,
    Default,
}

struct Candidate {
    path: PathBuf,
    /// Set for a key of `--prikey`: it is tried for every file.
    named: bool,
    state: KeyState,
}

enum KeyState {
    Usable(DecryptionKeys),
    Encrypted(EncryptedKey),
    /// Its passphrase was wrong or not available. This command does not prompt for it again.
    Unavailable(PublicPart, Error),
    /// It cannot be used. The reason follows its path in messages.
    Unusable(String),
}

/// Facts of a file before it is opened, to tell which keys could open it.
pub(crate) struct EncryptedFile<'a> {
    /// Tags of its ssh stanzas.
    pub(crate) ssh_tags: &'a [String],
    /// Set if it has stanzas for X25519 recipients. They do not name the recipient.
    pub(crate) has_x25519: bool,
    /// X25519 recipients that the file should be for, if known.
    pub(crate) age_recipients: Option<&'a [&'a str]>,
}

impl EncryptedFile<'_> {
    fn could_be_opened_by(&self, key: &PublicPart, named: bool) -> bool {
        if self.ssh_tags.contains(&key.tag) {
            return true;
        }
        match (&key.age, self.age_recipients.filter(|_| !named)) {
            (Some(_), None) => self.has_x25519,
            (Some(own), Some(known)) => self.has_x25519 && known.contains(&own.as_str()),
            (None, _) => false,
        }
    }
}

impl<'p> Identities<'p> {
    /// Reads the key files of `--prikey`. The others are read when they are needed.
    ///
    /// # Errors
    /// [`ErrorCode::BadKeyFile`] if a key of `--prikey` cannot be used. It is not skipped, because
    /// the user named it.
    pub fn discover(
        source: IdentitySource,
        passphrase: Box<dyn PassphrasePrompt + 'p>,
    ) -> Result<Self, Error> {
        let mut candidates = Vec::new();
        for path in &source.prikeys {
            let bytes = read_key_file(path)?;
            let state = state_of(&bytes).map_err(|why| {
                Error::new(ErrorCode::BadKeyFile, format!("cannot use the key {}: {why}", path.display()))
            })?;
            candidates.push(Candidate { path: path.clone(), named: true, state });
        }
        let locations = vec![
            SearchLocation::Remembered,
            SearchLocation::Owner,
            SearchLocation::Agent,
            SearchLocation::Default,
        ]
        .into_iter();
        Ok(Identities { candidates, locations, source, passphrase, used: None, decrypted_files: 0 })
    }

    /// Number of files opened so far. Reading a file back after writing it does not count.
    pub fn decrypted_files(&self) -> usize {
        self.decrypted_files
    }

    /// Counts a file that is about to be opened.
    pub(crate) fn count_decryption(&mut self) {
        self.decrypted_files += 1;
    }

    /// Key files found so far, in the order in which they are tried.
    pub fn candidate_paths(&self) -> Vec<&Path> {
        self.candidates.iter().map(|candidate| candidate.path.as_path()).collect()
    }

    /// Lists every key file that could be tried, without a prompt.
    pub(crate) fn list_key_files(&mut self) -> Vec<(PathBuf, KeyFileKind)> {
        while self.search_next_location() {}
        let kind = |state: &KeyState| match state {
            KeyState::Usable(_) => KeyFileKind::Plain,
            KeyState::Encrypted(_) | KeyState::Unavailable(..) => KeyFileKind::Encrypted,
            KeyState::Unusable(why) => KeyFileKind::Unusable(why.clone()),
        };
        self.candidates.iter().map(|one| (one.path.clone(), kind(&one.state))).collect()
    }

    /// File of the key that was used last.
    pub(crate) fn last_used(&self) -> Option<&Path> {
        self.used.map(|used| self.candidates[used].path.as_path())
    }

    /// Files of keys whose passphrase was needed and not available.
    pub(crate) fn keys_awaiting_passphrase(&self) -> Vec<PathBuf> {
        let shut = self.candidates.iter().filter(|one| matches!(one.state, KeyState::Unavailable(..)));
        shut.map(|one| one.path.clone()).collect()
    }

    /// Calls `attempt` with keys until it returns a value: first with those that need no
    /// passphrase, then with those that do and could open `target`. `attempt` returns `None` if the
    /// keys do not fit.
    pub(crate) fn try_identities<T>(
        &mut self,
        target: &EncryptedFile<'_>,
        mut attempt: impl FnMut(&DecryptionKeys) -> Option<T>,
    ) -> Result<T, Error> {
        if let Some(taken) = self.try_without_prompt(&mut attempt) {
            return Ok(taken);
        }
        // The first reason why a key that could open the file was not usable is the cause.
        let mut refusal = None;
        for (nth, candidate) in self.candidates.iter_mut().enumerate() {
            let public = match &candidate.state {
                KeyState::Encrypted(sealed) => sealed.public(),
                KeyState::Unavailable(public, _) => public,
                KeyState::Usable(_) | KeyState::Unusable(_) => continue,
            };
            if !target.could_be_opened_by(public, candidate.named) {
                continue;
            }
            if let KeyState::Encrypted(sealed) = &candidate.state {
                candidate.state = unseal(self.passphrase.as_mut(), &candidate.path, sealed);
            }
            match &candidate.state {
                KeyState::Usable(keys) => {
                    if let Some(taken) = attempt(keys) {
                        self.used = Some(nth);
                        return Ok(taken);
                    }
                }
                KeyState::Unavailable(_, error) if error.code == ErrorCode::Interrupted => {
                    return Err(error.clone());
                }
                KeyState::Unavailable(_, error) => {
                    refusal.get_or_insert_with(|| error.clone());
                }
                KeyState::Unusable(_) | KeyState::Encrypted(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(|| self.nothing_fits()))
    }

    /// Calls `attempt` with the keys that can be used without a prompt.
    pub(crate) fn try_without_prompt<T>(
        &mut self,
        mut attempt: impl FnMut(&DecryptionKeys) -> Option<T>,
    ) -> Option<T> {
        let mut next = 0;
        loop {
            while let Some(candidate) = self.candidates.get(next) {
                if let KeyState::Usable(keys) = &candidate.state
                    && let Some(taken) = attempt(keys)
                {
                    self.used = Some(next);
                    return Some(taken);
                }
                next += 1;
            }
            if !self.search_next_location() {
                return None;
            }
        }
    }

    fn nothing_fits(&self) -> Error {
        let racks = &self.source.racks;
        let home = racks.home();
        let tried: Vec<String> = self
            .candidates
            .iter()
            .map(|candidate| match &candidate.state {
                KeyState::Unusable(why) => format!("{} ({why})", shown(&candidate.path, home)),
                _ => shown(&candidate.path, home),
            })
            .collect();
        let found_keys = FoundKeys::search(racks, self.source.ssh_auth_sock.as_deref());
        let untried: Vec<String> = found_keys
            .usable
            .iter()
            .filter(|usable| self.candidates.iter().all(|known| known.path != usable.path))
            .map(|usable| shown(&usable.path, home))
            .collect();
        let mut hint = match tried.len() {
            0 => format!("no key was found in {}", shown(&racks.ssh_dir(), home)),
            _ => format!("tried {}", tried.join(", ")),
        };
        if untried.is_empty() {
            hint.push_str("; name another key with --prikey");
        } else {
            write!(hint, "; not tried: {}; name one with --prikey, and it is remembered", untried.join(", "))
                .expect("writing to a String cannot fail");
        }
        Error::new(ErrorCode::NoIdentity, "no available identity opens it").hint(hint)
    }

    /// Returns the file of the key that was used, if it was given with `--prikey` and commands do
    /// not find it without.
    pub fn to_remember(&self) -> Option<&Path> {
        let used = &self.candidates[self.used?];
        let racks = &self.source.racks;
        let is_known = is_default(racks, &used.path) || remembered::paths(racks).contains(&used.path);
        (used.named && !is_known).then_some(&used.path)
    }

    /// Adds the candidates of the next location. Returns `false` if none is left.
    fn search_next_location(&mut self) -> bool {
        let Some(location) = self.locations.next() else { return false };
        let ssh = self.source.racks.ssh_dir();
        let paths = match location {
            SearchLocation::Remembered => remembered::paths(&self.source.racks),
            SearchLocation::Owner => {
                self.source.racks.owner().name().map(|name| ssh.join(name)).into_iter().collect()
            }
            SearchLocation::Agent => self.agent_paths(),
            SearchLocation::Default => {
                keyrack_core::layout::DEFAULT_SSH_KEYS.map(|name| ssh.join(name)).to_vec()
            }
        };
        for path in paths {
            if !path.is_file() || self.candidates.iter().any(|known| known.path == path) {
                continue;
            }
            let state = match read_key_file(&path) {
                Ok(bytes) => state_of(&bytes).unwrap_or_else(KeyState::Unusable),
                Err(error) => KeyState::Unusable(error.message),
            };
            self.candidates.push(Candidate { path, named: false, state });
        }
        true
    }

    fn agent_paths(&self) -> Vec<PathBuf> {
        let Some(socket) = self.source.ssh_auth_sock.as_deref().filter(|path| path.is_absolute()) else {
            return Vec::new();
        };
        agent::keys(socket)
            .into_iter()
            .map(|key| PathBuf::from(std::ffi::OsString::from_vec(key.comment)))
            .filter(|path| path.is_absolute())
            .collect()
    }
}

fn state_of(bytes: &[u8]) -> Result<KeyState, String> {
    Ok(match parse_key_file(bytes)? {
        ParsedKeyFile::Usable(keys) => KeyState::Usable(keys),
        ParsedKeyFile::Encrypted(sealed) => KeyState::Encrypted(sealed),
    })
}

fn unseal(prompt: &mut dyn PassphrasePrompt, path: &Path, sealed: &EncryptedKey) -> KeyState {
    for _ in 0..prompt.tries().max(1) {
        let given = match prompt.passphrase(path) {
            Ok(given) => given,
            Err(error) => return KeyState::Unavailable(sealed.public().clone(), error),
        };
        match sealed.open(&given) {
            Ok(Some(keys)) => return KeyState::Usable(keys),
            Ok(None) => prompt.rejected(path),
            Err(why) => return KeyState::Unusable(why),
        }
    }
    let message = format!("the passphrase does not open the key {}", path.display());
    let error =
        Error::new(ErrorCode::BadPassphrase, message).hint("run the command again with the key's passphrase");
    KeyState::Unavailable(sealed.public().clone(), error)
}

impl fmt::Debug for Identities<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("candidates", &self.candidate_paths()).finish_non_exhaustive()
    }
}
