//! What the process was started with, read once in `main` and handed on: nothing below reads the environment or the clock by itself.

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

/// The outside of a command.
pub(crate) struct App {
    /// The environment, all of it.
    pub(crate) environment: Environment,
    /// Where we stand; `/` when that directory is gone.
    pub(crate) cwd: PathBuf,
    /// Owner named before the command.
    pub(crate) owner: Option<String>,
    /// `true` for `--no-prompt`.
    pub(crate) no_prompt: bool,
    /// How keyrack was called, for the fixes.
    pub(crate) invocation: Invocation,
    /// Whether `--json` was given: then stderr carries JSON too.
    pub(crate) as_json: bool,
}

impl App {
    /// Parses the owner of a command's flags, else the one named before the command, else the default one.
    pub(crate) fn owner(&self, flag: Option<&String>) -> Result<Owner, Error> {
        Ok(flag.or(self.owner.as_ref()).map_or(Ok(Owner::DEFAULT), |text| text.parse())?)
    }

    /// Returns the prompts of this process's terminal.
    pub(crate) fn terminal(&self) -> Terminal {
        let style = if io::stdout().is_terminal() { self.style() } else { self.style_of_stderr() };
        Terminal::new(!self.no_prompt, style)
    }

    /// A context for an owner's rack.
    pub(crate) fn context(&self, owner: Owner) -> Context {
        let mut context = Context::new(self.cwd.clone(), self.environment.clone()).with_owner(owner);
        context.invocation = self.invocation;
        context
    }

    /// Runs an operation for an owner, with the person at the terminal to ask.
    pub(crate) fn operate<T>(
        &self,
        owner: Owner,
        prikeys: &[PathBuf],
        operation: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.operate_with(self.terminal(), owner, prikeys, operation)
    }

    /// The same with a terminal that was set up by the command.
    pub(crate) fn operate_with<T>(
        &self,
        mut person: Terminal,
        owner: Owner,
        prikeys: &[PathBuf],
        operation: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let ctx = OpContext::new(self.context(owner), keyrackd()?, now_ms(), &mut person);
        operation(&ctx.with_prikeys(prikeys.iter().cloned()))
    }

    /// How stdout may look.
    pub(crate) fn style(&self) -> Style {
        look_of(&self.environment, true)
    }

    /// Whether a person sits there who may be asked: at both ends of this command, since whoever reads its answer elsewhere is a program.
    pub(crate) fn is_guided(&self) -> bool {
        !self.no_prompt && !self.as_json && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// How many rows stdout has; `None` where it is no terminal, or one that does not know.
    pub(crate) fn rows(&self) -> Option<usize> {
        terminal_size::terminal_size_of(io::stdout()).map(|(_, height)| usize::from(height.0))
    }

    /// How stderr may look.
    pub(crate) fn style_of_stderr(&self) -> Style {
        style_of_stderr(&self.environment)
    }

    /// Tells something that is no failure, on stderr.
    pub(crate) fn notice(&self, text: &str) {
        report::notice(text, self.as_json, self.style_of_stderr());
    }

    /// Tells of a problem that stopped nothing, on stderr.
    pub(crate) fn warn(&self, error: &Error) {
        report::warning(error, self.invocation, self.as_json, self.style_of_stderr());
    }

    /// A path as people read it: in the repository as `./…`, in the home directory as `~/…`.
    pub(crate) fn shown(&self, path: &Path, git_root: Option<&Path>) -> String {
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

/// The daemon's program: beside this one.
pub(crate) fn keyrackd() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|error| {
        Error::new(ErrorCode::DaemonStartFailed, format!("where keyrackd is cannot be told: {error}"))
    })?;
    Ok(own.with_file_name("keyrackd"))
}

/// The wall clock, in milliseconds since the Unix epoch; 0 before it.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How stdout (`true`) or stderr may look, before there is an [`App`].
pub(crate) fn look_of(environment: &Environment, stdout: bool) -> Style {
    if stdout {
        style(environment, io::stdout().is_terminal(), columns(io::stdout()))
    } else {
        style_of_stderr(environment)
    }
}

/// How stderr may look, before there is an [`App`].
pub(crate) fn style_of_stderr(environment: &Environment) -> Style {
    style(environment, io::stderr().is_terminal(), columns(io::stderr()))
}

/// How many columns a terminal has; `None` for what is none, and for one that does not know.
fn columns(stream: impl AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0))
}

/// No escape sequences but on a terminal, none where `NO_COLOR` is set (no-color.org), and no emoji on a console or in a locale that has none.
/// Nothing turns colour on for a pipe: what reads there is a program, and CI machines set such variables for all of them.
fn style(environment: &Environment, terminal: bool, columns: Option<usize>) -> Style {
    let plain = matches!(environment.text("TERM"), Some("dumb" | "linux"));
    Style {
        width: columns.filter(|_| terminal),
        color: terminal && !plain && environment.filled("NO_COLOR").is_none(),
        unicode: !terminal || !(plain || is_ascii_locale(environment)),
    }
}

/// Whether the locale that is set for characters is none of UTF-8 (POSIX.1-2017 §8.2: LC_ALL, then LC_CTYPE, then LANG, the first that is not
/// empty). None set at all is what a container has, at a terminal that shows UTF-8 all the same.
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
    fn colour_is_for_terminals_that_want_it() {
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
