//! `keyrack daemon start|stop|restart|status|prune`: manages the process that keeps unlocked keys.

use clap::Subcommand;
use keyrack_client::daemon::{self, PruneOutcome, PrunedRack};
use keyrack_client::render::Role;
use keyrack_client::render::status::{hello_value, namespaces, weaknesses};
use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::session::HelloInfo;
use keyrack_client::status::status;
use keyrack_client::{Context, RackAddress};
use keyrack_core::{Error, Owner};
use serde_json::{Value, json};

use crate::app::{App, keyrackd};
use crate::command::flags::DaemonFlags;
use crate::command::notices;
use crate::output;
use crate::report::to_json;

/// Subcommands of `daemon`.
pub(crate) const NAMES: [&str; 5] = ["start", "stop", "restart", "status", "prune"];

const EXAMPLES: &str = "\
Examples:
  keyrack daemon start
  keyrack daemon status
  keyrack daemon restart              after an upgrade; unlocked keys stay unlocked
  keyrack daemon stop
  keyrack daemon prune --owner @all   every daemon of this login session";

#[derive(Subcommand, Debug)]
pub(crate) enum DaemonCommand {
    /// Start the daemon if it is not running
    Start(DaemonFlags),
    /// Stop the daemon, which locks every key
    Stop(DaemonFlags),
    /// Replace the daemon by one of this version; keys stay unlocked for their remaining time
    Restart(DaemonFlags),
    /// Show the daemon and how well it protects keys
    Status(DaemonFlags),
    /// Stop the daemon even if it is unresponsive; with --owner @all, every daemon of this login
    /// session
    Prune(DaemonFlags),
}

/// Adds the subcommands and examples to the command.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    DaemonCommand::augment_subcommands(command).subcommand_required(true).after_help(EXAMPLES)
}

impl DaemonCommand {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        match self {
            DaemonCommand::Start(flags) => start(&flags, app),
            DaemonCommand::Stop(flags) => stop(&flags, app),
            DaemonCommand::Restart(flags) => restart(&flags, app),
            DaemonCommand::Status(flags) => show_status(&flags, app),
            DaemonCommand::Prune(flags) => prune(&flags, app),
        }
    }
}

impl DaemonFlags {
    fn context(&self, app: &App) -> Result<Context, Error> {
        Ok(app.context(self.owner.resolve(app)?))
    }

    /// Prints the value as JSON or the lines as a tree.
    fn answer(&self, app: &App, name: &str, value: &Value, nodes: &[Branch]) -> Result<u8, Error> {
        if self.json {
            return output::print_json(value).map(|()| 0);
        }
        let style = app.style();
        let title = style.titled("🔐", &format!("keyrack daemon {name}"));
        output::print(tree(&title, nodes, style).as_bytes()).map(|()| 0)
    }
}

fn start(flags: &DaemonFlags, app: &App) -> Result<u8, Error> {
    let ctx = flags.context(app)?;
    let (mut session, started) = daemon::ensure(&ctx, &keyrackd()?)?;
    let hello = session.hello()?.clone();
    if started {
        notices::daemon_started(app);
    }
    let mut value =
        json!({ "started": started, "socketPath": session.address().socket().display().to_string() });
    value["daemon"] = hello_value(&hello);
    let word = if started { "started" } else { "already active" };
    flags.answer(
        app,
        "start",
        &value,
        &[Branch::pair("daemon", word).with_role(Role::Good).with(described(&hello))],
    )
}

fn stop(flags: &DaemonFlags, app: &App) -> Result<u8, Error> {
    let stopped = daemon::stop(&flags.context(app)?)?;
    let value =
        json!({ "stopped": stopped.is_some(), "pid": stopped.as_ref().and_then(|stopped| stopped.pid) });
    let line = match &stopped {
        None => "no daemon was active".to_owned(),
        Some(stopped) => format!("stopped the daemon{}", pid(stopped.pid)),
    };
    flags.answer(app, "stop", &value, &[Branch::new(line)])
}

fn restart(flags: &DaemonFlags, app: &App) -> Result<u8, Error> {
    let mut done = daemon::restart(&flags.context(app)?, &keyrackd()?)?;
    let hello = done.session.hello()?.clone();
    notices::daemon_started(app);
    let mut value = json!({
        "stopped": done.stopped.is_some(),
        "carried": done.carried,
        "lost": done.lost.iter().map(|(slug, cause)| json!({ "slug": slug, "cause": to_json(cause, app.invocation) })).collect::<Vec<_>>(),
    });
    value["daemon"] = hello_value(&hello);
    for (slug, cause) in &done.lost {
        app.notice(&format!("{slug} was not carried over: {cause}"));
    }
    let before = match &done.stopped {
        None => "none was active".to_owned(),
        Some(stopped) => format!("stopped{}", pid(stopped.pid)),
    };
    let nodes = [
        Branch::pair("before", before),
        Branch::pair("daemon", "started").with_role(Role::Good).with(described(&hello)),
        Branch::pair("keys carried over", done.carried.len().to_string())
            .with(done.carried.iter().map(Branch::key)),
    ];
    let exit = flags.answer(app, "restart", &value, &nodes)?;
    Ok(if done.lost.is_empty() { exit } else { 1 })
}

fn show_status(flags: &DaemonFlags, app: &App) -> Result<u8, Error> {
    let found = status(&flags.context(app)?)?;
    found.error.iter().for_each(|error| app.warn(error));
    let socket = found.address.as_ref().map(RackAddress::socket);
    let shown_socket = socket.iter().map(|socket| Branch::pair("socket", app.display_path(socket, None)));
    let nodes = match &found.running {
        None => std::iter::once(Branch::pair("daemon", "not found")).chain(shown_socket).collect(),
        Some(running) => {
            let held = running.status.keys.len();
            let mut below: Vec<Branch> =
                shown_socket.chain([Branch::pair("keys", held.to_string())]).collect();
            match &running.hello {
                Some(hello) => below.extend(described(hello)),
                None => below.push(Branch::new(format!("an older TypeScript keyrack{}", pid(running.pid)))),
            }
            vec![Branch::pair("daemon", "active").with_role(Role::Good).with(below)]
        }
    };
    let value = found.running.as_ref().map_or(Value::Null, |running| {
        json!({
            "owner": found.owner.name(),
            "socketPath": socket.as_ref().map(|socket| socket.display().to_string()),
            "pid": running.pid,
            "keys": running.status.keys.len(),
            "legacy": running.hello.is_none(),
            "daemon": running.hello.as_ref().map(hello_value),
        })
    });
    flags.answer(app, "status", &value, &nodes)
}

fn prune(flags: &DaemonFlags, app: &App) -> Result<u8, Error> {
    let named = flags.owner.name();
    let all = named.is_some_and(|owner| owner == "@all");
    let pruned = if all {
        daemon::prune_all(&app.context(Owner::DEFAULT))?
    } else {
        daemon::prune_owner(&flags.context(app)?)?
    };
    let mut ended = Vec::new();
    let mut nodes = Vec::new();
    let mut exit = 0;
    for PrunedRack { owner, outcome, .. } in &pruned {
        match outcome {
            PruneOutcome::Stopped { pid: number } => {
                ended.push(json!({ "owner": owner.name(), "pid": number }));
                nodes.push(Branch::new(format!("pruned daemon for owner={owner}{}", pid(*number))));
            }
            PruneOutcome::SocketRemoved => {
                nodes.push(Branch::new(format!("removed a dead socket of owner={owner}")));
            }
            PruneOutcome::Kept(error) => {
                exit = error.exit().max(exit);
                app.warn(error);
            }
        }
    }
    if nodes.is_empty() {
        let whose = if all { "any owner".to_owned() } else { format!("owner={}", flags.owner.resolve(app)?) };
        nodes.push(Branch::new(format!("no daemon active for {whose}")));
    }
    flags.answer(app, "prune", &json!({ "pruned": ended }), &nodes)?;
    Ok(exit)
}

fn described(hello: &HelloInfo) -> Vec<Branch> {
    let weak = weaknesses(hello);
    [
        Branch::pair("pid", hello.pid.to_string()),
        Branch::pair("version", &hello.version),
        Branch::pair("boundary", hello.boundary.as_str()),
        Branch::pair("memory", &hello.memory),
    ]
    .into_iter()
    .chain(namespaces(hello))
    .chain(weak.into_iter().map(Branch::note))
    .collect()
}

fn pid(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| format!(" (pid: {number})"))
}
