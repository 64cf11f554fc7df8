//! `keyrack source`: export lines for a shell to eval. On a strict failure stdout stays empty.

use clap::Args;
use keyrack_client::get::{self, Options, Scope};
use keyrack_client::render::attempt::strict_failure;
use keyrack_client::source::{self, Mode};
use keyrack_core::{Env, Fix, Org, Problem};

use crate::args::OwnerFlags;
use crate::command::get::{warn, warn_of_nothing};
use crate::outer::Outer;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  eval \"$(keyrack source --env test)\"
  eval \"$(keyrack source --env test --lenient)\"
  eval \"$(keyrack source --env sudo --key ROOT --owner admin)\"";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// sudo, prod, prep, test, all or camp
    #[arg(long)]
    pub(crate) env: String,
    /// One key only, by its name or full slug
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Print nothing and end with 2 unless every key that is needed is granted (the default)
    #[arg(long, conflicts_with = "lenient")]
    pub(crate) strict: bool,
    /// Print what is granted and leave out the rest
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Release keys although they look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
}

impl Flags {
    pub(crate) fn run(self, outer: &Outer) -> Result<u8, Problem> {
        let owner = self.owner.resolve(&outer.group)?;
        let env: Env = self.env.parse()?;
        let scope = match self.key {
            Some(ask) => Scope::Key { ask, org: Org::This, env: Some(env) },
            None => Scope::Repo { env: Some(env) },
        };
        let options = Options { allow_dangerous: self.allow_dangerous, undeclared_is_absent: true };
        let outcome = get::get(&outer.context(owner), &scope, options).map_err(again_by_source)?;
        warn(outer, &outcome);
        warn_of_nothing(outer, &outcome, Some(env.as_str()));
        let mode = if self.lenient { Mode::Lenient } else { Mode::Strict };
        let sourced = match source::sort(outcome, mode) {
            Ok(sourced) => sourced,
            Err(refused) => {
                let hint = "use --lenient if partial results are acceptable";
                let look = outer.look_of_stderr();
                output::tell(&strict_failure(&refused.missing, hint, outer.invocation, look));
                return Ok(2);
            }
        };
        let lines = source::lines(&sourced.exports);
        if let (Some(first), Mode::Strict) = (lines.unfit.first(), mode) {
            // All or nothing: what cannot be exported is as bad as what is not granted.
            return Err(first.clone());
        }
        lines.unfit.iter().for_each(|unfit| outer.warn(unfit));
        output::print(lines.text.expose()).map(|()| 0)
    }
}

/// A read that is to be put otherwise is to be put to `source` again, not to `get`.
fn again_by_source(mut problem: Problem) -> Problem {
    if let Some(Fix::Command(words)) = &mut problem.fix
        && let Some(command) = words.first_mut().filter(|word| *word == "get")
    {
        "source".clone_into(command);
    }
    problem
}
