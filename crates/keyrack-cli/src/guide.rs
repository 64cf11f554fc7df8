//! A guided `init`: what was not said by a flag is asked for at the terminal, and Enter takes what is proposed.

use keyrack_client::render::Look;
use keyrack_core::{ErrorCode, Owner, Problem};
use keyrack_ops::init::{InitAsk, check_org};
use keyrack_ops::init_guide::{Start, Usable, look};

use crate::outer::Outer;
use crate::prompt::{choices, line, question};

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
        let make = "Make .agent/keyrack.yml, which names the keys this repository needs?";
        if yes(make, look)? {
            ask.org = Some(org(&start, look)?);
        }
    }
    Ok(())
}

fn key(outer: &Outer, start: &Start, look: Look) -> Result<std::path::PathBuf, Problem> {
    let option = |key: &Usable| {
        let sealed = if key.sealed { ", behind a passphrase" } else { "" };
        let named = if key.found { "" } else { ", named by --prikey each time or held by an ssh-agent" };
        format!("{}{sealed}{named}", outer.shown(&key.path, None))
    };
    let options: Vec<String> = start.keys.iter().map(option).collect();
    let list = choices("Which ssh key is to open your rack?", &options, look);
    let prompt = format!("{list}{}", question("choice [1]:", look));
    answered(&prompt, |answer| match answer {
        "" => Some(start.keys[0].path.clone()),
        answer => {
            let number = answer.parse::<usize>().ok()?.checked_sub(1)?;
            start.keys.get(number).map(|key| key.path.clone())
        }
    })
}

fn org(start: &Start, look: Look) -> Result<String, Problem> {
    let prompt = match &start.org {
        Some(org) => question(&format!("Its org [{org}]:"), look),
        None => question("Its org, such as acme:", look),
    };
    answered(&prompt, |answer| match (answer, &start.org) {
        ("", Some(org)) => Some(org.clone()),
        (answer, _) => check_org(answer).ok().map(str::to_owned),
    })
}

fn yes(text: &str, look: Look) -> Result<bool, Problem> {
    answered(&question(&format!("{text} [Y/n]"), look), |answer| match answer.to_lowercase().as_str() {
        "" | "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    })
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
