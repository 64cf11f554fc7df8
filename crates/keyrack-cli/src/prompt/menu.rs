//! Questions and menus, as the terminal shows them.

use keyrack_client::render::tree::{paragraph, paragraph_with_role};
use keyrack_client::render::{Role, Style};
use keyrack_core::display::clean;

/// Formats a question, with a blank after it.
pub(crate) fn question(text: &str, style: Style) -> String {
    let mut shown = String::new();
    // Leaves room for the beginning of an answer on the same line.
    let style = Style { width: style.width.map(|width| width.saturating_sub(3)), ..style };
    paragraph(&mut shown, ["", ""], &clean(text), style);
    // The blank is painted too, so that the question is one text on the terminal.
    let lines: Vec<String> = shown.trim_end_matches('\n').lines().map(str::to_owned).collect();
    let last = lines.len().saturating_sub(1);
    let painted = lines.iter().enumerate().map(|(at, line)| {
        let blank = if at == last { " " } else { "\n" };
        style.paint(Role::Title, &format!("{line}{blank}"))
    });
    painted.collect()
}

/// Formats a question with numbered options below it.
pub(crate) fn menu(text: &str, options: &[String], style: Style) -> String {
    let mut shown = String::new();
    paragraph_with_role(&mut shown, ["", ""], &clean(text), Role::Title, style);
    let (fork, last, pass) =
        if style.unicode { ("   ├─ ", "   └─ ", "   │  ") } else { ("   |- ", "   `- ", "   |  ") };
    for (at, option) in options.iter().enumerate() {
        let lead = if at + 1 == options.len() { [last, "      "] } else { [fork, pass] };
        paragraph(&mut shown, lead, &clean(&format!("{}. {option}", at + 1)), style);
    }
    shown
}

/// Returns the index of the chosen option: by number or first word, or the usual one if the answer
/// is empty.
pub(crate) fn parse_choice(answer: &str, options: &[String], usual: Option<usize>) -> Option<usize> {
    let answer = answer.trim();
    if answer.is_empty() {
        return usual;
    }
    let numbered = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    numbered
        .filter(|at| *at < options.len())
        .or_else(|| options.iter().position(|option| option_word(option).eq_ignore_ascii_case(answer)))
}

/// Returns the first part of an option, without its explanation.
fn option_word(option: &str) -> &str {
    let end = [" — ", ", "].iter().filter_map(|sign| option.find(sign)).min();
    &option[..end.unwrap_or(option.len())]
}

/// Formats the error for an invalid choice.
pub(crate) fn choice_error(options: &[String]) -> String {
    let words: Vec<&str> = options.iter().map(|option| option_word(option)).collect();
    format!("invalid choice: enter a number from 1 to {}, or one of {}", options.len(), words.join(", "))
}

/// Formats a sentence above a repeated question.
pub(crate) fn note(text: &str, style: Style) -> String {
    let mut shown = String::new();
    paragraph(&mut shown, ["", ""], &clean(text), style);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_choice_accepts_number_or_option_word() {
        let options = ["os.secure — an encrypted file", "test", "~/.ssh/my work, with a passphrase"];
        let options = options.map(str::to_owned);
        for (answer, usual, chosen) in [
            ("1\n", None, Some(0)),
            (" 3 ", None, Some(2)),
            ("os.secure\n", None, Some(0)),
            ("TEST", Some(0), Some(1)),
            ("~/.ssh/my work", None, Some(2)),
            ("\n", Some(1), Some(1)),
            ("\n", None, None),
            ("0", Some(1), None),
            ("4", Some(1), None),
            ("os", Some(1), None),
            ("os.secure — an encrypted file", Some(1), None),
            ("-1", None, None),
        ] {
            assert_eq!(parse_choice(answer, &options, usual), chosen, "{answer:?}");
        }
        assert_eq!(
            choice_error(&options),
            "invalid choice: enter a number from 1 to 3, or one of os.secure, test, ~/.ssh/my work"
        );
    }
}
