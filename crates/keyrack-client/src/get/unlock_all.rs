//! One command that unlocks all locked keys of a read. No I/O.

use keyrack_core::{Attempt, Env, Fix, FixCommand};

use super::KeyOutcome;

/// Returns the `unlock` of all locked keys, if there are several. `None` if the flags of one
/// command do not cover all of them: a `sudo` key, or one of another repository.
pub fn unlock_all<'a>(outcomes: impl IntoIterator<Item = &'a KeyOutcome>) -> Option<Fix> {
    let locked: Vec<&Attempt> = outcomes
        .into_iter()
        .map(|outcome| &outcome.attempt)
        .filter(|attempt| matches!(attempt, Attempt::Locked { .. }))
        .collect();
    let [first, .., last] = &locked[..] else { return None };
    let has_several_envs = first.slug().env() != last.slug().env();
    let mut all = None;
    for attempt in &locked {
        let command = unlock_env(attempt, has_several_envs)?;
        if all.get_or_insert_with(|| command.clone()) != &command {
            return None;
        }
    }
    all.map(Fix::from)
}

/// Returns the `unlock` of the env, or of every env, that covers the key.
fn unlock_env(attempt: &Attempt, every_env: bool) -> Option<FixCommand> {
    let (slug, Some(Fix::Command(command))) = (attempt.slug(), attempt.fix()) else { return None };
    let key = command.key.as_ref()?;
    let is_covered = !slug.is_sudo() && (slug.is_machine() || key == slug.name());
    // `--env all` does not cover the machine's keys of other envs.
    if !is_covered || (every_env && slug.is_machine()) {
        return None;
    }
    let env = if every_env { Env::All.as_str() } else { command.env.as_deref()? };
    Some(FixCommand { key: None, ..(**command).clone() }.env(env))
}

#[cfg(test)]
mod tests {
    use keyrack_core::{Invocation, Owner, Slug};

    use super::*;

    fn locked(slug: &str, owner: &Owner, in_full: bool) -> KeyOutcome {
        let slug = Slug::parse(slug).unwrap();
        let fix = match in_full {
            false => Fix::unlock(owner, &slug),
            true => FixCommand::new("unlock").owner(owner).env(slug.env()).key(slug.as_str()).into(),
        };
        let message = format!("{slug} is locked");
        let attempt = Attempt::Locked { slug, message, fix: Some(fix) };
        KeyOutcome { attempt, secret: None, note: None, waived: false }
    }

    #[test]
    fn one_command_unlocks_all_locked_keys() {
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
    fn keys_that_are_not_locked_are_ignored() {
        let mut answers =
            ["acme.test.A", "acme.prod.B", "acme.test.C"].map(|slug| locked(slug, &Owner::DEFAULT, false));
        answers[1].attempt = Attempt::Absent {
            slug: answers[1].attempt.slug().clone(),
            message: "never set".to_owned(),
            fix: None,
        };
        assert_eq!(unlock_all(&answers), Some(FixCommand::new("unlock").env("test").into()));
    }
}
