//! `keyrack recipient set|get|del`: manages who can decrypt the rack and every key in os.secure.

use clap::{Args, Subcommand};
use keyrack_client::render::tree::{Branch, tree};
use keyrack_core::Error;
use keyrack_core::host_manifest::Recipient;
use keyrack_ops::recipient;
use serde_json::json;

use crate::app::App;
use crate::command::flags::RackFlags;
use crate::output;

/// Subcommands of `recipient`.
pub(crate) const NAMES: [&str; 3] = ["set", "get", "del"];

const EXAMPLES: &str = "\
Examples:
  keyrack recipient get
  keyrack recipient set --label laptop --pubkey ~/.ssh/laptop.pub
  keyrack recipient set --label spare --pubkey age1…
  keyrack recipient del --label laptop";

#[derive(Subcommand, Debug)]
pub(crate) enum RecipientCommand {
    /// Add a recipient, who can decrypt the rack and every key in os.secure
    Set(RecipientSetArgs),
    /// Show the recipients, who can decrypt the rack
    Get(RecipientGetArgs),
    /// Remove a recipient and re-encrypt everything without them
    Del(RecipientDelArgs),
}

#[derive(Args, Debug)]
pub(crate) struct RecipientSetArgs {
    /// age public key (age1…), SSH public key (ssh-ed25519 …), or file with one
    #[arg(long)]
    pub(crate) pubkey: String,
    /// Label of the recipient
    #[arg(long)]
    pub(crate) label: String,
    /// ssh, to encrypt to the SSH key itself; for a key with a passphrase
    #[arg(long, value_name = "FORM")]
    pub(crate) stanza: Option<String>,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

#[derive(Args, Debug)]
pub(crate) struct RecipientGetArgs {
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

#[derive(Args, Debug)]
pub(crate) struct RecipientDelArgs {
    /// Label of the recipient
    #[arg(long)]
    pub(crate) label: String,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

/// Adds the subcommands and examples to the command.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    RecipientCommand::augment_subcommands(command).subcommand_required(true).after_help(EXAMPLES)
}

impl RecipientCommand {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        match self {
            RecipientCommand::Set(flags) => flags.run(app),
            RecipientCommand::Get(flags) => flags.run(app),
            RecipientCommand::Del(flags) => flags.run(app),
        }
    }
}

impl RecipientSetArgs {
    fn run(self, app: &App) -> Result<u8, Error> {
        let done = self
            .rack
            .operate(app, |ctx| recipient::add(ctx, &self.pubkey, &self.label, self.stanza.as_deref()))?;
        if self.rack.json {
            return output::print_json(&done.recipient).map(|()| 0);
        }
        let style = app.style();
        let nodes = [Branch::new("added recipient").with([
            Branch::pair("label", &done.recipient.label),
            Branch::pair("mech", &done.recipient.mech),
            Branch::pair("pubkey", short(&done.recipient)),
            Branch::pair("re-encrypted keys", done.files.to_string()),
        ])];
        output::print(tree(&style.titled("🔐", "keyrack recipient set"), &nodes, style).as_bytes())
            .map(|()| 0)
    }
}

impl RecipientGetArgs {
    fn run(self, app: &App) -> Result<u8, Error> {
        let all = self.rack.operate(app, recipient::get)?;
        if self.rack.json {
            return output::print_json(&all).map(|()| 0);
        }
        let style = app.style();
        let mut nodes: Vec<Branch> = all
            .iter()
            .map(|one| {
                Branch::new(&one.label).with([
                    Branch::pair("mech", &one.mech),
                    Branch::pair("pubkey", short(one)),
                    Branch::pair("added", &one.added_at),
                ])
            })
            .collect();
        if nodes.is_empty() {
            nodes.push(Branch::new("(no recipients)"));
        }
        output::print(tree(&style.titled("🔐", "keyrack recipient get"), &nodes, style).as_bytes())
            .map(|()| 0)
    }
}

impl RecipientDelArgs {
    fn run(self, app: &App) -> Result<u8, Error> {
        let done = self.rack.operate(app, |ctx| recipient::del(ctx, &self.label))?;
        if self.rack.json {
            return output::print_json(&json!({ "deleted": done.recipient.label })).map(|()| 0);
        }
        let style = app.style();
        let nodes = [
            Branch::pair("removed recipient", &done.recipient.label),
            Branch::pair("re-encrypted keys", done.files.to_string()),
        ];
        output::print(tree(&style.titled("🔐", "keyrack recipient del"), &nodes, style).as_bytes())
            .map(|()| 0)
    }
}

/// Returns the beginning of a public key, enough to tell it from others.
fn short(recipient: &Recipient) -> String {
    let start: String = recipient.pubkey.chars().take(20).collect();
    format!("{start}...")
}
