//! Keys in and out of `keyrack.yml`. Every edit is read again and compared before it is written: it changes the one entry that is meant and
//! nothing else, or the file stays as it is.

use std::path::Path;

use keyrack_client::manifest::parse;
use keyrack_core::repo_manifest::{RawManifest, YamlNode, YamlValue};
use keyrack_core::{Env, Error, ErrorCode, Slug};

use crate::locked_file::LockedFile;
use crate::repo::Repo;
use crate::repo_manifest_edit::{self as edit, Refusal};

/// Whether a key is to stand in `keyrack.yml` at all: not a sudo key, and not one of the machine.
pub(crate) fn belongs_in_repo_manifest(slug: &Slug) -> bool {
    !slug.is_sudo() && !slug.is_machine()
}

/// Whether `slug` has to be added to the repository's manifest: it belongs there and is not declared yet, nor covered by `env.all` or a file
/// that is extended. Fails when it has to be and cannot.
pub(crate) fn check(repo: &Repo, slug: &Slug) -> Result<bool, Error> {
    let (Some(manifest), Some(path)) = (&repo.manifest, repo.manifest_path()) else { return Ok(false) };
    if !belongs_in_repo_manifest(slug) || manifest.spec(slug).is_some() {
        return Ok(false);
    }
    if slug.env_kind() == Some(Env::All) && manifest.envs.is_empty() {
        return Err(Error::new(
            ErrorCode::ManifestInvalid,
            format!("{} declares no env but all, and env.all needs one beside it", repo.path),
        )
        .of(slug)
        .hint("set the key for one env, such as --env test, or add an empty section to the file, such as `env.test: []`"));
    }
    let text = LockedFile::take(&path)?.read()?.unwrap_or_default();
    inserted(&repo.path, &text, slug).map(|_| true)
}

/// Adds the key.
pub(crate) fn add(repo: &Repo, path: &Path, slug: &Slug) -> Result<(), Error> {
    let held = LockedFile::take(path)?;
    let text = held.read()?.unwrap_or_default();
    // Somebody else may have declared it meanwhile.
    if !places(&parse(&repo.path, &text)?, slug).0.is_empty() {
        return Ok(());
    }
    held.write(&inserted(&repo.path, &text, slug)?)
}

/// Removes the key's own entries in the root file. `Ok(false)` when it has none there.
pub(crate) fn remove(repo: &Repo, slug: &Slug) -> Result<bool, Error> {
    let Some(path) = repo.manifest_path().filter(|path| belongs_in_repo_manifest(slug) && path.exists())
    else {
        return Ok(false);
    };
    let held = LockedFile::take(&path)?;
    let Some(text) = held.read()? else { return Ok(false) };
    let before = parse(&repo.path, &text)?;
    let (which, count) = places(&before, slug);
    if which.is_empty() {
        return Ok(false);
    }
    let after = edit::remove(&text, slug.env(), &which, count)
        .map_err(|refusal| by_hand(&repo.path, slug, &refusal, "remove"))?;
    let wanted = changed(&before.root, slug, |entries| {
        let mut at = 0;
        entries.retain(|_| {
            at += 1;
            !which.contains(&(at - 1))
        });
    });
    compare(&repo.path, &after, &wanted, slug, "remove")?;
    held.write(&after)?;
    Ok(true)
}

/// The text with the key added, proven to say what it said before and the key.
fn inserted(path: &str, text: &str, slug: &Slug) -> Result<String, Error> {
    let before = parse(path, text)?;
    let after = edit::insert(text, slug.env(), slug.name())
        .map_err(|refusal| by_hand(path, slug, &refusal, "add"))?;
    let wanted = changed(&before.root, slug, |entries| {
        entries.push(YamlNode { line: 0, value: YamlValue::Text(slug.name().to_owned()) });
    });
    compare(path, &after, &wanted, slug, "add")?;
    Ok(after)
}

/// Where in its section a key stands, counted from 0, and how many entries the section has.
fn places(raw: &RawManifest, slug: &Slug) -> (Vec<usize>, usize) {
    let YamlValue::Map(fields) = &raw.root.value else { return (Vec::new(), 0) };
    let section = section_of(slug);
    let Some((_, YamlNode { value: YamlValue::List(entries), .. })) =
        fields.iter().find(|(name, _)| *name == section)
    else {
        return (Vec::new(), 0);
    };
    let named = |entry: &YamlNode| match &entry.value {
        YamlValue::Text(name) => name == slug.name(),
        YamlValue::Map(fields) => match fields.iter().find(|(field, _)| field == "key") {
            Some((_, name)) => name.text() == Some(slug.name()),
            None => fields.first().is_some_and(|(name, _)| name == slug.name()),
        },
        _ => false,
    };
    let which = entries.iter().enumerate().filter(|(_, entry)| named(entry)).map(|(at, _)| at).collect();
    (which, entries.len())
}

/// The tree with the entries of the key's section changed; a section that is not there or empty is made.
fn changed(root: &YamlNode, slug: &Slug, change: impl FnOnce(&mut Vec<YamlNode>)) -> YamlNode {
    let mut root = root.clone();
    let section = section_of(slug);
    if let YamlValue::Map(fields) = &mut root.value {
        if !fields.iter().any(|(name, _)| *name == section) {
            fields.push((section.clone(), YamlNode { line: 0, value: YamlValue::Null }));
        }
        if let Some((_, node)) = fields.iter_mut().find(|(name, _)| *name == section) {
            let mut entries = match std::mem::replace(&mut node.value, YamlValue::Null) {
                YamlValue::List(entries) => entries,
                _ => Vec::new(),
            };
            change(&mut entries);
            node.value = YamlValue::List(entries);
        }
    }
    root
}

fn section_of(slug: &Slug) -> String {
    format!("env.{}", slug.env())
}

fn compare(path: &str, after: &str, wanted: &YamlNode, slug: &Slug, doing: &str) -> Result<(), Error> {
    let read = parse(path, after).ok();
    if read.is_some_and(|read| same(&read.root, wanted)) {
        return Ok(());
    }
    let refusal = Refusal { line: 0, why: "its YAML is not understood line by line" };
    Err(by_hand(path, slug, &refusal, doing))
}

/// Whether two trees say the same, wherever it stands. An empty list and nothing are the same.
fn same(a: &YamlNode, b: &YamlNode) -> bool {
    match (&a.value, &b.value) {
        (YamlValue::List(a), YamlValue::Null) | (YamlValue::Null, YamlValue::List(a)) => a.is_empty(),
        (YamlValue::List(a), YamlValue::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (YamlValue::Map(a), YamlValue::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && same(a, b))
        }
        (a, b) => a == b,
    }
}

/// What cannot be done by line, with what to do by hand.
fn by_hand(path: &str, slug: &Slug, refusal: &Refusal, doing: &str) -> Error {
    let place = if refusal.line == 0 { path.to_owned() } else { format!("{path}:{}", refusal.line) };
    let (section, name) = (section_of(slug), slug.name());
    Error::new(ErrorCode::ManifestInvalid, format!("{place}: cannot be changed by line: {}", refusal.why))
        .of(slug)
        .hint(match doing {
            "add" => format!("add it by hand, below {section}: `- {name}`, and run this again"),
            _ => format!("remove {name} from {section} by hand"),
        })
}

#[cfg(test)]
mod tests;
