//! One command for all the keys a call found locked. No I/O.

use keyrack_core::{Attempt, Env, Fix};

use super::KeyOutcome;

/// The `unlock` that names the env once, where more than one key is locked: the tip of each alone would leave the others locked. None where
/// one is, and where one of them is not swept up with its env: a `sudo` key, or one of another repository.
pub fn unlock_all<'a>(answers: impl IntoIterator<Item = &'a KeyOutcome>) -> Option<Fix> {
    let locked: Vec<&Attempt> = answers
        .into_iter()
        .map(|answer| &answer.attempt)
        .filter(|attempt| matches!(attempt, Attempt::Locked { .. }))
        .collect();
    let [first, .., last] = &locked[..] else { return None };
    let mut wanted = None;
    for attempt in &locked {
        let words = sweep(attempt, first.slug().env() != last.slug().env())?;
        if wanted.get_or_insert_with(|| words.clone()) != &words {
            return None;
        }
    }
    wanted.map(Fix::Command)
}

/// The words of a key's own `unlock` without the key; `every`: of every env.
fn sweep(attempt: &Attempt, every: bool) -> Option<Vec<String>> {
    let (slug, Some(Fix::Command(words))) = (attempt.slug(), attempt.fix()) else { return None };
    let at = words.iter().position(|word| word == "--key")?;
    let key = words.get(at + 1)?;
    let swept = !slug.is_sudo() && (slug.is_machine() || key == slug.name());
    let mut words: Vec<String> = [&words[..at], &words[at + 2..]].concat();
    let env = words.iter().position(|word| word == "--env")?;
    if every {
        // The machine's own keys are swept up with their very env only.
        if slug.is_machine() {
            return None;
        }
        Env::All.as_str().clone_into(words.get_mut(env + 1)?);
    }
    swept.then_some(words)
}

#[cfg(test)]
mod tests {
    use keyrack_core::{Invocation, Owner, Slug};

    use super::*;

    fn locked(slug: &str, owner: &Owner, in_full: bool) -> KeyOutcome {
        let slug = Slug::parse(slug).unwrap();
        let fix = match in_full {
            false => Fix::unlock(owner, &slug),
            true => Fix::with_owner("unlock", owner, ["--env", slug.env(), "--key", slug.as_str()]),
        };
        let message = format!("{slug} is locked");
        let attempt = Attempt::Locked { slug, message, fix: Some(fix) };
        KeyOutcome { attempt, secret: None, note: None, waived: false }
    }

    #[test]
    fn one_command_mends_all_that_is_locked() {
        let work: Owner = "work".parse().unwrap();
        for (owner, slugs, command) in [
            (&Owner::DEFAULT, &["acme.test.A"][..], None),
            (&Owner::DEFAULT, &["acme.test.A", "acme.test.B"], Some("keyrack unlock --env test")),
            (&work, &["acme.test.A", "acme.test.B"], Some("keyrack unlock --owner work --env test")),
            (&Owner::DEFAULT, &["acme.test.A", "@all.test.B"], Some("keyrack unlock --env test")),
            (&Owner::DEFAULT, &["acme.all.A", "acme.all.B"], Some("keyrack unlock --env all")),
            (
                &Owner::DEFAULT,
                &["acme.test.A", "acme.test.B", "acme.prod.C"],
                Some("keyrack unlock --env all"),
            ),
            (&Owner::DEFAULT, &["acme.test.A", "@all.prod.B"], None),
            (&Owner::DEFAULT, &["acme.sudo.A", "acme.sudo.B"], None),
            (&Owner::DEFAULT, &["acme.test.A", "acme.sudo.B"], None),
        ] {
            let answers: Vec<KeyOutcome> = slugs.iter().map(|slug| locked(slug, owner, false)).collect();
            let fix = unlock_all(&answers).map(|fix| fix.render(Invocation::default()));
            assert_eq!(fix.as_deref(), command, "{slugs:?}");
        }
        let elsewhere = ["other.test.A", "other.test.B"].map(|slug| locked(slug, &Owner::DEFAULT, true));
        assert_eq!(unlock_all(&elsewhere), None, "no env sweeps up another repository's keys");
    }

    #[test]
    fn what_is_not_locked_has_no_say() {
        let mut answers =
            ["acme.test.A", "acme.prod.B", "acme.test.C"].map(|slug| locked(slug, &Owner::DEFAULT, false));
        answers[1].attempt = Attempt::Absent {
            slug: answers[1].attempt.slug().clone(),
            message: "never set".to_owned(),
            fix: None,
        };
        assert_eq!(unlock_all(&answers), Some(Fix::command(["unlock", "--env", "test"])));
    }
}
