//! `keyrack schema`: prints the JSON schema of a command's output.

use clap::Args;
use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Error, ErrorCode, Fix};

use crate::output;
use crate::schemas::{SCHEMAS, find};

const EXAMPLES: &str = "\
Schemas follow JSON Schema draft 2020-12. Later versions may add members to any object.

Examples:
  keyrack schema get
  keyrack schema daemon status
  keyrack schema error               last line on stderr of a command that failed
  keyrack schema                     all schemas, by name";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    /// Command, or error or notice for the lines on stderr; default: all schemas
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
            let error =
                Error::new(ErrorCode::Usage, "unknown schema").fix(Fix::command(["schema", "--help"]));
            let known = SCHEMAS.iter().map(|(name, _)| *name);
            Error { hint: did_you_mean(&name, known), ..error }
        })?;
        output::print(text.as_bytes()).map(|()| 0)
    }
}
