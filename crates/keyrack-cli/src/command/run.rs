//! `keyrack run`: replaces this process by a command with keys in its environment.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use keyrack_client::get::{self, GetOutcome, Scope};
use keyrack_client::manifest;
use keyrack_client::render::attempt::strict_failure;
use keyrack_client::source::limits::{check_total, sizes};
use keyrack_client::source::{self, Export, SourceMode};
use keyrack_core::{Attempt, Error, ErrorCode, Fix, Org, Reserved};
use keyrack_mask::{MIN, Patterns};
use keyrack_ops::get::get_or_unlock;
use keyrack_ops::run::masked::{self, MaskedOutcome, ProgramExit, StreamTarget};
use keyrack_ops::run::{add_files, add_values, inherited, start_error, withheld};
use keyrack_sys::fs::memfd;
use keyrack_sys::process::drain;
use keyrack_sys::process::exec::{PreparedCommand, execution_limit};
use keyrack_sys::process::startup_state::was_closed;
use keyrack_sys::process::supervise::exit_by_signal;
use keyrack_sys::random::random_bytes;

use crate::app::App;
use crate::command::flags::{OwnerFlags, UnlockFlags, parse_env, read_options};
use crate::command::notices;
use crate::{output, report};

/// Argument that makes this program read and discard output ([`drain`]).
pub(crate) const DRAIN: &str = "drain";

const EXAMPLES: &str = "\
Exit code: that of the command; 2 if a key is not granted, and the command is not started; 127 if the command does not exist, 126 if \
it cannot be executed.

Examples:
  keyrack run --env test -- npm test
  keyrack run --env prep --key GITHUB_TOKEN -- gh pr list
  keyrack run --env test --mask -- npm test
  keyrack run --env test --files --key TLS_KEY -- sh -c 'openssl rsa -in \"$TLS_KEY_FILE\" -check'";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Env of the keys: sudo, prod, prep, test, all or camp; taken from keyrack.yml if unambiguous
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Name or slug of a key for the command; repeatable. Default: every key that keyrack.yml
    /// declares for the env
    #[arg(long)]
    pub(crate) key: Vec<String>,
    /// Org of the keys: @this (the org of keyrack.yml) or @all (this machine)
    #[arg(long, default_value = "@this", requires = "key")]
    pub(crate) org: String,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    #[command(flatten)]
    pub(crate) unlock: UnlockFlags,
    /// Allow keys that look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Start the command even if some keys are not granted
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Replace each key in the command's output with ***, also in common encodings
    #[arg(long)]
    pub(crate) mask: bool,
    #[expect(rustdoc::invalid_html_tags, reason = "clap prints this line, and <KEY> is a placeholder")]
    /// Pass each key as the path of an in-memory file, in the variable <KEY>_FILE, instead of its
    /// value
    #[arg(long)]
    pub(crate) files: bool,
    /// Command to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl RunArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let env = parse_env(self.env.as_deref())?;
        let org: Org = self.org.parse()?;
        let scope = match self.key.is_empty() {
            false => Scope::Keys { asks: self.key.clone(), org, env },
            true => Scope::Repo { env },
        };
        let options = read_options(self.allow_dangerous);
        let outcome = if self.unlock.unlock {
            let done =
                app.operate(owner.clone(), &self.unlock.prikey, |ctx| get_or_unlock(ctx, &scope, options))?;
            notices::daemon_spawned(app, done.started);
            done.outcome
        } else {
            get::get(&app.context(owner.clone()), &scope, options)?
        };
        notices::read(app, &outcome, self.env.as_deref());
        let withheld = withheld(&outcome, manifest(app, owner).as_ref());
        let Some(exports) = self.exports(app, outcome) else { return Ok(2) };
        let mut variables = inherited(&app.environment, &withheld);
        let mut files = Vec::new();
        if self.files {
            for export in &exports {
                files.push(
                    memfd::sealed("keyrack", export.secret.expose())
                        .map_err(|error| file_error(export, &error))?,
                );
            }
        } else {
            add_values(&mut variables, &exports)?;
        }
        let path = app.environment.get("PATH");
        let mut program = PreparedCommand::new(&self.command, variables, path)
            .map_err(|error| Error::new(ErrorCode::Usage, format!("cannot run the command: {error}")))?;
        let mut named = Vec::new();
        for (export, file) in exports.iter().zip(&files) {
            let number = program.pass(file).map_err(|error| file_error(export, &error))?;
            named.push((export.name.as_str(), number));
        }
        add_files(program.env_mut(), named);
        if !self.files {
            check_total(program.size(), execution_limit(), sizes(&exports))?;
        }
        let error = match self.mask {
            false => program.replace(),
            true => {
                let patterns = patterns(app, &exports)?;
                drop(files);
                drop(exports);
                match masked::run(program, &patterns, target(1, &io::stdout())?, target(2, &io::stderr())?) {
                    Ok(done) => return Ok(exit_like(app, &done)),
                    Err(error) => error,
                }
            }
        };
        let (exit, error) = start_error(&self.command[0], &error);
        report::failure(&error, "run", app.invocation, app.as_json, app.style_of_stderr());
        Ok(exit)
    }

    /// Returns the keys for the command. Prints a report and returns `None` if a required key is
    /// not granted.
    fn exports(&self, app: &App, outcome: GetOutcome) -> Option<Vec<Export>> {
        let mode = if self.lenient { SourceMode::Lenient } else { SourceMode::Strict };
        match source::sort(outcome, mode) {
            Ok(mut sourced) => {
                if !self.files {
                    let left_out = sourced.take_reserved(|whose| whose == Reserved::Loader);
                    left_out.iter().for_each(|key| app.notice(&key.message));
                }
                Some(sourced.exports)
            }
            Err(mut refused) => {
                for answer in &mut refused.missing {
                    if let Attempt::Blocked { fix, .. } = &mut answer.attempt
                        && fix.as_ref().is_some_and(Fix::allows_dangerous)
                    {
                        // A complete fix would repeat the command, whose arguments do not belong in
                        // a log.
                        *fix = None;
                    }
                }
                let hint = "use --lenient to start the command without them";
                output::eprint(&strict_failure(
                    &refused.missing,
                    hint,
                    app.invocation,
                    app.style_of_stderr(),
                ));
                None
            }
        }
    }
}

/// Returns patterns that mask the keys in the command's output. Prints a notice for each key that
/// is too short to be masked.
fn patterns(app: &App, exports: &[Export]) -> Result<Arc<Patterns>, Error> {
    for export in exports.iter().filter(|export| !Patterns::can_mask(export.secret.expose())) {
        app.notice(&format!("{} is not masked: it is shorter than {MIN} bytes", export.slug));
    }
    let hash_key = random_bytes().map_err(|error| {
        Error::new(ErrorCode::Io, format!("cannot mask the output: no random bytes: {error}"))
    })?;
    Ok(Arc::new(Patterns::new(exports.iter().map(|export| export.secret.expose()), &hash_key)))
}

/// Returns the target of one of our streams, or `None` if it was closed when we started.
fn target(number: u8, stream: &(impl AsFd + IsTerminal)) -> Result<Option<StreamTarget>, Error> {
    if was_closed(number) {
        return Ok(None);
    }
    let fd = stream.as_fd().try_clone_to_owned();
    let fd = fd.map_err(|error| Error::new(ErrorCode::Io, format!("cannot mask the output: {error}")))?;
    Ok(Some(StreamTarget { fd, terminal: stream.is_terminal() }))
}

/// Starts a drain process for the streams that a background process keeps open, so that this
/// process can exit.
fn leave_running(app: &App, streams: &[OwnedFd]) {
    if streams.is_empty() {
        return;
    }
    let sources: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
    // If an update deleted the program file, this path still names the program of this process.
    let start = |own: &Path| drain::start(own, DRAIN.as_ref(), &sources);
    let started = std::env::current_exe().and_then(|own| start(&own));
    match started.or_else(|_| start(Path::new("/proc/self/exe"))) {
        Err(error) => app.notice(&format!(
            "the command left a background process, and its output can no longer be read: {error}"
        )),
        Ok(()) => app.notice("the command left a background process: its further output is discarded"),
    }
}

/// Exits as the command did: with its code, or by its signal.
fn exit_like(app: &App, done: &MaskedOutcome) -> u8 {
    leave_running(app, &done.left_open);
    if let Some(error) = &done.lost {
        app.notice(&format!("cannot write all of the command's output: {error}"));
    }
    match done.ended {
        // The command does not know that its output was lost.
        ProgramExit::Exited(0) if done.lost.is_some() => 1,
        ProgramExit::Exited(code) => u8::try_from(code).unwrap_or(1),
        ProgramExit::Killed(signal) => exit_by_signal(signal),
    }
}

/// Returns the manifest of the working directory, for the names that it declares. An invalid one
/// has already stopped every read that depends on it.
fn manifest(app: &App, owner: keyrack_core::Owner) -> Option<keyrack_core::repo_manifest::RepoManifest> {
    manifest::of(&app.context(owner)).unwrap_or_else(|error| {
        app.warn(
            &error.hint("the names of its keys are unknown, so variables with these names are passed on"),
        );
        None
    })
}

fn file_error(export: &Export, error: &std::io::Error) -> Error {
    let message = format!("cannot pass {} as a file: {error}", export.slug);
    Error::new(ErrorCode::Io, message).of(&export.slug)
}
