//! The command line: which commands there are, and which flags each takes.
//!
//! The tree is built by hand around derived arguments, so that only the command that is called pays for its flags: a `get` starts in a
//! fraction of the time it would take to describe all commands. No flag takes a secret.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches};
use keyrack_client::render::Style;
use keyrack_core::{Error, Owner};
use keyrack_ops::OpContext;

use crate::command::{
    completions, credential, daemon, del, doctor, fill, firewall, get, infra, init, list, man, recipient,
    relock, run, schema, set, source, status, types, unlock,
};
use crate::outer::Outer;
use crate::{help, usage};

/// What was asked for.
pub(crate) enum Command {
    Init(init::Flags),
    Infra(infra::Command),
    Set(set::Flags),
    Del(del::Flags),
    List(list::Flags),
    Fill(fill::Flags),
    Unlock(unlock::Flags),
    Get(get::Flags),
    Source(source::Flags),
    Run(run::Flags),
    Relock(relock::Flags),
    Status(status::Flags),
    Recipient(recipient::Command),
    Daemon(daemon::Command),
    Firewall(firewall::Flags),
    Types(types::Flags),
    Credential(credential::Command),
    Doctor(doctor::Flags),
    Completions(completions::Flags),
    Schema(schema::Flags),
    Man(man::Flags),
}

impl Command {
    /// Whether its flags ask for JSON by another word than `--json`.
    pub(crate) fn answers_json(&self) -> bool {
        match self {
            Command::Get(flags) => flags.answers_json(),
            Command::Firewall(flags) => flags.answers_json(),
            _ => false,
        }
    }
}

// The flags that stand before the command. No doc comment, for the same reason as with the owner's.
#[derive(Args, Debug, Default)]
pub(crate) struct Group {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Never ask at the terminal: fail with prompt_needed instead
    #[arg(long, global = true, display_order = 900)]
    pub(crate) no_prompt: bool,
}

// Whose rack. No doc comment: it would become the description of every command that takes these flags.
#[derive(Args, Debug, Default)]
pub(crate) struct OwnerFlags {
    /// Whose rack: the default one if not given
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// The same as --owner
    #[arg(long = "for", value_name = "OWNER")]
    pub(crate) owner_for: Option<String>,
}

impl OwnerFlags {
    /// The owner named here, else the one named before the command, else the default one.
    pub(crate) fn resolve(&self, group: &Group) -> Result<Owner, Error> {
        let named = self.owner.as_ref().or(self.owner_for.as_ref());
        resolve_owner(named, group)
    }
}

// A rack that is opened, and how the answer looks. No doc comment, for the same reason.
#[derive(Args, Debug)]
pub(crate) struct RackFlags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// An ssh key to open the rack with, tried first; may be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) prikey: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl RackFlags {
    /// Runs an operation on the rack.
    pub(crate) fn operate<T>(
        &self,
        outer: &Outer,
        operation: impl FnOnce(&OpContext<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        outer.operate(self.owner.resolve(&outer.group)?, &self.prikey, operation)
    }
}

/// The owner of `named`, else the one named before the command, else the default one.
pub(crate) fn resolve_owner(named: Option<&String>, group: &Group) -> Result<Owner, Error> {
    match named.or(group.owner.owner.as_ref()).or(group.owner.owner_for.as_ref()) {
        None => Ok(Owner::DEFAULT),
        Some(text) => text.parse(),
    }
}

/// What came of reading the arguments.
pub(crate) enum Parsed {
    /// A command to run.
    Run(Box<(Group, Command)>),
    /// A text that was asked for: help or the version.
    Show(String),
    /// No command at all: the help, on stderr.
    Nothing(String),
}

type Describe = fn(clap::Command) -> clap::Command;

/// Name, one line, flags: in the order the help shows.
const COMMANDS: &[(&str, &str, Describe)] = &[
    ("init", "Make the rack of this machine, with you as its first recipient", init::Flags::augment_args),
    ("infra", "Make the org's registry of GitHub Apps (not in this version)", infra::describe),
    ("recipient", "See and change who can decrypt the rack", recipient::describe),
    ("get", "Read keys that are unlocked", get::Flags::augment_args),
    ("source", "Print export lines for a shell to eval", source::Flags::augment_args),
    ("run", "Run a command with keys in its environment", run::Flags::augment_args),
    ("set", "Store a key in a vault", set::Flags::augment_args),
    ("del", "Remove a key from this machine", del::Flags::augment_args),
    ("unlock", "Open keys for this login session", unlock::Flags::augment_args),
    ("relock", "Forget unlocked keys now", relock::Flags::augment_args),
    ("status", "Show what is unlocked", status::Flags::augment_args),
    ("list", "Show the keys this machine has", list::Flags::augment_args),
    ("fill", "Find or ask for every key that keyrack.yml declares", fill::Flags::augment_args),
    ("daemon", "Start, stop, restart and look at the daemon", daemon::describe),
    (
        "firewall",
        "Let a CI job's declared secrets through to its later steps, all or none",
        firewall::Flags::augment_args,
    ),
    ("credential", "Answer git, docker, the AWS tools and kubectl", credential::describe),
    ("types", "Write the names of declared keys for TypeScript", types::Flags::augment_args),
    ("doctor", "Look for everything that can be wrong, and say what mends it", doctor::Flags::augment_args),
    ("completions", "Print completions for a shell", completions::Flags::augment_args),
    ("man", "Print or write the manual pages", man::Flags::augment_args),
    ("schema", "Print the JSON schema of a command's answer", schema::Flags::augment_args),
];

const EXAMPLES: &str = "\
Examples:
  keyrack init
  keyrack set --key API_KEY --env test --vault os.secure
  keyrack unlock --env test
  keyrack get --key API_KEY --env test --value";

/// The whole tree, for parsing, help and completions.
pub(crate) fn tree() -> clap::Command {
    // The flags first: their own description would take the place of ours.
    let root = Group::augment_args(clap::Command::new("keyrack"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Unlock once per login session; every tool of it gets its keys without a prompt.")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true);
    COMMANDS.iter().fold(root, |tree, (name, about, flags)| {
        tree.subcommand(clap::Command::new(name).about(about).defer(*flags))
    })
}

/// Reads the arguments, the program's own name included. What was typed is never repeated where it could be a secret.
/// `style` says how stdout (`true`) or stderr may look, and is only asked where help is shown.
/// `is_declared` as [`usage::explain`] has it.
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
                    Ok(Parsed::Nothing(help::show(tree(), &error, style(false))))
                }
                _ => Err(usage::explain(&error, &called(args), &is_declared)),
            };
        }
    };
    read(&matches).map_err(|error| usage::explain(&error, &called(args), &is_declared))
}

fn read(matches: &ArgMatches) -> Result<Parsed, clap::Error> {
    let group = Group::from_arg_matches(matches)?;
    let (name, matches) =
        matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
    let command = match name {
        "init" => Command::Init(init::Flags::from_arg_matches(matches)?),
        "infra" => Command::Infra(infra::Command::from_arg_matches(matches)?),
        "set" => Command::Set(set::Flags::from_arg_matches(matches)?),
        "del" => Command::Del(del::Flags::from_arg_matches(matches)?),
        "list" => Command::List(list::Flags::from_arg_matches(matches)?),
        "unlock" => Command::Unlock(unlock::Flags::from_arg_matches(matches)?),
        "get" => Command::Get(get::Flags::from_arg_matches(matches)?),
        "source" => Command::Source(source::Flags::from_arg_matches(matches)?),
        "run" => Command::Run(run::Flags::from_arg_matches(matches)?),
        "relock" => Command::Relock(relock::Flags::from_arg_matches(matches)?),
        "status" => Command::Status(status::Flags::from_arg_matches(matches)?),
        "recipient" => Command::Recipient(recipient::Command::from_arg_matches(matches)?),
        "daemon" => Command::Daemon(daemon::Command::from_arg_matches(matches)?),
        "fill" => Command::Fill(fill::Flags::from_arg_matches(matches)?),
        "firewall" => Command::Firewall(firewall::Flags::from_arg_matches(matches)?),
        "types" => Command::Types(types::Flags::from_arg_matches(matches)?),
        "credential" => Command::Credential(credential::Command::from_arg_matches(matches)?),
        "doctor" => Command::Doctor(doctor::Flags::from_arg_matches(matches)?),
        "man" => Command::Man(man::Flags::from_arg_matches(matches)?),
        "schema" => Command::Schema(schema::Flags::from_arg_matches(matches)?),
        "completions" => Command::Completions(completions::Flags::from_arg_matches(matches)?),
        _ => return Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
    };
    Ok(Parsed::Run(Box::new((group, command))))
}

/// The commands below a command, by its words; the first ones below none.
pub(crate) fn below(called: &[&str]) -> Vec<&'static str> {
    match called {
        [] => COMMANDS.iter().map(|(name, ..)| *name).collect(),
        ["recipient"] => recipient::NAMES.to_vec(),
        ["daemon"] => daemon::NAMES.to_vec(),
        ["credential"] => credential::NAMES.to_vec(),
        ["infra"] => infra::NAMES.to_vec(),
        _ => Vec::new(),
    }
}

/// The command words that were typed and are known: what `--help` is offered for, and what the heading of a report says.
pub(crate) fn called(args: &[std::ffi::OsString]) -> Vec<&'static str> {
    let words: Vec<&str> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let Some(at) = words.iter().position(|word| COMMANDS.iter().any(|(name, ..)| name == word)) else {
        return Vec::new();
    };
    let name = COMMANDS.iter().map(|(name, ..)| *name).find(|name| name == &words[at]);
    let below = name.map_or(Vec::new(), |name| below(&[name]));
    let second = words.get(at + 1).and_then(|word| below.iter().copied().find(|name| name == word));
    name.into_iter().chain(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
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
    fn owners() {
        let group = |owner: Option<&str>, owner_for: Option<&str>| Group {
            owner: OwnerFlags { owner: owner.map(Into::into), owner_for: owner_for.map(Into::into) },
            no_prompt: false,
        };
        let own = |owner: Option<&str>, owner_for: Option<&str>| group(owner, owner_for).owner;
        for (flags, before, name) in [
            (own(None, None), group(None, None), None),
            (own(Some("a"), Some("b")), group(Some("c"), Some("d")), Some("a")),
            (own(None, Some("b")), group(Some("c"), Some("d")), Some("b")),
            (own(None, None), group(Some("c"), Some("d")), Some("c")),
            (own(None, None), group(None, Some("d")), Some("d")),
            (own(Some("default"), None), group(Some("c"), None), None),
        ] {
            assert_eq!(flags.resolve(&before).unwrap().name(), name);
        }
    }

    #[test]
    fn called_words() {
        let words = |line: &str| called(&line.split(' ').map(Into::into).collect::<Vec<_>>());
        assert_eq!(words("keyrack --owner x recipient set --bad"), ["recipient", "set"]);
        assert_eq!(words("keyrack get set"), ["get"]);
        assert!(words("keyrack nope").is_empty());
    }
}
