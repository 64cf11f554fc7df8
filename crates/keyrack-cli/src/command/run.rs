//! `keyrack run`: a command with the asked keys in its environment, in this process's place.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use keyrack_client::get::{self, GetOptions, GetOutcome, Scope};
use keyrack_client::manifest;
use keyrack_client::render::attempt::strict_failure;
use keyrack_client::source::limits::{check_total, sizes};
use keyrack_client::source::{self, Export, SourceMode};
use keyrack_core::{Attempt, Env, Error, ErrorCode, Fix, Org, Reserved};
use keyrack_mask::{MIN, Patterns};
use keyrack_ops::get::get_or_unlock;
use keyrack_ops::run::masked::{self, MaskedOutcome, ProgramExit, Target};
use keyrack_ops::run::{add_files, add_values, inherited, start_error, withheld};
use keyrack_sys::fs::memfd;
use keyrack_sys::process::drain;
use keyrack_sys::process::exec::{PreparedCommand, execution_limit};
use keyrack_sys::process::startup_state::was_closed;
use keyrack_sys::process::supervise::exit_by_signal;
use keyrack_sys::random::random_bytes;

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::command::notices;
use crate::{output, report};

/// Word that makes this program the reader of discarded output ([`drain`]).
pub(crate) const DRAIN: &str = "drain";

const EXAMPLES: &str = "\
Exit: that of the command; 2, and it is not started, when a key is not granted; 127 when there is no such command, 126 when it cannot be \
executed.

Examples:
  keyrack run --env test -- npm test
  keyrack run --env prep --key GITHUB_TOKEN -- gh pr list
  keyrack run --env test --mask -- npm test
  keyrack run --env test --files --key TLS_KEY -- sh -c 'openssl rsa -in \"$TLS_KEY_FILE\" -check'";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// sudo, prod, prep, test, all or camp; taken from keyrack.yml if that leaves no doubt
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// A key the command gets, by its name or full slug; may be given again. Without: every key that keyrack.yml declares for the env
    #[arg(long)]
    pub(crate) key: Vec<String>,
    /// @this, the org of keyrack.yml, or @all, this machine
    #[arg(long, default_value = "@this", requires = "key")]
    pub(crate) org: String,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Unlock the keys that are locked, and only those, first
    #[arg(long)]
    pub(crate) unlock: bool,
    /// An ssh key to unlock with, tried first; may be given again
    #[arg(long, value_name = "PATH", requires = "unlock")]
    pub(crate) prikey: Vec<PathBuf>,
    /// Release keys although they look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Start the command without the keys that are not granted
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Write *** in the place of each key in what the command writes, in the forms that programs usually write it in
    #[arg(long)]
    pub(crate) mask: bool,
    #[expect(rustdoc::invalid_html_tags, reason = "clap prints this line, and <KEY> is a placeholder")]
    /// Give each key as the path of a file in memory, in the variable <KEY>_FILE, instead of its value
    #[arg(long)]
    pub(crate) files: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl RunArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let env: Option<Env> = self.env.as_deref().map(str::parse).transpose()?;
        let org: Org = self.org.parse()?;
        let scope = match self.key.is_empty() {
            false => Scope::Keys { asks: self.key.clone(), org, env },
            true => Scope::Repo { env },
        };
        let options = GetOptions { allow_dangerous: self.allow_dangerous, undeclared_is_absent: true };
        let outcome = if self.unlock {
            let done = app.operate(owner.clone(), &self.prikey, |ctx| get_or_unlock(ctx, &scope, options))?;
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
                        .map_err(|error| no_file(export, &error))?,
                );
            }
        } else {
            add_values(&mut variables, &exports)?;
        }
        let path = app.environment.get("PATH");
        let mut program = PreparedCommand::new(&self.command, variables, path)
            .map_err(|error| Error::new(ErrorCode::Usage, format!("the command cannot be run: {error}")))?;
        let mut named = Vec::new();
        for (export, file) in exports.iter().zip(&files) {
            let number = program.pass(file).map_err(|error| no_file(export, &error))?;
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
                    Ok(done) => return Ok(end(app, &done)),
                    Err(error) => error,
                }
            }
        };
        let (exit, error) = start_error(&self.command[0], &error);
        report::failure(&error, "run", app.invocation, app.as_json, app.style_of_stderr());
        Ok(exit)
    }

    /// What the command gets; `None`, with the report told, when a key it needs is not granted.
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
                        // Not with the command, whose arguments are nobody's business in a log.
                        *fix = None;
                    }
                }
                let hint = "use --lenient if the command can do without";
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

/// Patterns that mask the keys in what the command writes. A key too short to be masked is named on stderr.
fn patterns(app: &App, exports: &[Export]) -> Result<Arc<Patterns>, Error> {
    for export in exports.iter().filter(|export| !Patterns::can_mask(export.secret.expose())) {
        app.notice(&format!("{} is not masked: it is shorter than {MIN} bytes", export.slug));
    }
    let hash_key = random_bytes().map_err(|error| {
        Error::new(ErrorCode::Io, format!("cannot mask the output: no random bytes: {error}"))
    })?;
    Ok(Arc::new(Patterns::new(exports.iter().map(|export| export.secret.expose()), &hash_key)))
}

/// Where one of our streams goes; `None` when we were started without it.
fn target(number: u8, stream: &(impl AsFd + IsTerminal)) -> Result<Option<Target>, Error> {
    if was_closed(number) {
        return Ok(None);
    }
    let fd = stream.as_fd().try_clone_to_owned();
    let fd =
        fd.map_err(|error| Error::new(ErrorCode::Io, format!("the output cannot be masked: {error}")))?;
    Ok(Some(Target { fd, terminal: stream.is_terminal() }))
}

/// Starts a drain process for the streams that a background process has open, so that this process
/// can exit.
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
            "the command left a process in the background, whose output cannot be read any more: {error}"
        )),
        Ok(()) => app
            .notice("the command left a process in the background: what it writes from now on is discarded"),
    }
}

/// Ends as the command did.
fn end(app: &App, done: &MaskedOutcome) -> u8 {
    leave_running(app, &done.left_open);
    if let Some(error) = &done.lost {
        app.notice(&format!("what the command wrote could not all be written: {error}"));
    }
    match done.ended {
        // It may well believe that all is well.
        ProgramExit::Exited(0) if done.lost.is_some() => 1,
        ProgramExit::Exited(code) => u8::try_from(code).unwrap_or(1),
        ProgramExit::Killed(signal) => exit_by_signal(signal),
    }
}

/// The manifest of where we stand, for the names it declares. A broken one has stopped every ask that it has a say in.
fn manifest(app: &App, owner: keyrack_core::Owner) -> Option<keyrack_core::repo_manifest::RepoManifest> {
    manifest::of(&app.context(owner)).unwrap_or_else(|error| {
        app.warn(
            &error.hint("which keys it declares cannot be told, so variables of their names are handed on"),
        );
        None
    })
}

fn no_file(export: &Export, error: &std::io::Error) -> Error {
    let message = format!("{} cannot be given as a file: {error}", export.slug);
    Error::new(ErrorCode::Io, message).of(&export.slug)
}
