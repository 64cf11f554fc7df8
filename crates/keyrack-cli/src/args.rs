//! The command line: all commands and their arguments.
//!
//! The tree is built by hand around derived arguments, so that clap only describes the command that
//! is called: describing all commands would slow down the start of `get`. No flag takes a secret.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches};
use keyrack_client::render::Style;
use keyrack_core::Error;

use crate::command::flags::OwnerFlags;
use crate::command::{
    completions, credential, daemon, del, doctor, fill, firewall, get, infra, init, list, man, recipient,
    relock, run, schema, set, source, status, types, unlock,
};
use crate::{help, usage};

/// Parsed command.
pub(crate) enum Command {
    Init(init::InitArgs),
    Infra(infra::InfraCommand),
    Set(set::SetArgs),
    Del(del::DelArgs),
    List(list::ListArgs),
    Fill(fill::FillArgs),
    Unlock(unlock::UnlockArgs),
    Get(get::GetArgs),
    Source(source::SourceArgs),
    Run(run::RunArgs),
    Relock(relock::RelockArgs),
    Status(status::StatusArgs),
    Recipient(recipient::RecipientCommand),
    Daemon(daemon::DaemonCommand),
    Firewall(firewall::FirewallArgs),
    Types(types::TypesArgs),
    Credential(credential::CredentialCommand),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Schema(schema::SchemaArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Returns `true` if flags other than `--json` select JSON output.
    pub(crate) fn prints_json(&self) -> bool {
        match self {
            Command::Get(flags) => flags.prints_json(),
            Command::Firewall(flags) => flags.prints_json(),
            _ => false,
        }
    }
}

// Flags before the command. No doc comment: clap would make it the description of keyrack.
#[derive(Args, Debug, Default)]
pub(crate) struct GlobalFlags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Never prompt: fail with prompt_needed instead
    #[arg(long, global = true, display_order = 900)]
    pub(crate) no_prompt: bool,
}

/// Result of parsing the arguments.
pub(crate) enum Parsed {
    /// Command to run, with the flags before it.
    Run(Box<(GlobalFlags, Command)>),
    /// Requested help or version, for stdout.
    Show(String),
    /// Help for stderr, since the command is missing.
    ShowHelp(String),
}

type Describe = fn(clap::Command) -> clap::Command;

/// Name, description and arguments of each command.
const COMMANDS: &[(&str, &str, Describe)] = &[
    (
        "init",
        "Create the rack of this machine, with you as its first recipient",
        init::InitArgs::augment_args,
    ),
    ("infra", "Create the org's registry of GitHub Apps (not available in this version)", infra::describe),
    ("recipient", "Show and change who can decrypt the rack", recipient::describe),
    ("get", "Read unlocked keys", get::GetArgs::augment_args),
    ("source", "Print export lines for your shell to eval", source::SourceArgs::augment_args),
    ("run", "Run a command with keys in its environment", run::RunArgs::augment_args),
    ("set", "Store a key in a vault", set::SetArgs::augment_args),
    ("del", "Delete a key from this machine", del::DelArgs::augment_args),
    ("unlock", "Unlock keys for this login session", unlock::UnlockArgs::augment_args),
    ("relock", "Lock keys before they expire", relock::RelockArgs::augment_args),
    ("status", "Show the unlocked keys", status::StatusArgs::augment_args),
    ("list", "List the keys stored on this machine", list::ListArgs::augment_args),
    ("fill", "Unlock or ask for every key that keyrack.yml declares", fill::FillArgs::augment_args),
    ("daemon", "Start, stop, restart and inspect the daemon", daemon::describe),
    (
        "firewall",
        "Pass the declared secrets of a CI job to its later steps, all or none",
        firewall::FirewallArgs::augment_args,
    ),
    (
        "credential",
        "Act as a credential helper of git, docker, the AWS tools and kubectl",
        credential::describe,
    ),
    ("types", "Generate TypeScript types for declared keys", types::TypesArgs::augment_args),
    ("doctor", "Check the setup and suggest fixes", doctor::DoctorArgs::augment_args),
    ("completions", "Print a completion script for your shell", completions::CompletionsArgs::augment_args),
    ("man", "Print or write manual pages", man::ManArgs::augment_args),
    ("schema", "Print the JSON schema of a command's output", schema::SchemaArgs::augment_args),
];

const EXAMPLES: &str = "\
Examples:
  keyrack init
  keyrack set --key API_KEY --env test --vault os.secure
  keyrack unlock --env test
  keyrack get --key API_KEY --env test --value";

/// Returns the whole tree, for parsing, help and completions.
pub(crate) fn tree() -> clap::Command {
    // The flags first: their description would replace ours.
    let root = GlobalFlags::augment_args(clap::Command::new("keyrack"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Unlock your keys once per login session; your tools read them without a prompt.")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true);
    COMMANDS.iter().fold(root, |tree, (name, about, flags)| {
        tree.subcommand(clap::Command::new(name).about(about).defer(*flags))
    })
}

/// Parses the arguments, the first of which is the program's name.
///
/// Errors never repeat an argument that could be a secret. `style` returns the style of stdout
/// (`true`) or stderr, and is only called to show help. `is_declared` is that of
/// [`usage::explain`].
pub(crate) fn parse(
    args: &[std::ffi::OsString],
    style: impl Fn(bool) -> Style,
    is_declared: impl Fn(&str) -> bool,
) -> Result<Parsed, Error> {
    let matches = match tree().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayVersion => Ok(Parsed::Show(error.render().to_string())),
                ErrorKind::DisplayHelp => Ok(Parsed::Show(help::show(tree(), &error, style(true)))),
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    Ok(Parsed::ShowHelp(help::show(tree(), &error, style(false))))
                }
                _ => Err(usage::explain(&error, tree(), &called(args), &is_declared)),
            };
        }
    };
    read(&matches).map_err(|error| usage::explain(&error, tree(), &called(args), &is_declared))
}

fn read(matches: &ArgMatches) -> Result<Parsed, clap::Error> {
    let globals = GlobalFlags::from_arg_matches(matches)?;
    let (name, matches) =
        matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
    let command = match name {
        "init" => Command::Init(init::InitArgs::from_arg_matches(matches)?),
        "infra" => Command::Infra(infra::InfraCommand::from_arg_matches(matches)?),
        "set" => Command::Set(set::SetArgs::from_arg_matches(matches)?),
        "del" => Command::Del(del::DelArgs::from_arg_matches(matches)?),
        "list" => Command::List(list::ListArgs::from_arg_matches(matches)?),
        "unlock" => Command::Unlock(unlock::UnlockArgs::from_arg_matches(matches)?),
        "get" => Command::Get(get::GetArgs::from_arg_matches(matches)?),
        "source" => Command::Source(source::SourceArgs::from_arg_matches(matches)?),
        "run" => Command::Run(run::RunArgs::from_arg_matches(matches)?),
        "relock" => Command::Relock(relock::RelockArgs::from_arg_matches(matches)?),
        "status" => Command::Status(status::StatusArgs::from_arg_matches(matches)?),
        "recipient" => Command::Recipient(recipient::RecipientCommand::from_arg_matches(matches)?),
        "daemon" => Command::Daemon(daemon::DaemonCommand::from_arg_matches(matches)?),
        "fill" => Command::Fill(fill::FillArgs::from_arg_matches(matches)?),
        "firewall" => Command::Firewall(firewall::FirewallArgs::from_arg_matches(matches)?),
        "types" => Command::Types(types::TypesArgs::from_arg_matches(matches)?),
        "credential" => Command::Credential(credential::CredentialCommand::from_arg_matches(matches)?),
        "doctor" => Command::Doctor(doctor::DoctorArgs::from_arg_matches(matches)?),
        "man" => Command::Man(man::ManArgs::from_arg_matches(matches)?),
        "schema" => Command::Schema(schema::SchemaArgs::from_arg_matches(matches)?),
        "completions" => Command::Completions(completions::CompletionsArgs::from_arg_matches(matches)?),
        _ => return Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
    };
    Ok(Parsed::Run(Box::new((globals, command))))
}

/// Returns the known command words among the arguments, for error headings and the `--help` to
/// suggest.
pub(crate) fn called(args: &[std::ffi::OsString]) -> Vec<&'static str> {
    let words: Vec<&str> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let Some(at) = words.iter().position(|word| COMMANDS.iter().any(|(name, ..)| name == word)) else {
        return Vec::new();
    };
    let name = COMMANDS.iter().map(|(name, ..)| *name).find(|name| name == &words[at]);
    let subcommands: &[&str] = match name {
        Some("recipient") => &recipient::NAMES,
        Some("daemon") => &daemon::NAMES,
        Some("credential") => &credential::NAMES,
        Some("infra") => &infra::NAMES,
        _ => &[],
    };
    let second = words.get(at + 1).and_then(|word| subcommands.iter().copied().find(|name| name == word));
    name.into_iter().chain(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_description_and_example() {
        tree().debug_assert();
        for (name, line, _) in COMMANDS {
            let mut command = tree();
            command.build();
            let command = command.find_subcommand_mut(name).unwrap();
            let help = command.render_long_help().to_string();
            assert!(help.starts_with(line), "{name} says what it does:\n{help}");
            assert!(help.contains("Examples:"), "{name} shows an example:\n{help}");
        }
    }

    #[test]
    fn no_flag_takes_a_secret() {
        fn walk(command: &clap::Command) {
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                assert!(!["secret", "password", "token", "passphrase"].contains(&id), "{id}");
            }
            command.get_subcommands().for_each(walk);
        }
        let mut tree = tree();
        tree.build();
        walk(&tree);
    }

    #[test]
    fn called_finds_known_command_words() {
        let words = |line: &str| called(&line.split(' ').map(Into::into).collect::<Vec<_>>());
        assert_eq!(words("keyrack --owner x recipient set --bad"), ["recipient", "set"]);
        assert_eq!(words("keyrack get set"), ["get"]);
        assert!(words("keyrack nope").is_empty());
    }
}
