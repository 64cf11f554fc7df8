//! `keyrack daemon start|stop|restart|status|prune`: the process that keeps unlocked keys.

use clap::{Args, Subcommand};
use keyrack_client::daemon::{self, Fate, Pruned};
use keyrack_client::render::Role;
use keyrack_client::render::status::{hello_value, namespaces, weaknesses};
use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::session::HelloInfo;
use keyrack_client::status::status;
use keyrack_client::{Context, RackAddress};
use keyrack_core::{Error, Owner};
use serde_json::{Value, json};

use crate::args::OwnerFlags;
use crate::command::unlock::started_here;
use crate::outer::{Outer, keyrackd};
use crate::output;
use crate::report::machine;

/// The commands below `daemon`.
pub(crate) const NAMES: [&str; 5] = ["start", "stop", "restart", "status", "prune"];

const EXAMPLES: &str = "\
Examples:
  keyrack daemon start
  keyrack daemon status
  keyrack daemon restart              after an upgrade: unlocked keys stay unlocked
  keyrack daemon stop
  keyrack daemon prune --owner @all   every daemon of this login session";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start it, if none runs
    Start(Flags),
    /// End it: every unlocked key is forgotten
    Stop(Flags),
    /// Replace it by one of this version; unlocked keys stay unlocked for what is left of their time
    Restart(Flags),
    /// Show which one runs and how well it keeps keys
    Status(Flags),
    /// End it, also an unhealthy one, or with --owner @all every one of this login session
    Prune(Flags),
}

#[derive(Args, Debug)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The flags and examples, for the tree.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    Command::augment_subcommands(command).subcommand_required(true).after_help(EXAMPLES)
}

impl Command {
    pub(crate) fn run(self, outer: &Outer) -> Result<u8, Error> {
        match self {
            Command::Start(flags) => start(&flags, outer),
            Command::Stop(flags) => stop(&flags, outer),
            Command::Restart(flags) => restart(&flags, outer),
            Command::Status(flags) => show_status(&flags, outer),
            Command::Prune(flags) => prune(&flags, outer),
        }
    }
}

impl Flags {
    fn context(&self, outer: &Outer) -> Result<Context, Error> {
        Ok(outer.context(self.owner.resolve(&outer.group)?))
    }

    /// Prints the value as JSON or the lines as a tree.
    fn answer(&self, outer: &Outer, name: &str, value: &Value, nodes: &[Branch]) -> Result<u8, Error> {
        if self.json {
            return output::print_json(value).map(|()| 0);
        }
        let style = outer.style();
        let title = style.titled("🔐", &format!("keyrack daemon {name}"));
        output::print(tree(&title, nodes, style).as_bytes()).map(|()| 0)
    }
}

fn start(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let ctx = flags.context(outer)?;
    let (mut session, started) = daemon::ensure(&ctx, &keyrackd()?)?;
    let hello = session.hello()?.clone();
    if started {
        started_here(outer);
    }
    let mut value =
        json!({ "started": started, "socketPath": session.address().socket().display().to_string() });
    value["daemon"] = hello_value(&hello);
    let word = if started { "started" } else { "already active" };
    flags.answer(
        outer,
        "start",
        &value,
        &[Branch::pair("daemon", word).with_role(Role::Good).with(described(&hello))],
    )
}

fn stop(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let stopped = daemon::stop(&flags.context(outer)?)?;
    let value =
        json!({ "stopped": stopped.is_some(), "pid": stopped.as_ref().and_then(|stopped| stopped.pid) });
    let line = match &stopped {
        None => "no daemon was active".to_owned(),
        Some(stopped) => format!("stopped the daemon{}", pid(stopped.pid)),
    };
    flags.answer(outer, "stop", &value, &[Branch::new(line)])
}

fn restart(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let mut done = daemon::restart(&flags.context(outer)?, &keyrackd()?)?;
    let hello = done.session.hello()?.clone();
    started_here(outer);
    let mut value = json!({
        "stopped": done.stopped.is_some(),
        "carried": done.carried,
        "lost": done.lost.iter().map(|(slug, cause)| json!({ "slug": slug, "cause": machine(cause, outer.invocation) })).collect::<Vec<_>>(),
    });
    value["daemon"] = hello_value(&hello);
    for (slug, cause) in &done.lost {
        outer.notice(&format!("{slug} was not carried over: {cause}"));
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
    let exit = flags.answer(outer, "restart", &value, &nodes)?;
    Ok(if done.lost.is_empty() { exit } else { 1 })
}

fn show_status(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let found = status(&flags.context(outer)?)?;
    found.error.iter().for_each(|error| outer.warn(error));
    let socket = found.address.as_ref().map(RackAddress::socket);
    let shown_socket = socket.iter().map(|socket| Branch::pair("socket", outer.shown(socket, None)));
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
    flags.answer(outer, "status", &value, &nodes)
}

fn prune(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let named = flags.owner.owner.as_ref().or(flags.owner.owner_for.as_ref());
    let all = named.is_some_and(|owner| owner == "@all");
    let pruned = if all {
        daemon::prune_all(&outer.context(Owner::DEFAULT))?
    } else {
        daemon::prune_owner(&flags.context(outer)?)?
    };
    let mut ended = Vec::new();
    let mut nodes = Vec::new();
    let mut exit = 0;
    for Pruned { owner, fate, .. } in &pruned {
        match fate {
            Fate::Ended { pid: number } => {
                ended.push(json!({ "owner": owner.name(), "pid": number }));
                nodes.push(Branch::new(format!("pruned daemon for owner={owner}{}", pid(*number))));
            }
            Fate::Swept => nodes.push(Branch::new(format!("removed a dead socket of owner={owner}"))),
            Fate::Spared(error) => {
                exit = error.exit().max(exit);
                outer.warn(error);
            }
        }
    }
    if nodes.is_empty() {
        let whose = if all {
            "any owner".to_owned()
        } else {
            format!("owner={}", flags.owner.resolve(&outer.group)?)
        };
        nodes.push(Branch::new(format!("no daemon active for {whose}")));
    }
    flags.answer(outer, "prune", &json!({ "pruned": ended }), &nodes)?;
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
