//! Modules of a crate, and which file uses items of which other.
//!
//! A use is a `use` declaration or a path in code; it leads to the file that defines the item, so
//! re-exports are followed. Code for tests does not count, nor does a re-export of a module's own
//! children, which is how a module shows its face.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// Path of a module from the root of its crate; empty for the root.
type ModulePath = Vec<String>;

#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Types and traits that are `pub` or `pub(crate)`.
    public_types: BTreeSet<String>,
    /// Names that `use` brings in, and their paths.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths in `use` and in code; `true` for one that a `pub use` re-exports.
    paths: Vec<(Vec<String>, bool)>,
}

/// Modules of a library crate, or of a binary one without a library.
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test")))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns the name of a type or trait that is `pub` or `pub(crate)`.
fn public_type(item: &Item) -> Option<String> {
    let (visibility, name) = match item {
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        Item::Union(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    let is_public = match visibility {
        Visibility::Public(_) => true,
        Visibility::Restricted(within) => within.path.is_ident("crate"),
        Visibility::Inherited => false,
    };
    is_public.then(|| name.to_string())
}

/// Gathers the paths of more than one segment in code, those in macros included.
struct Paths<'m>(&'m mut Module);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.0.paths.push((segments, false));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, used: &'ast syn::Macro) {
        paths_of_tokens(used.tokens.clone(), &mut self.0.paths);
        visit::visit_macro(self, used);
    }
}

fn paths_of_tokens(tokens: TokenStream, paths: &mut Vec<(Vec<String>, bool)>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => {
                colons += 1;
            }
            other => {
                paths.push((std::mem::take(&mut path), false));
                colons = 0;
                match other {
                    TokenTree::Ident(ident) => path.push(ident.to_string()),
                    TokenTree::Group(group) => paths_of_tokens(group.stream(), paths),
                    _ => {}
                }
            }
        }
    }
    paths.push((path, false));
}

impl Crate {
    /// Reads a crate of the workspace.
    pub(crate) fn read(package: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
        let root = ["lib.rs", "main.rs"].map(|name| source.join(name)).into_iter().find(|path| path.exists());
        let mut found = Crate { modules: BTreeMap::new() };
        found.read_file(&source, &root.expect("a crate has a root"), &Vec::new());
        found
    }

    fn read_file(&mut self, source: &Path, file: &Path, at: &ModulePath) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let is_root_of_folder = file.file_name().is_some_and(|name| name == "mod.rs") || at.is_empty();
        let folder = if is_root_of_folder {
            file.parent().expect("a file is in a folder").to_owned()
        } else {
            file.with_extension("")
        };
        let name = file.strip_prefix(source).expect("a file of the crate").display().to_string();
        self.read_items(source, &parsed.items, at, &name, &folder);
    }

    fn read_items(&mut self, source: &Path, items: &[Item], at: &ModulePath, name: &str, folder: &Path) {
        let mut module = Module { file: name.to_owned(), ..Module::default() };
        let mut children: Vec<(&syn::ItemMod, PathBuf)> = Vec::new();
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let ident = child.ident.to_string();
                    module.children.insert(ident.clone());
                    children.push((child, folder.join(ident)));
                    continue;
                }
                Item::Use(used) => {
                    let is_public = !matches!(used.vis, Visibility::Inherited);
                    take_use(&mut module, &used.tree, &[], is_public);
                    continue;
                }
                Item::Const(item) => module.items.insert(item.ident.to_string()),
                Item::Enum(item) => module.items.insert(item.ident.to_string()),
                Item::Fn(item) => module.items.insert(item.sig.ident.to_string()),
                Item::Static(item) => module.items.insert(item.ident.to_string()),
                Item::Struct(item) => module.items.insert(item.ident.to_string()),
                Item::Trait(item) => module.items.insert(item.ident.to_string()),
                Item::Type(item) => module.items.insert(item.ident.to_string()),
                Item::Union(item) => module.items.insert(item.ident.to_string()),
                Item::Macro(item) => {
                    item.ident.as_ref().is_some_and(|ident| module.items.insert(ident.to_string()))
                }
                _ => false,
            };
            module.public_types.extend(public_type(item));
            Paths(&mut module).visit_item(item);
        }
        self.modules.insert(at.clone(), module);
        for (child, path) in children {
            let mut inner = at.clone();
            inner.push(child.ident.to_string());
            match &child.content {
                Some((_, items)) => self.read_items(source, items, &inner, name, &path),
                None => {
                    let file = [path.with_extension("rs"), path.join("mod.rs")];
                    let file = file.into_iter().find(|file| file.exists());
                    self.read_file(source, &file.expect("a module has a file"), &inner);
                }
            }
        }
    }

    /// Returns each `pub` or `pub(crate)` type of the crate, with the file that defines it.
    pub(crate) fn public_types(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules
            .values()
            .flat_map(|module| module.public_types.iter().map(|name| (name.as_str(), module.file.as_str())))
    }

    /// Returns the files that each file uses.
    pub(crate) fn graph(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (at, module) in &self.modules {
            let edges: BTreeSet<String> = module
                .paths
                .iter()
                .filter_map(|(path, is_reexport)| {
                    let is_own_child = path.first().is_some_and(|first| {
                        module.children.contains(first)
                            || (first == "self"
                                && path.get(1).is_some_and(|next| module.children.contains(next)))
                    });
                    if *is_reexport && is_own_child { None } else { self.definer(at, path, 0) }
                })
                .chain(module.globs.iter().filter_map(|glob| {
                    let target = self.module_of(at, glob, 0)?;
                    Some(self.modules[&target].file.clone())
                }))
                .filter(|file| *file != module.file)
                .collect();
            graph.entry(module.file.clone()).or_default().extend(edges);
        }
        graph
    }

    /// Returns the file that defines what a path in a module leads to, if it is an item of this
    /// crate.
    fn definer(&self, at: &ModulePath, path: &[String], depth: usize) -> Option<String> {
        let (first, rest) = path.split_first()?;
        if depth > 20 {
            return None;
        }
        let module = &self.modules[at];
        match first.as_str() {
            "crate" => self.item(&Vec::new(), rest, depth),
            "self" => self.item(at, rest, depth),
            "super" => self.item(&at[..at.len().checked_sub(1)?].to_vec(), rest, depth),
            name if module.children.contains(name) => self.item(at, path, depth),
            name if module.items.contains(name) => Some(module.file.clone()),
            name => {
                let import = module.imports.get(name)?;
                let whole: Vec<String> = import.iter().chain(rest).cloned().collect();
                if import.first() == Some(first) && import.len() == 1 {
                    return None;
                }
                self.definer(at, &whole, depth + 1)
            }
        }
    }

    /// The same for a path that begins inside of a module, where its imports are visible too.
    fn item(&self, at: &ModulePath, path: &[String], depth: usize) -> Option<String> {
        let module = self.modules.get(at)?;
        let (first, rest) = path.split_first()?;
        if first == "super" {
            return self.item(&at[..at.len().checked_sub(1)?].to_vec(), rest, depth);
        }
        if module.items.contains(first) {
            return Some(module.file.clone());
        }
        if module.children.contains(first) {
            let mut inner = at.clone();
            inner.push(first.clone());
            return self.item(&inner, rest, depth);
        }
        if module.imports.contains_key(first) {
            return self.definer(at, path, depth + 1);
        }
        module.globs.iter().find_map(|glob| {
            let target = self.module_of(at, glob, depth)?;
            if target == *at || depth > 20 { None } else { self.item(&target, path, depth + 1) }
        })
    }

    fn module_of(&self, at: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Vec::new(),
            "self" => at.clone(),
            "super" => at[..at.len().checked_sub(1)?].to_vec(),
            name if self.modules[at].children.contains(name) => [at.as_slice(), &[name.to_owned()]].concat(),
            name => {
                let import = self.modules[at].imports.get(name)?;
                if depth > 20 || import.first() == Some(first) {
                    return None;
                }
                self.module_of(at, import, depth + 1)?
            }
        };
        for segment in rest {
            match segment.as_str() {
                "super" => drop(target.pop()),
                name => target.push(name.to_owned()),
            }
        }
        self.modules.contains_key(&target).then_some(target)
    }
}

fn take_use(module: &mut Module, tree: &UseTree, before: &[String], is_public: bool) {
    let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
    match tree {
        UseTree::Path(path) => take_use(module, &path.tree, &with(path.ident.to_string()), is_public),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| take_use(module, tree, before, is_public));
        }
        UseTree::Glob(_) => module.globs.push(before.to_vec()),
        UseTree::Name(name) if name.ident == "self" => {
            let last = before.last().cloned().unwrap_or_default();
            module.imports.insert(last, before.to_vec());
            module.paths.push((before.to_vec(), is_public));
        }
        UseTree::Name(name) => {
            let path = with(name.ident.to_string());
            module.imports.insert(name.ident.to_string(), path.clone());
            module.paths.push((path, is_public));
        }
        UseTree::Rename(renamed) => {
            let path = with(renamed.ident.to_string());
            module.imports.insert(renamed.rename.to_string(), path.clone());
            module.paths.push((path, is_public));
        }
    }
}
