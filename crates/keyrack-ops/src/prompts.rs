//! Prompts, as a trait: the operations never use a terminal.

use std::path::Path;

use keyrack_core::{Error, ErrorCode, Slug};
use zeroize::Zeroizing;

/// Prompts of the operations. An implementation that cannot prompt returns
/// [`ErrorCode::PromptNeeded`] with a hint at the flag to use instead.
pub trait Prompts {
    /// Returns `true` if the user can answer several prompts in turn. A pipe cannot: it holds one
    /// secret.
    fn is_interactive(&self) -> bool;

    /// Prompts for the secret of a key, after all checks that do not need it.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::SecretTooLarge`], [`ErrorCode::Interrupted`],
    /// [`ErrorCode::Io`].
    fn secret(&mut self, slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Prompts for the passphrase of an ssh key. `again`: the last one was wrong.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::BadPassphrase`], [`ErrorCode::Interrupted`],
    /// [`ErrorCode::Io`].
    fn passphrase(&mut self, key: &Path, again: bool) -> Result<Zeroizing<String>, Error>;

    /// Yes or no. `flag` is what would have made the question needless.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::Io`].
    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error>;

    /// Prompts for one of several options and returns its index. `default` is the option for an
    /// empty answer, if there is one. `flag` is the flag that makes the prompt unnecessary.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::Usage`], [`ErrorCode::Io`].
    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        default: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error>;
}

/// Error for a prompt that cannot be shown.
pub fn prompt_needed(question: &str, flag: &str) -> Error {
    Error::new(ErrorCode::PromptNeeded, format!("cannot prompt: {question}"))
        .hint(format!("pass {flag} to skip the prompt"))
}

/// Rejects every prompt.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompts;

impl Prompts for NoPrompts {
    fn is_interactive(&self) -> bool {
        false
    }

    fn secret(&mut self, _slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        Err(prompt_needed("What is the secret?", "the secret on stdin"))
    }

    fn passphrase(&mut self, key: &Path, _again: bool) -> Result<Zeroizing<String>, Error> {
        let question = format!("What is the passphrase of {}?", key.display());
        Err(prompt_needed(&question, "--prikey with a key without a passphrase"))
    }

    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error> {
        Err(prompt_needed(question, flag))
    }

    fn choose(
        &mut self,
        question: &str,
        _options: &[String],
        _usual: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error> {
        Err(prompt_needed(question, flag))
    }
}
