//! `keyrack init`: creates the rack of this machine and, with `--org`, the `keyrack.yml` of this
//! repository.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::render::Role;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_core::repo_manifest::MANIFEST_PATH;
use keyrack_core::{Error, Fix, FixCommand, Owner};
use keyrack_ops::init::{InitOutcome, InitReport, InitRequest, init};
use serde_json::{Value, json};

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::init_wizard::ask_missing_args;
use crate::output;

const EXAMPLES: &str = "\
At a terminal, keyrack asks for what the flags leave open; Enter accepts the suggestion. --no-prompt skips the questions.

Examples:
  keyrack init                               a rack that ~/.ssh/id_ed25519 opens
  keyrack init --org acme                    also .agent/keyrack.yml of this repository
  keyrack init --owner work --prikey ~/.ssh/work";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// SSH key that opens the rack, as its private or .pub file; by default, found in ~/.ssh and
    /// the SSH config
    #[arg(long, value_name = "PATH")]
    pub(crate) pubkey: Option<PathBuf>,
    /// The same, as its private file; wins over --pubkey. keyrack remembers it, so later commands
    /// need no --prikey
    #[arg(long, value_name = "PATH")]
    pub(crate) prikey: Option<PathBuf>,
    /// Label of this recipient
    #[arg(long, default_value = "default")]
    pub(crate) label: String,
    /// Org of this repository; creates its .agent/keyrack.yml
    #[arg(long)]
    pub(crate) org: Option<String>,
    /// Path for keyrack.yml, from the root of the repository
    #[arg(long, value_name = "PATH", requires = "org")]
    pub(crate) at: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl InitArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let at = self.at.map(|path| path.to_string_lossy().into_owned());
        let mut request =
            InitRequest { key: self.prikey.or(self.pubkey), label: Some(self.label), org: self.org, at };
        if app.is_interactive() {
            ask_missing_args(app, &owner, &mut request)?;
        }
        let done = app.operate(owner.clone(), &[], |ctx| init(ctx, &request))?;
        if let (Some(asked), Some(repo)) = (&request.org, &done.repo)
            && *asked != repo.org
        {
            app.notice(&format!("{} already exists, and its org is {}", repo.path.display(), repo.org));
        }
        if self.json {
            return output::print_json(&value(&done, &owner)).map(|()| 0);
        }
        let style = app.style();
        let effect = |effect| match effect {
            InitOutcome::Created => style.marked("freshly minted", "✨"),
            InitOutcome::Found => style.marked("already active", "👌"),
        };
        let host = Branch::pair("host manifest", effect(done.host)).with_role(Role::Good).with([
            Branch::pair("path", app.display_path(&done.host_path, None)),
            Branch::pair("owner", owner.as_str()),
            Branch::pair("recipient", &done.recipient.label),
        ]);
        let remembered = done.remembered.as_ref();
        let host =
            host.with(remembered.map(|path| {
                Branch::pair("identity", format!("{}, remembered", app.display_path(path, None)))
            }));
        let repo = match (&done.repo, &done.git_root) {
            (Some(repo), root) => {
                Branch::pair("repo manifest", effect(repo.effect)).with_role(Role::Good).with([
                    Branch::pair("path", app.display_path(&repo.path, root.as_deref())),
                    Branch::pair("org", &repo.org),
                ])
            }
            (None, None) => {
                let note = "run `init` again in a git repository to create its keyrack.yml";
                let note = request.org.as_ref().map(|_| Branch::note(note));
                Branch::pair("repo manifest", "not in a git repository").with(note)
            }
            (None, Some(_)) => {
                let fix = Fix::command(["init", "--org", "ORG"]).render(app.invocation);
                Branch::pair("repo manifest", "not requested").with([Branch::tip(fix)])
            }
        };
        let mut nodes = vec![host, repo];
        if app.is_interactive() {
            nodes.push(
                Branch::command("next", next(&done, &owner).render(app.invocation)).with_role(Role::Fix),
            );
        }
        output::print(tree(&style.titled("🔐", "keyrack init"), &nodes, style).as_bytes()).map(|()| 0)
    }
}

/// Returns the next command for a new user, which stores a first key.
fn next(done: &InitReport, owner: &Owner) -> Fix {
    let in_repo = done.git_root.as_ref().is_some_and(|root| root.join(MANIFEST_PATH).exists());
    let words = ["--key", "API_KEY", "--env", "test", "--vault", "os.secure"];
    let first = FixCommand::new("set").owner(owner).args(words);
    if in_repo { first.into() } else { first.args(["--org", "@all"]).into() }
}

fn value(done: &InitReport, owner: &Owner) -> Value {
    let repo = done.repo.as_ref().map(|repo| {
        json!({ "effect": repo.effect.as_str(), "manifestPath": repo.path.display().to_string(), "org": repo.org })
    });
    json!({
        "host": {
            "effect": done.host.as_str(),
            "manifestPath": done.host_path.display().to_string(),
            "owner": owner.name(),
            "recipient": done.recipient,
        },
        "repo": repo,
    })
}
