//! The repository the caller stands in, and its `keyrack.yml`.

use std::path::PathBuf;

use keyrack_client::{Context, manifest};
use keyrack_core::repo_manifest::{MANIFEST_PATH, RepoManifest, contained};
use keyrack_core::resolve::KeyQuery;
use keyrack_core::{Error, ErrorCode, Owner};

/// A repository, as far as there is one.
pub(crate) struct Repo {
    /// Its root; `None` outside of one.
    pub(crate) root: Option<PathBuf>,
    /// The path of its manifest below the root.
    pub(crate) path: String,
    /// The manifest, if it has one.
    pub(crate) manifest: Option<RepoManifest>,
}

impl Repo {
    /// The one the caller stands in.
    pub(crate) fn of(ctx: &Context) -> Result<Self, Error> {
        let root = manifest::find_git_root(&ctx.cwd);
        let found = root.as_deref().map(|root| manifest::load(ctx, root)).transpose()?.flatten();
        Ok(Repo { root, path: MANIFEST_PATH.to_owned(), manifest: found })
    }

    /// The same with another manifest of it, which has to be there.
    pub(crate) fn with_manifest_at(ctx: &Context, at: &str) -> Result<Self, Error> {
        let root = manifest::find_git_root(&ctx.cwd).ok_or_else(no_repo)?;
        let path = below(&root, at)?;
        let Some(found) = manifest::load_from(ctx, &root, &path)? else {
            return Err(Error::new(
                ErrorCode::NoManifest,
                format!("there is no {path} in {}", root.display()),
            ));
        };
        Ok(Repo { root: Some(root), path, manifest: Some(found) })
    }

    /// None at all: for keys of the machine, which no repository has a say in.
    pub(crate) fn none() -> Self {
        Repo { root: None, path: MANIFEST_PATH.to_owned(), manifest: None }
    }

    /// An ask for a key, in this repository.
    pub(crate) fn query<'a>(
        &'a self,
        owner: &'a Owner,
        key: &'a str,
        env: Option<&'a str>,
        org: Option<&'a str>,
    ) -> KeyQuery<'a> {
        KeyQuery { key: Some(key), env, org, owner, manifest: self.manifest.as_ref() }
    }

    /// Where its manifest is, or would be.
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
        Error::new(ErrorCode::Usage, format!("--at leads out of the repository {}", root.display()))
            .hint("it is meant from the root of the repository")
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
    Error::new(ErrorCode::NotARepo, "this is not in a git repository")
        .hint("run it inside of one, or with --org @all for a key of this machine")
}
