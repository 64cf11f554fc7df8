//! Prompts of `init` for what no flag gives. Enter accepts the suggestion.

use keyrack_client::render::Style;
use keyrack_core::{Error, ErrorCode, Owner};
use keyrack_ops::init::suggest::{InitSuggestions, UsableKey, suggest};
use keyrack_ops::init::{InitRequest, check_org};

use crate::app::App;
use crate::prompt::{choice_error, menu, note, parse_choice, question, read_shown};

/// Maximum number of attempts to answer a question.
const ATTEMPTS: usize = 5;

/// Asks for the key and the org that the flags leave open.
pub(crate) fn ask_missing_args(app: &App, owner: &Owner, request: &mut InitRequest) -> Result<(), Error> {
    let start = app.operate(owner.clone(), &[], suggest)?;
    let style = app.style();
    if request.key.is_none() && !start.has_rack && start.keys.len() > 1 {
        request.key = Some(key(app, &start, style)?);
    }
    if request.org.is_none() && request.at.is_none() && start.git_root.is_some() && !start.has_manifest {
        let question_text = "Create .agent/keyrack.yml, which declares the keys of this repository?";
        if yes(question_text, style)? {
            request.org = Some(org(&start, style)?);
        }
    }
    Ok(())
}

fn key(app: &App, start: &InitSuggestions, style: Style) -> Result<std::path::PathBuf, Error> {
    let option = |key: &UsableKey| {
        let sealed = if key.has_passphrase { ", with a passphrase" } else { "" };
        format!("{}{sealed}", app.display_path(&key.path, None))
    };
    let options: Vec<String> = start.keys.iter().map(option).collect();
    let list = menu("Which SSH key should open your rack?", &options, style);
    let at = ask_until_valid(list, &question("Choice [1]:", style), style, |answer| {
        parse_choice(answer, &options, Some(0)).ok_or_else(|| choice_error(&options))
    })?;
    Ok(start.keys[at].path.clone())
}

fn org(start: &InitSuggestions, style: Style) -> Result<String, Error> {
    let prompt = match &start.org {
        Some(org) => question(&format!("Org [{org}]:"), style),
        None => question("Org, such as acme:", style),
    };
    ask_until_valid(String::new(), &prompt, style, |answer| match (answer, &start.org) {
        ("", Some(org)) => Ok(org.clone()),
        ("", None) => {
            Err("enter an org: the first part of each key's slug, such as acme in acme.test.API_KEY"
                .to_owned())
        }
        (answer, _) => check_org(answer).map(str::to_owned).map_err(|error| match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        }),
    })
}

fn yes(text: &str, style: Style) -> Result<bool, Error> {
    let prompt = question(&format!("{text} [Y/n]"), style);
    ask_until_valid(String::new(), &prompt, style, |answer| match answer.to_lowercase().as_str() {
        "" | "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("enter y or n; Enter means y".to_owned()),
    })
}

/// Asks until an answer is valid. `above` is shown before the first attempt, the error of the last
/// attempt before the others.
fn ask_until_valid<T>(
    mut above: String,
    prompt: &str,
    style: Style,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Error> {
    for _ in 0..ATTEMPTS {
        match read(read_shown(&format!("{above}{prompt}"))?.trim()) {
            Ok(answer) => return Ok(answer),
            Err(reason) => above = note(&reason, style),
        }
    }
    Err(Error::new(ErrorCode::Usage, format!("no valid answer after {ATTEMPTS} attempts"))
        .hint("pass `--prikey` and `--org`, or `--no-prompt` to skip the questions"))
}
