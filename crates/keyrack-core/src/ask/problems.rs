//! What is said of asks that do not fit together.

use super::{Ask, Verb};
use crate::env::Env;
use crate::error::{ErrorCode, Problem};
use crate::fix::Fix;
use crate::nearest::nearest;
use crate::org::Org;
use crate::repo_manifest::RepoManifest;
use crate::slug::Slug;

fn words(envs: &[Env]) -> String {
    envs.iter().map(|env| env.as_str()).collect::<Vec<_>>().join(", ")
}

/// The same command with this key and env; no `--org`, which here says nothing that key and manifest don't. None for `set`, whose vault is not known.
fn again(ask: &Ask<'_>, verb: Verb, env: &str, key: &str) -> Option<Fix> {
    (verb != Verb::Set).then(|| Fix::with_owner(verb.as_str(), ask.owner, ["--env", env, "--key", key]))
}

fn with(problem: Problem, fix: Option<Fix>) -> Problem {
    Problem { fix, ..problem }
}

pub(super) fn env_conflict(ask: &Ask<'_>, verb: Verb, slug: &Slug) -> Problem {
    let message =
        format!("--env {} conflicts with the env {} of {slug}", ask.env.unwrap_or_default(), slug.env());
    let problem = Problem::new(ErrorCode::EnvConflict, message).of(slug);
    with(problem, again(ask, verb, slug.env(), slug.as_str()))
}

pub(super) fn org_option_conflict(org: &Org, slug: &Slug) -> Problem {
    let message = format!("--org {org} conflicts with the org {} of {slug}", slug.org());
    Problem::new(ErrorCode::OrgMismatch, message).of(slug)
}

pub(super) fn org_mismatch(org: &str, manifest: &RepoManifest) -> Problem {
    let message = format!("the org {org} is not the org {} of keyrack.yml", manifest.org);
    Problem::new(ErrorCode::OrgMismatch, message).hint(format!(
        "ask for keys of {org} in a repository of {org}; keys of this machine are asked for with --org @all"
    ))
}

pub(super) fn not_storable(slug: &Slug) -> Problem {
    let message = format!(
        "the org {:?} cannot be stored: it must begin with a-z and hold only a-z, 0-9, _ and -",
        slug.org()
    );
    Problem::new(ErrorCode::BadOrg, message).of(slug).hint("correct `org` in keyrack.yml")
}

/// The `init` that asks at a terminal for the org of the keyrack.yml it makes; [`UNASKED`] is for where nobody can be asked.
fn init(ask: &Ask<'_>) -> Option<Fix> {
    Some(Fix::with_owner("init", ask.owner, []))
}

/// How a script makes a keyrack.yml.
const UNASKED: &str = "in a script: `init --org ORG`";

pub(super) fn no_manifest(ask: &Ask<'_>, verb: Verb, name: &str, env: Option<Env>) -> Problem {
    let message = format!("there is no keyrack.yml here to say whose key {name} is");
    let (fix, hint) = match (verb, env) {
        (_, Some(Env::Sudo)) => (None, "a sudo key of this machine is asked for with --org @all".to_owned()),
        (Verb::Set, _) => {
            (init(ask), format!("{UNASKED}; without one: store the key for this machine with --org @all"))
        }
        (Verb::Del, _) => (
            None,
            "run it in the key's own repository; a key of this machine is removed with --org @all".to_owned(),
        ),
        (Verb::Relock, _) => (None, "ask by a full slug such as acme.test.KEY".to_owned()),
        _ => (init(ask), format!("{UNASKED}; without one: ask by a full slug such as acme.test.KEY")),
    };
    with(Problem::new(ErrorCode::NoManifest, message).hint(hint), fix)
}

/// A key whose org was typed, to be stored or removed where no repository is of that org.
pub(super) fn no_manifest_of(ask: &Ask<'_>, verb: Verb, org: &str, name: &str) -> Problem {
    let done = if verb == Verb::Del { "removed" } else { "set" };
    let message = format!("there is no keyrack.yml here: {name} of {org} is {done} in a repository of {org}");
    let problem = Problem::new(ErrorCode::NoManifest, message);
    if verb == Verb::Del {
        return problem.hint("a key of this machine is removed with --org @all");
    }
    let fix = Org::is_storable_name(org).then(|| Fix::with_owner("init", ask.owner, ["--org", org]));
    with(
        problem.hint(format!(
            "that is for a repository of {org}; without one: store the key for this machine with --org @all"
        )),
        fix,
    )
}

pub(super) fn env_required_for_set(name: &str) -> Problem {
    let message = format!("keyrack.yml does not tell the env of {name}: name it with --env");
    Problem::new(ErrorCode::EnvRequired, message).hint("for example --env test")
}

pub(super) fn env_required(declared: &[Env]) -> Problem {
    let message = match declared {
        [] => "name the env with --env".to_owned(),
        envs => format!("name the env with --env: keyrack.yml declares {}", words(envs)),
    };
    let example = declared.first().copied().unwrap_or(Env::Test);
    Problem::new(ErrorCode::EnvRequired, message).hint(format!("for example --env {example}"))
}

/// The names a manifest declares, for a suggestion.
fn declared(manifest: Option<&RepoManifest>) -> impl Iterator<Item = &str> {
    manifest.into_iter().flat_map(RepoManifest::keys).map(|key| key.slug.name())
}

pub(super) fn key_not_found(ask: &Ask<'_>, verb: Verb, name: &str) -> Problem {
    let message = format!("keyrack.yml does not declare {name}");
    if let Some(near) = nearest(name, declared(ask.manifest)) {
        let problem = Problem::new(ErrorCode::KeyNotFound, message).hint(format!("did you mean {near}?"));
        return match ask.manifest.map(|manifest| manifest.envs_of(near)).as_deref() {
            Some([env, ..]) => with(problem, again(ask, verb, env.as_str(), near)),
            _ => problem,
        };
    }
    let hint = if name.contains('.') {
        format!("a full slug reads org.env.NAME, with an env of {}", words(&Env::ALL))
    } else {
        "name its env with --env, or ask by its full slug".to_owned()
    };
    Problem::new(ErrorCode::KeyNotFound, message).hint(hint)
}

/// A key that an unlock names and that the manifest does not ask for.
pub(super) fn not_declared(ask: &Ask<'_>, slug: &Slug) -> Problem {
    let message = format!("keyrack.yml does not declare {slug}");
    let problem = Problem::new(ErrorCode::KeyNotFound, message).of(slug);
    match ask.manifest.and_then(|manifest| manifest.meant_by(slug)) {
        // To set what was misspelt would declare the slip.
        Some(meant) => with(problem, again(ask, Verb::Unlock, meant.env(), meant.name()))
            .hint(format!("did you mean {}? To set a key also declares it", meant.name())),
        None => problem.fix(Fix::set_secure(ask.owner, slug)).hint("to set a key also declares it"),
    }
}

/// A key that an unlock names, that needs no declaration, and that was never set.
pub(super) fn never_set(ask: &Ask<'_>, slug: &Slug) -> Problem {
    let message = format!("{slug} was never set");
    Problem::new(ErrorCode::KeyNotFound, message).of(slug).fix(Fix::set_secure(ask.owner, slug))
}

pub(super) fn ambiguous(ask: &Ask<'_>, verb: Verb, name: &str, envs: &[Env]) -> Problem {
    let message = format!("{name} is declared in several envs, {}: name one with --env", words(envs));
    let env = envs.first().copied().unwrap_or(Env::Test);
    let problem = Problem::new(ErrorCode::AmbiguousKey, message).hint(format!("for example --env {env}"));
    with(problem, again(ask, verb, env.as_str(), name))
}

pub(super) fn sudo_needs_key() -> Problem {
    Problem::new(ErrorCode::SudoNeedsKey, "sudo keys are asked for one by one: name the key with --key")
        .hint("sudo keys do not stand in keyrack.yml")
}

pub(super) fn no_manifest_for_repo(ask: &Ask<'_>) -> Problem {
    let message = "there is no keyrack.yml here, and so no keys of the repository";
    let problem = Problem::new(ErrorCode::NoManifest, message);
    with(problem.hint(format!("{UNASKED}; without one: name a key with --key")), init(ask))
}
