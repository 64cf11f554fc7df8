//! `keyrack relock`: forget unlocked keys now.

use crate::unlock_tree::relocked;
use clap::Args;
use keyrack_client::relock::{RelockOutcome, RelockQuery, relock};
use keyrack_core::{Env, Error, Org};
use serde_json::json;

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack relock
  keyrack relock --env sudo
  keyrack relock --key API_KEY
  keyrack relock --env prep --org @all --key GITHUB_TOKEN";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RelockArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Only keys of this env
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Only this key, by its name or full slug
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// With --key: @this, the repository's and this machine's, or @all, this machine's alone
    #[arg(long, default_value = "@this", requires = "key")]
    pub(crate) org: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl RelockArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let env: Option<Env> = self.env.as_deref().map(str::parse).transpose()?;
        let org: Org = self.org.parse()?;
        let wanted = match (self.key, env) {
            (Some(ask), env) => RelockQuery::Key { ask, org, env },
            (None, Some(env)) => RelockQuery::Env(env),
            (None, None) => RelockQuery::All,
        };
        let RelockOutcome { relocked: done, error } = relock(&app.context(owner), &wanted)?;
        error.iter().for_each(|error| app.warn(error));
        if done.unnamed > 0 {
            app.notice(&format!("and {} more keys than could be named", done.unnamed));
        }
        if self.json {
            return output::print_json(&json!({ "relocked": done.slugs })).map(|()| 0);
        }
        output::print(relocked(&done.slugs, app.style()).as_bytes()).map(|()| 0)
    }
}
