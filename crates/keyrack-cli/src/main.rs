//! The command `keyrack`: arguments in, operations called, an answer on stdout, an exit code out.
//!
//! No logic a library user would need is here. It is the one place, with the daemon's own, where the environment and the clock are read.

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
    // Before anything is read, so a debugger cannot read what holds a secret later.
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
            Ok(()) => complete_for_a_shell(&args, environment),
            // A shell that completes a line shows no errors.
            Err(_) => ExitCode::SUCCESS,
        };
    }
    let parsed = protected.and_then(|()| {
        args::parse(
            &args,
            |stdout| app::look_of(&environment, stdout),
            |word| is_declared(word, &environment),
        )
    });
    // Looked for by hand, since arguments that cannot be parsed are told about too.
    // What stands behind `--` is another program's.
    let as_json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json")
        || matches!(&parsed, Ok(Parsed::Run(asked)) if asked.1.prints_json());
    let command = args::called(&args).join(" ");
    let ended = parsed.and_then(|parsed| match parsed {
        Parsed::Show(text) => output::print(text.as_bytes()).map(|()| 0),
        Parsed::ShowHelp(help) => {
            output::eprint(&help);
            Ok(2)
        }
        Parsed::Run(asked) => {
            let (globals, asked) = *asked;
            // A directory that was removed under us has no repository above it.
            let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            let owner = globals.owner.name().cloned();
            let no_prompt = globals.no_prompt;
            let app = App { environment, cwd, owner, no_prompt, invocation, as_json };
            run(asked, &app).map_err(|error| placed(error, &app.cwd))
        }
    });
    ExitCode::from(
        ended.unwrap_or_else(|error| report::failure(&error, &command, invocation, as_json, style)),
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
            Err(Error::new(ErrorCode::Traced, message)
                .hint("run the command where no debugger of another session is attached"))
        }
    }
}

/// Outside of a git repository no `init` makes a keyrack.yml: there that is no way out, yet.
fn placed(error: Error, cwd: &Path) -> Error {
    if error.code != ErrorCode::NoManifest || error.fix.is_none() || find_git_root(cwd).is_some() {
        return error;
    }
    let place = "in a git repository `init` makes one";
    let hint = error.hint.map_or_else(|| place.to_owned(), |hint| format!("{place}; {hint}"));
    Error { fix: None, hint: Some(hint), ..error }
}

/// Whether the `keyrack.yml` above us declares a key of this name or slug.
fn is_declared(word: &str, environment: &Environment) -> bool {
    let Ok(cwd) = std::env::current_dir() else { return false };
    let manifest = keyrack_client::manifest::of(&Context::new(cwd, environment.clone()));
    manifest.ok().flatten().is_some_and(|manifest| {
        manifest.keys().iter().any(|key| [key.slug.name(), key.slug.as_str()].contains(&word))
    })
}

/// Answers a shell that completes a command line. Nothing is ever said on stderr, and it never fails.
fn complete_for_a_shell(args: &[OsString], environment: Environment) -> ExitCode {
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
