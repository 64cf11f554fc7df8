//! Identities: the private keys that open a person's files, where they are looked for, and in which order they are tried.
//!
//! Keys without a passphrase are tried first. A passphrase is asked only when nothing else opened the file and the key could, and
//! once a command for each key. Errors name the files that were tried, never what is in them.

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

/// Whoever can be asked for the passphrase of a key.
pub trait PassphrasePrompt {
    /// Asks for the passphrase of the key at `key_path`.
    ///
    /// # Errors
    /// Whatever keeps it from being had: nobody can be asked ([`ErrorCode::PromptNeeded`]), or they declined ([`ErrorCode::Interrupted`]).
    fn passphrase(&mut self, key_path: &Path) -> Result<Zeroizing<String>, Error>;

    /// How often it may be asked for one key before the key is given up.
    fn tries(&self) -> u8 {
        1
    }

    /// Says that what was given does not open the key; it may be asked again.
    fn rejected(&mut self, key_path: &Path) {
        let _ = key_path;
    }
}

/// Nobody can be asked: a key with a passphrase stays shut.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassphrasePrompt;

impl PassphrasePrompt for NoPassphrasePrompt {
    fn passphrase(&mut self, key_path: &Path) -> Result<Zeroizing<String>, Error> {
        Err(Error::new(
            ErrorCode::PromptNeeded,
            format!("the key {} has a passphrase and nobody can be asked for it", key_path.display()),
        )
        .hint("run the command at a terminal"))
    }
}

/// Where identities are looked for.
#[derive(Clone, Debug)]
pub struct IdentitySource {
    /// Whose files are to be opened: names `~/.ssh/<owner>` and the default keys.
    pub racks: RackPaths,
    /// Key files given by name (`--prikey`), tried before all others.
    pub prikeys: Vec<PathBuf>,
    /// The value of `SSH_AUTH_SOCK`, if set.
    pub ssh_auth_sock: Option<PathBuf>,
}

/// The identities of one command, found as they are needed.
pub struct Identities<'p> {
    candidates: Vec<Candidate>,
    locations: std::vec::IntoIter<SearchLocation>,
    source: IdentitySource,
    passphrase: Box<dyn PassphrasePrompt + 'p>,
    /// Which candidate's keys were taken last.
    used: Option<usize>,
    decrypted_files: usize,
}

/// Where to look next.
#[derive(Clone, Copy)]
enum SearchLocation {
    Remembered,
    Owner,
    Agent,
    Default,
}

struct Candidate {
    path: PathBuf,
    /// Given by name: then it is meant, whoever the file should be for.
    named: bool,
    state: KeyState,
}

enum KeyState {
    Usable(DecryptionKeys),
    Encrypted(EncryptedKey),
    /// Its passphrase could not be had, or was wrong: not asked again in this command.
    Unavailable(PublicPart, Error),
    /// Not a key of use here, in words that fit behind its path.
    Unusable(String),
}

/// What is known of a file before it is opened, to tell which keys could.
pub(crate) struct EncryptedFile<'a> {
    /// Tags of its ssh stanzas, as they stand in it.
    pub(crate) ssh_tags: &'a [String],
    /// Whether it has stanzas for X25519 recipients, which do not say whom they are for.
    pub(crate) has_x25519: bool,
    /// The X25519 recipients the file should be for, where somebody knows.
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
    /// Reads the keys given by name; the others are looked at when they are needed.
    ///
    /// # Errors
    /// [`ErrorCode::BadKeyFile`] when a key given by name cannot be used: it was asked for, so it is not skipped.
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

    /// The key files looked at so far, in the order they are tried.
    pub fn tried(&self) -> Vec<&Path> {
        self.candidates.iter().map(|candidate| candidate.path.as_path()).collect()
    }

    /// Every key file that would be looked at, and what it is; nobody is asked.
    pub(crate) fn list_key_files(&mut self) -> Vec<(PathBuf, KeyFileKind)> {
        while self.search_next_location() {}
        let kind = |state: &KeyState| match state {
            KeyState::Usable(_) => KeyFileKind::Plain,
            KeyState::Encrypted(_) | KeyState::Unavailable(..) => KeyFileKind::Encrypted,
            KeyState::Unusable(why) => KeyFileKind::Unusable(why.clone()),
        };
        self.candidates.iter().map(|one| (one.path.clone(), kind(&one.state))).collect()
    }

    /// The file of the key that an attempt took last.
    pub(crate) fn last_used(&self) -> Option<PathBuf> {
        self.candidates.get(self.used?).map(|candidate| candidate.path.clone())
    }

    /// The files of keys whose passphrase was wanted and could not be had.
    pub(crate) fn keys_awaiting_passphrase(&self) -> Vec<PathBuf> {
        let shut = self.candidates.iter().filter(|one| matches!(one.state, KeyState::Unavailable(..)));
        shut.map(|one| one.path.clone()).collect()
    }

    /// Offers keys to `attempt` until it takes one: first those that need no passphrase, then, where `target` says they could fit, those that
    /// do. `attempt` answers `None` when the keys do not fit.
    pub(crate) fn try_identities<T>(
        &mut self,
        target: &EncryptedFile<'_>,
        mut attempt: impl FnMut(&DecryptionKeys) -> Option<T>,
    ) -> Result<T, Error> {
        if let Some(taken) = self.try_without_prompt(&mut attempt) {
            return Ok(taken);
        }
        // Why a key that could have opened it did not: the first such reason is the cause.
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

    /// Offers only the keys that can be used without asking anybody.
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

    /// Returns the file of the key that opened something, if it was given by name and no command
    /// would find it without.
    pub fn to_remember(&self) -> Option<&Path> {
        let used = &self.candidates[self.used?];
        let racks = &self.source.racks;
        let is_known = is_default(racks, &used.path) || remembered::paths(racks).contains(&used.path);
        (used.named && !is_known).then_some(&used.path)
    }

    /// Adds the candidates of the next place. False when there is no place left.
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
        f.debug_struct("Identities").field("tried", &self.tried()).finish_non_exhaustive()
    }
}
