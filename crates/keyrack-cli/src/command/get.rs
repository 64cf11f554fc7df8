//! `keyrack get`: reads keys from the daemon or the environment. Never prompts without `--unlock`.

use clap::Args;
use keyrack_client::get::{self, KeyOutcome, Scope, unlock_all};
use keyrack_client::render::attempt::answers;
use keyrack_client::render::json;
use keyrack_core::{Attempt, Error, ErrorCode, Fix};
use keyrack_ops::get::get_or_unlock;

use crate::app::App;
use crate::command::flags::{ReadFlags, UnlockFlags};
use crate::command::notices;
use crate::output;

const EXAMPLES: &str = "\
Exit code: 0 if every requested key is granted, else 2.

Examples:
  keyrack get --key API_KEY --env test
  keyrack get --key API_KEY --env test --value
  keyrack get --key acme.test.API_KEY --json
  keyrack get --for repo --env test
  keyrack get --key API_KEY --env test --unlock --value";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// repo, for every key that keyrack.yml declares
    #[arg(long = "for", value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// Name of the key, or its full slug org.env.NAME
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Owner of the rack, if not the default one
    #[arg(long)]
    pub(crate) owner: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadFlags,
    #[command(flatten)]
    pub(crate) unlock: UnlockFlags,
    /// Print only the secret, without a newline unless stdout is a terminal
    #[arg(long)]
    pub(crate) value: bool,
    /// Print JSON, with secrets
    #[arg(long)]
    pub(crate) json: bool,
    /// Output format: value, json or vibes (a tree without secrets)
    #[arg(long, value_name = "FORM")]
    pub(crate) output: Option<String>,
}

/// Output format.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Value,
    Json,
    Tree,
}

impl GetArgs {
    /// Returns `true` if the output is JSON.
    pub(crate) fn prints_json(&self) -> bool {
        matches!(self.format(), Ok(Format::Json))
    }

    /// `--value` wins over `--output`, which wins over `--json`.
    fn format(&self) -> Result<Format, Error> {
        match (self.value, self.output.as_deref(), self.json) {
            (true, _, _) | (_, Some("value"), _) => Ok(Format::Value),
            (_, Some("json"), _) | (_, None, true) => Ok(Format::Json),
            (_, Some("vibes"), _) | (_, None, false) => Ok(Format::Tree),
            (_, Some(_), _) => Err(usage("`--output` only accepts value, json or vibes")),
        }
    }

    fn scope(&self, format: Format) -> Result<Scope, Error> {
        let env = self.read.env()?;
        let org = self.read.org()?;
        match (self.scope.as_deref(), &self.key) {
            (Some("repo"), Some(_)) => Err(usage("`--for repo` cannot be used with `--key`")),
            (Some("repo"), None) if format == Format::Value => {
                Err(usage("`--value` prints a single key: name it with `--key`"))
            }
            (Some("repo"), None) => Ok(Scope::Repo { env }),
            (Some(_), _) => Err(usage("`--for` only accepts `repo`; use `--owner` to choose the rack")),
            (None, Some(key)) => Ok(Scope::Key { ask: key.clone(), org, env }),
            (None, None) => Err(usage("missing `--key NAME` or `--for repo`")),
        }
    }

    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let format = self.format()?;
        let scope = self.scope(format)?;
        let owner = app.owner(self.owner.as_ref())?;
        let options = self.read.options();
        let mut outcome = if self.unlock.unlock {
            let done = app.operate(owner, &self.unlock.prikey, |ctx| get_or_unlock(ctx, &scope, options))?;
            notices::daemon_spawned(app, done.started);
            if format == Format::Json {
                done.causes.iter().for_each(|cause| app.warn(cause));
            }
            done.outcome
        } else {
            get::get(&app.context(owner), &scope, options)?
        };
        notices::read(app, &outcome, self.read.env.as_deref());
        outcome.keys.iter_mut().for_each(|answer| keep_format_in_fix(answer, format));
        let exit = if outcome.all_fine() { 0 } else { 2 };
        match (format, &outcome.keys[..]) {
            (Format::Value, [KeyOutcome { secret: Some(secret), .. }]) => {
                output::print_value(secret.expose())?;
            }
            (Format::Value, all) => output::eprint(&answers(all, app.invocation, app.style_of_stderr())),
            (Format::Json, _) => {
                output::print(&json::outcome(&outcome, app.invocation)?)?;
                output::print(b"\n")?;
            }
            (Format::Tree, all) => {
                output::print(answers(all, app.invocation, app.style()).as_bytes())?;
                if let Some(all) = unlock_all(all) {
                    app.notice(&format!("unlock all of them with: {}", all.render(app.invocation)));
                }
            }
        }
        Ok(exit)
    }
}

/// Adds the requested output format to a fix that reads the key again.
fn keep_format_in_fix(answer: &mut KeyOutcome, format: Format) {
    let flag = match format {
        Format::Value => "--value",
        Format::Json => "--json",
        Format::Tree => return,
    };
    if let Attempt::Blocked { fix: Some(fix), .. } = &mut answer.attempt
        && fix.allows_dangerous()
        && let Fix::Command(command) = fix
    {
        command.args.push(flag.to_owned());
    }
}

fn usage(message: &str) -> Error {
    Error::new(ErrorCode::Usage, message).fix(Fix::command(["get", "--help"]))
}
