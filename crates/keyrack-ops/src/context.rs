//! Context of an operation: the client's context, the files of the owner's rack, the identities
//! that open them, and the prompts.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keyrack_client::Context;
use keyrack_core::host_manifest::Recipient;
use keyrack_core::{Error, ErrorCode};
use keyrack_vaults::{Identities, IdentitySource, PassphrasePrompt, RackPaths, identity, vault};
use zeroize::Zeroizing;

use crate::prompts::Prompts;

/// Maximum number of attempts to enter a passphrase.
const MAX_ATTEMPTS: u8 = 3;

/// Everything that an operation depends on.
pub struct OpContext<'p> {
    /// Owner, working directory and environment of the caller.
    pub client: Context,
    /// The daemon's program, an absolute path.
    pub keyrackd: PathBuf,
    /// Key files that the user named, tried before those in the default locations.
    pub prikeys: Vec<PathBuf>,
    /// The wall clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    prompts: RefCell<&'p mut dyn Prompts>,
}

impl<'p> OpContext<'p> {
    /// Creates a context without named key files.
    pub fn new(client: Context, keyrackd: PathBuf, now_ms: i64, prompts: &'p mut dyn Prompts) -> Self {
        OpContext { client, keyrackd, prikeys: Vec::new(), now_ms, prompts: RefCell::new(prompts) }
    }

    /// Adds key files that the user named. Relative paths are resolved against the working
    /// directory.
    #[must_use]
    pub fn with_prikeys(mut self, prikeys: impl IntoIterator<Item = PathBuf>) -> Self {
        self.prikeys = prikeys.into_iter().map(|path| self.client.cwd.join(path)).collect();
        self
    }

    /// Prompts the user.
    pub(crate) fn prompt<T>(&self, question: impl FnOnce(&mut dyn Prompts) -> T) -> T {
        question(*self.prompts.borrow_mut())
    }

    /// Paths of the owner's files.
    pub(crate) fn racks(&self) -> Result<RackPaths, Error> {
        RackPaths::new(self.client.env.get("HOME"), self.client.owner.clone())
    }

    /// Identities that can open the owner's files. A passphrase is prompted for only if nothing
    /// else opens a file, and at most once per command.
    pub(crate) fn identities(&self, racks: &RackPaths) -> Result<Identities<'_>, Error> {
        self.identities_with(racks, [])
    }

    /// As [`OpContext::identities`], with key files that are tried before those that the user
    /// named.
    pub(crate) fn identities_with(
        &self,
        racks: &RackPaths,
        first: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Identities<'_>, Error> {
        let passphrase = Box::new(PromptedPassphrase { ctx: self, is_retry: false });
        Identities::discover(self.identity_source(racks, first), passphrase)
    }

    /// As [`OpContext::identities`], with another source of passphrases.
    pub(crate) fn identities_for<'i>(
        &self,
        racks: &RackPaths,
        passphrase: Box<dyn PassphrasePrompt + 'i>,
    ) -> Result<Identities<'i>, Error> {
        Identities::discover(self.identity_source(racks, []), passphrase)
    }

    /// Locations that identities are searched in.
    pub(crate) fn identity_source(
        &self,
        racks: &RackPaths,
        first: impl IntoIterator<Item = PathBuf>,
    ) -> IdentitySource {
        IdentitySource {
            racks: racks.clone(),
            prikeys: first.into_iter().chain(self.prikeys.iter().cloned()).collect(),
            ssh_auth_sock: self.client.env.filled("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }

    /// Remembers the key that opened the rack, if it was given by name and would not be found
    /// without. Returns its path if it is new. A failure loses nothing but that, so it stops
    /// nothing.
    pub(crate) fn remember(&self, racks: &RackPaths, identities: &Identities<'_>) -> Option<PathBuf> {
        let path = identities.to_remember()?;
        matches!(identity::remember(racks, path), Ok(true)).then(|| path.to_owned())
    }

    /// A variable of the caller's environment, for the vault that is made of them.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.client.env.get(name).map(ToOwned::to_owned)
    }

    /// Context of the vaults.
    pub(crate) fn vaults<'a, 'i>(
        &self,
        racks: &'a RackPaths,
        identities: &'a mut Identities<'i>,
        recipients: &'a [Recipient],
        env: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> vault::VaultContext<'a, 'i> {
        vault::VaultContext { racks, identities, recipients, env, now_ms: self.now_ms }
    }
}

impl std::fmt::Debug for OpContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside")
            .field("client", &self.client)
            .field("prikeys", &self.prikeys)
            .finish_non_exhaustive()
    }
}

/// Passphrases that the user types at a prompt.
struct PromptedPassphrase<'o, 'p> {
    ctx: &'o OpContext<'p>,
    is_retry: bool,
}

impl PassphrasePrompt for PromptedPassphrase<'_, '_> {
    fn passphrase(&mut self, key_path: &Path) -> Result<Zeroizing<String>, Error> {
        let again = std::mem::take(&mut self.is_retry);
        self.ctx.prompt(|prompts| prompts.passphrase(key_path, again))
    }

    fn tries(&self) -> u8 {
        MAX_ATTEMPTS
    }

    fn rejected(&mut self, _: &Path) {
        self.is_retry = true;
    }
}

/// The owners who have a rack on this machine, in alphabetical order.
///
/// # Errors
/// [`keyrack_core::ErrorCode::NoHome`].
pub fn owners(ctx: &OpContext<'_>) -> Result<Vec<keyrack_core::Owner>, Error> {
    Ok(keyrack_vaults::manifest_file::owners(&ctx.racks()?))
}

/// Returns `true` if the user interrupted a prompt: then nothing else is attempted.
pub(crate) fn is_interrupted(error: &Error) -> bool {
    error.code == ErrorCode::Interrupted
}
