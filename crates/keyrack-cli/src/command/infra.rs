//! `keyrack infra`: the org's repository of shared GitHub Apps. Not in this version; the command says so, and how it is done by hand.

use clap::{Args, Subcommand};
use keyrack_core::{Error, ErrorCode, Fix, Org};

/// The commands below `infra`.
pub(crate) const NAMES: [&str; 1] = ["init"];

const EXAMPLES: &str = "\
Not in this version of keyrack: it ends with 2 and changes nothing. What it will make can be made by hand, with gh: \
the private repository ORG/keyrack-infra, with a readme.md and a registry/github-apps.json that holds [].

Examples:
  keyrack infra init --org acme";

#[derive(Subcommand, Debug)]
pub(crate) enum InfraCommand {
    /// Make ORG/keyrack-infra and its registry of GitHub Apps (not in this version)
    #[command(after_help = EXAMPLES)]
    Init(InfraInitArgs),
}

#[derive(Args, Debug)]
pub(crate) struct InfraInitArgs {
    /// The org on GitHub
    #[arg(long)]
    pub(crate) org: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commands with their examples.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    InfraCommand::augment_subcommands(command)
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

impl InfraCommand {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let InfraCommand::Init(flags) = self;
        let Org::Named(org) = flags.org.parse()? else {
            return Err(Error::new(ErrorCode::BadOrg, "an org on GitHub is needed: --org NAME"));
        };
        let repo = format!("{org}/keyrack-infra");
        let message = format!(
            "infra init is not in this version of keyrack: {repo} was not looked at, and nothing was made"
        );
        Err(Error::new(ErrorCode::NotAvailable, message)
            .hint("until it is, make the repository by hand; keyrack itself needs it for GitHub Apps alone, which are not in this version either")
            .fix(Fix::Text(format!("gh repo create {repo} --private --add-readme"))))
    }
}
