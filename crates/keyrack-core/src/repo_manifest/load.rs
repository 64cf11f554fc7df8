//! Loading of a manifest: sections, the expansion of `env.all`, and `extends`.
//!
//! A manifest is untrusted text, so the work is bounded over all files together: each is read once
//! and its keys are merged once, in whatever way the files extend one another.

use std::collections::HashMap;

use super::entry::{Entry, Place, invalid};
use super::node::{YamlNode, YamlValue};
use super::path::contained;
use super::{KeySpec, RawManifest, RepoManifest};
use crate::env::Env;
use crate::error::Error;
use crate::org::Org;
use crate::shorten::{PATH, quoted, shortened};

/// Maximum depth of `extends`.
const MAX_DEPTH: usize = 32;

/// Maximum number of files of one manifest, with the root.
pub const MAX_FILES: usize = 64;

/// Maximum number of entries in all files of one manifest.
pub const MAX_KEYS: usize = 10_000;

/// Result of reading a file by its path.
#[derive(Debug)]
pub enum ManifestFile {
    /// Content of the file.
    Content(RawManifest),
    /// Link to the file that was read under this path before.
    Same(String),
}

/// Loads a manifest from a root file and the files it extends.
///
/// `read` returns the file at a path relative to the repository's root, which is lexically
/// contained in it, or `None` if it does not exist. It must reject symbolic links that leave the
/// root. Each path is read once, even if it is named several times.
///
/// If several files declare a key, the root wins, then the file that is extended later. Every key
/// gets the root's org.
///
/// # Errors
///
/// [`ManifestInvalid`](crate::ErrorCode::ManifestInvalid) if a file is malformed, missing, outside
/// of the repository, or extends itself, and for more than [`MAX_FILES`] files or [`MAX_KEYS`]
/// keys; and what `read` fails with. Faults of single sections and keys are in
/// [`RepoManifest::faults`] instead.
pub fn load_manifest<F>(root: &RawManifest, read: F) -> Result<RepoManifest, Error>
where
    F: FnMut(&str) -> Result<Option<ManifestFile>, Error>,
{
    let mut loader = Loader {
        read,
        files: Vec::new(),
        read_as: HashMap::new(),
        open: Vec::new(),
        keys: 0,
        faults: Vec::new(),
    };
    let path = contained(&root.path).unwrap_or_else(|| root.path.clone());
    let top = loader.file(path, root)?;
    let files = &loader.files;
    let named = in_order(files, top, Order::Named);
    let mut manifest = RepoManifest {
        org: files[top].org.clone(),
        extends: named[1..].iter().map(|at| files[*at].path.clone()).collect(),
        envs: files[top].envs.clone(),
        ..RepoManifest::default()
    };
    for env in named.iter().flat_map(|at| &files[*at].envs) {
        if !manifest.all_envs.contains(env) {
            manifest.all_envs.push(*env);
        }
    }
    let keys = |order: Vec<usize>| order.into_iter().flat_map(|at| &files[at].keys);
    for key in keys(in_order(files, top, Order::Placed)) {
        if manifest.spec(&key.slug_in(&manifest.org)?).is_none() {
            manifest.put(key.in_org(&manifest.org)?);
        }
    }
    for key in keys(in_order(files, top, Order::Winning)) {
        manifest.put(key.in_org(&manifest.org)?);
    }
    manifest.faults = loader.faults;
    Ok(manifest)
}

/// File with its keys under its own org.
struct File {
    path: String,
    org: String,
    /// Files that it extends, in order.
    extends: Vec<usize>,
    envs: Vec<Env>,
    keys: Vec<KeySpec>,
}

/// Order of the root and all that it extends, each once.
#[derive(Clone, Copy)]
enum Order {
    /// Each file before those it extends.
    Named,
    /// Each file after those it extends, at the first place where it is named.
    Placed,
    /// Each file after those it extends, at the last place where it is named: later ones win.
    Winning,
}

fn in_order(files: &[File], top: usize, order: Order) -> Vec<usize> {
    fn visit(files: &[File], at: usize, order: Order, seen: &mut [bool], found: &mut Vec<usize>) {
        if std::mem::replace(&mut seen[at], true) {
            return;
        }
        let extends = &files[at].extends;
        match order {
            Order::Named => {
                found.push(at);
                extends.iter().for_each(|child| visit(files, *child, order, seen, found));
            }
            Order::Placed => {
                extends.iter().for_each(|child| visit(files, *child, order, seen, found));
                found.push(at);
            }
            // In reverse: the first one found wins.
            Order::Winning => {
                found.push(at);
                extends.iter().rev().for_each(|child| visit(files, *child, order, seen, found));
            }
        }
    }
    let mut found = Vec::new();
    visit(files, top, order, &mut vec![false; files.len()], &mut found);
    if matches!(order, Order::Winning) {
        found.reverse();
    }
    found
}

struct Loader<F> {
    read: F,
    files: Vec<File>,
    /// Files that were read, by each path they were requested under.
    read_as: HashMap<String, usize>,
    /// Files that are being read, each extended by the one before it.
    open: Vec<String>,
    /// Number of entries so far.
    keys: usize,
    faults: Vec<Error>,
}

impl<F> Loader<F>
where
    F: FnMut(&str) -> Result<Option<ManifestFile>, Error>,
{
    fn file(&mut self, path: String, raw: &RawManifest) -> Result<usize, Error> {
        self.open.push(path.clone());
        let document = Document::of(raw)?;
        let mut extends = Vec::new();
        for (line, entry) in &document.extends {
            extends.push(self.child(raw, *line, entry)?);
        }
        let mut own = RepoManifest::default();
        let envs = self.sections(raw, &document, &mut own)?;
        self.open.pop();
        let at = self.files.len();
        self.files.push(File { path: path.clone(), org: document.org, extends, envs, keys: own.keys });
        self.read_as.insert(path, at);
        Ok(at)
    }

    fn child(&mut self, from: &RawManifest, line: u64, entry: &str) -> Result<usize, Error> {
        let place = Place { file: from, section: "extends" };
        let Some(path) = contained(entry) else {
            let what =
                format!("{} must be a path inside the repository, relative to its root", quoted(entry));
            return Err(place.fault(line, &what));
        };
        self.check_circle(place, line, &path)?;
        if let Some(at) = self.read_as.get(&path) {
            return Ok(*at);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(place.fault(line, &format!("more than {MAX_DEPTH} files extend one another")));
        }
        match (self.read)(&path)? {
            None => Err(place.fault(line, &format!("{} is not there", shortened(&path, PATH)))),
            Some(ManifestFile::Same(first)) => {
                self.check_circle(place, line, &first)?;
                let at = *self.read_as.get(&first).ok_or_else(|| place.fault(line, "it was not read"))?;
                self.read_as.insert(path, at);
                Ok(at)
            }
            Some(ManifestFile::Content(raw)) => {
                if self.files.len() + self.open.len() >= MAX_FILES {
                    let what = format!("more than {MAX_FILES} files make up the manifest");
                    return Err(place.fault(line, &what));
                }
                self.file(path, &raw)
            }
        }
    }

    /// Rejects a file that extends itself, directly or not.
    fn check_circle(&self, place: Place<'_>, line: u64, path: &str) -> Result<(), Error> {
        let Some(start) = self.open.iter().position(|open| open == path) else { return Ok(()) };
        let chain = self.open[start..].iter().map(String::as_str).chain([path]);
        let chain: Vec<_> = chain.map(|path| shortened(path, PATH)).collect();
        let what = format!("the files extend one another in a circle: {}", chain.join(" -> "));
        Err(place.fault(line, &what))
    }

    /// Adds the keys of a file's own sections, and returns the envs it declares.
    fn sections(
        &mut self,
        raw: &RawManifest,
        document: &Document<'_>,
        into: &mut RepoManifest,
    ) -> Result<Vec<Env>, Error> {
        let mut everywhere: Vec<Entry> = Vec::new();
        let mut tiers: Vec<(Env, Vec<Entry>)> = Vec::new();
        for (section, node) in &document.sections {
            let place = Place { file: raw, section };
            let entries = self.entries(place, node)?;
            let word = section.strip_prefix("env.").unwrap_or(section);
            match word.parse::<Env>() {
                Ok(Env::All) => everywhere = entries,
                Ok(Env::Sudo) => self.faults.push(
                    place
                        .fault(node.line, "sudo keys are never declared in a manifest")
                        .hint("request a sudo key by name, with --env sudo --key NAME"),
                ),
                Ok(env) => tiers.push((env, entries)),
                Err(error) => {
                    let fault = place.fault(node.line, &error.message);
                    self.faults.push(Error { hint: error.hint, ..fault });
                }
            }
        }
        for entry in &everywhere {
            into.put(entry.spec(&document.org, Env::All)?);
        }
        for (env, entries) in &tiers {
            for entry in everywhere.iter().chain(entries) {
                into.put(entry.spec(&document.org, *env)?);
            }
        }
        Ok(tiers.into_iter().map(|(env, _)| env).collect())
    }

    fn entries(&mut self, place: Place<'_>, section: &YamlNode) -> Result<Vec<Entry>, Error> {
        Ok(match &section.value {
            YamlValue::Null => Vec::new(),
            YamlValue::List(items) => {
                self.keys += items.len();
                if self.keys > MAX_KEYS {
                    let what = format!("more than {MAX_KEYS} keys are declared in all files of the manifest");
                    return Err(place.fault(section.line, &what));
                }
                let read = |(at, item)| Entry::read(item, at, place, &mut self.faults);
                items.iter().enumerate().filter_map(read).collect()
            }
            other => {
                let what = format!("it must be a list of keys, not {}", other.kind());
                self.faults.push(place.fault(section.line, &what));
                Vec::new()
            }
        })
    }
}

/// Top level of one file.
struct Document<'a> {
    org: String,
    extends: Vec<(u64, &'a str)>,
    sections: Vec<(&'a str, &'a YamlNode)>,
}

impl<'a> Document<'a> {
    fn of(raw: &'a RawManifest) -> Result<Self, Error> {
        let at = |section: &'a str| Place { file: raw, section };
        let YamlValue::Map(fields) = &raw.root.value else {
            let what = format!(
                "the file holds {}, not a mapping with `org` and `env.*` sections",
                raw.root.value.kind()
            );
            return Err(invalid(&format!("{}: {what}", shortened(&raw.path, PATH))));
        };
        let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, node)| node);
        if let Some(keys) = field("keys") {
            let what =
                "a flat list of keys is not understood: list them in `env.*` sections, such as env.test";
            return Err(at("keys").fault(keys.line, what));
        }
        let org = match field("org") {
            None => {
                return Err(at("org").fault(0, "it is missing: name the organization, such as `org: acme`"));
            }
            Some(node) => match node.text().map(str::parse::<Org>) {
                Some(Ok(Org::Named(name))) => name,
                // Files in use have it. Such keys are read from the environment; nothing is stored
                // for them.
                Some(Ok(Org::This)) => Org::THIS.to_owned(),
                Some(Ok(Org::Machine)) => {
                    return Err(at("org").fault(node.line, "it must be a plain name, not @all"));
                }
                Some(Err(error)) => return Err(at("org").fault(node.line, &error.message)),
                None => {
                    let what = format!("it must be a string, not {}", node.value.kind());
                    return Err(at("org").fault(node.line, &what));
                }
            },
        };
        let mut extends = Vec::new();
        match field("extends").map(|node| (node, &node.value)) {
            None | Some((_, YamlValue::Null)) => {}
            Some((_, YamlValue::List(items))) => {
                for item in items {
                    let Some(path) = item.text() else {
                        let what = format!("every entry must be a path, not {}", item.value.kind());
                        return Err(at("extends").fault(item.line, &what));
                    };
                    extends.push((item.line, path));
                }
            }
            Some((node, other)) => {
                let what = format!("it must be a list of paths, not {}", other.kind());
                return Err(at("extends").fault(node.line, &what));
            }
        }
        let sections: Vec<_> = fields
            .iter()
            .filter(|(name, _)| name.starts_with("env."))
            .map(|(name, node)| (name.as_str(), node))
            .collect();
        if let [("env.all", node)] = sections.as_slice() {
            let what = "it needs another env section to apply to, such as an empty `env.test:`";
            return Err(at("env.all").fault(node.line, what));
        }
        Ok(Document { org, extends, sections })
    }
}
