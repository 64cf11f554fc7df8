//! `keyrack get`: unlocked keys, from the daemon or the environment. It never prompts unless `--unlock` is given.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::get::{self, GetOptions, KeyOutcome, Scope, unlock_all};
use keyrack_client::render::attempt::answers;
use keyrack_client::render::json;
use keyrack_core::{Attempt, Error, ErrorCode, Fix};
use keyrack_ops::get::get_or_unlock;

use crate::app::App;
use crate::command::notices;
use crate::output;

const EXAMPLES: &str = "\
Exit: 0 when every key asked for is granted, else 2.

Examples:
  keyrack get --key API_KEY --env test
  keyrack get --key API_KEY --env test --value
  keyrack get --key acme.test.API_KEY --json
  keyrack get --for repo --env test
  keyrack get --key API_KEY --env test --unlock --value";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// repo: every key that keyrack.yml declares
    #[arg(long = "for", value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// The key's name, or its full slug org.env.NAME
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Whose rack: the default one if not given
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// sudo, prod, prep, test, all or camp; taken from keyrack.yml if that leaves no doubt
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// @this, the org of keyrack.yml, or @all, this machine
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    /// Release keys although they look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Unlock the keys that are locked, and only those, then read again
    #[arg(long)]
    pub(crate) unlock: bool,
    /// An ssh key to unlock with, tried first; may be given again
    #[arg(long, value_name = "PATH", requires = "unlock")]
    pub(crate) prikey: Vec<PathBuf>,
    /// Print the secret and nothing else; a newline behind it at a terminal only
    #[arg(long)]
    pub(crate) value: bool,
    /// Print JSON, with secrets
    #[arg(long)]
    pub(crate) json: bool,
    /// value, json or vibes (a tree, without secrets)
    #[arg(long, value_name = "FORM")]
    pub(crate) output: Option<String>,
}

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    Json,
    Tree,
}

impl GetArgs {
    /// Whether the answer is JSON.
    pub(crate) fn prints_json(&self) -> bool {
        matches!(self.form(), Ok(Form::Json))
    }

    /// `--value` wins over `--output`, which wins over `--json`.
    fn form(&self) -> Result<Form, Error> {
        match (self.value, self.output.as_deref(), self.json) {
            (true, _, _) | (_, Some("value"), _) => Ok(Form::Value),
            (_, Some("json"), _) | (_, None, true) => Ok(Form::Json),
            (_, Some("vibes"), _) | (_, None, false) => Ok(Form::Tree),
            (_, Some(_), _) => Err(usage("--output takes value, json or vibes")),
        }
    }

    fn scope(&self, form: Form) -> Result<Scope, Error> {
        let env = self.env.as_deref().map(str::parse).transpose()?;
        let org = self.org.parse()?;
        match (self.scope.as_deref(), &self.key) {
            (Some("repo"), Some(_)) => Err(usage("--for repo and --key exclude each other")),
            (Some("repo"), None) if form == Form::Value => {
                Err(usage("a value is of one key: name it with --key"))
            }
            (Some("repo"), None) => Ok(Scope::Repo { env }),
            (Some(_), _) => Err(usage("--for takes repo; whose rack it is says --owner")),
            (None, Some(key)) => Ok(Scope::Key { ask: key.clone(), org, env }),
            (None, None) => Err(usage("say which: --key NAME, or --for repo")),
        }
    }

    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let form = self.form()?;
        let scope = self.scope(form)?;
        let owner = app.owner(self.owner.as_ref())?;
        let options = GetOptions { allow_dangerous: self.allow_dangerous, undeclared_is_absent: true };
        let mut outcome = if self.unlock {
            let done = app.operate(owner, &self.prikey, |ctx| get_or_unlock(ctx, &scope, options))?;
            notices::daemon_spawned(app, done.started);
            if form == Form::Json {
                done.causes.iter().for_each(|cause| app.warn(cause));
            }
            done.outcome
        } else {
            get::get(&app.context(owner), &scope, options)?
        };
        notices::read(app, &outcome, self.env.as_deref());
        outcome.keys.iter_mut().for_each(|answer| put_in_form(answer, form));
        let exit = if outcome.all_fine() { 0 } else { 2 };
        match (form, &outcome.keys[..]) {
            (Form::Value, [KeyOutcome { secret: Some(secret), .. }]) => output::print_value(secret.expose())?,
            (Form::Value, all) => output::eprint(&answers(all, app.invocation, app.style_of_stderr())),
            (Form::Json, _) => {
                output::print(&json::outcome(&outcome, app.invocation)?)?;
                output::print(b"\n")?;
            }
            (Form::Tree, all) => {
                output::print(answers(all, app.invocation, app.style()).as_bytes())?;
                if let Some(all) = unlock_all(all) {
                    app.notice(&format!("to unlock them all: {}", all.render(app.invocation)));
                }
            }
        }
        Ok(exit)
    }
}

/// What is to be read all the same is to be read in the form it was asked for in.
fn put_in_form(answer: &mut KeyOutcome, form: Form) {
    let flag = match form {
        Form::Value => "--value",
        Form::Json => "--json",
        Form::Tree => return,
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
