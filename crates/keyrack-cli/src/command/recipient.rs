//! `keyrack recipient set|get|del`: who can decrypt the rack and every key in os.secure.

use clap::{Args, Subcommand};
use keyrack_client::render::tree::{Node, tree};
use keyrack_core::Error;
use keyrack_core::host_manifest::Recipient;
use keyrack_ops::recipient;
use serde_json::json;

use crate::args::RackFlags;
use crate::outer::Outer;
use crate::output;

/// The commands below `recipient`.
pub(crate) const NAMES: [&str; 3] = ["set", "get", "del"];

const EXAMPLES: &str = "\
Examples:
  keyrack recipient get
  keyrack recipient set --label laptop --pubkey ~/.ssh/laptop.pub
  keyrack recipient set --label spare --pubkey age1…
  keyrack recipient del --label laptop";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Add one who can decrypt the rack and every key in os.secure
    Set(SetFlags),
    /// Show who can decrypt the rack
    Get(GetFlags),
    /// Remove one, and encrypt everything anew without them
    Del(DelFlags),
}

#[derive(Args, Debug)]
pub(crate) struct SetFlags {
    /// An age public key (age1…) or an ssh one (ssh-ed25519 …), or the file that holds it
    #[arg(long)]
    pub(crate) pubkey: String,
    /// What to call this recipient
    #[arg(long)]
    pub(crate) label: String,
    /// ssh: keep the ssh key as it is, for a key with a passphrase
    #[arg(long, value_name = "FORM")]
    pub(crate) stanza: Option<String>,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

#[derive(Args, Debug)]
pub(crate) struct GetFlags {
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

#[derive(Args, Debug)]
pub(crate) struct DelFlags {
    /// Which recipient
    #[arg(long)]
    pub(crate) label: String,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

/// The flags and examples, for the tree.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    Command::augment_subcommands(command).subcommand_required(true).after_help(EXAMPLES)
}

impl Command {
    pub(crate) fn run(self, outer: &Outer) -> Result<u8, Error> {
        match self {
            Command::Set(flags) => flags.run(outer),
            Command::Get(flags) => flags.run(outer),
            Command::Del(flags) => flags.run(outer),
        }
    }
}

impl SetFlags {
    fn run(self, outer: &Outer) -> Result<u8, Error> {
        let done = self
            .rack
            .operate(outer, |ctx| recipient::add(ctx, &self.pubkey, &self.label, self.stanza.as_deref()))?;
        if self.rack.json {
            return output::print_json(&done.recipient).map(|()| 0);
        }
        let look = outer.look();
        let nodes = [Node::new("added recipient").with([
            Node::pair("label", &done.recipient.label),
            Node::pair("mech", &done.recipient.mech),
            Node::pair("pubkey", short(&done.recipient)),
            Node::pair("keys encrypted anew", done.files.to_string()),
        ])];
        output::print(tree(&look.titled("🔐", "keyrack recipient set"), &nodes, look).as_bytes()).map(|()| 0)
    }
}

impl GetFlags {
    fn run(self, outer: &Outer) -> Result<u8, Error> {
        let all = self.rack.operate(outer, recipient::get)?;
        if self.rack.json {
            return output::print_json(&all).map(|()| 0);
        }
        let look = outer.look();
        let mut nodes: Vec<Node> = all
            .iter()
            .map(|one| {
                Node::new(&one.label).with([
                    Node::pair("mech", &one.mech),
                    Node::pair("pubkey", short(one)),
                    Node::pair("added", &one.added_at),
                ])
            })
            .collect();
        if nodes.is_empty() {
            nodes.push(Node::new("(no recipients)"));
        }
        output::print(tree(&look.titled("🔐", "keyrack recipient get"), &nodes, look).as_bytes()).map(|()| 0)
    }
}

impl DelFlags {
    fn run(self, outer: &Outer) -> Result<u8, Error> {
        let done = self.rack.operate(outer, |ctx| recipient::del(ctx, &self.label))?;
        if self.rack.json {
            return output::print_json(&json!({ "deleted": done.recipient.label })).map(|()| 0);
        }
        let look = outer.look();
        let nodes = [
            Node::pair("removed recipient", &done.recipient.label),
            Node::pair("keys encrypted anew", done.files.to_string()),
        ];
        output::print(tree(&look.titled("🔐", "keyrack recipient del"), &nodes, look).as_bytes()).map(|()| 0)
    }
}

/// The beginning of a public key, enough to tell it from others.
fn short(recipient: &Recipient) -> String {
    let start: String = recipient.pubkey.chars().take(20).collect();
    format!("{start}...")
}
