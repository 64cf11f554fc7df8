//! Usage errors. They never repeat an argument that could be a misplaced secret.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use keyrack_core::suggest::closest;
use keyrack_core::{Error, ErrorCode, Fix};

/// Flags that people try to pass a secret with.
const SECRET_FLAGS: [&str; 7] =
    ["--secret", "--password", "--token", "--passphrase", "--value", "--secret-value", "--api-key"];

const BY_STDIN: &str = "pipe the secret on stdin or type it at the prompt: other processes and the shell history can see arguments";

/// Hint for a bare word, which may be a key's name or a secret.
const BY_FLAG: &str = "name a key with `--key`; pipe a secret on stdin or type it at the prompt: other processes and the shell history can see arguments";

/// Hint for a bare word of `run`, which is most likely a command.
const AFTER_DASHES: &str = "put the command after `--`, as in `run --env test -- npm test`";

/// Turns an error of clap into a usage error.
///
/// `called` are the command words that clap understood. `is_declared` returns `true` for the name
/// or slug of a key of `keyrack.yml`, which may be repeated.
pub(crate) fn explain(
    error: &clap::Error,
    mut tree: clap::Command,
    called: &[&str],
    is_declared: impl FnOnce(&str) -> bool,
) -> Error {
    tree.build();
    let command = called.iter().try_fold(&tree, |command, name| command.find_subcommand(name));
    let command = command.unwrap_or(&tree);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        // The last suggestion is the closest.
        Some(ContextValue::Strings(texts)) => texts.last().map(String::as_str),
        _ => None,
    };
    let invalid = text(ContextKind::InvalidArg);
    let flag = invalid.and_then(flag_name);
    let mut hint = None;
    let message = match error.kind() {
        ErrorKind::UnknownArgument => {
            let suggested = text(ContextKind::SuggestedArg).and_then(flag_name);
            match flag {
                Some(name) if SECRET_FLAGS.contains(&name) => {
                    hint = Some(BY_STDIN.to_owned());
                    format!("unknown flag `{name}`")
                }
                Some(name) => {
                    hint = suggested.map(|other| format!("did you mean `{other}`?"));
                    format!("unknown flag `{name}`")
                }
                None if invalid == Some("-v") => {
                    hint = Some(match called {
                        ["get"] => "did you mean `--value`, or `--version` before the command?".to_owned(),
                        _ => "did you mean `--version`?".to_owned(),
                    });
                    "unknown flag `-v`".to_owned()
                }
                None if let Some(letter) = invalid.and_then(short_flag) => {
                    format!("unknown flag `-{letter}`")
                }
                None if let Some(key) =
                    invalid.filter(|_| takes_key(command)).filter(|word| is_declared(word)) =>
                {
                    hint = Some(format!("did you mean `--key {key}`?"));
                    format!("unexpected argument {key}: keys are passed with `--key`")
                }
                None => {
                    let by_flag = if called == ["run"] { AFTER_DASHES } else { BY_FLAG };
                    hint = Some(by_flag.to_owned());
                    "unexpected argument (not shown: it could be a secret)".to_owned()
                }
            }
        }
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).filter(|word| is_word(word));
            let near = text(ContextKind::SuggestedSubcommand);
            let version = word.filter(|word| *word == "version" && called.is_empty()).map(|_| "--version");
            let other = version.or_else(|| word.and_then(|word| other_name(word, command))).or(near);
            hint = other.map(|other| format!("did you mean `{other}`?"));
            // A word that resembles no command could be a secret.
            word.filter(|_| hint.is_some())
                .map_or_else(|| "unknown command".to_owned(), |word| format!("unknown command \"{word}\""))
        }
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names)) => format!(
                "missing {}",
                names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
            _ => "missing a required flag".to_owned(),
        },
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).and_then(flag_name);
            match (flag, other) {
                (Some(one), Some(other)) if one == other => format!("`{one}` can only be given once"),
                (Some(one), Some(other)) => format!("`{one}` cannot be used with `{other}`"),
                _ => "two of the flags cannot be used together".to_owned(),
            }
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        ErrorKind::MissingSubcommand => "missing command".to_owned(),
        _ => match flag {
            Some(name) => {
                match error.get(ContextKind::ValidValue) {
                    Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                        hint = Some(format!("expected one of {}", valid.join(", ")));
                    }
                    _ => {}
                }
                format!("missing or invalid value for `{name}`")
            }
            None => "invalid arguments".to_owned(),
        },
    };
    let mut error =
        Error::new(ErrorCode::Usage, message).fix(Fix::command(called.iter().copied().chain(["--help"])));
    error.hint = hint;
    error
}

/// Returns the subcommand that other tools call `word`, or else the one spelled most like it.
fn other_name<'t>(word: &str, command: &'t clap::Command) -> Option<&'t str> {
    let names = [
        ("init", &["setup", "install"][..]),
        ("set", &["add", "put", "store", "save", "create", "write", "import"]),
        ("get", &["read", "show", "print", "cat", "fetch", "view"]),
        ("del", &["rm", "remove", "delete", "unset"]),
        ("list", &["ls", "keys"]),
        ("unlock", &["open", "login", "signin"]),
        ("relock", &["lock", "close", "logout", "signout", "forget", "clear"]),
        ("source", &["export", "env"]),
        ("status", &["stat", "info", "ps"]),
        ("doctor", &["check", "diagnose"]),
        ("completions", &["completion"]),
    ];
    let name = names.into_iter().find(|(_, others)| others.contains(&word)).map(|(name, _)| name);
    let siblings: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    name.filter(|name| siblings.contains(name)).or_else(|| closest(word, siblings))
}

/// Returns the flag in a text of clap (`--env <ENV>`, `--secret=…`) if it is a plain word, which
/// may be repeated.
fn flag_name(text: &str) -> Option<&str> {
    let name = text.split([' ', '=']).next()?;
    name.strip_prefix("--").is_some_and(is_word).then_some(name)
}

/// Returns the letter of an argument that clap read as a short flag. What follows the letter could
/// be a secret.
fn short_flag(text: &str) -> Option<char> {
    let letter = text.strip_prefix('-')?.chars().next()?;
    letter.is_ascii_alphabetic().then_some(letter)
}

/// Returns `true` if the command has the flag `--key`.
fn takes_key(command: &clap::Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some("key"))
}

fn is_word(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

#[cfg(test)]
mod tests {
    use crate::args::parse;

    fn explained(line: &[&str]) -> (String, String) {
        let args: Vec<_> = ["keyrack"].iter().chain(line).map(Into::into).collect();
        let error = parse(&args, |_| keyrack_client::render::Style::PLAIN, |word| word == "API_KEY")
            .err()
            .expect("a usage error");
        assert_eq!(error.exit(), 2);
        (error.message.clone(), format!("{error:?}"))
    }

    #[test]
    fn usage_error_never_repeats_possible_secret() {
        for line in [
            &["set", "--key", "K", "--vault", "os.secure", "--secret", "hunter2"][..],
            &["set", "--key", "K", "--vault", "os.secure", "--secret=hunter2"],
            &["set", "--key", "K", "--vault", "os.secure", "hunter2"],
            &["set", "--key", "K", "--vault", "os.secure", "--hunter2-HUNTER2"],
            &["set", "-Xhunter2"],
            &["get", "-xhunter2"],
            &["get", "-q=hunter2"],
            &["-xhunter2"],
            &["get", "hunter2"],
            &["hunter2-is-my-password-and-so-on"],
            &["get", "--value=hunter2"],
            &["get", "--json=hunter2"],
            &["completions", "bash", "hunter2"],
        ] {
            let (message, all) = explained(line);
            assert!(!all.contains("hunter2"), "{line:?}: {all}");
            assert!(!message.is_empty());
        }
    }

    #[test]
    fn typo_gets_suggestion() {
        for (line, hint) in [
            (&["gte"][..], "did you mean `get`?"),
            (&["ls"], "did you mean `list`?"),
            (&["rm", "--key", "K"], "did you mean `del`?"),
            (&["daemon", "restrat"], "did you mean `restart`?"),
            (&["unlock", "--enb", "test"], "did you mean `--env`?"),
            (&["get", "--vlaue"], "did you mean `--value`?"),
            (&["version"], "did you mean `--version`?"),
            (&["get", "API_KEY"], "did you mean `--key API_KEY`?"),
            (&["unlock", "--env", "test", "API_KEY"], "did you mean `--key API_KEY`?"),
            (&["status", "API_KEY"], super::BY_FLAG),
            (&["get", "OTHER"], super::BY_FLAG),
        ] {
            let args: Vec<_> = ["keyrack"].iter().chain(line).map(Into::into).collect();
            let error = parse(&args, |_| keyrack_client::render::Style::PLAIN, |word| word == "API_KEY")
                .err()
                .expect("a usage error");
            assert_eq!(error.hint.as_deref(), Some(hint), "{line:?}");
        }
    }

    #[test]
    fn usage_error_names_flag_or_command() {
        for (line, message) in [
            (&["get", "--what"][..], "unknown flag `--what`"),
            (&["set", "--secret", "x"], "unknown flag `--secret`"),
            (&["get", "-v"], "unknown flag `-v`"),
            (&["-v"], "unknown flag `-v`"),
            (&["get", "-q"], "unknown flag `-q`"),
            (&["-q"], "unknown flag `-q`"),
            (&["set", "-Xhunter2"], "unknown flag `-X`"),
            (&["get", "-7"], "unexpected argument (not shown: it could be a secret)"),
            (&["get", "API_KEY"], "unexpected argument API_KEY: keys are passed with `--key`"),
            (&["nope"], "unknown command"),
            (&["fil"], "unknown command \"fil\""),
            (&["set", "--vault", "os.secure"], "missing `--key <KEY>`"),
            (&["source"], "missing `--env <ENV>`"),
            (
                &["source", "--env", "test", "--strict", "--lenient"],
                "`--strict` cannot be used with `--lenient`",
            ),
            (&["get", "--key"], "missing or invalid value for `--key`"),
            (&["get", "--key", "a", "--key", "b"], "`--key` can only be given once"),
        ] {
            assert_eq!(explained(line).0, message, "{line:?}");
        }
    }
}
