//! `keyrack daemon start|stop|restart|status|prune`: the process that keeps unlocked keys.

use clap::{Args, Subcommand};
use keyrack_client::daemon::{self, Fate, Pruned};
use keyrack_client::render::Tone;
use keyrack_client::render::status::{greeting_value, namespaces, weaknesses};
use keyrack_client::render::tree::{Node, tree};
use keyrack_client::session::Greeting;
use keyrack_client::status::status;
use keyrack_client::{Context, Place};
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
            Command::Status(flags) => look(&flags, outer),
            Command::Prune(flags) => prune(&flags, outer),
        }
    }
}

impl Flags {
    fn context(&self, outer: &Outer) -> Result<Context, Error> {
        Ok(outer.context(self.owner.resolve(&outer.group)?))
    }

    /// Prints the value as JSON or the lines as a tree.
    fn answer(&self, outer: &Outer, name: &str, value: &Value, nodes: &[Node]) -> Result<u8, Error> {
        if self.json {
            return output::print_json(value).map(|()| 0);
        }
        let look = outer.look();
        let title = look.titled("🔐", &format!("keyrack daemon {name}"));
        output::print(tree(&title, nodes, look).as_bytes()).map(|()| 0)
    }
}

fn start(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let ctx = flags.context(outer)?;
    let (mut session, started) = daemon::ensure(&ctx, &keyrackd()?)?;
    let greeting = session.greet()?.clone();
    if started {
        started_here(outer);
    }
    let mut value =
        json!({ "started": started, "socketPath": session.place().socket().display().to_string() });
    value["daemon"] = greeting_value(&greeting);
    let word = if started { "started" } else { "already active" };
    flags.answer(
        outer,
        "start",
        &value,
        &[Node::pair("daemon", word).toned(Tone::Good).with(described(&greeting))],
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
    flags.answer(outer, "stop", &value, &[Node::new(line)])
}

fn restart(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let mut done = daemon::restart(&flags.context(outer)?, &keyrackd()?)?;
    let greeting = done.session.greet()?.clone();
    started_here(outer);
    let mut value = json!({
        "stopped": done.stopped.is_some(),
        "carried": done.carried,
        "lost": done.lost.iter().map(|(slug, cause)| json!({ "slug": slug, "cause": machine(cause, outer.invocation) })).collect::<Vec<_>>(),
    });
    value["daemon"] = greeting_value(&greeting);
    for (slug, cause) in &done.lost {
        outer.notice(&format!("{slug} was not carried over: {cause}"));
    }
    let before = match &done.stopped {
        None => "none was active".to_owned(),
        Some(stopped) => format!("stopped{}", pid(stopped.pid)),
    };
    let nodes = [
        Node::pair("before", before),
        Node::pair("daemon", "started").toned(Tone::Good).with(described(&greeting)),
        Node::pair("keys carried over", done.carried.len().to_string())
            .with(done.carried.iter().map(Node::key)),
    ];
    let exit = flags.answer(outer, "restart", &value, &nodes)?;
    Ok(if done.lost.is_empty() { exit } else { 1 })
}

fn look(flags: &Flags, outer: &Outer) -> Result<u8, Error> {
    let found = status(&flags.context(outer)?)?;
    found.error.iter().for_each(|error| outer.warn(error));
    let socket = found.place.as_ref().map(Place::socket);
    let shown_socket = socket.iter().map(|socket| Node::pair("socket", outer.shown(socket, None)));
    let nodes = match &found.running {
        None => std::iter::once(Node::pair("daemon", "not found")).chain(shown_socket).collect(),
        Some(running) => {
            let held = running.holdings.keys.len();
            let mut below: Vec<Node> = shown_socket.chain([Node::pair("keys", held.to_string())]).collect();
            match &running.greeting {
                Some(greeting) => below.extend(described(greeting)),
                None => below.push(Node::new(format!("an older TypeScript keyrack{}", pid(running.pid)))),
            }
            vec![Node::pair("daemon", "active").toned(Tone::Good).with(below)]
        }
    };
    let value = found.running.as_ref().map_or(Value::Null, |running| {
        json!({
            "owner": found.owner.name(),
            "socketPath": socket.as_ref().map(|socket| socket.display().to_string()),
            "pid": running.pid,
            "keys": running.holdings.keys.len(),
            "legacy": running.greeting.is_none(),
            "daemon": running.greeting.as_ref().map(greeting_value),
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
                nodes.push(Node::new(format!("pruned daemon for owner={owner}{}", pid(*number))));
            }
            Fate::Swept => nodes.push(Node::new(format!("removed a dead socket of owner={owner}"))),
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
        nodes.push(Node::new(format!("no daemon active for {whose}")));
    }
    flags.answer(outer, "prune", &json!({ "pruned": ended }), &nodes)?;
    Ok(exit)
}

fn described(greeting: &Greeting) -> Vec<Node> {
    let weak = weaknesses(greeting);
    [
        Node::pair("pid", greeting.pid.to_string()),
        Node::pair("version", &greeting.version),
        Node::pair("boundary", greeting.boundary.as_str()),
        Node::pair("memory", &greeting.memory),
    ]
    .into_iter()
    .chain(namespaces(greeting))
    .chain(weak.into_iter().map(Node::note))
    .collect()
}

fn pid(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| format!(" (pid: {number})"))
}
