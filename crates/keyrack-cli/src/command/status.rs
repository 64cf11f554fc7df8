//! `keyrack status`: what is unlocked, for how long, and how well it is kept.

use clap::Args;
use keyrack_client::render::status::{self as render, Recipient};
use keyrack_client::status::status;
use keyrack_core::{Env, Problem};
use keyrack_ops::recipient::get_unasked;
use serde_json::json;

use crate::args::OwnerFlags;
use crate::outer::Outer;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack status
  keyrack status --env test --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Only keys of this env
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Flags {
    pub(crate) fn run(self, outer: &Outer) -> Result<u8, Problem> {
        let owner = self.owner.resolve(&outer.group)?;
        let env: Option<Env> = self.env.as_deref().map(str::parse).transpose()?;
        let status = status(&outer.context(owner.clone()))?;
        // Who can open the rack is shown only where that asks nobody anything.
        let recipients = match status.running {
            Some(_) => outer.operate(owner, &[], |outside| Ok(get_unasked(outside)))?,
            None => None,
        };
        if self.json {
            let recipients: Vec<_> = recipients.iter().flatten().map(|one| json!(one)).collect();
            return output::print_json(&render::status_value(&status, recipients, env)).map(|()| 0);
        }
        let shown: Option<Vec<Recipient<'_>>> = recipients
            .as_ref()
            .map(|all| all.iter().map(|one| Recipient { label: &one.label, mech: &one.mech }).collect());
        let text = render::status(&status, shown.as_deref(), env, outer.invocation, outer.look());
        output::print(text.as_bytes()).map(|()| 0)
    }
}
