//! `keyrack man`: prints or writes manual pages, made from the same texts as the help.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Error, ErrorCode, Fix};

use crate::help::notes;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack man get | man -l -
  keyrack man --dir ~/.local/share/man/man1    all pages, one file for each command";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// Command; default: the page of keyrack itself
    #[arg(value_name = "COMMAND", num_args = 0..=2)]
    pub(crate) command: Vec<String>,
    /// Directory to write every page to instead; created if missing
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) fn run(self, tree: clap::Command) -> Result<u8, Error> {
        let pages = pages(tree)?;
        if let Some(dir) = &self.dir {
            return write(dir, &pages).map(|()| 0);
        }
        let words = std::iter::once("keyrack").chain(self.command.iter().map(String::as_str));
        let name = words.collect::<Vec<_>>().join("-");
        let found = pages.iter().find(|page| page.name == name);
        let page = found.ok_or_else(|| {
            let error =
                Error::new(ErrorCode::Usage, "unknown manual page").fix(Fix::command(["man", "--help"]));
            let known = pages.iter().filter_map(|page| page.name.strip_prefix("keyrack-"));
            Error { hint: did_you_mean(&self.command.join("-"), known), ..error }
        })?;
        output::print(&page.text).map(|()| 0)
    }
}

struct Page {
    /// `keyrack`, `keyrack-get`, `keyrack-daemon-status`.
    name: String,
    text: Vec<u8>,
}

fn write(dir: &Path, pages: &[Page]) -> Result<(), Error> {
    let fault = |path: &Path, error: &std::io::Error| {
        Error::new(ErrorCode::Io, format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(dir).map_err(|error| fault(dir, &error))?;
    for page in pages {
        let path = dir.join(format!("{}.1", page.name));
        std::fs::write(&path, &page.text).map_err(|error| fault(&path, &error))?;
    }
    Ok(())
}

/// Returns every page: that of keyrack, and one for each command.
fn pages(tree: clap::Command) -> Result<Vec<Page>, Error> {
    let mut tree = tree.disable_help_subcommand(true);
    tree.build();
    let mut pages = Vec::new();
    collect(&tree, None, "", &mut pages)
        .map_err(|error| Error::new(ErrorCode::Internal, format!("cannot render a manual page: {error}")))?;
    Ok(pages)
}

fn collect(
    command: &clap::Command,
    over: Option<&clap::Command>,
    above: &str,
    pages: &mut Vec<Page>,
) -> std::io::Result<()> {
    let dash = if above.is_empty() { "" } else { "-" };
    let name = format!("{above}{dash}{}", command.get_name());
    let below: Vec<&clap::Command> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    pages
        .push(Page { text: page(command, &notes(command, over), &name, above, &below)?, name: name.clone() });
    below.into_iter().try_for_each(|below| collect(below, Some(command), &name, pages))
}

fn page(
    command: &clap::Command,
    after: &str,
    name: &str,
    above: &str,
    below: &[&clap::Command],
) -> std::io::Result<Vec<u8>> {
    // clap_mangen takes the name of the page from the command's display name.
    let named = command.clone().display_name(name.to_owned());
    let man = Man::new(named);
    let mut text = Vec::new();
    // By hand: clap_mangen leaves out an empty date.
    writeln!(
        text,
        ".TH {} 1 \"\" \"keyrack {}\" \"keyrack\"",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    )?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if !below.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut more = Roff::default();
    let (notes, examples) = after.split_once("Examples:\n").unwrap_or((after, ""));
    if !notes.trim().is_empty() {
        more.control("SH", ["NOTES"]);
        // A blank line begins a paragraph; indented lines are not filled.
        for line in notes.trim().lines() {
            match line.trim() {
                "" => more.control("PP", []),
                _ if line.starts_with("  ") => more.control("br", []).text([roman(line)]),
                line => more.text([roman(line)]),
            };
        }
    }
    if !examples.is_empty() {
        more.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            more.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        more.control("fi", []);
    }
    more.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in [
        ("0", "Success."),
        (
            "2",
            "You have to act: invalid arguments, a key that is locked, absent or blocked, an invalid file.",
        ),
        ("1", "An error: the daemon does not answer, an I/O error, a bug."),
        ("130", "Interrupted at a prompt."),
    ] {
        more.control("TP", []).text([bold(code)]).text([roman(meaning)]);
    }
    let others: Vec<String> = if name == "keyrack" {
        below.iter().map(|below| format!("{name}-{}", below.get_name())).collect()
    } else {
        std::iter::once(above.to_owned())
            .chain(below.iter().map(|below| format!("{name}-{}", below.get_name())))
            .collect()
    };
    more.control("SH", ["SEE ALSO"]);
    let last = others.len().saturating_sub(1);
    for (at, other) in others.iter().enumerate() {
        more.control("BR", [other.as_str(), if at == last { "(1)" } else { "(1)," }]);
    }
    more.to_writer(&mut text)?;
    Ok(text)
}
