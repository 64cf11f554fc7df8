//! The context of a command: environment, working directory, global flags and terminal.
//!
//! `main` reads the environment once. With this module it is the only place of the CLI that does.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use keyrack_client::render::Style;
use keyrack_client::{Context, Environment};
use keyrack_core::{Error, ErrorCode, Invocation, Owner};
use keyrack_ops::OpContext;

use crate::prompt::Terminal;
use crate::report;

/// Context that every command runs in.
pub(crate) struct App {
    pub(crate) environment: Environment,
    /// Working directory; `/` if it was deleted.
    pub(crate) cwd: PathBuf,
    /// Owner named before the command.
    pub(crate) owner: Option<String>,
    /// `true` for `--no-prompt`.
    pub(crate) no_prompt: bool,
    /// Way that keyrack was called, used in `fix:` commands.
    pub(crate) invocation: Invocation,
    /// `true` for `--json`: errors and notices on stderr are JSON too.
    pub(crate) as_json: bool,
}

impl App {
    /// Parses the owner of a command's flags, else the one named before the command, else the
    /// default one.
    pub(crate) fn owner(&self, flag: Option<&String>) -> Result<Owner, Error> {
        Ok(flag.or(self.owner.as_ref()).map_or(Ok(Owner::DEFAULT), |text| text.parse())?)
    }

    /// Returns the prompts of this process's terminal.
    pub(crate) fn terminal(&self) -> Terminal {
        let style = if io::stdout().is_terminal() { self.style() } else { self.style_of_stderr() };
        Terminal::new(!self.no_prompt, style)
    }

    /// Returns the client's context for an owner's rack.
    pub(crate) fn context(&self, owner: Owner) -> Context {
        let mut context = Context::new(self.cwd.clone(), self.environment.clone()).with_owner(owner);
        context.invocation = self.invocation;
        context
    }

    /// Runs an operation on an owner's rack, with prompts at the terminal.
    pub(crate) fn operate<T>(
        &self,
        owner: Owner,
        prikeys: &[PathBuf],
        operation: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.operate_with(self.terminal(), owner, prikeys, operation)
    }

    /// Runs an operation like [`App::operate`], with a terminal that the command configured.
    pub(crate) fn operate_with<T>(
        &self,
        mut terminal: Terminal,
        owner: Owner,
        prikeys: &[PathBuf],
        operation: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let ctx = OpContext::new(self.context(owner), keyrackd()?, now_ms(), &mut terminal);
        operation(&ctx.with_prikeys(prikeys.iter().cloned()))
    }

    /// Returns the style of stdout.
    pub(crate) fn style(&self) -> Style {
        style_of(&self.environment, true)
    }

    /// Returns `true` if the command may ask questions: stdin and stdout are terminals, and neither
    /// `--no-prompt` nor `--json` was given.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.no_prompt && !self.as_json && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Returns the number of rows of stdout, or `None` if it is not a terminal or its size is
    /// unknown.
    pub(crate) fn rows(&self) -> Option<usize> {
        terminal_size::terminal_size_of(io::stdout()).map(|(_, height)| usize::from(height.0))
    }

    /// Returns the style of stderr.
    pub(crate) fn style_of_stderr(&self) -> Style {
        style_of_stderr(&self.environment)
    }

    /// Prints a notice on stderr.
    pub(crate) fn notice(&self, text: &str) {
        report::notice(text, self.as_json, self.style_of_stderr());
    }

    /// Prints an error that did not stop the command, on stderr.
    pub(crate) fn warn(&self, error: &Error) {
        report::warning(error, self.invocation, self.as_json, self.style_of_stderr());
    }

    /// Shortens a path for display: `./…` in the repository, `~/…` in the home directory.
    pub(crate) fn display_path(&self, path: &Path, git_root: Option<&Path>) -> String {
        if let Some(rest) = git_root.and_then(|root| path.strip_prefix(root).ok()) {
            return format!("./{}", rest.display());
        }
        let home = self.environment.filled("HOME").map(Path::new);
        match home.and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => path.display().to_string(),
        }
    }
}

/// Returns the path of the daemon's program, in the directory of this one.
pub(crate) fn keyrackd() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|error| {
        Error::new(ErrorCode::DaemonStartFailed, format!("cannot find keyrackd: {error}"))
    })?;
    Ok(own.with_file_name("keyrackd"))
}

/// Returns the wall-clock time in milliseconds since the Unix epoch; 0 before it.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the style of stdout (`true`) or stderr, before there is an [`App`].
pub(crate) fn style_of(environment: &Environment, stdout: bool) -> Style {
    if stdout {
        style(environment, io::stdout().is_terminal(), columns(io::stdout()))
    } else {
        style_of_stderr(environment)
    }
}

/// Returns the style of stderr, before there is an [`App`].
pub(crate) fn style_of_stderr(environment: &Environment) -> Style {
    style(environment, io::stderr().is_terminal(), columns(io::stderr()))
}

/// Returns the number of columns, or `None` if the stream is not a terminal or its size is unknown.
fn columns(stream: impl AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0))
}

/// Decides on color and Unicode.
///
/// Color needs a terminal, and is off if `NO_COLOR` is set (no-color.org). Emoji are off on the
/// Linux console and in locales without UTF-8. No variable turns color on for a pipe: its reader is
/// a program, and CI machines set such variables for every program.
fn style(environment: &Environment, terminal: bool, columns: Option<usize>) -> Style {
    let plain = matches!(environment.text("TERM"), Some("dumb" | "linux"));
    Style {
        width: columns.filter(|_| terminal),
        color: terminal && !plain && environment.filled("NO_COLOR").is_none(),
        unicode: !terminal || !(plain || is_ascii_locale(environment)),
    }
}

/// Returns `true` if the locale for characters is set and its encoding is not UTF-8.
///
/// POSIX.1-2017 §8.2: the first of LC_ALL, LC_CTYPE and LANG that is not empty. Containers set none
/// of them, at terminals that do show UTF-8.
fn is_ascii_locale(environment: &Environment) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| environment.filled(name));
    let utf8 = |locale: &str| ["utf-8", "utf8"].iter().any(|form| locale.to_ascii_lowercase().contains(form));
    set.is_some_and(|locale| locale.to_str().is_none_or(|locale| !utf8(locale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_of_command_wins_over_owner_before_it() {
        for (flag, before, name) in [
            (None, None, None),
            (Some("a"), Some("c"), Some("a")),
            (None, Some("c"), Some("c")),
            (Some("default"), Some("c"), None),
        ] {
            let app = App {
                environment: Environment::default(),
                cwd: PathBuf::from("/"),
                owner: before.map(Into::into),
                no_prompt: true,
                invocation: Invocation::default(),
                as_json: false,
            };
            assert_eq!(app.owner(flag.map(String::from).as_ref()).unwrap().name(), name);
        }
    }

    #[test]
    fn style_follows_terminal_and_environment() {
        for (terminal, variables, color, unicode) in [
            (true, &[][..], true, true),
            (true, &[("NO_COLOR", "")], true, true),
            (true, &[("NO_COLOR", "1")], false, true),
            (true, &[("TERM", "dumb")], false, false),
            (true, &[("LANG", "C")], true, false),
            (true, &[("LANG", "de_DE.UTF-8"), ("LC_ALL", "POSIX")], true, false),
            (true, &[("LANG", "C"), ("LC_ALL", ""), ("LC_CTYPE", "C.utf8")], true, true),
            (true, &[("LANG", "de_DE.ISO-8859-1")], true, false),
            (false, &[("LANG", "C")], false, true),
            (false, &[("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "3")], false, true),
            (false, &[], false, true),
            (false, &[("TERM", "dumb")], false, true),
        ] {
            let style = style(&variables.iter().copied().collect(), terminal, Some(80));
            assert_eq!(style.width, terminal.then_some(80), "{variables:?}");
            assert_eq!((style.color, style.unicode), (color, unicode), "{terminal} {variables:?}");
        }
    }
}
