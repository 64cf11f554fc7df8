//! The current repository and its `keyrack.yml`.

use std::path::PathBuf;

use keyrack_client::{Context, manifest};
use keyrack_core::repo_manifest::{MANIFEST_PATH, RepoManifest, contained};
use keyrack_core::resolve::KeyQuery;
use keyrack_core::{Error, ErrorCode, Owner};

/// The current repository, if there is one.
pub(crate) struct Repo {
    /// Root of the repository; `None` outside of one.
    pub(crate) root: Option<PathBuf>,
    /// The path of its manifest below the root.
    pub(crate) path: String,
    /// The manifest, if it has one.
    pub(crate) manifest: Option<RepoManifest>,
}

impl Repo {
    /// Finds the repository of the working directory.
    pub(crate) fn of(ctx: &Context) -> Result<Self, Error> {
        let root = manifest::find_git_root(&ctx.cwd);
        let found = root.as_deref().map(|root| manifest::load(ctx, root)).transpose()?.flatten();
        Ok(Repo { root, path: MANIFEST_PATH.to_owned(), manifest: found })
    }

    /// As [`Repo::of`], with another manifest of the repository, which must exist.
    pub(crate) fn with_manifest_at(ctx: &Context, at: &str) -> Result<Self, Error> {
        let root = manifest::find_git_root(&ctx.cwd).ok_or_else(no_repo)?;
        let path = below(&root, at)?;
        let Some(found) = manifest::load_from(ctx, &root, &path)? else {
            return Err(Error::new(ErrorCode::NoManifest, format!("{path} not found in {}", root.display())));
        };
        Ok(Repo { root: Some(root), path, manifest: Some(found) })
    }

    /// No repository: for keys of the machine, which no repository declares.
    pub(crate) fn none() -> Self {
        Repo { root: None, path: MANIFEST_PATH.to_owned(), manifest: None }
    }

    /// Query for a key in this repository.
    pub(crate) fn query<'a>(
        &'a self,
        owner: &'a Owner,
        key: &'a str,
        env: Option<&'a str>,
        org: Option<&'a str>,
    ) -> KeyQuery<'a> {
        KeyQuery { key: Some(key), env, org, owner, manifest: self.manifest.as_ref() }
    }

    /// Path of the manifest, also if it does not exist.
    pub(crate) fn manifest_path(&self) -> Option<PathBuf> {
        self.root.as_ref().map(|root| root.join(&self.path))
    }
}

/// A path below the root, from one that is relative to it or absolute within it.
pub(crate) fn below(root: &std::path::Path, at: &str) -> Result<String, Error> {
    let relative =
        std::path::Path::new(at).strip_prefix(root).ok().and_then(|rest| rest.to_str()).unwrap_or(at);
    let is_absolute = std::path::Path::new(relative).is_absolute();
    contained(relative).filter(|_| !is_absolute).ok_or_else(|| {
        Error::new(ErrorCode::Usage, format!("--at is outside the repository {}", root.display()))
            .hint("the path is relative to the root of the repository")
    })
}

/// For what works on all declared keys alone: no single key can be named where none is declared.
pub(crate) fn without_naming_keys(error: Error) -> Error {
    match error.code {
        ErrorCode::NoManifest => error.hint("in a script: `init --org ORG`; then declare keys in it"),
        _ => error,
    }
}

/// The refusal of what only works in a repository.
fn no_repo() -> Error {
    Error::new(ErrorCode::NotARepo, "not in a git repository")
        .hint("run it in a git repository, or pass --org @all for a key of this machine")
}
