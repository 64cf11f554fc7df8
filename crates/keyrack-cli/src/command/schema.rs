//! `keyrack schema`: the JSON schema of what a command answers.

use clap::Args;
use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Error, ErrorCode, Fix};

use crate::output;
use crate::schemas::{SCHEMAS, find};

const EXAMPLES: &str = "\
They are of draft 2020-12. Members may be added to any object.

Examples:
  keyrack schema get
  keyrack schema daemon status
  keyrack schema error               the last line on stderr of a command that failed
  keyrack schema                     all of them, by name";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    /// The command, or error or notice, the lines on stderr; all of them if not given
    #[arg(value_name = "COMMAND", num_args = 0..=2)]
    pub(crate) command: Vec<String>,
}

impl SchemaArgs {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let name = self.command.join("-");
        if name.is_empty() {
            let all: Vec<String> =
                SCHEMAS.iter().map(|(name, text)| format!("\"{name}\": {}", text.trim_end())).collect();
            return output::print(format!("{{\n{}\n}}\n", all.join(",\n")).as_bytes()).map(|()| 0);
        }
        let text = find(&name).ok_or_else(|| {
            let error = Error::new(ErrorCode::Usage, "there is no schema of that name")
                .fix(Fix::command(["schema", "--help"]));
            let known = SCHEMAS.iter().map(|(name, _)| *name);
            Error { hint: did_you_mean(&name, known), ..error }
        })?;
        output::print(text.as_bytes()).map(|()| 0)
    }
}
