//! `keyrack firewall`: the secrets of a CI job, through the rules, to the job's later steps. One
//! blocked key, and none leaves.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use clap::Args;
use keyrack_client::Secret;
use keyrack_client::get::{GetOutcome, KeyOutcome};
use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::render::{Role, json};
use keyrack_client::source::{SourceMode, sort};
use keyrack_core::{Attempt, Env, Error, ErrorCode, timestamp};
use keyrack_mask::MIN;
use keyrack_ops::firewall::github::{self, EnvFile};
use keyrack_ops::firewall::secrets_json::MAX_SECRETS_JSON;
use keyrack_ops::firewall::{Destination, Origin, is_blocked, screen};
use zeroize::Zeroizing;

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::command::notices;
use crate::output;

const EXAMPLES: &str = "\
keyrack considers only the keys that keyrack.yml declares for the env, and reads each from the daemon, else the JSON, else the environment.

Exit code: 0 if no key is blocked, even if some are absent or locked; 2 if a key is blocked, and then nothing is exported.

Examples:
  keyrack firewall --env test --from 'json(env://SECRETS_JSON)' --into github.actions
  keyrack firewall --env test --from 'json(stdin://*)' --into json < secrets.json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FirewallArgs {
    /// Env of the keys: prod, prep, test, all or camp
    #[arg(long)]
    pub(crate) env: String,
    /// Source of the secrets: json(env://NAME), a JSON object in a variable, or json(stdin://*),
    /// one on stdin
    #[arg(long, value_name = "SOURCE")]
    pub(crate) from: String,
    /// Destination: github.actions (masks, then variables of later steps) or json (attempts with
    /// secrets)
    #[arg(long, value_name = "FORM")]
    pub(crate) into: String,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
}

impl FirewallArgs {
    /// Returns `true` if the output is JSON.
    pub(crate) fn prints_json(&self) -> bool {
        self.into == "json"
    }

    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let env: Env = self.env.parse()?;
        let from: Origin = self.from.parse()?;
        let into: Destination = self.into.parse()?;
        // First: a runner that cannot take the keys must not see them.
        let file = match into {
            Destination::GithubActions => Some(env_file(app)?),
            Destination::Json => None,
        };
        let secrets = secrets(&from, app)?;
        let mut outcome = screen(&app.context(owner), env, secrets.expose(), into)?;
        drop(secrets);
        if into == Destination::GithubActions {
            outcome.daemon_error.iter_mut().chain(&mut outcome.manifest_faults).for_each(github::neutralize);
        }
        notices::daemon_and_manifest(app, &outcome);
        notices::nothing_declared(app, &outcome, Some(env.as_str()));
        let exit = if outcome.keys.iter().any(is_blocked) { 2 } else { 0 };
        match file {
            None => as_json(outcome, exit != 0, app)?,
            Some(file) => into_github(outcome, file, exit != 0, app)?,
        }
        Ok(exit)
    }
}

fn env_file(app: &App) -> Result<EnvFile, Error> {
    let Some(path) = app.environment.filled("GITHUB_ENV") else {
        return Err(Error::new(ErrorCode::Usage, "GITHUB_ENV is not set, so no later step can get a key")
            .hint("run the command in a step of GitHub Actions, or use `--into json`"));
    };
    if io::stdout().is_terminal() && app.environment.text("GITHUB_ACTIONS") != Some("true") {
        return Err(Error::new(
            ErrorCode::Usage,
            "stdout is a terminal, and the commands that mask secrets would show them",
        )
        .hint("run the command in a step of GitHub Actions"));
    }
    EnvFile::open(Path::new(path))
}

/// Reads the JSON, bounded, into memory that is wiped.
fn secrets(from: &Origin, app: &App) -> Result<Secret, Error> {
    match from {
        Origin::Variable(name) => match app.environment.filled(name) {
            Some(value) => Ok(Secret::copy_of(value.as_encoded_bytes())),
            // The name is not repeated, since it could be the secrets themselves.
            None => Err(Error::new(ErrorCode::Usage, "the variable in `--from` is not set")
                .hint("in GitHub Actions: env: { SECRETS_JSON: ${{ toJSON(secrets) }} }")),
        },
        Origin::Stdin if io::stdin().is_terminal() => Err(Error::new(
            ErrorCode::PromptNeeded,
            "the secrets JSON is read from stdin, which is a terminal",
        )
        .hint("pipe the JSON into the command")),
        Origin::Stdin => {
            // One byte more than the limit, to detect larger input without growing. The buffer of
            // `Stdin` is not used, since it is not wiped.
            let mut text = Zeroizing::new(Vec::with_capacity(MAX_SECRETS_JSON + 1));
            let most = u64::try_from(MAX_SECRETS_JSON + 1).expect("16 MiB fit");
            let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            stdin.and_then(|stdin| stdin.take(most).read_to_end(&mut text)).map_err(|error| {
                Error::new(ErrorCode::Io, format!("cannot read the secrets JSON from stdin: {error}"))
            })?;
            Ok(text.into())
        }
    }
}

/// Prints the attempts. If one is blocked, prints only those that are not granted.
fn as_json(mut outcome: GetOutcome, blocked: bool, app: &App) -> Result<(), Error> {
    if blocked {
        outcome.keys.retain(|answer| !answer.attempt.is_granted());
    }
    output::print(&json::outcome(&outcome, app.invocation)?)?;
    output::print(b"\n")
}

/// Prints the report and the masks, then writes the variables: the runner must have the masks
/// first.
fn into_github(outcome: GetOutcome, file: EnvFile, blocked: bool, app: &App) -> Result<(), Error> {
    output::print(report(&outcome, blocked, app).as_bytes())?;
    if blocked {
        return Ok(());
    }
    let notices = github::notices(&outcome.keys);
    let Ok(sorted) = sort(outcome, SourceMode::Lenient) else { return Ok(()) };
    for export in sorted.exports.iter().filter(|export| github::is_set_by_runner(&export.name)) {
        let name = &export.name;
        app.notice(&format!(
            "{name}: the runner sets this variable itself, so later steps may see the runner's value"
        ));
    }
    for export in sorted.exports.iter().filter(|export| !github::is_masked(export.secret.expose())) {
        app.notice(&format!(
            "{} is not masked in the log: each of its lines is shorter than {MIN} bytes",
            export.slug
        ));
    }
    let blocks = github::blocks(&sorted.exports)?;
    output::print_all(&github::masks(&sorted.exports))?;
    output::print_all(notices.as_bytes())?;
    file.append(&blocks)
}

fn report(outcome: &GetOutcome, blocked: bool, app: &App) -> String {
    let style = app.style();
    let count = |status: &str| {
        let of = |answer: &&KeyOutcome| answer.attempt.status() == status;
        match outcome.keys.iter().filter(of).count() {
            some @ 1.. if status == "granted" && blocked => {
                format!("{some}, held back because a key is blocked")
            }
            count => count.to_string(),
        }
    };
    let keys = outcome.keys.iter().map(|answer| key(answer, blocked, app));
    let nodes = [
        Branch::pair("grants", count("granted")),
        Branch::pair("blocked", count("blocked")),
        Branch::pair("absent", count("absent")),
        Branch::pair("locked", count("locked")),
        Branch::new("keys").with(keys),
    ];
    tree(&style.titled("🔐", "keyrack firewall"), &nodes, style)
}

/// Renders one key. Only a blocked key gets a tip: an absent key is not an error here, and no user
/// is at this machine.
fn key(answer: &KeyOutcome, blocked: bool, app: &App) -> Branch {
    let style = app.style();
    let mut below = Vec::new();
    let (status, role) = match &answer.attempt {
        Attempt::Granted { grant, .. } => {
            below.push(Branch::pair("mech", grant.source.mech.as_str()));
            below.extend(grant.expires_at_ms.map(|at| Branch::pair("expires", timestamp::format_ms(at))));
            if blocked {
                (style.marked("held back", "✋"), Role::Warn)
            } else {
                (style.marked("granted", "🔑"), Role::Good)
            }
        }
        Attempt::Absent { .. } => (style.marked("absent", "🫧"), Role::Warn),
        Attempt::Locked { .. } => (style.marked("locked", "🔒"), Role::Warn),
        Attempt::Blocked { .. } => (style.marked("blocked", "🚫"), Role::Bad),
    };
    let status = Branch::pair("status", status).with_role(role);
    if let Attempt::Blocked { reasons, fix, .. } = &answer.attempt {
        below.push(status.with(reasons.iter().map(Branch::new)));
        below.extend(fix.as_ref().map(|fix| Branch::tip(fix.render(app.invocation))));
    } else {
        below.push(status);
    }
    below.extend(answer.note.as_ref().map(Branch::note));
    Branch::key(answer.attempt.slug()).with(below)
}
