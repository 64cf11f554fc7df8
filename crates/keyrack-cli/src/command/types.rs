//! `keyrack types`: generates TypeScript declarations for declared keys.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::render::Role;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_core::{Error, Owner};
use keyrack_ops::types::{TypesOutcome, TypesRequest, types};
use serde_json::json;

use crate::app::App;
use crate::output;

const EXAMPLES: &str = "\
Exit code: 0 if the file matches keyrack.yml; 2 with --check if it does not.

Examples:
  keyrack types
  keyrack types --out src/keyrack-env.d.ts
  keyrack types --check";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TypesArgs {
    /// File to write; default: keyrack-env.d.ts in the root of the repository
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Write nothing, and fail if the file is missing or outdated
    #[arg(long)]
    pub(crate) check: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl TypesArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let request = TypesRequest { out: self.out, check: self.check };
        let done = types(&app.context(Owner::DEFAULT), &request)?;
        done.faults.iter().for_each(|fault| app.warn(fault));
        if self.json {
            let answer = json!({
                "effect": done.effect.as_str(),
                "path": done.path,
                "keys": done.keys,
                "advice": done.advice,
            });
            return output::print_json(&answer).map(|()| 0);
        }
        let style = app.style();
        let what = match done.effect {
            TypesOutcome::Created => style.marked("freshly written", "✨"),
            TypesOutcome::Updated => style.marked("updated", "✨"),
            TypesOutcome::Found => style.marked("already up to date", "👌"),
        };
        let names = if done.keys == 1 { "name" } else { "names" };
        let mut below = vec![
            Branch::pair("path", app.display_path(&done.path, Some(&done.root))),
            Branch::pair("keys", format!("{} {names}", done.keys)),
        ];
        below.extend(done.advice.map(Branch::hint));
        let node = Branch::pair("declarations", what).with_role(Role::Good).with(below);
        output::print(tree(&style.titled("🔐", "keyrack types"), &[node], style).as_bytes()).map(|()| 0)
    }
}
