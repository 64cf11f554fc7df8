//! `keyrack relock`: locks keys before they expire.

use crate::unlock_tree::relocked;
use clap::Args;
use keyrack_client::relock::{RelockOutcome, RelockQuery, relock};
use keyrack_core::{Error, Org};
use serde_json::json;

use crate::app::App;
use crate::command::flags::{DaemonFlags, parse_env};
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
    /// Env to lock
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Name or slug of a single key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Org of --key: @this (the org of keyrack.yml and this machine) or @all (only this machine)
    #[arg(long, default_value = "@this", requires = "key")]
    pub(crate) org: String,
    #[command(flatten)]
    pub(crate) daemon: DaemonFlags,
}

impl RelockArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.daemon.owner.resolve(app)?;
        let env = parse_env(self.env.as_deref())?;
        let org: Org = self.org.parse()?;
        let wanted = match (self.key, env) {
            (Some(ask), env) => RelockQuery::Key { ask, org, env },
            (None, Some(env)) => RelockQuery::Env(env),
            (None, None) => RelockQuery::All,
        };
        let RelockOutcome { relocked: done, error } = relock(&app.context(owner), &wanted)?;
        error.iter().for_each(|error| app.warn(error));
        if done.unnamed > 0 {
            app.notice(&format!("and {} more keys that could not be named", done.unnamed));
        }
        if self.daemon.json {
            return output::print_json(&json!({ "relocked": done.slugs })).map(|()| 0);
        }
        output::print(relocked(&done.slugs, app.style()).as_bytes()).map(|()| 0)
    }
}
