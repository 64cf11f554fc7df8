//! Prompts at the terminal, and secrets that are piped in. A typed secret is never shown.

mod confirm;
mod line;
mod menu;

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use keyrack_client::render::Style;
use keyrack_core::display::clean;
use keyrack_core::{Error, ErrorCode, Slug};
use keyrack_ops::{MAX_SECRET, Prompts};
use zeroize::Zeroizing;

use self::line::read_hidden;
pub(crate) use self::line::read_shown;
pub(crate) use self::menu::{choice_error, menu, note, parse_choice, question};

/// Number of attempts before an invalid choice fails.
const ATTEMPTS: usize = 3;

/// Prompts at the terminal, and secrets piped into this process.
pub(crate) struct Terminal {
    /// `false` for `--no-prompt`.
    allowed: bool,
    style: Style,
    /// Keep a newline at the end of a secret on stdin.
    exact: bool,
}

impl Terminal {
    /// Prompts at the terminal if `allowed`.
    pub(crate) fn new(allowed: bool, style: Style) -> Self {
        Terminal { allowed, style, exact: false }
    }

    /// Keeps a newline at the end of a secret on stdin if `exact`.
    pub(crate) fn taking_stdin_exactly(self, exact: bool) -> Self {
        Terminal { exact, ..self }
    }
}

impl Prompts for Terminal {
    fn is_interactive(&self) -> bool {
        self.allowed && io::stdin().is_terminal()
    }

    fn secret(&mut self, slug: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        if !io::stdin().is_terminal() {
            return piped(&mut io::stdin().lock(), self.exact);
        }
        if !self.allowed {
            return Err(Error::new(
                ErrorCode::PromptNeeded,
                "a secret is needed, and `--no-prompt` forbids asking for it",
            )
            .hint("pipe it on stdin"));
        }
        read_hidden(&format!("Secret for {slug}: "), "the secret")
    }

    fn passphrase(&mut self, key: &Path, again: bool) -> Result<Zeroizing<String>, Error> {
        let shown = clean(&key.display().to_string());
        if !self.allowed {
            return Err(Error::new(
                ErrorCode::PromptNeeded,
                format!("the passphrase of {shown} is needed, and `--no-prompt` forbids asking for it"),
            )
            .hint(
                "run the command in a terminal without `--no-prompt`, or pass `--prikey` with a key that has no passphrase",
            ));
        }
        let wrong = if again { "Wrong passphrase. " } else { "" };
        let bytes =
            read_hidden(&format!("{wrong}Passphrase for {shown}: "), &format!("the passphrase of {shown}"))
                .map_err(|error| match error.code {
                ErrorCode::PromptNeeded => error.hint(
                    "run the command in a terminal, or pass `--prikey` with a key that has no passphrase",
                ),
                _ => error,
            })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::new(ErrorCode::BadPassphrase, "the passphrase is not valid UTF-8"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error> {
        self.require_terminal(question, flag)?;
        confirm::confirm(&self::question(&format!("{question} [y/N]"), self.style))
    }

    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        usual: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error> {
        self.require_terminal(question, flag)?;
        let list = menu(question, options, self.style);
        let usual_shown = usual.map_or_else(String::new, |at| format!(" [{}]", at + 1));
        let prompt = self::question(&format!("Choice{usual_shown}:"), self.style);
        let mut above = list;
        for _ in 0..ATTEMPTS {
            if let Some(chosen) = parse_choice(&read_shown(&format!("{above}{prompt}"))?, options, usual) {
                return Ok(chosen);
            }
            above = note(&choice_error(options), self.style);
        }
        Err(Error::new(ErrorCode::Usage, format!("no valid choice after {ATTEMPTS} attempts"))
            .hint(format!("pass {flag}")))
    }
}

impl Terminal {
    /// Fails if no question can be asked: stdin is not a terminal, or `--no-prompt` was given.
    fn require_terminal(&self, question: &str, flag: &str) -> Result<(), Error> {
        if self.allowed && io::stdin().is_terminal() {
            return Ok(());
        }
        Err(keyrack_ops::prompt_needed(question, flag))
    }
}

/// Reads a secret to the end of the input.
///
/// Unless `exact`, the only newline of a text is dropped from its end, since `echo` adds one. A
/// text of several lines, such as a PEM file, keeps its last newline.
fn piped(input: &mut impl io::Read, exact: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
    // One allocation of the final size: growing would leave copies of the secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    let limit = u64::try_from(MAX_SECRET + 2).expect("a mebibyte fits");
    input
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::new(ErrorCode::Io, format!("cannot read the secret from stdin: {error}")))?;
    if !exact && bytes.iter().position(|&byte| byte == b'\n') == bytes.len().checked_sub(1) {
        bytes.pop();
    }
    if bytes.len() > MAX_SECRET {
        return Err(Error::new(
            ErrorCode::SecretTooLarge,
            format!("the secret on stdin is larger than {} KiB", MAX_SECRET / 1024),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piped_secret_drops_only_newline_unless_exact() {
        for (input, secret) in [
            (&b"s3cret\n"[..], &b"s3cret"[..]),
            (b"s3cret", b"s3cret"),
            (b"s3cret\n\n", b"s3cret\n\n"),
            (b"a\r\n", b"a\r"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"-----BEGIN\nx\n-----END\n", b"-----BEGIN\nx\n-----END\n"),
            (b"one\ntwo", b"one\ntwo"),
            (b"\n", b""),
            (b"", b""),
            (b"\xff\x00", b"\xff\x00"),
        ] {
            assert_eq!(&**piped(&mut &input[..], false).unwrap(), secret, "{input:?}");
            assert_eq!(&**piped(&mut &input[..], true).unwrap(), input, "{input:?}, exactly");
        }
        for exact in [false, true] {
            let read = |input: &[u8]| piped(&mut &*input, exact).map(|secret| secret.len());
            assert_eq!(read(&vec![b'x'; MAX_SECRET]).unwrap(), MAX_SECRET);
            assert_eq!(read(&vec![b'x'; MAX_SECRET + 1]).unwrap_err().code, ErrorCode::SecretTooLarge);
            let endless = piped(&mut io::repeat(b'x'), exact).unwrap_err();
            assert_eq!(endless.code, ErrorCode::SecretTooLarge);
        }
        // The newline that is dropped does not count.
        let line = [vec![b'x'; MAX_SECRET], vec![b'\n']].concat();
        assert_eq!(piped(&mut &line[..], false).unwrap().len(), MAX_SECRET);
        assert_eq!(piped(&mut &line[..], true).unwrap_err().code, ErrorCode::SecretTooLarge);
    }
}
