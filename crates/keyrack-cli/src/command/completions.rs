//! `keyrack completions`: prints a script with which a shell completes commands, flags and names.

use clap::Args;
use clap_complete::Shell;
use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Error, ErrorCode};

use crate::output;

const EXAMPLES: &str = "\
In bash, zsh and fish, Tab calls keyrack, so the names of your keys and owners are completed too. Completion reads keyrack.yml and the \
running daemon; it opens no vault and never prompts.

Examples:
  mkdir -p ~/.local/share/bash-completion/completions
  keyrack completions bash > ~/.local/share/bash-completion/completions/keyrack
  keyrack completions zsh > ~/.zfunc/_keyrack
  keyrack completions fish > ~/.config/fish/completions/keyrack.fish";

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// Shell: bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL")]
    pub(crate) shell: String,
}

impl CompletionsArgs {
    pub(crate) fn run(self, mut tree: clap::Command) -> Result<u8, Error> {
        match self.shell.as_str() {
            "bash" => return output::print(include_bytes!("../shells/keyrack.bash")).map(|()| 0),
            "zsh" => return output::print(include_bytes!("../shells/keyrack.zsh")).map(|()| 0),
            "fish" => return output::print(include_bytes!("../shells/keyrack.fish")).map(|()| 0),
            _ => {}
        }
        let shell: Shell = self.shell.parse().map_err(|_| {
            let message = "unknown shell: expected bash, elvish, fish, powershell or zsh";
            let error = Error::new(ErrorCode::Usage, message);
            Error { hint: did_you_mean(&self.shell, SHELLS), ..error }
        })?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut tree, "keyrack", &mut text);
        output::print(&text).map(|()| 0)
    }
}
