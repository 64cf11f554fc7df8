//! The command reference, compared with the help of each command.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::fixture::Fixture;

static FLAG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"--[a-z][a-z-]*").unwrap());
/// A line of the help that describes a flag.
static OPTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^ +(?:-[a-zA-Z], )?(--[a-z][a-z-]*)").unwrap());

fn reference() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md")).unwrap()
}

/// Returns the lines from a heading to the next one of the same or a higher level.
fn section<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let level = heading.chars().take_while(|c| *c == '#').count();
    let next = |line: &&str| {
        let hashes = line.chars().take_while(|c| *c == '#').count();
        hashes == 0 || hashes > level
    };
    document.lines().skip_while(|line| *line != heading).skip(1).take_while(next).collect()
}

fn flags(text: &str) -> BTreeSet<String> {
    FLAG.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// Returns the rows of all tables, each as its flags in the first column and the whole row.
fn table_rows<'a>(section: &[&'a str]) -> Vec<(BTreeSet<String>, &'a str)> {
    let rows = section.iter().filter_map(|line| Some((line.strip_prefix("| ")?, *line)));
    rows.map(|(cells, row)| (flags(cells.split(" | ").next().unwrap_or_default()), row))
        .filter(|(flags, _)| !flags.is_empty())
        .collect()
}

/// Returns the words of every command that has a manual page.
fn commands(fixture: &Fixture) -> Vec<Vec<String>> {
    assert_eq!(fixture.run("keyrack man --dir $HOME/man", b"").0, 0);
    let pages = fs::read_dir(fixture.home.home().join("man")).unwrap();
    let mut commands: Vec<Vec<String>> = pages
        .filter_map(|page| {
            let name = page.unwrap().file_name().into_string().unwrap();
            let words = name.strip_prefix("keyrack-")?.strip_suffix(".1")?;
            Some(words.split('-').map(str::to_owned).collect())
        })
        .collect();
    commands.sort_unstable();
    commands
}

fn help_flags(fixture: &Fixture, words: &[String]) -> BTreeSet<String> {
    let (exit, stdout, _) = fixture.run(&format!("keyrack {} --help", words.join(" ")), b"");
    assert_eq!(exit, 0, "{words:?}");
    stdout.iter().filter_map(|line| Some(OPTION.captures(line)?[1].to_owned())).collect()
}

#[test]
fn command_reference_names_the_flags_of_each_help() {
    let fixture = Fixture::new();
    let reference = reference();
    let common = table_rows(&section(&reference, "### Flags of every command"));
    assert!(common.len() >= 3, "{common:?}");
    let commands = commands(&fixture);
    assert!(commands.len() > 20, "{commands:?}");
    let mut differences = Vec::new();
    for name in commands.iter().map(|words| &words[0]).collect::<BTreeSet<_>>() {
        let section = section(&reference, &format!("## {name}"));
        let named = flags(&section.join("\n"));
        let mut known = BTreeSet::new();
        for words in commands.iter().filter(|words| words[0] == *name) {
            let help = help_flags(&fixture, words);
            let is_group = commands.iter().any(|other| other.len() > words.len() && other.starts_with(words));
            for flag in &help {
                if !named.contains(flag) && !common.iter().any(|(flags, _)| flags.contains(flag)) {
                    differences.push(format!("{flag} of `{}` is not in its section", words.join(" ")));
                }
            }
            // The last sentence of a row names the commands that do not have its flags.
            for (flags, row) in common.iter().filter(|_| !is_group) {
                let excepted = row.rsplit(". ").next().unwrap_or_default().contains(&format!("`{name}`"));
                if flags.iter().any(|flag| help.contains(flag)) == excepted {
                    differences.push(format!("`{}` does not match the row: {row}", words.join(" ")));
                }
            }
            known.extend(help);
        }
        for (flags, row) in table_rows(&section) {
            for flag in flags.difference(&known) {
                differences.push(format!("`{name}` has no {flag}: {row}"));
            }
        }
    }
    assert!(differences.is_empty(), "docs/commands.md:\n{}", differences.join("\n"));
}
