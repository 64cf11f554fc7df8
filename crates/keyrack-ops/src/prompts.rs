//! Asking a person, as a trait: the operations never see a terminal.

use std::path::Path;

use keyrack_core::{Error, ErrorCode, Slug};
use zeroize::Zeroizing;

/// What operations ask of a person. An implementation that cannot ask answers [`ErrorCode::PromptNeeded`] and says what else would do.
pub trait Prompts {
    /// Whether a person is there who can be asked for several things in turn: not where a secret comes from a pipe, which has only one.
    fn is_interactive(&self) -> bool;

    /// The secret of a key. Asked for when everything that can be refused has been.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::SecretTooLarge`], [`ErrorCode::Interrupted`], [`ErrorCode::Io`].
    fn secret(&mut self, slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// The passphrase of an ssh key. `again`: what was given before does not open it.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::BadPassphrase`], [`ErrorCode::Interrupted`], [`ErrorCode::Io`].
    fn passphrase(&mut self, key: &Path, again: bool) -> Result<Zeroizing<String>, Error>;

    /// Yes or no. `flag` is what would have made the question needless.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::Io`].
    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error>;

    /// One of several, by its place from 0. `usual` is the one that an empty answer means, if one may be meant so. `flag` is what would have
    /// made the question needless.
    ///
    /// # Errors
    /// [`ErrorCode::PromptNeeded`], [`ErrorCode::Usage`], [`ErrorCode::Io`].
    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        usual: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error>;
}

/// The refusal of a question that nobody can be asked.
pub fn prompt_needed(question: &str, flag: &str) -> Error {
    Error::new(ErrorCode::PromptNeeded, format!("nobody can be asked: {question}"))
        .hint(format!("pass {flag}, and nothing needs to be asked"))
}

/// Nobody to ask: every question is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompts;

impl Prompts for NoPrompts {
    fn is_interactive(&self) -> bool {
        false
    }

    fn secret(&mut self, _slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        Err(prompt_needed("what is the secret?", "it on stdin"))
    }

    fn passphrase(&mut self, key: &Path, _again: bool) -> Result<Zeroizing<String>, Error> {
        let question = format!("what is the passphrase of {}?", key.display());
        Err(prompt_needed(&question, "--prikey with a key that has none"))
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
