//! `keyrack fill`: unlocks or asks for every key that `keyrack.yml` declares, for one or more
//! owners.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::render::Role;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_core::{Env, Error, Owner};
use keyrack_ops::fill::{FillContext, FillOutcome, FillProgress, FillReport, FillRequest, FilledKey, fill};
use keyrack_ops::unlock::declares_nothing;
use serde_json::{Value, json};

use crate::app::{App, keyrackd, now_ms};
use crate::command::notices;
use crate::output;
use crate::report::to_json;

const EXAMPLES: &str = "\
keyrack unlocks the keys that exist and leaves them as they are. It prompts for each missing key, stores it in os.secure and reads \
it back. An error with one key does not stop the others.

Exit code: 0 if every key exists in the end; 2 if one does not and you have to act; 1 for an internal or I/O error; 130 for Ctrl-C.

Examples:
  keyrack fill --env test
  keyrack fill --env prep --owner me robot
  keyrack fill --env test --key API_KEY --refresh";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FillArgs {
    /// Env to fill: prod, prep, test, camp, or all for every env
    #[arg(long)]
    pub(crate) env: String,
    /// Owners of the racks to fill; default: the default owner
    #[arg(long, alias = "for", value_name = "OWNER", num_args = 1..)]
    pub(crate) owner: Vec<String>,
    /// SSH keys to open the racks with, tried first
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) prikey: Vec<PathBuf>,
    /// Name or slug of a single key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Mechanism for missing keys; by default, prompted for once
    #[arg(long)]
    pub(crate) mech: Option<String>,
    /// Ask again for keys that exist
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Ask again for keys that are blocked or cannot be unlocked
    #[arg(long)]
    pub(crate) repair: bool,
    /// Accept keys that look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Print JSON, without secrets
    #[arg(long)]
    pub(crate) json: bool,
}

impl FillArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owners = self.owners(app)?;
        let request = FillRequest {
            env: self.env,
            key: self.key,
            mech: self.mech,
            refresh: self.refresh,
            repair: self.repair,
            allow_dangerous: self.allow_dangerous,
        };
        let ctx = FillContext {
            client: app.context(Owner::DEFAULT),
            keyrackd: keyrackd()?,
            prikeys: self.prikey,
            now_ms,
        };
        let mut terminal = app.terminal();
        let mut on_progress = |progress: FillProgress<'_>| {
            if !app.as_json {
                app.notice(&progress_line(progress, &request.env, app));
            }
        };
        let report = fill(&ctx, &owners, &request, &mut terminal, &mut on_progress)?;
        notices::daemon_spawned(app, report.started);
        report.notices.iter().for_each(|notice| app.notice(notice));
        if report.total == 0 {
            app.notice(&declares_nothing(Some(&request.env)));
        }
        if self.json {
            output::print_json(&value(&request.env, &report, app))?;
        } else {
            output::print(text(&request.env, &report, &owners, app).as_bytes())?;
        }
        Ok(report.exit())
    }

    /// Returns each owner once, in the order given.
    fn owners(&self, app: &App) -> Result<Vec<Owner>, Error> {
        let mut owners = Vec::new();
        for name in self.owner.iter().map(Some).chain(self.owner.is_empty().then_some(None)) {
            let owner = app.owner(name)?;
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        Ok(owners)
    }
}

fn progress_line(progress: FillProgress<'_>, env: &str, app: &App) -> String {
    let FillProgress { at, of, slug, owners } = progress;
    // With `--env all`, several keys can have the same name.
    let key = if env == Env::All.as_str() { slug.as_str() } else { slug.name() };
    let whose = if owners == 1 { "1 owner".to_owned() } else { format!("{owners} owners") };
    app.style_of_stderr().titled("🔑", &format!("key {at}/{of}, {key}, for {whose}"))
}

fn text(env: &str, report: &FillReport, owners: &[Owner], app: &App) -> String {
    let style = app.style();
    let keys = report.total / owners.len().max(1);
    let mut nodes: Vec<Branch> = Vec::new();
    for of_key in report.filled.chunk_by(|one, next| one.slug == next.slug) {
        let branch = of_key.iter().map(|one| effect(one, owners.len() > 1, app));
        nodes.push(Branch::key(&of_key[0].slug).with(branch));
    }
    let (done, word) =
        (report.verified(), if report.filled.len() < report.total { "interrupted" } else { "complete" });
    let role = if done == report.total { Role::Good } else { Role::Warn };
    nodes.push(match report.total {
        0 => Branch::new("no keys found"),
        total => Branch::pair(word, format!("{done}/{total} keys verified")).with_role(role),
    });
    let title = format!("keyrack fill (env: {env}, keys: {keys}, owners: {})", owners.len());
    tree(&style.titled("🔐", &title), &nodes, style)
}

fn effect(one: &FilledKey, name_owner: bool, app: &App) -> Branch {
    let style = app.style();
    let label = if name_owner { format!("owner {}", one.owner) } else { "status".to_owned() };
    match &one.effect {
        FillOutcome::Found(slug) => {
            Branch::pair(&label, style.marked(&format!("found vaulted under {slug}"), "🟢"))
                .with_role(Role::Good)
        }
        FillOutcome::Set => {
            Branch::pair(&label, style.marked("set and read back", "✨")).with_role(Role::Good)
        }
        FillOutcome::Failed(error) => {
            let fix = error.fix.as_ref().map(|fix| Branch::tip(fix.render(app.invocation)));
            Branch::pair(&label, style.marked(&format!("failed: {error}"), "✋"))
                .with_role(Role::Bad)
                .with(error.hint.as_ref().map(Branch::hint))
                .with(fix)
        }
    }
}

/// Encodes `{env, keys: [{slug, owner, effect, under?, error?}], verified, total, notices?}`.
fn value(env: &str, report: &FillReport, app: &App) -> Value {
    let keys = report.filled.iter().map(|one| {
        let owner = one.owner.name();
        match &one.effect {
            FillOutcome::Found(under) => {
                json!({ "slug": one.slug, "owner": owner, "effect": "found", "under": under })
            }
            FillOutcome::Set => json!({ "slug": one.slug, "owner": owner, "effect": "set" }),
            FillOutcome::Failed(error) => {
                let error = to_json(error, app.invocation);
                json!({ "slug": one.slug, "owner": owner, "effect": "failed", "error": error })
            }
        }
    });
    let keys: Vec<Value> = keys.collect();
    let mut value = json!({ "env": env, "keys": keys, "verified": report.verified(), "total": report.total });
    if !report.notices.is_empty() {
        value["notices"] = report.notices.clone().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_fill_exits_as_interrupted() {
        let mut report = FillReport { total: 2, ..FillReport::default() };
        assert_eq!(report.exit(), 130);
        report.total = 0;
        assert_eq!(report.exit(), 0);
    }
}
