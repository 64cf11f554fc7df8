//! `keyrack source`: prints export lines for a shell to eval. Prints nothing if a strict read
//! fails.

use clap::Args;
use keyrack_client::get::{self, Scope, unlock_all};
use keyrack_client::render::attempt::strict_failure;
use keyrack_client::render::json::attempt;
use keyrack_client::source::limits::{FOR_ARGUMENTS, check_total, counted, counted_all, sizes};
use keyrack_client::source::{self, Export, Refused, SourceMode, shell};
use keyrack_core::{Attempt, Env, Error, ErrorCode, Fix, Org};
use keyrack_json::JsonWriter;
use keyrack_sys::process::ancestors::{ancestors, stdout_is_socket};
use keyrack_sys::process::exec::{COUNTED_PER_STRING, execution_limit};
use serde_json::{Value, json};

use crate::app::App;
use crate::command::flags::{OwnerFlags, read_options};
use crate::command::notices;
use crate::output;
use crate::report::to_json;

const EXAMPLES: &str = "\
Examples:
  eval \"$(keyrack source --env test)\"
  eval \"$(keyrack source --env test --lenient)\"
  keyrack source --env test | source                                        # fish
  keyrack source --env test | from nuon | load-env                          # Nushell
  keyrack source --env test | Out-String | Invoke-Expression                # PowerShell
  eval \"$(keyrack source --env sudo --key ROOT --owner admin)\"";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SourceArgs {
    /// Env of the keys: sudo, prod, prep, test, all or camp
    #[arg(long)]
    pub(crate) env: String,
    /// Name or slug of a single key
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Print nothing and exit with 2 unless every required key is granted (default)
    #[arg(long, conflicts_with = "lenient")]
    pub(crate) strict: bool,
    /// Print the keys that are granted and leave out the rest
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Syntax of the output: posix, fish, nu or powershell; detected by default
    #[arg(long, conflicts_with = "json")]
    pub(crate) shell: Option<String>,
    /// Allow keys that look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Print JSON, with secrets, instead of shell code
    #[arg(long)]
    pub(crate) json: bool,
}

impl SourceArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let env: Env = self.env.parse()?;
        let shell = match (self.json, &self.shell) {
            (true, _) => None,
            (false, Some(named)) => Some(named.parse()?),
            (false, None) => Some(shell::detect(&ancestors(), stdout_is_socket())?),
        };
        let scope = match self.key {
            Some(ask) => Scope::Key { ask, org: Org::This, env: Some(env) },
            None => Scope::Repo { env: Some(env) },
        };
        let options = read_options(self.allow_dangerous);
        let mut outcome = get::get(&app.context(owner), &scope, options).map_err(with_source_fix)?;
        for answer in &mut outcome.keys {
            if let Attempt::Absent { fix, .. } | Attempt::Blocked { fix, .. } = &mut answer.attempt {
                replace_get_by_source(fix);
            }
        }
        notices::read(app, &outcome, Some(env.as_str()));
        let mode = if self.lenient { SourceMode::Lenient } else { SourceMode::Strict };
        let mut sourced = match source::sort(outcome, mode) {
            Ok(sourced) => sourced,
            Err(refused) if self.json => {
                output::eprint(&format!("{}\n", strict_failure_json(&refused, app)?));
                return Ok(2);
            }
            Err(refused) => {
                let hint = "use --lenient if partial results are acceptable";
                let style = app.style_of_stderr();
                output::eprint(&strict_failure(&refused.missing, hint, app.invocation, style));
                return Ok(2);
            }
        };
        sourced.take_reserved(|_| true).iter().for_each(|key| app.notice(&key.message));
        let Some(shell) = shell else {
            output::print(&source::json(&sourced.exports)?)?;
            return output::print(b"\n").map(|()| 0);
        };
        let lines = source::lines(&sourced.exports, shell);
        if let (Some(first), SourceMode::Strict) = (lines.unfit.first(), mode) {
            // All or nothing: a key that cannot be exported counts as not granted.
            return Err(first.clone());
        }
        lines.unfit.iter().for_each(|unfit| app.warn(unfit));
        let fits =
            |export: &&Export| !lines.unfit.iter().any(|unfit| unfit.slug.as_ref() == Some(&export.slug));
        let exports: Vec<&Export> = sourced.exports.iter().filter(fits).collect();
        check_total(size_of_shell(app, &exports), execution_limit(), sizes(exports))?;
        output::print(lines.text.expose()).map(|()| 0)
    }
}

/// Bytes that the kernel counts for a program that the shell starts: the arguments and variables of
/// this process, plus the exports.
fn size_of_shell(app: &App, exports: &[&Export]) -> usize {
    let inherited = app
        .environment
        .iter()
        .filter(|(name, _)| !exports.iter().any(|export| *name == export.name.as_str()));
    let inherited: usize = inherited.map(|(name, value)| counted(name.len(), value.len())).sum();
    let args: usize = std::env::args_os().map(|arg| arg.len() + COUNTED_PER_STRING).sum();
    inherited + counted_all(exports.iter().copied()) + args + FOR_ARGUMENTS
}

/// Encodes a failed strict read for programs, with each missing key. None of them has a secret.
fn strict_failure_json(refused: &Refused, app: &App) -> Result<Value, Error> {
    let mut json = JsonWriter::new();
    let mut written = Ok(());
    json.array(|json| {
        for answer in &refused.missing {
            json.element();
            let result = attempt(json, answer, app.invocation);
            written = std::mem::replace(&mut written, Ok(())).and(result);
        }
    });
    written?;
    let attempts: Value = serde_json::from_slice(&json.into_bytes()).unwrap_or_default();
    let first = refused.missing.first().map(|answer| &answer.attempt);
    let code = match first {
        Some(Attempt::Absent { .. }) => ErrorCode::Absent,
        Some(Attempt::Blocked { .. }) => ErrorCode::Blocked,
        _ => ErrorCode::Locked,
    };
    let mut error = Error::new(code, "some keys were not granted, yet are strictly required");
    error.slug = first.map(|attempt| attempt.slug().clone());
    let all = first
        .filter(|attempt| matches!(attempt, Attempt::Locked { .. }))
        .and_then(|_| unlock_all(&refused.missing));
    error.fix = all.or_else(|| first.and_then(|attempt| attempt.fix().cloned()));
    let mut error = to_json(&error, app.invocation);
    error["attempts"] = attempts;
    Ok(json!({ "error": error }))
}

/// Replaces `get` by `source` in the fix of an error.
fn with_source_fix(mut error: Error) -> Error {
    replace_get_by_source(&mut error.fix);
    error
}

/// Replaces the command `get` of a fix by `source`.
fn replace_get_by_source(fix: &mut Option<Fix>) {
    if let Some(Fix::Command(command)) = fix
        && command.name == "get"
    {
        "source".clone_into(&mut command.name);
    }
}
