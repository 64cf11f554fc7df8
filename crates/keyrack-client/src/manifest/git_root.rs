//! The root of the repository a directory is in, by its `.git`. Runs no git.

use std::path::{Path, PathBuf};

/// The closest directory, from `from` upwards, that holds a `.git`: a directory, or the file of a
/// worktree or a submodule.
pub fn find_git_root(from: &Path) -> Option<PathBuf> {
    from.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nearest_git_root_is_found() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().join(path);
        fs::create_dir_all(at("repo/.git")).unwrap();
        fs::create_dir_all(at("repo/a/b")).unwrap();
        fs::create_dir_all(at("repo/sub/c")).unwrap();
        fs::write(at("repo/sub/.git"), "gitdir: elsewhere").unwrap();
        fs::create_dir_all(at("outside")).unwrap();
        for (from, root) in [
            ("repo", Some("repo")),
            ("repo/a/b", Some("repo")),
            ("repo/sub", Some("repo/sub")),
            ("repo/sub/c", Some("repo/sub")),
            ("repo/.git", Some("repo")),
        ] {
            assert_eq!(find_git_root(&at(from)), root.map(at), "{from}");
        }
        assert!(find_git_root(&at("outside")).is_none_or(|root| !root.starts_with(base.path())));
    }
}
