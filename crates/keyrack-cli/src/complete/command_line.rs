//! Parser of an incomplete command line: its command, its flags, and what the word being typed can
//! be.

use clap::{Arg, ArgAction, Command};

use super::offer::Offer;

/// Kind of the word being typed.
#[derive(Clone, Debug)]
pub(super) enum Wanted<'t> {
    /// Value of a flag, after a prefix in the same word, such as `--env=`.
    Value {
        arg: &'t Arg,
        prefix: String,
    },
    Flag,
    /// Subcommand or positional argument.
    Word {
        arg: Option<&'t Arg>,
    },
    /// Argument of another program, after `--`.
    Other,
}

/// Command line up to the word being typed.
#[derive(Clone, Debug)]
pub(super) struct CommandLine<'t, 'w> {
    root: &'t Command,
    command: &'t Command,
    /// Flags given so far, by id, with their values.
    given: Vec<(&'t str, Option<&'w str>)>,
    pub(super) wanted: Wanted<'t>,
    /// Word being typed.
    pub(super) current: &'w str,
}

impl<'t, 'w> CommandLine<'t, 'w> {
    /// Parses the words of a line, from the program's name to the word being typed. Returns `None`
    /// without a program.
    pub(super) fn read(root: &'t Command, words: &'w [String]) -> Option<Self> {
        let [_, done @ .., current] = words else { return None };
        let mut line = CommandLine { root, command: root, given: Vec::new(), wanted: Wanted::Other, current };
        let mut open: Option<&'t Arg> = None;
        let mut taken = 0;
        for word in done {
            if word == "--" {
                return Some(line);
            }
            if let Some(name) = word.strip_prefix("--") {
                let (name, value) =
                    name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
                let arg = line.long(name);
                line.given.extend(arg.map(|arg| (arg.get_id().as_str(), value)));
                open = arg.filter(|arg| value.is_none() && takes_value(arg));
            } else if let Some(arg) = open {
                if let Some((_, value)) = line.given.last_mut() {
                    *value = Some(word);
                }
                // Some flags take several words.
                open = Some(arg).filter(|arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1));
            } else if word.starts_with('-') {
            } else if let Some(below) = line.command.find_subcommand(word) {
                line.command = below;
            } else {
                taken += 1;
            }
        }
        let many = open.filter(|arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1));
        line.wanted = match open {
            Some(_) if many.is_some() && current.starts_with('-') => Wanted::Flag,
            Some(arg) => Wanted::Value { arg, prefix: String::new() },
            None => match current.strip_prefix("--").and_then(|rest| rest.split_once('=')) {
                Some((name, _)) => line
                    .long(name)
                    .map_or(Wanted::Other, |arg| Wanted::Value { arg, prefix: format!("--{name}=") }),
                None if current.starts_with('-') => Wanted::Flag,
                None => Wanted::Word { arg: line.positional(taken) },
            },
        };
        Some(line)
    }

    /// Returns the name of the innermost command.
    pub(super) fn command(&self) -> &'t str {
        self.command.get_name()
    }

    /// Returns the last value given to a flag.
    pub(super) fn value(&self, id: &str) -> Option<&'w str> {
        self.given.iter().rev().find(|(given, _)| *given == id).and_then(|(_, value)| *value)
    }

    /// Returns the subcommands.
    pub(super) fn commands(&self) -> Vec<Offer> {
        let shown = self.command.get_subcommands().filter(|command| !command.is_hide_set());
        shown.map(|command| Offer::new(command.get_name(), about(command.get_about()))).collect()
    }

    /// Returns the flags that can still be given.
    pub(super) fn flags(&self) -> Vec<Offer> {
        let mut offers = Vec::new();
        for arg in self.args().filter(|arg| !arg.is_hide_set()) {
            let again = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
            if !again && self.given.iter().any(|(id, _)| *id == arg.get_id().as_str()) {
                continue;
            }
            if let Some(long) = arg.get_long() {
                offers.push(Offer::new(format!("--{long}"), about(arg.get_help())));
            }
        }
        offers
    }

    /// Returns the arguments of the command and the global ones of the program.
    fn args(&self) -> impl Iterator<Item = &'t Arg> {
        let own: Vec<&'t Arg> = self.command.get_arguments().collect();
        let names: Vec<&str> = own.iter().filter_map(|arg| arg.get_long()).collect();
        let root = self.root.get_arguments().filter(move |arg| {
            arg.is_global_set() && arg.get_long().is_some_and(|long| !names.contains(&long))
        });
        own.into_iter().chain(root)
    }

    fn long(&self, name: &str) -> Option<&'t Arg> {
        self.args().find(|arg| arg.get_long() == Some(name))
    }

    /// Returns the positional argument after `taken` others.
    fn positional(&self, taken: usize) -> Option<&'t Arg> {
        let mut left = taken;
        for arg in self.command.get_positionals() {
            let room = arg.get_num_args().map_or(1, |count| count.max_values());
            if left < room {
                return Some(arg);
            }
            left -= room;
        }
        None
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tree;

    fn wanted(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut tree = tree();
        tree.build();
        let line = CommandLine::read(&tree, &words).unwrap();
        let command = line.command();
        match line.wanted {
            Wanted::Value { arg, prefix } => format!("{command} {prefix}{}", arg.get_id()),
            Wanted::Flag => format!("{command} flag"),
            Wanted::Word { arg } => format!("{command} word {}", arg.map_or("", |arg| arg.get_id().as_str())),
            Wanted::Other => format!("{command} other"),
        }
    }

    #[test]
    fn parser_recognizes_word_being_typed() {
        for (line, what) in [
            ("keyrack ", "keyrack word "),
            ("keyrack ge", "keyrack word "),
            ("keyrack --owner ", "keyrack owner"),
            ("keyrack --owner get get --k", "get flag"),
            ("keyrack get --env ", "get env"),
            ("keyrack get --env=te", "get --env=env"),
            ("keyrack get --env test --key A", "get key"),
            ("keyrack get --env=test ", "get word "),
            ("keyrack get --value --", "get flag"),
            ("keyrack get --value -", "get flag"),
            ("keyrack daemon ", "daemon word "),
            ("keyrack daemon status --o", "status flag"),
            ("keyrack completions ", "completions word shell"),
            ("keyrack completions bash ", "completions word "),
            ("keyrack schema daemon ", "schema word command"),
            ("keyrack run --env test -- ", "run other"),
            ("keyrack run --env test -- ls --", "run other"),
            ("keyrack fill --owner a ", "fill owner"),
            ("keyrack fill --owner a --", "fill flag"),
            ("keyrack nope --what=", "keyrack other"),
        ] {
            assert_eq!(wanted(line), what, "{line}");
        }
    }
}
