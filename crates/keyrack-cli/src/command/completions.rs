//! `keyrack completions`: completions for a shell.

use clap::Args;
use clap_complete::Shell;
use keyrack_core::{ErrorCode, Problem};

use crate::{args, output};

const EXAMPLES: &str = "\
Examples:
  keyrack completions bash > ~/.local/share/bash-completion/completions/keyrack
  keyrack completions zsh > ~/.zfunc/_keyrack
  keyrack completions fish > ~/.config/fish/completions/keyrack.fish";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL")]
    pub(crate) shell: String,
}

impl Flags {
    pub(crate) fn run(self) -> Result<u8, Problem> {
        let shell: Shell = self.shell.parse().map_err(|_| {
            Problem::new(ErrorCode::Usage, "there are completions for bash, elvish, fish, powershell and zsh")
        })?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut args::tree(), "keyrack", &mut text);
        output::print(&text).map(|()| 0)
    }
}
