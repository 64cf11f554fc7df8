//! Declarations of keys in `keyrack.yml`. An edit is parsed and compared before it is written: it
//! changes the intended entry and nothing else, or the file stays as it is.

use std::path::PathBuf;

use keyrack_client::manifest::parse;
use keyrack_core::repo_manifest::{RawManifest, YamlNode, YamlValue};
use keyrack_core::{Env, Error, ErrorCode, Slug};

use crate::locked_file::LockedFile;
use crate::repo::Repo;
use crate::repo_manifest_edit::{self as edit, EditError};

/// Returns `true` if the key may be declared in `keyrack.yml`: not a sudo key, nor one of the
/// machine.
pub(crate) fn belongs_in_repo_manifest(slug: &Slug) -> bool {
    !slug.is_sudo() && !slug.is_machine()
}

/// An edit of `keyrack.yml` that adds a key.
pub(crate) struct PlannedDeclaration {
    slug: Slug,
    /// Path of the file.
    path: PathBuf,
    /// The same, relative to the root of the repository.
    shown_path: String,
    before: String,
    after: String,
}

/// Plans the declaration of a key. `None` if none is needed: the key does not belong in the file,
/// or the file, its `env.all` or a file that it extends declares the key already.
///
/// # Errors
/// [`ErrorCode::ManifestInvalid`] if the file cannot be edited.
pub(crate) fn plan(repo: &Repo, slug: &Slug) -> Result<Option<PlannedDeclaration>, Error> {
    let (Some(manifest), Some(path)) = (&repo.manifest, repo.manifest_path()) else { return Ok(None) };
    if !belongs_in_repo_manifest(slug) || manifest.spec(slug).is_some() {
        return Ok(None);
    }
    if slug.env_kind() == Some(Env::All) && manifest.envs.is_empty() {
        return Err(Error::new(
            ErrorCode::ManifestInvalid,
            format!("{} declares only env.all, which needs another env section", repo.path),
        )
        .of(slug)
        .hint(
            "set the key for one env, such as --env test, or add an empty section such as `env.test: []`",
        ));
    }
    let before = LockedFile::lock(&path)?.read()?.unwrap_or_default();
    let after = inserted(&repo.path, &before, slug)?;
    Ok(Some(PlannedDeclaration { slug: slug.clone(), path, shown_path: repo.path.clone(), before, after }))
}

impl PlannedDeclaration {
    /// Writes the edit. If the file has changed since, the edit is planned again, and skipped if
    /// the file declares the key by now.
    pub(crate) fn commit(self) -> Result<(), Error> {
        let file = LockedFile::lock(&self.path)?;
        let text = file.read()?.unwrap_or_default();
        if text == self.before {
            return file.write(&self.after);
        }
        if !entries_of(&parse(&self.shown_path, &text)?, &self.slug).0.is_empty() {
            return Ok(());
        }
        file.write(&inserted(&self.shown_path, &text, &self.slug)?)
    }
}

/// Removes a key's entries from the root file. `Ok(false)` if it has none there.
pub(crate) fn remove(repo: &Repo, slug: &Slug) -> Result<bool, Error> {
    let Some(path) = repo.manifest_path().filter(|path| belongs_in_repo_manifest(slug) && path.exists())
    else {
        return Ok(false);
    };
    let file = LockedFile::lock(&path)?;
    let Some(text) = file.read()? else { return Ok(false) };
    let before = parse(&repo.path, &text)?;
    let (which, count) = entries_of(&before, slug);
    if which.is_empty() {
        return Ok(false);
    }
    let after = edit::remove(&text, slug.env(), &which, count)
        .map_err(|error| edit_by_hand_error(&repo.path, slug, &error, "remove"))?;
    let wanted = with_section(&before.root, slug, |entries| {
        let mut at = 0;
        entries.retain(|_| {
            at += 1;
            !which.contains(&(at - 1))
        });
    });
    verify(&repo.path, &after, &wanted, slug, "remove")?;
    file.write(&after)?;
    Ok(true)
}

/// Returns the text with the key added, after verifying that nothing else has changed.
fn inserted(path: &str, text: &str, slug: &Slug) -> Result<String, Error> {
    let before = parse(path, text)?;
    let after = edit::insert(text, slug.env(), slug.name())
        .map_err(|error| edit_by_hand_error(path, slug, &error, "add"))?;
    let wanted = with_section(&before.root, slug, |entries| {
        entries.push(YamlNode { line: 0, value: YamlValue::Text(slug.name().to_owned()) });
    });
    verify(path, &after, &wanted, slug, "add")?;
    Ok(after)
}

/// Indices of a key's entries in its section, and the number of entries of the section.
fn entries_of(raw: &RawManifest, slug: &Slug) -> (Vec<usize>, usize) {
    let YamlValue::Map(fields) = &raw.root.value else { return (Vec::new(), 0) };
    let section = section_name(slug);
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

/// Returns the tree with the entries of the key's section changed. A missing or empty section is
/// created.
fn with_section(root: &YamlNode, slug: &Slug, change: impl FnOnce(&mut Vec<YamlNode>)) -> YamlNode {
    let mut root = root.clone();
    let section = section_name(slug);
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

fn section_name(slug: &Slug) -> String {
    format!("env.{}", slug.env())
}

fn verify(path: &str, after: &str, wanted: &YamlNode, slug: &Slug, doing: &str) -> Result<(), Error> {
    let read = parse(path, after).ok();
    if read.is_some_and(|read| is_equivalent(&read.root, wanted)) {
        return Ok(());
    }
    let error = EditError { line: 0, reason: "its YAML is too complex" };
    Err(edit_by_hand_error(path, slug, &error, doing))
}

/// Returns `true` if two trees are equal apart from line numbers. An empty list equals a null.
fn is_equivalent(a: &YamlNode, b: &YamlNode) -> bool {
    match (&a.value, &b.value) {
        (YamlValue::List(a), YamlValue::Null) | (YamlValue::Null, YamlValue::List(a)) => a.is_empty(),
        (YamlValue::List(a), YamlValue::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equivalent(a, b))
        }
        (YamlValue::Map(a), YamlValue::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && is_equivalent(a, b))
        }
        (a, b) => a == b,
    }
}

/// Error for an edit that cannot be made line by line, with what to write by hand.
fn edit_by_hand_error(path: &str, slug: &Slug, error: &EditError, doing: &str) -> Error {
    let place = if error.line == 0 { path.to_owned() } else { format!("{path}:{}", error.line) };
    let (section, name) = (section_name(slug), slug.name());
    Error::new(ErrorCode::ManifestInvalid, format!("{place}: cannot edit it line by line: {}", error.reason))
        .of(slug)
        .hint(match doing {
            "add" => format!("add it by hand below {section}: `- {name}`, then run the command again"),
            _ => format!("remove {name} from {section} by hand"),
        })
}

#[cfg(test)]
mod tests;
