//! A guided `init`: what was not said by a flag is asked for at the terminal, and Enter takes what is proposed.

use keyrack_client::render::text::clean;
use keyrack_client::render::{Look, Tone};
use keyrack_core::{ErrorCode, Owner, Problem};
use keyrack_ops::init::{InitAsk, check_org};
use keyrack_ops::init_guide::{Start, look};

use crate::outer::Outer;
use crate::prompt::line;

/// How often a question is put again.
const TRIES: usize = 5;

/// Asks for what is not said yet.
pub(crate) fn guide(outer: &Outer, owner: &Owner, ask: &mut InitAsk) -> Result<(), Problem> {
    let start = outer.operate(owner.clone(), &[], look)?;
    let look = outer.look();
    if ask.key.is_none() && !start.has_rack && start.keys.len() > 1 {
        ask.key = Some(key(outer, &start, look)?);
    }
    if ask.org.is_none() && ask.at.is_none() && start.git_root.is_some() && !start.has_manifest {
        let make = "Make .agent/keyrack.yml, in which this repository names the keys it needs?";
        if yes(make, look)? {
            ask.org = Some(org(&start, look)?);
        }
    }
    Ok(())
}

fn key(outer: &Outer, start: &Start, look: Look) -> Result<std::path::PathBuf, Problem> {
    let mut text = question("Which ssh key is to open your rack?", look);
    let last = start.keys.len() - 1;
    for (at, key) in start.keys.iter().enumerate() {
        let tick = match (look.unicode, at == last) {
            (true, false) => "├─",
            (true, true) => "└─",
            (false, false) => "|-",
            (false, true) => "`-",
        };
        let path = clean(&outer.shown(&key.path, None));
        let sealed = if key.sealed { ", behind a passphrase" } else { "" };
        let named =
            if key.found { "" } else { ", to be named by --prikey each time, unless an ssh-agent has it" };
        text.push_str(&format!(
            "\n   {} {}. {path}{}",
            look.paint(Tone::Quiet, tick),
            at + 1,
            look.paint(Tone::Quiet, &format!("{sealed}{named}"))
        ));
    }
    let prompt = format!("{text}\n{}", proposal("number", "1", look));
    answered(&prompt, |answer| match answer {
        "" => Some(start.keys[0].path.clone()),
        answer => answer
            .parse::<usize>()
            .ok()
            .and_then(|number| start.keys.get(number.checked_sub(1)?))
            .map(|key| key.path.clone()),
    })
}

fn org(start: &Start, look: Look) -> Result<String, Problem> {
    let prompt = match &start.org {
        Some(org) => proposal("Its org", org, look),
        None => format!("{} ", question("Its org, such as acme:", look)),
    };
    answered(&prompt, |answer| match (answer, &start.org) {
        ("", Some(org)) => Some(org.clone()),
        (answer, _) => check_org(answer).ok().map(str::to_owned),
    })
}

fn yes(text: &str, look: Look) -> Result<bool, Problem> {
    let prompt = format!("{} {} ", question(text, look), look.paint(Tone::Quiet, "[Y/n]"));
    answered(&prompt, |answer| match answer.to_lowercase().as_str() {
        "" | "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    })
}

fn question(text: &str, look: Look) -> String {
    look.paint(Tone::Title, text)
}

fn proposal(text: &str, proposed: &str, look: Look) -> String {
    format!("{} {}: ", question(text, look), look.paint(Tone::Quiet, &format!("[{proposed}]")))
}

/// The first answer that will do.
fn answered<T>(prompt: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
    for _ in 0..TRIES {
        if let Some(answer) = read(line(prompt)?.trim()) {
            return Ok(answer);
        }
    }
    Err(Problem::new(ErrorCode::Usage, "no answer that will do was given")
        .hint("name the ssh key by --prikey and the org by --org, or pass --no-prompt"))
}
