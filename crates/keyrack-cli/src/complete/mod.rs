//! What a shell asks when Tab is pressed: `keyrack complete words -- WORD…`, or `keyrack complete line LINE PART` from bash, which cuts words its own way.
//!
//! It is fast, asks nobody, starts no daemon, opens no vault, and says nothing when something is wrong. Only words of a plain alphabet are offered,
//! so that whatever a `keyrack.yml` or a daemon holds, nothing of it means anything to a shell.

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

/// What the shell is to complete files by itself for.
const FILES: &str = ":files";

/// Answers a shell: a line for each offer, its word and, behind a tab, what it is; or [`FILES`].
pub(crate) fn answer(words: &[String], app: &App) -> String {
    match words {
        [form, dashes, words @ ..] if form == "words" && dashes == "--" => lines(&offers(words, app), 0),
        [form, line, part] if form == "line" => {
            let words = split(line);
            let word = words.last().map_or("", String::as_str);
            // bash replaces the part behind its last break, and so is offered only what comes there.
            let part = if part.chars().all(|c| "\"'@><=;|&(:".contains(c)) { "" } else { part };
            let kept = if word.ends_with(part) { word.len() - part.len() } else { 0 };
            lines(&offers(&words, app), kept)
        }
        _ => String::new(),
    }
}

/// `None` where the shell is to complete files.
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
                // A command that only takes flags has nothing else to offer.
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

/// Whether a word means itself in every shell.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.=@,+".contains(&b)) && word.len() <= 256
}

/// The words of a line up to its end, the last of which, maybe empty, is the one being typed. Quotes and backslashes as in sh, what is not closed
/// reaching to the end.
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
    fn lines_are_split_as_a_shell_would() {
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
    fn what_could_mean_something_to_a_shell_is_not_offered() {
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
