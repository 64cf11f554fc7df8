//! `keyrack infra`: the org's repository of shared GitHub Apps. Not available in this version; the
//! command explains how to create it by hand.

use clap::{Args, Subcommand};
use keyrack_core::{Error, ErrorCode, Fix, Org};

/// Subcommands of `infra`.
pub(crate) const NAMES: [&str; 1] = ["init"];

const EXAMPLES: &str = "\
Not available in this version of keyrack: the command exits with 2 and changes nothing. For now, create the repository \
by hand with gh: a private ORG/keyrack-infra with a readme.md and a registry/github-apps.json that contains [].

Examples:
  keyrack infra init --org acme";

#[derive(Subcommand, Debug)]
pub(crate) enum InfraCommand {
    /// Create ORG/keyrack-infra and its registry of GitHub Apps (not available in this version)
    #[command(after_help = EXAMPLES)]
    Init(InfraInitArgs),
}

#[derive(Args, Debug)]
pub(crate) struct InfraInitArgs {
    /// Org on GitHub
    #[arg(long)]
    pub(crate) org: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Adds the subcommands and examples to the command.
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
            return Err(Error::new(ErrorCode::BadOrg, "`--org` must name an org on GitHub"));
        };
        let repo = format!("{org}/keyrack-infra");
        let message = format!(
            "`infra init` is not available in this version of keyrack: {repo} was neither checked nor created"
        );
        Err(Error::new(ErrorCode::NotAvailable, message)
            .hint("create the repository by hand; keyrack only needs it for GitHub Apps, which are not available in this version either")
            .fix(Fix::Text(format!("gh repo create {repo} --private --add-readme"))))
    }
}
