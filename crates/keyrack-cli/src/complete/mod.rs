//! Shell completion: `keyrack complete words -- WORD…`, or `keyrack complete line LINE PART` from
//! bash, which splits words in its own way.
//!
//! Completion is fast, never prompts, starts no daemon, opens no vault and prints no errors. It
//! offers only words without special characters, so that nothing in a `keyrack.yml` or a daemon can
//! mean something to the shell.

mod command_line;
mod offer;
mod values;

use std::fmt::Write as _;

use keyrack_core::display::clean;

use command_line::{CommandLine, Wanted};
use offer::Offer;
use values::Values;

use crate::app::App;
use crate::args;

/// Answer that makes the shell complete file names.
const FILES: &str = ":files";

/// Answers a shell: a line for each offer, with its word, a tab and its description; or [`FILES`].
pub(crate) fn answer(words: &[String], app: &App) -> String {
    match words {
        [form, dashes, words @ ..] if form == "words" && dashes == "--" => lines(&offers(words, app), 0),
        [form, line, part] if form == "line" => {
            let words = split(line);
            let word = words.last().map_or("", String::as_str);
            // bash replaces the part after its last word break, so the offer is only that part.
            let part = if part.chars().all(|c| "\"'@><=;|&(:".contains(c)) { "" } else { part };
            let kept = if word.ends_with(part) { word.len() - part.len() } else { 0 };
            lines(&offers(&words, app), kept)
        }
        _ => String::new(),
    }
}

/// Returns the offers, or `None` if the shell should complete file names.
fn offers(words: &[String], app: &App) -> Option<Vec<Offer>> {
    let mut tree = args::tree();
    tree.build();
    let line = CommandLine::read(&tree, words)?;
    let values = Values { app, line: &line };
    let offers = match &line.wanted {
        Wanted::Value { arg, prefix } => values
            .of(arg)?
            .into_iter()
            .map(|offer| Offer { word: format!("{prefix}{}", offer.word), ..offer })
            .collect(),
        Wanted::Flag => line.flags(),
        Wanted::Word { arg } => {
            let mut offers = line.commands();
            match arg {
                Some(arg) => offers.extend(values.of(arg)?),
                // A command that only takes flags.
                None if offers.is_empty() => offers = line.flags(),
                None => {}
            }
            offers
        }
        Wanted::Other => return None,
    };
    Some(
        offers
            .into_iter()
            .filter(|offer| offer.word.starts_with(line.current) && is_plain(&offer.word))
            .collect(),
    )
}

fn lines(offers: &Option<Vec<Offer>>, kept: usize) -> String {
    let Some(offers) = offers else { return format!("{FILES}\n") };
    let mut text = String::new();
    for Offer { word, about } in offers {
        let about = clean(about);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{about}", word.get(kept..).unwrap_or_default());
    }
    text
}

/// Returns `true` if the word has no special meaning in any shell.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.=@,+".contains(&b)) && word.len() <= 256
}

/// Splits a line into words, with quotes and backslashes as in sh. The last word, which may be
/// empty, is the one being typed. An open quote extends to the end of the line.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.push(word.unwrap_or_default());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_follows_sh_quoting() {
        for (line, words) in [
            ("keyrack ", &["keyrack", ""][..]),
            ("keyrack g", &["keyrack", "g"]),
            ("keyrack  --env=te", &["keyrack", "--env=te"]),
            ("a 'b c' \"d\\\" e\" f\\ g", &["a", "b c", "d\" e", "f g"]),
            ("a 'b", &["a", "b"]),
            ("a ''", &["a", ""]),
            ("", &[""]),
            ("a \\", &["a", ""]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }

    #[test]
    fn words_with_special_characters_are_not_plain() {
        for word in [
            "$(id)",
            "`id`",
            "a b",
            "a;b",
            "a'b",
            "a\"b",
            "a\\b",
            "a\tb",
            "a\nb",
            "a\u{1b}[2J",
            "~root",
            "a*",
            "a|b",
            "ä",
            "a&b",
            "!x",
            "{a,b}",
        ] {
            assert!(!is_plain(word), "{word:?}");
        }
        for word in ["API_KEY", "acme.test.API_KEY", "@all.sudo.ROOT", "--env=test", "os.secure", "30m"] {
            assert!(is_plain(word), "{word}");
        }
    }
}
