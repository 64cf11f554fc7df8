//! Errors for queries that cannot be resolved.

use super::query::{KeyQuery, Operation};
use crate::env::Env;
use crate::error::{Error, ErrorCode};
use crate::fix::{Fix, FixCommand};
use crate::org::Org;
use crate::repo_manifest::RepoManifest;
use crate::slug::Slug;
use crate::suggest::closest;

fn words(envs: &[Env]) -> String {
    envs.iter().map(|env| env.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns the same command with this key and env. `--org` is left out, as the key and the manifest
/// imply it. `None` for `set`, whose vault is unknown here.
fn again(query: &KeyQuery<'_>, operation: Operation, env: &str, key: &str) -> Option<Fix> {
    (operation != Operation::Set)
        .then(|| FixCommand::new(operation.as_str()).owner(query.owner).env(env).key(key).into())
}

fn with(error: Error, fix: Option<Fix>) -> Error {
    Error { fix, ..error }
}

pub(super) fn env_conflict(query: &KeyQuery<'_>, operation: Operation, slug: &Slug) -> Error {
    let message =
        format!("--env {} conflicts with the env {} of {slug}", query.env.unwrap_or_default(), slug.env());
    let error = Error::new(ErrorCode::EnvConflict, message).of(slug);
    with(error, again(query, operation, slug.env(), slug.as_str()))
}

pub(super) fn org_option_conflict(org: &Org, slug: &Slug) -> Error {
    let message = format!("--org {org} conflicts with the org {} of {slug}", slug.org());
    Error::new(ErrorCode::OrgMismatch, message).of(slug)
}

pub(super) fn org_mismatch(org: &str, manifest: &RepoManifest) -> Error {
    let message = format!("the org {org} is not the org {} of keyrack.yml", manifest.org);
    Error::new(ErrorCode::OrgMismatch, message)
        .hint(format!("run the command in a repository of {org}, or use --org @all for keys of this machine"))
}

pub(super) fn not_storable(slug: &Slug) -> Error {
    let message = format!(
        "the org {:?} cannot be stored: it must begin with a-z and hold only a-z, 0-9, _ and -",
        slug.org()
    );
    Error::new(ErrorCode::BadOrg, message).of(slug).hint("correct `org` in keyrack.yml")
}

/// Returns the `init` that prompts for the org of the new keyrack.yml. [`UNASKED`] is the hint for
/// scripts.
fn init(query: &KeyQuery<'_>) -> Option<Fix> {
    Some(Fix::with_owner("init", query.owner, []))
}

/// Hint that tells how a script creates a keyrack.yml.
const UNASKED: &str = "in a script: `init --org ORG`";

pub(super) fn no_manifest(query: &KeyQuery<'_>, operation: Operation, name: &str, env: Option<Env>) -> Error {
    let message = format!("cannot find the org of {name}: there is no keyrack.yml here");
    let (fix, hint) = match (operation, env) {
        (_, Some(Env::Sudo)) => (None, "use --org @all for a sudo key of this machine".to_owned()),
        (Operation::Set, _) => {
            (init(query), format!("{UNASKED}; without one: store the key for this machine with --org @all"))
        }
        (Operation::Del, _) => (
            None,
            "run it in the repository of the key, or use --org @all for a key of this machine".to_owned(),
        ),
        (Operation::Relock, _) => (None, "use a full slug such as acme.test.KEY".to_owned()),
        _ => (init(query), format!("{UNASKED}; without one: use a full slug such as acme.test.KEY")),
    };
    with(Error::new(ErrorCode::NoManifest, message).hint(hint), fix)
}

/// Error for a key with a named org, to be stored or deleted outside of a repository of that org.
pub(super) fn no_manifest_of(query: &KeyQuery<'_>, operation: Operation, org: &str, name: &str) -> Error {
    let done = if operation == Operation::Del { "removed" } else { "set" };
    let message =
        format!("there is no keyrack.yml here: {name} of {org} can only be {done} in a repository of {org}");
    let error = Error::new(ErrorCode::NoManifest, message);
    if operation == Operation::Del {
        return error.hint("use --org @all to remove a key of this machine");
    }
    let fix = Org::is_storable_name(org).then(|| FixCommand::new("init").owner(query.owner).org(org).into());
    with(
        error.hint(format!(
            "run it in a repository of {org}; without one: store the key for this machine with --org @all"
        )),
        fix,
    )
}

pub(super) fn env_required_for_set(name: &str) -> Error {
    let message = format!("cannot infer the env of {name} from keyrack.yml: choose one with --env");
    Error::new(ErrorCode::EnvRequired, message).hint("for example --env test")
}

pub(super) fn env_required(declared: &[Env]) -> Error {
    let message = match declared {
        [] => "choose an env with --env".to_owned(),
        envs => format!("choose an env with --env: keyrack.yml declares {}", words(envs)),
    };
    let example = declared.first().copied().unwrap_or(Env::Test);
    Error::new(ErrorCode::EnvRequired, message).hint(format!("for example --env {example}"))
}

/// Names that a manifest declares, for a suggestion.
fn declared(manifest: Option<&RepoManifest>) -> impl Iterator<Item = &str> {
    manifest.into_iter().flat_map(RepoManifest::keys).map(|key| key.slug.name())
}

pub(super) fn key_not_found(query: &KeyQuery<'_>, operation: Operation, name: &str) -> Error {
    let message = format!("keyrack.yml does not declare {name}");
    if let Some(near) = closest(name, declared(query.manifest)) {
        let error = Error::new(ErrorCode::KeyNotFound, message).hint(format!("did you mean {near}?"));
        return match query.manifest.map(|manifest| manifest.envs_of(near)).as_deref() {
            Some([env, ..]) => with(error, again(query, operation, env.as_str(), near)),
            _ => error,
        };
    }
    let hint = if name.contains('.') {
        format!("a full slug reads org.env.NAME, with an env of {}", words(&Env::ALL))
    } else {
        "choose its env with --env, or use its full slug".to_owned()
    };
    Error::new(ErrorCode::KeyNotFound, message).hint(hint)
}

/// Error for a key that an unlock names and the manifest does not declare.
pub(super) fn not_declared(query: &KeyQuery<'_>, slug: &Slug) -> Error {
    let message = format!("keyrack.yml does not declare {slug}");
    let error = Error::new(ErrorCode::KeyNotFound, message).of(slug);
    match query.manifest.and_then(|manifest| manifest.meant_by(slug)) {
        // A `set` of the mistyped name would declare it.
        Some(meant) => with(error, again(query, Operation::Unlock, meant.env(), meant.name()))
            .hint(format!("did you mean {}? Setting a key also declares it", meant.name())),
        None => error.fix(Fix::set_secure(query.owner, slug)).hint("setting a key also declares it"),
    }
}

/// Error for a key that an unlock names, that needs no declaration, and that was never set.
pub(super) fn never_set(query: &KeyQuery<'_>, slug: &Slug) -> Error {
    let message = format!("{slug} was never set");
    Error::new(ErrorCode::KeyNotFound, message).of(slug).fix(Fix::set_secure(query.owner, slug))
}

pub(super) fn ambiguous(query: &KeyQuery<'_>, operation: Operation, name: &str, envs: &[Env]) -> Error {
    let message = format!("{name} is declared in several envs ({}): choose one with --env", words(envs));
    let env = envs.first().copied().unwrap_or(Env::Test);
    let error = Error::new(ErrorCode::AmbiguousKey, message).hint(format!("for example --env {env}"));
    with(error, again(query, operation, env.as_str(), name))
}

pub(super) fn sudo_needs_key() -> Error {
    Error::new(ErrorCode::SudoNeedsKey, "sudo keys must be requested one at a time: name the key with --key")
        .hint("sudo keys are not declared in keyrack.yml")
}

pub(super) fn no_manifest_for_repo(query: &KeyQuery<'_>) -> Error {
    let message = "there is no keyrack.yml here, so no keys are declared";
    let error = Error::new(ErrorCode::NoManifest, message);
    with(error.hint(format!("{UNASKED}; without one: name a key with --key")), init(query))
}
