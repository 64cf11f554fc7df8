//! From files to keys: sections, the expansion of `env.all`, and `extends`.

use std::collections::HashMap;
use std::rc::Rc;

use super::entry::{Entry, Place, invalid};
use super::node::{Node, Value};
use super::path::contained;
use super::{KeySpec, RawManifest, RepoManifest};
use crate::env::Env;
use crate::error::Problem;
use crate::org::Org;

/// How deep files may extend one another. Far beyond any use; it keeps links that name one file in many ways from going on for ever.
const MAX_DEPTH: usize = 32;

/// Makes a manifest of a root file and what it extends.
///
/// `read` gives the file at a path below the repository's root, which is lexically contained in it, or `None` if there is none; it has to refuse what leads
/// out by symbolic links. Each file is read once, however often it is named.
///
/// Of two extended files the later one wins a key, and the root wins over both; every key gets the root's org.
///
/// # Errors
///
/// [`ManifestInvalid`](crate::ErrorCode::ManifestInvalid) where a file's shape is wrong, one is missing, leads out of the repository, or extends itself; and whatever `read`
/// fails with. What is wrong with single sections and keys is in [`RepoManifest::faults`] instead.
pub fn hydrate<F>(root: &RawManifest, read: F) -> Result<RepoManifest, Problem>
where
    F: FnMut(&str) -> Result<Option<RawManifest>, Problem>,
{
    let mut work = Work { read, done: HashMap::new(), open: Vec::new(), faults: Vec::new() };
    let path = contained(&root.path).unwrap_or_else(|| root.path.clone());
    let file = work.file(path, root)?;
    let mut manifest = RepoManifest {
        org: file.org.clone(),
        extends: file.extends.clone(),
        envs: file.envs.clone(),
        all_envs: file.all_envs.clone(),
        faults: work.faults,
        ..RepoManifest::default()
    };
    for key in &file.keys {
        manifest.put(key.clone());
    }
    Ok(manifest)
}

/// One file with what it extends, under its own org.
struct File {
    org: String,
    extends: Vec<String>,
    envs: Vec<Env>,
    /// The envs of this file and of those it extends.
    all_envs: Vec<Env>,
    keys: Vec<KeySpec>,
}

struct Work<F> {
    read: F,
    done: HashMap<String, Rc<File>>,
    open: Vec<String>,
    faults: Vec<Problem>,
}

impl<F> Work<F>
where
    F: FnMut(&str) -> Result<Option<RawManifest>, Problem>,
{
    fn file(&mut self, path: String, raw: &RawManifest) -> Result<Rc<File>, Problem> {
        self.open.push(path.clone());
        let shape = Shape::of(raw)?;
        let mut merged = RepoManifest { org: shape.org.clone(), ..RepoManifest::default() };
        let mut extends = Vec::new();
        let mut extended_envs = Vec::new();
        for (line, entry) in &shape.extends {
            let (child_path, child) = self.child(raw, *line, entry)?;
            for path in std::iter::once(&child_path).chain(&child.extends) {
                if !extends.contains(path) {
                    extends.push(path.clone());
                }
            }
            extended_envs.extend(&child.all_envs);
            for key in &child.keys {
                let slug = crate::slug::Slug::new(&shape.org, key.env, key.slug.name())?;
                let fault = key.fault.clone().map(|fault| fault.of(&slug));
                merged.put(KeySpec { slug, fault, ..key.clone() });
            }
        }
        let envs = self.sections(raw, &shape, &mut merged)?;
        let mut all_envs = envs.clone();
        for env in extended_envs {
            if !all_envs.contains(&env) {
                all_envs.push(env);
            }
        }
        self.open.pop();
        let file = Rc::new(File { org: shape.org, extends, envs, all_envs, keys: merged.keys });
        self.done.insert(path, Rc::clone(&file));
        Ok(file)
    }

    fn child(&mut self, from: &RawManifest, line: u64, entry: &str) -> Result<(String, Rc<File>), Problem> {
        let place = Place { file: from, section: "extends" };
        let Some(path) = contained(entry) else {
            let what = format!("{entry:?} must be a path inside the repository, relative to its root");
            return Err(place.fault(line, &what));
        };
        if let Some(start) = self.open.iter().position(|open| *open == path) {
            let chain = [&self.open[start..], &[path]].concat().join(" -> ");
            return Err(place.fault(line, &format!("the files extend one another in a circle: {chain}")));
        }
        if let Some(file) = self.done.get(&path) {
            return Ok((path, Rc::clone(file)));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(place.fault(line, &format!("more than {MAX_DEPTH} files extend one another")));
        }
        let Some(raw) = (self.read)(&path)? else {
            return Err(place.fault(line, &format!("{path} is not there")));
        };
        let file = self.file(path.clone(), &raw)?;
        Ok((path, file))
    }

    /// Adds the keys of a file's own sections, and returns the envs it declares.
    fn sections(
        &mut self,
        raw: &RawManifest,
        shape: &Shape<'_>,
        into: &mut RepoManifest,
    ) -> Result<Vec<Env>, Problem> {
        let mut everywhere: Vec<Entry> = Vec::new();
        let mut tiers: Vec<(Env, Vec<Entry>)> = Vec::new();
        for (section, node) in &shape.sections {
            let place = Place { file: raw, section };
            let entries = self.entries(place, node);
            let word = section.strip_prefix("env.").unwrap_or(section);
            match word.parse::<Env>() {
                Ok(Env::All) => everywhere = entries,
                Ok(Env::Sudo) => self.faults.push(
                    place
                        .fault(node.line, "sudo keys are never declared in a manifest")
                        .hint("ask for a sudo key by name, with --env sudo --key NAME"),
                ),
                Ok(env) => tiers.push((env, entries)),
                Err(problem) => {
                    let fault = place.fault(node.line, &problem.message);
                    self.faults.push(Problem { hint: problem.hint, ..fault });
                }
            }
        }
        for entry in &everywhere {
            into.put(entry.spec(&shape.org, Env::All)?);
        }
        for (env, entries) in &tiers {
            for entry in everywhere.iter().chain(entries) {
                into.put(entry.spec(&shape.org, *env)?);
            }
        }
        Ok(tiers.into_iter().map(|(env, _)| env).collect())
    }

    fn entries(&mut self, place: Place<'_>, section: &Node) -> Vec<Entry> {
        match &section.value {
            Value::Null => Vec::new(),
            Value::List(items) => {
                let read = |(at, item)| Entry::read(item, at, place, &mut self.faults);
                items.iter().enumerate().filter_map(read).collect()
            }
            other => {
                let what = format!("it must be a list of keys, not {}", other.kind());
                self.faults.push(place.fault(section.line, &what));
                Vec::new()
            }
        }
    }
}

/// The top level of one file.
struct Shape<'a> {
    org: String,
    extends: Vec<(u64, &'a str)>,
    sections: Vec<(&'a str, &'a Node)>,
}

impl<'a> Shape<'a> {
    fn of(raw: &'a RawManifest) -> Result<Self, Problem> {
        let at = |section: &'a str| Place { file: raw, section };
        let Value::Map(fields) = &raw.root.value else {
            let what = format!(
                "the file holds {}, not a mapping with `org` and `env.*` sections",
                raw.root.value.kind()
            );
            return Err(invalid(&format!("{}: {what}", raw.path)));
        };
        let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, node)| node);
        if let Some(keys) = field("keys") {
            let what =
                "a flat list of keys is not understood: list them in `env.*` sections, such as env.test";
            return Err(at("keys").fault(keys.line, what));
        }
        let org = match field("org") {
            None => {
                return Err(at("org").fault(0, "it is missing: name the organisation, such as `org: acme`"));
            }
            Some(node) => match node.text().map(str::parse::<Org>) {
                Some(Ok(Org::Named(name))) => name,
                // Today's files have it. Such keys are read from the environment; nothing is stored for them.
                Some(Ok(Org::This)) => Org::THIS.to_owned(),
                Some(Ok(Org::Machine)) => {
                    return Err(at("org").fault(node.line, "it must be a plain name, not @all"));
                }
                Some(Err(problem)) => return Err(at("org").fault(node.line, &problem.message)),
                None => {
                    let what = format!("it must be a string, not {}", node.value.kind());
                    return Err(at("org").fault(node.line, &what));
                }
            },
        };
        let mut extends = Vec::new();
        match field("extends").map(|node| (node, &node.value)) {
            None | Some((_, Value::Null)) => {}
            Some((_, Value::List(items))) => {
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
        Ok(Shape { org, extends, sections })
    }
}
