//! `keyrack list`: the keys this machine has, unlocked or not.

use clap::Args;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_core::Error;
use keyrack_ops::list::list;

use crate::app::App;
use crate::command::flags::RackFlags;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack list
  keyrack list --owner work --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

impl ListArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let listed = self.rack.operate(app, list)?;
        listed.faults.iter().for_each(|fault| app.warn(fault));
        if self.rack.json {
            return output::print_json(&listed.hosts).map(|()| 0);
        }
        let style = app.style();
        let mut nodes: Vec<Branch> = listed
            .hosts
            .values()
            .map(|host| {
                Branch::key(&host.slug).with([
                    Branch::pair("env", host.slug.env()),
                    Branch::pair("org", host.slug.org()),
                    Branch::pair("mech", host.mech.as_str()),
                    Branch::pair("vault", host.vault.as_str()),
                ])
            })
            .collect();
        if nodes.is_empty() {
            nodes.push(Branch::new("(no keys configured on host)"));
        }
        output::print(tree(&style.titled("🔐", "keyrack list"), &nodes, style).as_bytes()).map(|()| 0)
    }
}
