//! `keyrack del`: deletes a key from its vault, the rack and `keyrack.yml`.

use clap::Args;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_core::Error;
use keyrack_ops::del::{DelRequest, del};
use serde_json::json;

use crate::app::App;
use crate::command::flags::RackFlags;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack del --key API_KEY --env test
  keyrack del --key acme.test.API_KEY
  keyrack del --key ROOT --org @all --env sudo";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DelArgs {
    /// Name of the key, or its full slug org.env.NAME
    #[arg(long)]
    pub(crate) key: String,
    /// Env of the key: sudo, prod, prep, test, all or camp; taken from keyrack.yml if unambiguous,
    /// else all
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Org of the key: @this (the org of keyrack.yml) or @all (this machine)
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    /// Trust the org of a full slug without a keyrack.yml that confirms it
    #[arg(long)]
    pub(crate) anywhere: bool,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

impl DelArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let request =
            DelRequest { key: self.key, env: self.env, org: Some(self.org), anywhere: self.anywhere };
        let done = self.rack.operate(app, |ctx| del(ctx, &request))?;
        done.notices.iter().for_each(|notice| app.notice(notice));
        if self.rack.json {
            let effect = if done.found { "deleted" } else { "not_found" };
            return output::print_json(&json!({ "slug": done.slug, "effect": effect })).map(|()| 0);
        }
        let style = app.style();
        let slug = &done.slug;
        let mut nodes = vec![Branch::new(if done.found {
            format!("{slug} removed")
        } else {
            format!("{slug} not found (already absent)")
        })];
        if done.undeclared {
            nodes.push(Branch::new(format!(
                "{} removed from env.{} of keyrack.yml",
                slug.name(),
                slug.env()
            )));
        }
        output::print(tree(&style.titled("🔐", "keyrack del"), &nodes, style).as_bytes()).map(|()| 0)
    }
}
