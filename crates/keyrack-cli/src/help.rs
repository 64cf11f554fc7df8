//! Help texts: clap's description of a command, commands in groups on the first page, and examples,
//! which are never wrapped, since people paste them.

use keyrack_client::render::text::wrap;
use keyrack_client::render::{Role, Style};
use unicode_width::UnicodeWidthStr as _;

/// Maximum width of the help, in columns.
const MAX_WIDTH: usize = 100;

/// Groups of commands, the first for newcomers. Commands without a group are listed in the last.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Get started", &["init", "set", "unlock", "get", "run"]),
    ("Everyday use", &["status", "source", "relock", "list", "del", "fill", "doctor"]),
    ("Integrations", &["credential", "types", "firewall", "schema"]),
    ("Administration", &["recipient", "daemon", "infra", "completions", "man"]),
];

/// Renders the help that clap was about to show, in a style.
pub(crate) fn show(mut tree: clap::Command, error: &clap::Error, style: Style) -> String {
    tree.build();
    let shown = error.render().to_string();
    let (command, above) = command_of(&tree, &shown);
    render(command, above, style)
}

/// Finds the command of a help text of clap by its usage line. Returns it and its parent.
fn command_of<'a>(tree: &'a clap::Command, shown: &str) -> (&'a clap::Command, Option<&'a clap::Command>) {
    let usage = shown.lines().find_map(|line| line.strip_prefix("Usage: keyrack ")).unwrap_or_default();
    let (mut command, mut above) = (tree, None);
    for word in usage.split(' ') {
        match command.find_subcommand(word) {
            Some(below) => (command, above) = (below, Some(command)),
            None => break,
        }
    }
    (command, above)
}

/// Returns the text below the flags of a command: its own notes and examples, or else the examples
/// of its parent that call it.
pub(crate) fn notes(command: &clap::Command, above: Option<&clap::Command>) -> String {
    let text = |command: &clap::Command| command.get_after_help().map(ToString::to_string);
    if let Some(own) = text(command) {
        return own;
    }
    let start = format!("  {} ", command.get_bin_name().unwrap_or_default());
    let theirs = above.and_then(text).unwrap_or_default();
    let own: Vec<&str> = theirs.lines().filter(|line| format!("{line} ").starts_with(&start)).collect();
    if own.is_empty() { String::new() } else { format!("Examples:\n{}", own.join("\n")) }
}

/// Renders the help of a command of a built tree.
fn render(command: &clap::Command, above: Option<&clap::Command>, style: Style) -> String {
    let width = style.width.unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
    let after = notes(command, above);
    let is_root = command.get_name() == "keyrack";
    let template = if is_root {
        "{about}\n\n{usage-heading} {usage}\n\n\u{0}Options:\n{options}"
    } else {
        "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}"
    };
    let text =
        command.clone().after_help("").help_template(template).term_width(width).render_help().to_string();
    let text = text.replacen('\u{0}', &groups(command, width), 1);
    let mut help = String::new();
    for line in text.trim_end().lines() {
        let mut lead = "";
        // clap does not wrap the usage line.
        let is_usage = line.starts_with("Usage: ");
        for line in if is_usage { wrap(line, width, width.saturating_sub(7)) } else { vec![line.trim_end()] }
        {
            help.extend([lead, &painted(line, style), "\n"]);
            lead = "       ";
        }
    }
    if !after.is_empty() {
        help.push('\n');
        for line in after.lines() {
            examples(&mut help, line, width, style);
        }
    }
    help
}

/// Lists the commands by group.
fn groups(root: &clap::Command, width: usize) -> String {
    let all: Vec<&clap::Command> = root
        .get_subcommands()
        .filter(|command| command.get_name() != "help" && !command.is_hide_set())
        .collect();
    let find = |name: &str| all.iter().copied().find(|command| command.get_name() == name);
    let indent = 2 + all.iter().map(|command| command.get_name().len()).max().unwrap_or(0) + 2;
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut text = String::new();
    for (at, (heading, names)) in GROUPS.iter().enumerate() {
        let is_last = at + 1 == GROUPS.len();
        let others = all.iter().copied().filter(|command| is_last && !grouped.contains(&command.get_name()));
        let commands: Vec<&clap::Command> =
            names.iter().filter_map(|name| find(name)).chain(others).collect();
        text.extend([*heading, ":\n"]);
        for command in commands {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let mut lead = format!("  {:<1$}", command.get_name(), indent - 2);
            for line in wrap(&about, width.saturating_sub(indent), width.saturating_sub(indent)) {
                text.extend([&lead, line, "\n"]);
                lead = " ".repeat(indent);
            }
        }
        text.push('\n');
    }
    text
}

/// Highlights headings and the names of commands and flags in a line of clap.
fn painted(line: &str, style: Style) -> String {
    if let Some(usage) = line.strip_prefix("Usage: ") {
        return format!("{} {usage}", style.paint(Role::Title, "Usage:"));
    }
    if !line.starts_with(' ') && line.ends_with(':') {
        return style.paint(Role::Title, line);
    }
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    // A name is indented by two, or by six without a short flag. Two blanks follow it.
    let is_named = indent.len() == 2 || (indent.len() == 6 && text.starts_with("--"));
    match text.split_once("  ") {
        Some((name, rest)) if is_named => format!("{indent}{}  {rest}", style.paint(Role::Key, name)),
        None if is_named && text.starts_with('-') => format!("{indent}{}", style.paint(Role::Key, text)),
        _ => line.to_owned(),
    }
}

/// Adds a line of the notes and examples: sentences are wrapped, commands are not, and remarks on a
/// command are dimmed.
fn examples(help: &mut String, line: &str, width: usize, style: Style) {
    match line.strip_prefix("  ") {
        Some(command) => {
            let (command, remark) = command.split_at(command.find("   ").unwrap_or(command.len()));
            if remark.is_empty() || line.width() <= width {
                help.extend(["  ", command, &style.paint(Role::Quiet, remark), "\n"]);
                return;
            }
            help.extend(["  ", command, "\n"]);
            for line in wrap(remark.trim_start(), width.saturating_sub(6), width.saturating_sub(6)) {
                help.extend(["      ", &style.paint(Role::Quiet, line), "\n"]);
            }
        }
        None if line.ends_with(':') && line.split(' ').count() < 4 => {
            help.extend([&style.paint(Role::Title, line), "\n"]);
        }
        None => wrap(line, width, width).into_iter().for_each(|line| help.extend([line, "\n"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tree;

    type Visit<'v> = &'v mut dyn FnMut(&clap::Command, Option<&clap::Command>);

    fn every(command: &clap::Command, above: Option<&clap::Command>, visit: Visit<'_>) {
        visit(command, above);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            every(below, Some(command), visit);
        }
    }

    #[test]
    fn root_help_lists_each_command_once() {
        let names: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut tree = tree();
        tree.build();
        let text = render(&tree, None, Style { width: Some(80), ..Style::PLAIN });
        for command in
            tree.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
        {
            let name = command.get_name();
            assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name} has a group");
            assert_eq!(
                text.lines().filter(|line| line.starts_with(&format!("  {name} "))).count(),
                1,
                "{text}"
            );
        }
    }

    /// A line break within a paragraph would be shown as one at every width.
    #[test]
    fn paragraph_of_notes_is_one_line() {
        let mut tree = tree();
        tree.build();
        every(&tree, None, &mut |command, above| {
            let text = notes(command, above);
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with("  ");
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.windows(2) {
                assert!(!(is_prose(pair[0]) && is_prose(pair[1])), "{:?}: {pair:?}", command.get_bin_name());
            }
        });
    }

    #[test]
    fn help_fits_width_and_examples_are_never_wrapped() {
        let mut tree = tree();
        tree.build();
        for width in [40, 80, 200] {
            let style = Style { width: Some(width), ..Style::PLAIN };
            every(&tree, None, &mut |command, above| {
                let text = render(command, above, style);
                let after = notes(command, above);
                assert!(after.contains("Examples:\n"), "{:?} shows an example", command.get_bin_name());
                for line in after.lines().filter(|line| line.starts_with("  ")) {
                    let command = line[2..].split("   ").next().unwrap();
                    let is_whole = |shown: &str| {
                        shown.strip_prefix("  ").is_some_and(|shown| shown == &line[2..] || shown == command)
                    };
                    assert!(text.lines().any(is_whole), "{line:?} is whole in\n{text}");
                }
                for line in text.lines().filter(|line| !after.contains(*line)) {
                    assert!(
                        line.chars().count() <= width.min(MAX_WIDTH) || !line.trim_start().contains(' '),
                        "{width}: {line:?} in\n{text}"
                    );
                }
                assert!(!text.contains('\u{0}') && !text.contains('\u{1b}'));
                let color = render(command, above, Style { color: true, ..style });
                assert_eq!(strip(&color), text);
            });
        }
    }

    fn strip(text: &str) -> String {
        let mut pieces = text.split('\u{1b}');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest))
    }

    #[test]
    fn help_is_of_requested_command() {
        let style = Style { width: Some(80), ..Style::PLAIN };
        for (line, about) in [
            ("keyrack --help", "Unlock your keys once"),
            ("keyrack get --help", "Read unlocked keys"),
            ("keyrack get -h", "Read unlocked keys"),
            ("keyrack help get", "Read unlocked keys"),
            ("keyrack --owner get unlock --help", "Unlock keys"),
            ("keyrack recipient set --help", "Add"),
            ("keyrack daemon --help", "Start, stop"),
        ] {
            let error = tree().try_get_matches_from(line.split(' ')).unwrap_err();
            let text = show(tree(), &error, style);
            assert!(text.starts_with(about), "{line}:\n{text}");
        }
    }
}
