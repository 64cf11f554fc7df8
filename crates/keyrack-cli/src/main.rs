//! The command `keyrack`: parses the arguments, runs an operation, prints its result.
//!
//! Logic that a library user would need is in the crates below. Besides the daemon's `main`, this
//! is the only place that reads the environment and the clock.

mod app;
mod args;
mod command;
mod complete;
mod help;
mod init_wizard;
mod output;
mod prompt;
mod report;
mod schemas;
mod unlock_tree;
mod usage;
mod watch;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::App;
use args::{Command, Parsed};
use keyrack_client::manifest::find_git_root;
use keyrack_client::{Context, Environment};
use keyrack_core::{Error, ErrorCode, Invocation};
use keyrack_sys::hardening::protection;

fn main() -> ExitCode {
    // First, so that no debugger can read the memory that holds secrets later.
    let protected = protect();
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.len() == 2 && args[1] == command::run::DRAIN && keyrack_sys::process::drain::run() {
        return ExitCode::SUCCESS;
    }
    let environment: Environment = std::env::vars_os().collect();
    let invocation = Invocation::claimed(environment.text("KEYRACK_INVOKED_AS"), Invocation::default());
    let style = app::style_of_stderr(&environment);
    if args.get(1).is_some_and(|word| word == "complete") {
        return match protected {
            Ok(()) => complete_for_shell(&args, environment),
            // Shells show no errors while they complete a line.
            Err(_) => ExitCode::SUCCESS,
        };
    }
    let parsed = protected.and_then(|()| {
        args::parse(
            &args,
            |stdout| app::style_of(&environment, stdout),
            |word| is_declared(word, &environment),
        )
    });
    // Found without clap, since usage errors are printed as JSON too. Arguments after `--` belong
    // to another program.
    let as_json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
        || matches!(&parsed, Ok(Parsed::Run(parsed)) if parsed.1.prints_json());
    let command = args::called(&args).join(" ");
    let result = parsed.and_then(|parsed| match parsed {
        Parsed::Show(text) => output::print(text.as_bytes()).map(|()| 0),
        Parsed::ShowHelp(help) => {
            output::eprint(&help);
            Ok(2)
        }
        Parsed::Run(parsed) => {
            let (globals, command) = *parsed;
            // A deleted directory has no repository above it.
            let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            let owner = globals.owner.name().cloned();
            let no_prompt = globals.no_prompt;
            let app = App { environment, cwd, owner, no_prompt, invocation, as_json };
            run(command, &app).map_err(|error| without_init_fix(error, &app.cwd))
        }
    });
    ExitCode::from(
        result.unwrap_or_else(|error| report::failure(&error, &command, invocation, as_json, style)),
    )
}

/// Protects this process from debuggers, and fails under a debugger of another login session.
fn protect() -> Result<(), Error> {
    let failed = |error: io::Error| {
        Error::new(ErrorCode::Io, format!("cannot protect this process from debuggers: {error}"))
    };
    protection::protect().map_err(failed)?;
    match protection::foreign_tracer().map_err(failed)? {
        None => Ok(()),
        Some(tracer) => {
            let message = format!("process {tracer} of another login session traces this command");
            Err(Error::new(ErrorCode::Traced, message).hint("run the command without that debugger"))
        }
    }
}

/// Replaces the fix `init` by a hint outside of a git repository, where `init` creates no
/// `keyrack.yml`.
fn without_init_fix(error: Error, cwd: &Path) -> Error {
    if error.code != ErrorCode::NoManifest || error.fix.is_none() || find_git_root(cwd).is_some() {
        return error;
    }
    let advice = "run `init` in a git repository to create one";
    let hint = error.hint.map_or_else(|| advice.to_owned(), |hint| format!("{advice}; {hint}"));
    Error { fix: None, hint: Some(hint), ..error }
}

/// Returns `true` if the `keyrack.yml` above the working directory declares a key of this name or
/// slug.
fn is_declared(word: &str, environment: &Environment) -> bool {
    let Ok(cwd) = std::env::current_dir() else { return false };
    let manifest = keyrack_client::manifest::of(&Context::new(cwd, environment.clone()));
    manifest.ok().flatten().is_some_and(|manifest| {
        manifest.keys().iter().any(|key| [key.slug.name(), key.slug.as_str()].contains(&word))
    })
}

/// Answers a shell that completes a command line. Prints nothing on stderr and never fails.
fn complete_for_shell(args: &[OsString], environment: Environment) -> ExitCode {
    let words: Vec<String> = args.iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let app = App {
        environment,
        cwd,
        owner: None,
        no_prompt: true,
        invocation: Invocation::default(),
        as_json: false,
    };
    let _ = output::print(complete::answer(&words, &app).as_bytes());
    ExitCode::SUCCESS
}

fn run(command: Command, app: &App) -> Result<u8, Error> {
    match command {
        Command::Init(args) => args.run(app),
        Command::Set(args) => args.run(app),
        Command::Del(args) => args.run(app),
        Command::List(args) => args.run(app),
        Command::Unlock(args) => args.run(app),
        Command::Get(args) => args.run(app),
        Command::Source(args) => args.run(app),
        Command::Run(args) => args.run(app),
        Command::Relock(args) => args.run(app),
        Command::Status(args) => args.run(app),
        Command::Recipient(command) => command.run(app),
        Command::Daemon(command) => command.run(app),
        Command::Types(args) => args.run(app),
        Command::Credential(command) => command.run(app),
        Command::Doctor(args) => args.run(app),
        Command::Fill(args) => args.run(app),
        Command::Firewall(args) => args.run(app),
        Command::Infra(command) => command.run(),
        Command::Completions(args) => args.run(crate::args::tree()),
        Command::Schema(args) => args.run(),
        Command::Man(args) => args.run(crate::args::tree()),
    }
}
