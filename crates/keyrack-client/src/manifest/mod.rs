//! `keyrack.yml`: found from where the caller stands, read with what it extends, never from outside the repository.

mod git_root;
mod yaml;

pub use git_root::find_git_root;
pub use yaml::parse;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use keyrack_core::repo_manifest::{MANIFEST_PATH, RawManifest, RepoManifest, hydrate};
use keyrack_core::{ErrorCode, Problem};

use crate::context::Context;

/// The largest manifest that is read, in bytes.
pub const LARGEST: u64 = 1 << 20;

/// The manifest of the repository the context stands in; `None` outside of one, and where it has none.
///
/// # Errors
/// As [`load`].
pub fn of(ctx: &Context) -> Result<Option<RepoManifest>, Problem> {
    match find_git_root(&ctx.cwd) {
        Some(root) => load(&root),
        None => Ok(None),
    }
}

/// The manifest of the repository with this root, and what it extends; `None` where it has none. What is wrong with single keys is in
/// [`RepoManifest::faults`].
///
/// # Errors
/// [`ErrorCode::ManifestInvalid`] naming file and line, [`ErrorCode::Io`].
pub fn load(git_root: &Path) -> Result<Option<RepoManifest>, Problem> {
    load_from(git_root, MANIFEST_PATH)
}

/// The same for a manifest at another path below the root.
///
/// # Errors
/// As [`load`].
pub fn load_from(git_root: &Path, path: &str) -> Result<Option<RepoManifest>, Problem> {
    let mut files = Files { git_root: git_root.to_owned(), real_root: None };
    match files.read(path)? {
        Some(raw) => hydrate(&raw, |path| files.read(path)).map(Some),
        None => Ok(None),
    }
}

/// The files of one repository.
struct Files {
    git_root: PathBuf,
    /// The root without symbolic links, once it was needed.
    real_root: Option<PathBuf>,
}

impl Files {
    /// Reads the file at a path below the root; `None` if there is none.
    fn read(&mut self, path: &str) -> Result<Option<RawManifest>, Problem> {
        let failed =
            |error: &std::io::Error| Problem::new(ErrorCode::Io, format!("cannot read {path}: {error}"));
        let invalid = |what: &str| Problem::new(ErrorCode::ManifestInvalid, format!("{path}: {what}"));
        let real = match self.git_root.join(path).canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let root = match &self.real_root {
            Some(root) => root,
            None => self.real_root.insert(self.git_root.canonicalize().map_err(|error| failed(&error))?),
        };
        if !real.starts_with(root) {
            return Err(invalid("it is a symbolic link that leads out of the repository"));
        }
        // Before it is opened: a pipe would keep us waiting.
        let found = real.metadata().map_err(|error| failed(&error))?;
        if !found.is_file() {
            return Err(invalid("it is not a file"));
        }
        let mut bytes = Vec::new();
        let file = File::open(&real).map_err(|error| failed(&error))?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if u64::try_from(bytes.len()).is_ok_and(|len| len > LARGEST) {
            return Err(invalid(&format!("it is larger than {LARGEST} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not UTF-8"))?;
        parse(path, text).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Repo(tempfile::TempDir);

    impl Repo {
        fn new(manifest: &str) -> Self {
            let repo = Repo(tempfile::tempdir().unwrap());
            fs::create_dir(repo.path("repo")).ok();
            repo.put("repo/.agent/keyrack.yml", manifest);
            repo
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn put(&self, path: &str, content: &str) {
            fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
            fs::write(self.path(path), content).unwrap();
        }

        fn load(&self) -> Result<Option<RepoManifest>, Problem> {
            load(&self.path("repo"))
        }

        fn refused(&self, part: &str) {
            let problem = self.load().unwrap_err();
            assert_eq!(problem.code, ErrorCode::ManifestInvalid);
            assert!(problem.message.contains(part), "{part}: {problem}");
        }
    }

    fn slugs(manifest: &RepoManifest) -> Vec<&str> {
        manifest.keys().iter().map(|key| key.slug.as_str()).collect()
    }

    #[test]
    fn a_manifest_and_what_it_extends() {
        let repo =
            Repo::new("org: acme\nextends: [shared/keyrack.yml]\nenv.test:\n  - A\n  - B: encrypted\n");
        repo.put("repo/shared/keyrack.yml", "org: other\nenv.test: [C]\n");
        let manifest = repo.load().unwrap().unwrap();
        assert_eq!(slugs(&manifest), ["acme.test.C", "acme.test.A", "acme.test.B"]);
        assert_eq!(manifest.faults, []);
    }

    #[test]
    fn none_is_no_error() {
        let repo = Repo::new("");
        fs::remove_file(repo.path("repo/.agent/keyrack.yml")).unwrap();
        assert_eq!(repo.load().unwrap(), None);
        fs::remove_dir(repo.path("repo/.agent")).unwrap();
        fs::write(repo.path("repo/.agent"), "").unwrap();
        assert_eq!(repo.load().unwrap(), None);
        assert_eq!(load(&repo.path("nowhere")).unwrap(), None);
    }

    #[test]
    fn links_may_not_leave_the_repository() {
        let repo = Repo::new("org: acme\nextends: [linked.yml]\nenv.test: [A]\n");
        repo.put("outside.yml", "org: evil\nenv.test: [E]\n");
        repo.put("repo/inside.yml", "org: fine\nenv.test: [I]\n");
        symlink(repo.path("outside.yml"), repo.path("repo/linked.yml")).unwrap();
        repo.refused("linked.yml: it is a symbolic link that leads out of the repository");
        fs::remove_file(repo.path("repo/linked.yml")).unwrap();
        symlink("inside.yml", repo.path("repo/linked.yml")).unwrap();
        assert_eq!(slugs(&repo.load().unwrap().unwrap()), ["acme.test.I", "acme.test.A"]);
        // A directory in between, too.
        fs::create_dir(repo.path("elsewhere")).unwrap();
        repo.put("elsewhere/k.yml", "org: evil\nenv.test: [E]\n");
        symlink(repo.path("elsewhere"), repo.path("repo/dir")).unwrap();
        repo.put("repo/.agent/keyrack.yml", "org: acme\nextends: [dir/k.yml]\n");
        repo.refused("dir/k.yml: it is a symbolic link");
        // A root that is itself reached by a link is no way out.
        symlink(repo.path("repo"), repo.path("alias")).unwrap();
        repo.put("repo/.agent/keyrack.yml", "org: acme\nenv.test: [A]\n");
        assert!(load(&repo.path("alias")).unwrap().is_some());
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let repo = Repo::new("org: acme\nextends: [x]\n");
        fs::create_dir(repo.path("repo/x")).unwrap();
        repo.refused("x: it is not a file");
        fs::remove_dir(repo.path("repo/x")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(repo.path("repo/x")).status();
        if made.is_ok_and(|status| status.success()) {
            repo.refused("x: it is not a file");
            fs::remove_file(repo.path("repo/x")).unwrap();
        }
        fs::write(repo.path("repo/x"), vec![b'#'; (1 << 20) + 1]).unwrap();
        repo.refused("x: it is larger than");
        fs::write(repo.path("repo/x"), b"org: \xff").unwrap();
        repo.refused("x: it is not UTF-8");
        fs::write(repo.path("repo/x"), "org: [").unwrap();
        repo.refused("x:1: not valid YAML");
    }
}
