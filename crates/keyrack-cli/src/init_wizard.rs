//! A guided `init`: what was not said by a flag is asked for at the terminal, and Enter takes what is proposed.

use keyrack_client::render::Style;
use keyrack_core::{Error, ErrorCode, Owner};
use keyrack_ops::init::suggest::{InitSuggestions, UsableKey, suggest};
use keyrack_ops::init::{InitRequest, check_org};

use crate::app::App;
use crate::prompt::{choice_error, menu, note, parse_choice, question, read_shown};

/// How often a question is put again.
const TRIES: usize = 5;

/// Asks for what is not said yet.
pub(crate) fn ask_missing_args(app: &App, owner: &Owner, request: &mut InitRequest) -> Result<(), Error> {
    let start = app.operate(owner.clone(), &[], suggest)?;
    let style = app.style();
    if request.key.is_none() && !start.has_rack && start.keys.len() > 1 {
        request.key = Some(key(app, &start, style)?);
    }
    if request.org.is_none() && request.at.is_none() && start.git_root.is_some() && !start.has_manifest {
        let make = "Make .agent/keyrack.yml, which names the keys this repository needs?";
        if yes(make, style)? {
            request.org = Some(org(&start, style)?);
        }
    }
    Ok(())
}

fn key(app: &App, start: &InitSuggestions, style: Style) -> Result<std::path::PathBuf, Error> {
    let option = |key: &UsableKey| {
        let sealed = if key.has_passphrase { ", behind a passphrase" } else { "" };
        format!("{}{sealed}", app.shown(&key.path, None))
    };
    let options: Vec<String> = start.keys.iter().map(option).collect();
    let list = menu("Which ssh key is to open your rack?", &options, style);
    let at = answered(list, &question("choice [1]:", style), style, |answer| {
        parse_choice(answer, &options, Some(0)).ok_or_else(|| choice_error(&options))
    })?;
    Ok(start.keys[at].path.clone())
}

fn org(start: &InitSuggestions, style: Style) -> Result<String, Error> {
    let prompt = match &start.org {
        Some(org) => question(&format!("Its org [{org}]:"), style),
        None => question("Its org, such as acme:", style),
    };
    answered(String::new(), &prompt, style, |answer| match (answer, &start.org) {
        ("", Some(org)) => Ok(org.clone()),
        ("", None) => {
            Err("an org is needed: the first part of each key's name, such as acme in acme.test.API_KEY"
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
    answered(String::new(), &prompt, style, |answer| match answer.to_lowercase().as_str() {
        "" | "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("neither y nor n; Enter is y".to_owned()),
    })
}

/// The first answer that will do. What stands above the question at first, gives way to why an answer would not do.
fn answered<T>(
    mut above: String,
    prompt: &str,
    style: Style,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Error> {
    for _ in 0..TRIES {
        match read(read_shown(&format!("{above}{prompt}"))?.trim()) {
            Ok(answer) => return Ok(answer),
            Err(why) => above = note(&why, style),
        }
    }
    Err(Error::new(ErrorCode::Usage, "no answer that will do was given")
        .hint("name the ssh key by --prikey and the org by --org, or pass --no-prompt"))
}
