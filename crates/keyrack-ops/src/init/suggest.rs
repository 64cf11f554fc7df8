//! Suggestions of a guided `init`: the available ssh keys, and the probable org of the repository.
//! Changes nothing, does not prompt, and runs no program.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use keyrack_client::manifest;
use keyrack_core::repo_manifest::MANIFEST_PATH;
use keyrack_core::{Error, Org};
use keyrack_vaults::identity::FoundKeys;
pub use keyrack_vaults::identity::UsableKey;
use keyrack_vaults::manifest_file;
use serde_json::Value;

use crate::context::OpContext;

/// Maximum number of bytes that are read of a file.
const MAX_FILE: u64 = 1 << 20;

/// Suggestions, and what exists already.
#[derive(Clone, Debug)]
pub struct InitSuggestions {
    /// Set if the rack exists.
    pub has_rack: bool,
    /// The ssh keys that could open it, those first that are found without being named.
    pub keys: Vec<UsableKey>,
    /// Root of the repository.
    pub git_root: Option<PathBuf>,
    /// Set if the repository has a `keyrack.yml`.
    pub has_manifest: bool,
    /// The org it seems to be of, one that keys can be stored for.
    pub org: Option<String>,
}

/// Collects the suggestions.
///
/// # Errors
/// [`keyrack_core::ErrorCode::NoHome`]; those of accessing the rack's directory.
pub fn suggest(ctx: &OpContext<'_>) -> Result<InitSuggestions, Error> {
    let racks = ctx.racks()?;
    let git_root = manifest::find_git_root(&ctx.client.cwd);
    let org = git_root.as_deref().and_then(|root| {
        org_of_package(root).or_else(|| org_of_remote(root)).filter(|org| Org::is_storable_name(org))
    });
    Ok(InitSuggestions {
        has_rack: manifest_file::exists(&racks)?,
        keys: FoundKeys::search(&racks, None).usable,
        has_manifest: git_root
            .as_ref()
            .is_some_and(|root| root.join(MANIFEST_PATH).symlink_metadata().is_ok()),
        git_root,
        org,
    })
}

/// By `package.json`: the scope of its name, else whose its repository is.
fn org_of_package(root: &Path) -> Option<String> {
    let package: Value = serde_json::from_str(&read(&root.join("package.json"))?).ok()?;
    let scope = package["name"]
        .as_str()
        .and_then(|name| name.strip_prefix('@')?.split('/').next().map(str::to_lowercase));
    let repository = &package["repository"];
    let url = || repository.as_str().or_else(|| repository["url"].as_str()).and_then(org_of_url);
    scope.or_else(url)
}

/// By the url of git's remote `origin`.
fn org_of_remote(root: &Path) -> Option<String> {
    let config = read(&git_dir(root)?.join("config"))?;
    let mut is_origin = false;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            is_origin = line == "[remote \"origin\"]";
        } else if let Some((name, url)) = line.split_once('=').filter(|_| is_origin)
            && name.trim() == "url"
        {
            return org_of_url(url.trim());
        }
    }
    None
}

/// Directory of a repository's git configuration: `.git`, or the target of a worktree's `.git` file
/// (gitrepository-layout(5)).
fn git_dir(root: &Path) -> Option<PathBuf> {
    let dot = root.join(".git");
    if dot.is_dir() {
        return Some(dot);
    }
    let dir = root.join(read(&dot)?.trim().strip_prefix("gitdir:")?.trim());
    match read(&dir.join("commondir")) {
        Some(common) => Some(dir.join(common.trim())),
        None => Some(dir),
    }
}

/// The last but one part of a repository's path: `git@host:acme/app.git`, `https://host/acme/app`,
/// `github:acme/app`, `acme/app`.
fn org_of_url(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':').map_or(url, |(_, path)| path),
    };
    let mut parts = path.trim_end_matches('/').rsplit('/').filter(|part| !part.is_empty());
    parts.next()?;
    parts.next().map(str::to_lowercase)
}

fn read(path: &Path) -> Option<String> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn org_of_url_parses_common_forms() {
        for (url, org) in [
            ("git@github.com:acme/app.git", Some("acme")),
            ("https://github.com/Acme/app", Some("acme")),
            ("https://user@host:8443/acme/app.git/", Some("acme")),
            ("ssh://git@host/group/acme/app.git", Some("acme")),
            ("git+https://github.com/acme/app.git", Some("acme")),
            ("github:acme/app", Some("acme")),
            ("acme/app", Some("acme")),
            ("https://host/app", None),
            ("app", None),
            ("", None),
        ] {
            assert_eq!(org_of_url(url).as_deref(), org, "{url}");
        }
    }

    #[test]
    fn suggest_reads_the_org_of_package_and_remote() {
        let config = "[core]\n\turl = x:no/no\n[remote \"other\"]\n\turl = git@h:other/app\n[remote \"origin\"]\n\tfetch = x\n\turl = git@h:acme/app.git\n";
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join(".git/worktrees/w")).unwrap();
        assert_eq!(org_of_remote(root), None);
        fs::write(root.join(".git/config"), config).unwrap();
        assert_eq!(org_of_remote(root).as_deref(), Some("acme"));
        // A worktree of it.
        let tree = root.join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", root.join(".git/worktrees/w").display()))
            .unwrap();
        fs::write(root.join(".git/worktrees/w/commondir"), "../..\n").unwrap();
        assert_eq!(org_of_remote(&tree).as_deref(), Some("acme"));
        for (package, org) in [
            (r#"{"name":"@Scope/app","repository":"acme/app"}"#, Some("scope")),
            (
                r#"{"name":"app","repository":{"type":"git","url":"git+https://github.com/acme/app.git"}}"#,
                Some("acme"),
            ),
            (r#"{"name":"app"}"#, None),
            ("not json", None),
        ] {
            fs::write(root.join("package.json"), package).unwrap();
            assert_eq!(org_of_package(root).as_deref(), org, "{package}");
        }
    }
}
