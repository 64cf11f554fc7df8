//! `keyrack list`: the keys this machine has, unlocked or not.

use clap::Args;
use keyrack_client::render::tree::{Node, tree};
use keyrack_core::Error;
use keyrack_ops::list::list;

use crate::args::RackFlags;
use crate::outer::Outer;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack list
  keyrack list --owner work --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

impl Flags {
    pub(crate) fn run(self, outer: &Outer) -> Result<u8, Error> {
        let listed = self.rack.operate(outer, list)?;
        listed.faults.iter().for_each(|fault| outer.warn(fault));
        if self.rack.json {
            return output::print_json(&listed.hosts).map(|()| 0);
        }
        let look = outer.look();
        let mut nodes: Vec<Node> = listed
            .hosts
            .values()
            .map(|host| {
                Node::key(&host.slug).with([
                    Node::pair("env", host.slug.env()),
                    Node::pair("org", host.slug.org()),
                    Node::pair("mech", host.mech.as_str()),
                    Node::pair("vault", host.vault.as_str()),
                ])
            })
            .collect();
        if nodes.is_empty() {
            nodes.push(Node::new("(no keys configured on host)"));
        }
        output::print(tree(&look.titled("🔐", "keyrack list"), &nodes, look).as_bytes()).map(|()| 0)
    }
}
