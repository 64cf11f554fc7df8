//! Values of arguments: fixed words, and names from `keyrack.yml`, the rack and the daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Arg;
use keyrack_client::status::status;
use keyrack_client::{Context, manifest};
use keyrack_core::{Env, Owner, Slug};

use super::command_line::CommandLine;
use super::offer::Offer;
use crate::app::App;
use crate::schemas::SCHEMAS;

/// Deadline for the daemon's answer: a person waits for the completion.
const DAEMON_DEADLINE: Duration = Duration::from_millis(300);

pub(super) struct Values<'a> {
    pub(super) app: &'a App,
    pub(super) line: &'a CommandLine<'a, 'a>,
}

impl Values<'_> {
    /// Returns the values of an argument, or `None` for a file name.
    pub(super) fn of(&self, arg: &Arg) -> Option<Vec<Offer>> {
        let bare = |words: &[&str]| Some(words.iter().copied().map(Offer::bare).collect());
        let possible = arg.get_possible_values();
        if !possible.is_empty() {
            let about =
                |help: Option<&clap::builder::StyledStr>| help.map(ToString::to_string).unwrap_or_default();
            return Some(
                possible.iter().map(|value| Offer::new(value.get_name(), about(value.get_help()))).collect(),
            );
        }
        match arg.get_id().as_str() {
            "env" => Some(self.envs()),
            "key" | "access_key_id" | "secret_access_key" | "session_token" | "client_certificate"
            | "client_key" => Some(self.keys()),
            "operation" if self.line.command() == "docker" => {
                bare(&["get", "list", "store", "erase", "version"])
            }
            "operation" => bare(&["get", "store", "erase"]),
            "scope" => bare(&["repo"]),
            "owner" | "owner_for" => Some(self.owners()),
            "org" if self.line.command() != "init" => bare(&["@this", "@all"]),
            "vault" => bare(&["os.secure", "os.direct", "os.daemon"]),
            "mech" => bare(&["PERMANENT_VIA_REPLICA", "EPHEMERAL_VIA_SESSION"]),
            "output" => bare(&["value", "json", "vibes"]),
            "duration" | "max_duration" => bare(&["10m", "30m", "1h", "4h", "9h", "24h"]),
            "into" => bare(&["github.actions", "json"]),
            "pubkey" => None,
            "stanza" => bare(&["ssh"]),
            "shell" if self.line.command() == "source" => bare(&["posix", "fish", "nu", "powershell"]),
            "shell" => bare(&["bash", "zsh", "fish", "elvish", "powershell"]),
            "command" if self.line.command() == "schema" => {
                Some(SCHEMAS.iter().map(|(name, _)| Offer::bare(*name)).collect())
            }
            "command" if self.line.command() == "man" => {
                let tree = crate::args::tree();
                Some(tree.get_subcommands().map(|command| Offer::bare(command.get_name())).collect())
            }
            _ if arg.get_value_names().is_some_and(|names| names.iter().any(|name| *name == "PATH")) => None,
            _ => Some(Vec::new()),
        }
    }

    /// Returns the envs, those that `keyrack.yml` declares first.
    fn envs(&self) -> Vec<Offer> {
        let declared = self.manifest().map(|manifest| manifest.all_envs).unwrap_or_default();
        let (mut first, others): (Vec<Env>, Vec<Env>) =
            Env::ALL.into_iter().partition(|env| declared.contains(env));
        first.extend(others);
        let about = |env: &Env| if declared.contains(env) { "declared in keyrack.yml" } else { "" };
        first.iter().map(|env| Offer::new(env.as_str(), about(env))).collect()
    }

    /// Returns the names that `keyrack.yml` declares for the given env. If a dot is typed or
    /// nothing is declared, returns the slugs of declared and unlocked keys.
    fn keys(&self) -> Vec<Offer> {
        let env = self.line.value("env").and_then(|env| env.parse::<Env>().ok());
        let wanted = |slug: &Slug| {
            env.is_none_or(|env| env == Env::All || slug.env() == env.as_str() || slug.env() == "all")
        };
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut slugs: BTreeMap<String, &str> = BTreeMap::new();
        if let Some(manifest) = self.manifest() {
            for key in manifest.keys().iter().filter(|key| wanted(&key.slug)) {
                names.entry(key.slug.name().to_owned()).or_default().push(key.slug.env().to_owned());
                slugs.insert(key.slug.as_str().to_owned(), "declared in keyrack.yml");
            }
        }
        let typed = self.line.current.rsplit('=').next().unwrap_or_default();
        let is_slug = typed.contains('.') || typed.starts_with('@');
        if !is_slug && !names.is_empty() {
            return names.into_iter().map(|(name, envs)| Offer::new(name, envs.join(", "))).collect();
        }
        for slug in self.unlocked().into_iter().filter(wanted) {
            slugs.insert(slug.as_str().to_owned(), "unlocked");
        }
        slugs.into_iter().map(|(slug, about)| Offer::new(slug, about)).collect()
    }

    fn owners(&self) -> Vec<Offer> {
        let mut offers: Vec<Offer> = self
            .app
            .operate(Owner::DEFAULT, &[], keyrack_ops::owners)
            .unwrap_or_default()
            .iter()
            .map(|owner| Offer::bare(owner.as_str()))
            .collect();
        if self.line.command() == "prune" {
            offers.push(Offer::new("@all", "every daemon of this login session"));
        }
        offers
    }

    fn manifest(&self) -> Option<keyrack_core::repo_manifest::RepoManifest> {
        manifest::of(&self.context()).ok().flatten()
    }

    /// Returns the slugs of unlocked keys, if a daemon runs and answers in time.
    fn unlocked(&self) -> Vec<Slug> {
        let status = status(&self.context()).ok();
        let keys = status.and_then(|status| status.running).map(|running| running.status.keys);
        keys.unwrap_or_default().into_iter().map(|key| key.slug).collect()
    }

    fn context(&self) -> Context {
        let named = self.line.value("owner").or(self.line.value("owner_for"));
        let owner = named.and_then(|owner| owner.parse().ok()).unwrap_or(Owner::DEFAULT);
        Context { deadline: DAEMON_DEADLINE, ..self.app.context(owner) }
    }
}
